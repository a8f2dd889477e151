#!/bin/sh
# Print every symbol that a static library exports without the mg_ prefix. Names with two underscores are a sanitizer's.
#
#   scripts/check_symbols.sh libmongoose.a [nm]
symbols=$("${2:-nm}" -g --defined-only "$1") || exit 2
[ -n "$symbols" ] || { echo "$1 exports nothing"; exit 1; }
found=$(printf '%s\n' "$symbols" | awk 'NF == 3 && $3 !~ /^(mg_|_mg_|__)/ { print $3 }')
[ -z "$found" ] && exit 0
echo "$found"
echo "These symbols need the prefix mg_, or static in front."
exit 1
