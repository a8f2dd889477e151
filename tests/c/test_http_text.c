/* Reason phrases: those of RFC 9110 in full, and a phrase for nothing else than registered codes. */
#include "check.h"
#include "mongoose/codec/http_text.h"

TEST(phrases_are_those_of_rfc_9110) {
  const struct {
    int code;
    const char *text;
  } rows[] = {{100, "Continue"},
              {101, "Switching Protocols"},
              {200, "OK"},
              {201, "Created"},
              {202, "Accepted"},
              {203, "Non-Authoritative Information"},
              {204, "No Content"},
              {205, "Reset Content"},
              {206, "Partial Content"},
              {300, "Multiple Choices"},
              {301, "Moved Permanently"},
              {302, "Found"},
              {303, "See Other"},
              {304, "Not Modified"},
              {305, "Use Proxy"},
              {307, "Temporary Redirect"},
              {308, "Permanent Redirect"},
              {400, "Bad Request"},
              {401, "Unauthorized"},
              {402, "Payment Required"},
              {403, "Forbidden"},
              {404, "Not Found"},
              {405, "Method Not Allowed"},
              {406, "Not Acceptable"},
              {407, "Proxy Authentication Required"},
              {408, "Request Timeout"},
              {409, "Conflict"},
              {410, "Gone"},
              {411, "Length Required"},
              {412, "Precondition Failed"},
              {413, "Content Too Large"},
              {414, "URI Too Long"},
              {415, "Unsupported Media Type"},
              {416, "Range Not Satisfiable"},
              {417, "Expectation Failed"},
              {421, "Misdirected Request"},
              {422, "Unprocessable Content"},
              {426, "Upgrade Required"},
              {500, "Internal Server Error"},
              {501, "Not Implemented"},
              {502, "Bad Gateway"},
              {503, "Service Unavailable"},
              {504, "Gateway Timeout"},
              {505, "HTTP Version Not Supported"}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    const char *got = mg_http_status_text(rows[i].code);
    CHECK_MEM(got, strlen(got), rows[i].text, strlen(rows[i].text));
  }
}

TEST(the_parsers_other_refusals_have_a_phrase) {
  CHECK(strcmp(mg_http_status_text(431), "Request Header Fields Too Large") == 0);
}

TEST(a_phrase_fits_a_status_line) {
  int named = 0;
  for (int code = -1; code < 1100; code++) {
    const char *text = mg_http_status_text(code);
    CHECK(text != NULL);
    if (text == NULL) continue;
    for (const char *p = text; *p != '\0'; p++) CHECK(*p >= 0x20 && *p < 0x7f);
    if (text[0] != '\0') CHECK(code >= 100 && code <= 599);
    named += text[0] != '\0';
  }
  CHECK_INT(named, 62);
}

TEST(unknown_codes_have_an_empty_phrase) {
  const int codes[] = {-1, 0, 99, 199, 299, 306, 499, 599, 600, 1000};
  for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) CHECK_INT(mg_http_status_text(codes[i])[0], 0);
}

CHECK_MAIN
