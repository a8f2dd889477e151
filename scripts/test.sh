#!/usr/bin/env bash
# Every test, step by step. A step that fails does not stop the next ones; the summary at the end names it.
#
#   make test
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

summary=()
failed=0

step() { # name, command…
  local name=$1 started=$SECONDS verdict=passed
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" || { verdict=FAILED; failed=$((failed + 1)); }
  summary+=("$(printf '  %-44s %s  (%d s)' "$name" "$verdict" $((SECONDS - started)))")
}

step "tools" make venv
bash scripts/bootstrap.sh peers
step "C library and fuzz replay, ASan and UBSan" make asan
step "C library, threads, TSan" make tsan
step "package" make build
step "ruff" make ruff
step "mypy --strict" make types
step "Python" make pytest

printf '\n== summary\n'
printf '%s\n' "${summary[@]}"
if [ "$failed" -gt 0 ]; then
  echo "$failed of ${#summary[@]} steps failed"
  exit 1
fi
echo "all ${#summary[@]} steps passed"
