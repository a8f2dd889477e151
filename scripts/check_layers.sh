#!/bin/sh
# Print every #include in the C library that points up: proto may use codec, loop and base; codec and loop only base.
#
#   scripts/check_layers.sh [third_party/mongoose]
cd "${1:-third_party/mongoose}/mongoose" || exit 2

upward() { # layer, what it must not include
  [ -d "$1" ] || return 0
  grep -rnE "#[[:space:]]*include[[:space:]]*[\"<](mongoose/)?(\.\./)?($2)" --include='*.[ch]' "$1"
}

found=$(
  upward base 'mongoose\.h|codec/|loop/|proto/'
  upward codec 'mongoose\.h|loop/|proto/'
  upward loop 'mongoose\.h|codec/|proto/'
)
[ -z "$found" ] && exit 0
echo "$found"
echo "These includes point up, or sideways."
exit 1
