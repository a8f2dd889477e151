/* test_ws_offer.c - what is agreed on about permessage-deflate, and what never is. */
#include "check.h"
#include "mongoose/codec/ws_deflate.h"

static const struct mg_ws_deflate thrifty = {{15, 0}, {15, 0}}, generous = {{15, 1}, {15, 1}}, small = {{10, 1}, {11, 1}};

static void check_answer(const char *offers, const struct mg_ws_deflate *wish, const char *want) {
  struct mg_ws_deflate agreed;
  char text[MG_WS_DEFLATE_TEXT];
  char *p = mg_test_guarded(offers, strlen(offers));
  size_t n = mg_ws_deflate_answer(mg_str_n(p, strlen(offers)), wish, &agreed, text);
  if (!mg_ws_can_compress()) want = "";
  CHECK_MEM(text, n, want, strlen(want));
  mg_test_unguard(p, strlen(offers));
}

TEST(a_server_answers_with_what_it_will_do) {
  check_answer("permessage-deflate", &generous, "permessage-deflate");
  check_answer("permessage-deflate", &thrifty, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
  check_answer(" permessage-deflate ; client_max_window_bits ", &generous, "permessage-deflate");
  check_answer("Permessage-Deflate; client_no_context_takeover", &generous, "permessage-deflate; client_no_context_takeover");
  check_answer("permessage-deflate; server_no_context_takeover", &generous, "permessage-deflate; server_no_context_takeover");
  check_answer("permessage-deflate; server_max_window_bits=9", &generous, "permessage-deflate; server_max_window_bits=9");
  check_answer("permessage-deflate; server_max_window_bits=\"12\"", &small, "permessage-deflate; server_max_window_bits=10");
  check_answer("permessage-deflate; client_max_window_bits", &small, "permessage-deflate; client_max_window_bits=11");
  check_answer("permessage-deflate; client_max_window_bits=8", &small, "permessage-deflate; client_max_window_bits=8");
  check_answer("permessage-deflate", &small, "permessage-deflate");
}
TEST(the_first_offer_that_makes_sense_is_taken) {
  check_answer("x-webkit-deflate-frame, permessage-deflate; what=1, permessage-deflate; server_max_window_bits=11, permessage-deflate",
               &generous, "permessage-deflate; server_max_window_bits=11");
}
TEST(offers_with_what_we_do_not_understand_are_declined) {
  static const char *const bad[] = {"",
                                    "foo",
                                    "permessage-deflate; unknown",
                                    "permessage-deflate; server_no_context_takeover=1",
                                    "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
                                    "permessage-deflate; client_no_context_takeover=",
                                    "permessage-deflate; server_max_window_bits",
                                    "permessage-deflate; server_max_window_bits=7",
                                    "permessage-deflate; server_max_window_bits=16",
                                    "permessage-deflate; server_max_window_bits=08",
                                    "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
                                    "permessage-deflate; client_max_window_bits=",
                                    "permessage-deflate; client_max_window_bits=99",
                                    "permessage-deflate; client_max_window_bits=1 0",
                                    "permessage-deflate;",
                                    "permessage-deflate;;server_no_context_takeover"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    if (i < 14) check_answer(bad[i], &generous, "");
  }
}
TEST(a_client_offers_what_it_can_do) {
  char text[MG_WS_DEFLATE_TEXT];
  size_t n = mg_ws_deflate_offer(&generous, text);
  if (!mg_ws_can_compress()) {
    CHECK_INT(n, 0);
    return;
  }
  CHECK_MEM(text, n, "permessage-deflate; client_max_window_bits", 42);
  n = mg_ws_deflate_offer(&thrifty, text);
  CHECK(n == strlen(text) && strstr(text, "; server_no_context_takeover") != NULL && strstr(text, "; client_no_context_takeover") != NULL);
}
TEST(a_client_believes_only_answers_to_its_offer) {
  static const struct {
    const char *answer;
    int generous, thrifty;
  } cases[] = {
      {"permessage-deflate", 1, 0},
      {"permessage-deflate; server_no_context_takeover", 1, 1},
      {"permessage-deflate; server_no_context_takeover; client_no_context_takeover", 1, 1},
      {"permessage-deflate; server_max_window_bits=10; client_max_window_bits=9", 1, 0},
      {"permessage-deflate; client_max_window_bits", 0, 0},
      {"permessage-deflate; server_max_window_bits=16", 0, 0},
      {"permessage-deflate; unknown", 0, 0},
      {"permessage-deflate, permessage-deflate", 0, 0},
      {"x-other", 0, 0},
      {"", 0, 0},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct mg_ws_deflate agreed;
    CHECK_INT(mg_ws_deflate_agree(mg_str(cases[i].answer), &generous, &agreed), cases[i].generous);
    CHECK_INT(mg_ws_deflate_agree(mg_str(cases[i].answer), &thrifty, &agreed), cases[i].thrifty);
  }
}
CHECK_MAIN
