#include "check.h"
#include "mongoose/codec/mime.h"

static struct mg_str type(const char *path, const char *extra) {
  return mg_mime_type(mg_str(path), mg_str(extra));
}

/* Each extension is found only when the table is sorted: so ask for some of every letter. */
TEST(types_go_by_the_extension) {
  static const struct {
    const char *path, *type;
  } rows[] = {{"a.7z", "application/x-7z-compressed"}, {"a.css", "text/css; charset=utf-8"}, {"a.HTML", "text/html; charset=utf-8"},
              {"dir.d/a.js", "text/javascript; charset=utf-8"}, {"a.mjs", "text/javascript; charset=utf-8"}, {"a.json", "application/json"},
              {"a.svg", "image/svg+xml"}, {"a.png", "image/png"}, {"a.min.map", "application/json"}, {"a.wasm", "application/wasm"},
              {"a.woff2", "font/woff2"}, {"a.xml", "application/xml"}, {"a.txt", "text/plain; charset=utf-8"}, {"a.zip", "application/zip"},
              {"a.zst", "application/zstd"}, {"a.avif", "image/avif"}, {"a.br", "application/x-brotli"}, {"a.gz", "application/gzip"},
              {"a.ico", "image/x-icon"}, {"a.jpg", "image/jpeg"}, {"a.md", "text/markdown; charset=utf-8"}, {"a.mp4", "video/mp4"},
              {"a.ogg", "audio/ogg"}, {"a.pdf", "application/pdf"}, {"a.rar", "application/vnd.rar"}, {"a.tar", "application/x-tar"},
              {"a.vtt", "text/vtt; charset=utf-8"}, {"a.webp", "image/webp"}, {"a.yml", "application/yaml"}, {".html", "text/html; charset=utf-8"}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    struct mg_str got = type(rows[i].path, "");
    CHECK_MEM(got.buf, got.len, rows[i].type, strlen(rows[i].type));
  }
}

TEST(nothing_is_guessed) {
  static const char *const paths[] = {"", ".", "a", "a.", "html", "a.html/b", "a.nothing", "a.htm l", "dir.html/", "a.7", "a.zzz"};
  for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) CHECK_STR(type(paths[i], ""), "application/octet-stream");
}

TEST(types_of_ones_own_come_first) {
  CHECK_STR(type("a.html", "foo=a/b,HTML=c/d"), "c/d");
  CHECK_STR(type("a.foo", "foo=text/x; charset=utf-8,bar=c/d"), "text/x; charset=utf-8");
  CHECK_STR(type("a.foo", "foo,foo=,=x,foo=y"), "y");
  CHECK_STR(type("a.foo", ",,"), "application/octet-stream");
}

CHECK_MAIN
