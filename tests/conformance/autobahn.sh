#!/usr/bin/env bash
# The Autobahn test suite, both ways: its fuzzing client against our server, its fuzzing server against our client. All of it.
#
#   make conformance                          all 517 cases, both sides at once: 8 minutes of processor each, so 10 on two idle cores, 20 on busy ones
#   make conformance CASES='1.* 7.*' SIDE=server
#   make conformance SKIP='9.* 12.* 13.*'     without the large messages and the compression: a minute
#
# Ends with a table of the groups; with status 1 when a case is not clean or did not run (autobahn.py says what is clean), with 77 when the
# suite cannot be had. It is code for Python 2.7: one of PATH or of pyenv is taken, else pyenv is asked to compile one. WSTEST names an
# installed wstest instead, and INSTALL=1 installs and ends. Reports, in HTML too, go to build/autobahn/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
SIDE=${SIDE:-both} PY=${PY:-python3}
CASES=${CASES:-*} SKIP=${SKIP:-}
home=${AUTOBAHN:-$PWD/build/autobahn}
wstest=${WSTEST:-$home/venv/bin/wstest}

unavailable() {
  echo "conformance: not run: $1" >&2
  exit 77
}

is_python2() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; }

find_python2() {
  local candidate pyenv=${PYENV_ROOT:-$HOME/.pyenv}
  for candidate in python2.7 "$pyenv"/versions/2.7*/bin/python2.7; do
    if is_python2 "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  command -v pyenv >/dev/null && pyenv install --skip-existing 2.7.18 >>"$home/install.log" 2>&1 && echo "$pyenv/versions/2.7.18/bin/python2.7"
}

if [ ! -x "$wstest" ]; then
  [ -z "${WSTEST:-}" ] || unavailable "$WSTEST is not there"
  mkdir -p "$home"
  python2=$(find_python2) || unavailable "the Autobahn suite needs Python 2.7, which is not there, and no pyenv that can install it"
  (
    rm -rf "$home/venv" "$home/tools"
    unset PYTHONPATH PYTHONHOME # of whoever runs this, under another Python
    "$python2" -m pip install --target "$home/tools" virtualenv==20.15.1 &&
      PYTHONPATH="$home/tools" "$python2" -m virtualenv "$home/venv" &&
      "$home/venv/bin/pip" install autobahntestsuite==25.10.1
  ) >>"$home/install.log" 2>&1 || unavailable "the Autobahn suite cannot be installed; see $home/install.log"
fi
[ -z "${INSTALL:-}" ] || exit 0

CASES="$CASES" SKIP="$SKIP" SIDE="$SIDE" WSTEST="$wstest" OUT="$home" exec "$PY" tests/conformance/autobahn.py
