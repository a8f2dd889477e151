#!/usr/bin/env bash
# The Python tests of the extension, built with AddressSanitizer and UndefinedBehaviorSanitizer: what a kept view, a
# closed connection or another thread could still touch, the sanitizers see. Python itself is not instrumented, so their
# runtime is loaded ahead of it, which not every program that tests start bears: those files are left to the plain run.
#
#   scripts/asan_python.sh PYTHON [pytest arguments]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$1
shift
site=$PWD/build/asan-python/site
flags="-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all"

CFLAGS=$flags CXXFLAGS=$flags LDFLAGS=$flags "$python" -m pip --disable-pip-version-check --quiet install --no-build-isolation \
  --no-deps --upgrade --target "$site" --config-settings=build-dir=build/asan-python/package \
  --config-settings=cmake.build-type=None .

preload=
for lib in libasan.so libubsan.so libstdc++.so; do preload+="$("${CC:-gcc}" -print-file-name=$lib) "; done

tests=()
for name in event_queue http_errors http_limits http_malformed http_message http_pipelining http_raw_answers http_reply http_server \
  http_streaming json lifetimes native_routes pool_answers pool_futures pool_limits tcp_udp_unix timers util wakeup worker_pool; do
  tests+=("tests/python/test_$name.py")
done
LD_PRELOAD=$preload ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$site PYTHONMALLOC=malloc \
  "$python" -m pytest "${tests[@]}" "$@"
