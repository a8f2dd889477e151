#!/usr/bin/env bash
# The Python tests of the extension, built with AddressSanitizer and UndefinedBehaviorSanitizer, or with ThreadSanitizer:
# what a kept view, a closed connection or another thread could still touch, the sanitizers see. Python itself is not
# instrumented, so their runtime is loaded ahead of it; not ahead of the other programs that tests start, which do not bear it.
#
#   scripts/sanitized_python.sh address|thread PYTHON [pytest arguments]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kind=$1 python=$2
shift 2
work=$PWD/build/$kind-python
case $kind in
  address) sanitize="address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all" libs="libasan.so libubsan.so libstdc++.so" ;;
  thread) sanitize=thread libs="libtsan.so libstdc++.so" ;;
esac

flags="-g -O1 -fno-omit-frame-pointer -fsanitize=$sanitize"
CFLAGS=$flags CXXFLAGS=$flags LDFLAGS=$flags "$python" -m pip --disable-pip-version-check --quiet install --no-build-isolation \
  --no-deps --upgrade --target "$work/site" --config-settings=build-dir="$work/package" \
  --config-settings=cmake.build-type=None .

preload=
for lib in $libs; do preload+="$("${CC:-gcc}" -print-file-name="$lib") "; done
cat > "$work/python" <<END
#!/bin/sh
LD_PRELOAD="$preload" exec "$("$python" -c 'import sys; print(sys.executable)')" "\$@"
END
chmod +x "$work/python"

tests=()
for name in access_log event_ http_ json lifetimes manager native_routes pool_ sink_deadlines sink_durable sink_ends sink_pipeline tcp_udp_unix timers tls util \
  wakeup websocket worker_pool; do
  tests+=(tests/python/test_"$name"*.py)
done
case " $* " in *" tests/"*) tests=() ;; esac # the arguments say which

# ThreadSanitizer writes what it finds to build/thread-python/race.*, and Python ends with 66 then.
# The sanitizers' own memory counts where memory is measured. A thread that the interpreter ends passes pybind11's `catch (abi::__forced_unwind &)`,
# which binds a reference to nothing.
ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS="suppressions=$PWD/scripts/tsan_python.supp die_after_fork=0 log_path=$work/race exitcode=66" PYTHONPATH=$work/site:$PWD/scripts PYTHONMALLOC=malloc \
  SANITIZED_PYTHON=$work/python "$work/python" -m pytest -p sanitized_plugin -o timeout=600 \
  --deselect tests/python/test_sink_ends.py::test_lines_that_wait_take_the_memory_of_their_text \
  --deselect tests/python/test_worker_pool.py::test_the_interpreter_ends_although_jobs_run "${tests[@]}" "$@"
