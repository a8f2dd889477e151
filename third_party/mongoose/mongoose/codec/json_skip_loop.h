/* json_skip_loop.h - the walk over 64-byte blocks, shared by the vector skippers.
 *
 * A template, included by each json_skip_<isa>.c, which first defines SKIP_FN (how to declare a function for its
 * instruction set) and
 *   struct skip_block               masks quote, backslash, open, close: a bit for each of 64 bytes, lowest first
 *   skip_load(), skip_load_text()   64 bytes into masks; the second leaves the brackets out
 *   skip_prefix_xor()               bit i becomes the xor of bits 0..i
 *   skip_count()                    number of bits set
 * The end of the text is read as the last 64 bytes of the whole document with the masks shifted, or from a padded copy
 * of documents shorter than that, so nothing behind the document is touched.
 */
#include <string.h>
#include "mongoose/codec/json_skip.h"

/* Bytes that a backslash protects. `carry` is 1 when the first byte of the block is one, and is updated for the next
 * block. The byte behind a run of backslashes is protected when the run is odd. Adding the first bit of a run to the
 * run carries to the bit behind it; runs that start on even and on odd bits are added apart, so that the parity of that
 * bit tells the length. */
SKIP_FN uint64_t skip_escaped(uint64_t backslash, uint64_t *carry) {
  const uint64_t even_bits = 0x5555555555555555u;
  uint64_t first = *carry, runs = backslash & ~first, starts = runs & ~(runs << 1);
  uint64_t behind_even = (runs + (starts & even_bits)) & ~runs; /* off the top only with an even length: drop it */
  uint64_t behind_odd;
  *carry = __builtin_add_overflow(runs, starts & ~even_bits, &behind_odd);
  return first | (behind_even & ~even_bits) | (behind_odd & ~runs & even_bits);
}

/* The block at buf + at, where at < len. */
SKIP_FN struct skip_block skip_tail(const char *buf, size_t at, size_t len) {
  size_t left = len - at, beyond = 64 - left; /* 0 < left < 64 */
  struct skip_block b;
  if (len >= 64) {
    b = skip_load(buf + len - 64);
    b.quote >>= beyond;
    b.backslash >>= beyond;
    b.open >>= beyond;
    b.close >>= beyond;
  } else {
    char copy[64] = {0};
    memcpy(copy, buf + at, left);
    b = skip_load(copy);
  }
  return b;
}

/* The bracket that closes everything is in this block, or it may be too deep: look at each closer. Depth is greatest
 * just before a closer or at the end, so that is where it is compared with the limit. Position of the bit,
 * MG_JSON_TOO_DEEP, or 64. */
SKIP_FN int skip_exact(uint64_t open, uint64_t close, size_t depth, size_t levels) {
  size_t closed = 0;
  for (; close != 0; close &= close - 1, closed++) {
    uint64_t below = (close & (0 - close)) - 1;
    size_t peak = depth + skip_count(open & below) - closed;
    if (peak > levels) return MG_JSON_TOO_DEEP;
    if (peak == 1) return __builtin_ctzll(close);
  }
  return depth + skip_count(open) - closed > levels ? MG_JSON_TOO_DEEP : 64;
}

/* 1 when the brackets in `below` close all that is open, or more. */
SKIP_FN unsigned skip_gone(uint64_t below, uint64_t open, uint64_t close, size_t depth) {
  return depth + skip_count(open & below) <= skip_count(close & below);
}

/* Does the depth stay above 0 inside this block? Apart from the end, it is lowest in a valley: just before an opener
 * whose neighbour to the left, among brackets, is a closer. Adding to the gaps between brackets carries from each
 * closer to that neighbour. Lists of small objects have one or two valleys in a block, which are looked at without a
 * branch. */
SKIP_FN bool skip_stays_open(uint64_t open, uint64_t close, size_t depth) {
  uint64_t gaps = ~(open | close), valleys = ((close << 1) + gaps) & open;
  uint64_t below1 = (valleys & (0 - valleys)) - 1; /* all ones when there is none: the end again */
  valleys &= valleys - 1;
  uint64_t below2 = (valleys & (0 - valleys)) - 1;
  valleys &= valleys - 1;
  unsigned gone = skip_gone(below1, open, close, depth) | skip_gone(below2, open, close, depth);
  for (; MG_UNLIKELY(valleys != 0); valleys &= valleys - 1) {
    gone |= skip_gone((valleys & (0 - valleys)) - 1, open, close, depth);
  }
  return gone == 0;
}

SKIP_FN ptrdiff_t skip_nested(const char *buf, size_t at, size_t len, size_t levels) {
  uint64_t carry = 0, in_string = 0; /* of the last byte: in_string is 0 or all ones */
  size_t depth = 1;
  if (MG_UNLIKELY(levels < 1)) return MG_JSON_TOO_DEEP;
  for (; at < len; at += 64) {
    struct skip_block b = MG_LIKELY(len - at >= 64) ? skip_load(buf + at) : skip_tail(buf, at, len);
    if (MG_UNLIKELY((b.backslash | carry) != 0)) {
      uint64_t plain = ~skip_escaped(b.backslash, &carry);
      b.quote &= plain, b.open &= plain, b.close &= plain;
    }
    uint64_t inside = skip_prefix_xor(b.quote) ^ in_string;
    in_string = 0 - (inside >> 63);
    uint64_t open = b.open & ~inside, close = b.close & ~inside;
    size_t peak = depth + skip_count(open), after = peak - skip_count(close);
    if (MG_UNLIKELY(peak > levels || (ptrdiff_t) after <= 0 || !skip_stays_open(open, close, depth))) {
      int bit = skip_exact(open, close, depth, levels);
      if (bit < 0) return bit;
      if (bit < 64) return (ptrdiff_t) (at + (size_t) bit + 1);
    }
    depth = after;
  }
  return MG_JSON_INVALID;
}

SKIP_FN ptrdiff_t skip_string(const char *buf, size_t at, size_t len) {
  uint64_t carry = 0;
  for (; at < len; at += 64) {
    struct skip_block b = MG_LIKELY(len - at >= 64) ? skip_load_text(buf + at) : skip_tail(buf, at, len);
    if (MG_UNLIKELY((b.backslash | carry) != 0)) b.quote &= ~skip_escaped(b.backslash, &carry);
    if (b.quote != 0) return (ptrdiff_t) (at + (size_t) __builtin_ctzll(b.quote) + 1);
  }
  return MG_JSON_INVALID;
}
