/* fuzz_multipart.c - the first line of the input is a Content-Type, the rest a body.
 *
 * Invariant: whole or in cuts, the parts, their content, the end and the refusal are the same; a call never takes more than it was
 * given; what it hands out lies in the input or in the parser.
 */
#include <stdlib.h>
#include <string.h>
#include "mongoose/codec/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)        \
  do {                    \
    if (!(cond)) abort(); \
  } while (0)

struct outcome {
  int status;
  size_t len;
  char *text; /* heads and content, a byte between them */
};

static void put(struct outcome *o, size_t room, struct mg_str s) {
  MUST(o->len + s.len <= room);
  if (s.len > 0) memcpy(o->text + o->len, s.buf, s.len);
  o->len += s.len;
}

static void tell(struct outcome *o, size_t room, const struct mg_multipart *m, struct mg_str in, enum mg_multipart_event event) {
  struct mg_str head = m->part.head, name, value;
  const char *own = (const char *) m;
  char mark = (char) event;
  if (event == MG_MULTIPART_DATA) {
    MUST(m->data.len > 0);
    MUST((m->data.buf >= in.buf && m->data.buf + m->data.len <= in.buf + in.len) ||
         (m->data.buf >= own && m->data.buf + m->data.len <= own + sizeof(*m)));
    put(o, room, m->data);
    return;
  }
  if (event == MG_MULTIPART_MORE) return;
  put(o, room, mg_str_n(&mark, 1));
  if (event != MG_MULTIPART_PART) return;
  MUST(m->part.name.len + m->part.filename.len <= MG_MULTIPART_HEAD);
  put(o, room, m->part.name);
  put(o, room, m->part.filename);
  while (mg_multipart_next_header(&head, &name, &value)) MUST(name.len > 0 && value.buf + value.len <= head.buf);
}

static struct outcome parse(struct mg_str type, const char *bytes, size_t len, size_t most, uint32_t random) {
  static struct mg_multipart m;
  size_t room = 3 * len + 16, at = 0;
  struct outcome o = {0, 0, (char *) malloc(room)};
  MUST(o.text != NULL);
  o.status = mg_multipart_init(&m, type);
  MUST(o.status == 0 || o.status == -400 || o.status == -415);
  while (o.status == 0 && at < len) {
    enum mg_multipart_event event = MG_MULTIPART_DATA;
    random = random * 1664525u + 1013904223u;
    size_t n = most >= len ? len - at : 1 + (random >> 16) % most;
    if (n > len - at) n = len - at;
    char *copy = (char *) malloc(n);
    struct mg_str in = {copy, n};
    MUST(copy != NULL);
    memcpy(copy, bytes + at, n);
    while (o.status == 0 && event != MG_MULTIPART_MORE) {
      ptrdiff_t used = mg_multipart_feed(&m, in, &event);
      MUST(used >= 0 || used == -400 || used == -413);
      if (used < 0) o.status = (int) used;
      if (used < 0) break;
      MUST((size_t) used <= in.len);
      tell(&o, room, &m, in, event);
      in.buf += used;
      in.len -= (size_t) used;
    }
    free(copy);
    at += n;
  }
  if (o.status == 0) o.status = mg_multipart_finish(&m);
  return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const size_t cuts[] = {1, 30};
  const char *text = (const char *) data, *eol = size > 0 ? (const char *) memchr(text, '\n', size) : NULL;
  struct mg_str type = {(char *) (size_t) text, eol != NULL ? (size_t) (eol - text) : 0}, all;
  struct mg_http_part part;
  struct outcome whole;
  if (eol == NULL) return 0;
  all.buf = (char *) (size_t) (eol + 1);
  all.len = size - type.len - 1;
  whole = parse(type, all.buf, all.len, size, 0);
  for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
    struct outcome cut = parse(type, all.buf, all.len, cuts[i], (uint32_t) size);
    MUST(whole.status == cut.status);
    MUST(whole.len == cut.len && memcmp(whole.text, cut.text, whole.len) == 0);
    free(cut.text);
  }
  free(whole.text);
  for (size_t at = 0, next; (next = mg_http_next_multipart(all, at, &part)) != 0; at = next) {
    MUST(next > at && next < all.len && part.body.buf >= all.buf + at && part.body.buf + part.body.len <= all.buf + next);
    MUST(part.name.buf >= all.buf && part.name.buf + part.name.len <= part.body.buf);
  }
  return 0;
}
