#!/usr/bin/env bash
# Get a machine ready to build: what only the system can provide comes through apt where that is allowed and is named
# otherwise; everything else comes from PyPI into a virtual environment.
#
#   scripts/bootstrap.sh system        a compiler, make, curl and a Python with headers and venv; OpenSSL's headers when it may
#   scripts/bootstrap.sh peers         what some tests and codings want: nginx, haproxy, rsyslog, PostgreSQL, Chromium, zlib, brotli…; never fails
#   scripts/bootstrap.sh venv [.venv]  that, and an environment with cmake, ninja and what the build needs
#
# PYTHON=… chooses the interpreter; without it the first of the usual names that is 3.10 or newer is taken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '== %s\n' "$*"; }
die() { printf 'bootstrap: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

python_runs() { have "$1" && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }
python_has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }
python_has_headers() {
  "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null
}

# The first Python that is complete, else the first that is new enough: its missing parts are then installed.
find_python() {
  local candidate first=""
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
    python_runs "$candidate" || continue
    if python_has_venv "$candidate" && python_has_headers "$candidate"; then
      echo "$candidate"
      return
    fi
    [ -n "$first" ] || first=$candidate
  done
  echo "$first"
}

missing_packages() { # in Debian's names
  local python
  have make || echo make
  have cc || echo gcc
  have c++ || echo g++
  have curl || echo curl
  python=$(find_python)
  if [ -z "$python" ]; then
    [ -z "${PYTHON:-}" ] || die "PYTHON=$PYTHON is not a Python 3.10 or newer"
    echo python3 python3-venv python3-dev
    return
  fi
  python_has_venv "$python" || echo "$(debian_name "$python")-venv"
  python_has_headers "$python" || echo "$(debian_name "$python")-dev"
}

debian_name() { # python3.11 of /usr/bin/python3
  "$1" -c 'import sys; print("python%d.%d" % sys.version_info[:2])'
}

# How to become root: nothing, or sudo. Fails where neither is allowed.
root_prefix() {
  [ "$(id -u)" != 0 ] || return 0
  have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; } && echo sudo
}

# TLS is optional: without OpenSSL's headers there is a build without it.
ensure_openssl() {
  local root
  [ "${USE_TLS:-}" != 0 ] || return 0
  ! printf '#include <openssl/ssl.h>\n#if OPENSSL_VERSION_NUMBER < 0x30000000L\n#error old\n#endif\n' | cc -E - >/dev/null 2>&1 || return 0
  if have apt-get && root=$(root_prefix); then
    say "installing with apt: libssl-dev"
    # shellcheck disable=SC2086  # nothing, or sudo
    $root apt-get -qq update && $root env DEBIAN_FRONTEND=noninteractive \
      apt-get -qq install -y --no-install-recommends libssl-dev >/dev/null && return 0
  fi
  say "OpenSSL 3's headers are not there (Debian: libssl-dev): building without TLS"
}

ensure_system() {
  local packages root
  packages=$(missing_packages | tr '\n' ' ')
  [ -n "${packages// /}" ] || { ensure_openssl; return; }
  have apt-get || die "please install with your package manager (Debian's names): $packages"
  root=$(root_prefix) || die "please install, as root: apt-get install $packages"
  say "installing with apt: $packages"
  # shellcheck disable=SC2086  # lists of words
  $root apt-get -qq update && $root env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install -y --no-install-recommends $packages >/dev/null || die "apt could not install: $packages"
  packages=$(missing_packages | tr '\n' ' ')
  [ -z "${packages// /}" ] || die "still missing after apt: $packages"
  ensure_openssl
}

ensure_venv() {
  local venv=$1 python
  python=$(find_python)
  if ! python_runs "$venv/bin/python"; then
    say "creating $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
  fi
  local pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
  say "installing build tools into $venv"
  "${pip[@]}" install --upgrade pip
  "$venv/bin/python" scripts/requirements.py build-system >"$venv/build-requirements.txt"
  "${pip[@]}" install --upgrade cmake ninja -r "$venv/build-requirements.txt"
}

have_header() { printf '#include <%s>\n' "$1" | cc -E - >/dev/null 2>&1; }

missing_peers() { # in Debian's names
  local PATH=$PATH:/usr/sbin:/usr/local/sbin
  have nginx || echo nginx-light
  [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || echo libnginx-mod-stream
  have haproxy || echo haproxy
  have tinyproxy || echo tinyproxy
  have squid || echo squid
  have dnsmasq || echo dnsmasq-base
  have testssl || have testssl.sh || echo testssl.sh
  have rsyslogd || echo rsyslog
  [ -e "$(echo /usr/lib/*/rsyslog/lmnsd_ossl.so)" ] || echo rsyslog-openssl
  [ -e "$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | tail -n 1)" ] || echo postgresql
  have logrotate || echo logrotate
  have chromium || have chromium-browser || echo chromium
  have_header zlib.h || echo zlib1g-dev
  have_header brotli/encode.h || echo libbrotli-dev
  have_header zstd.h || echo libzstd-dev
}

# Without them codings are missing and tests are skipped, with a word about it; so what cannot be installed is only named.
ensure_peers() {
  local packages root
  packages=$(missing_peers | tr '\n' ' ')
  [ -n "${packages// /}" ] || return 0
  if have apt-get && root=$(root_prefix); then
    say "installing with apt: $packages"
    # shellcheck disable=SC2086  # lists of words
    $root apt-get -qq update && $root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
      apt-get -qq install -y --no-install-recommends $packages >/dev/null || true
  fi
  packages=$(missing_peers | tr '\n' ' ')
  [ -z "${packages// /}" ] || say "going on without: $packages"
}

case "${1:-}" in
  peers) ensure_peers ;;
  system) ensure_system ;;
  venv)
    ensure_system
    ensure_venv "${2:-.venv}"
    ;;
  *) die "usage: scripts/bootstrap.sh system | peers | venv [folder]" ;;
esac
