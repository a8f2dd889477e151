#!/usr/bin/env bash
# The Autobahn test suite, both ways: its fuzzing client against our server, its fuzzing server against our client.
#
#   make conformance                          everything but the largest messages, about 10 minutes
#   make conformance CASES='1.* 7.*' SIDE=server
#   make conformance SKIP=                    groups 9, 12 and 13 in full as well
#
# The suite is code for Python 2.7. One is taken from PATH or pyenv; WSTEST names an installed wstest instead. Ends with 77 when there
# is neither. Reports go to build/autobahn/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
SIDE=${SIDE:-both} PY=${PY:-python3}
CASES=${CASES:-*} SKIP=${SKIP-9.*}
home=${AUTOBAHN:-$PWD/build/autobahn}
wstest=${WSTEST:-$home/venv/bin/wstest}

unavailable() {
  echo "conformance: not run: $1" >&2
  exit 77
}

if [ ! -x "$wstest" ]; then
  [ -z "${WSTEST:-}" ] || unavailable "$WSTEST is not there"
  python2=
  for candidate in python2.7 "$HOME"/.pyenv/versions/2.7*/bin/python2.7; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; then python2=$candidate; fi
  done
  [ -n "$python2" ] || unavailable "the Autobahn suite needs Python 2.7, which is not installed"
  mkdir -p "$home"
  {
    "$python2" -m pip install --target "$home/tools" virtualenv==20.15.1
    PYTHONPATH="$home/tools" "$python2" -m virtualenv "$home/venv"
    "$home/venv/bin/pip" install autobahntestsuite==25.10.1
  } >"$home/install.log" 2>&1 || unavailable "the Autobahn suite cannot be installed; see $home/install.log"
fi

CASES="$CASES" SKIP="$SKIP" SIDE="$SIDE" WSTEST="$wstest" OUT="$home" exec "$PY" tests/conformance/autobahn.py
