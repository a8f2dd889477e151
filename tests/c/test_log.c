/* test_log.c - levels, whole lines, and nothing a peer can forge. */
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "mongoose/base/alloc.h"
#include "mongoose/base/log.h"

static struct mg_iobuf out;

static void start(int level) {
  mg_iobuf_free(&out);
  mg_log_set(level);
  mg_log_set_fn(mg_pfn_iobuf, &out);
}
static int has(const char *text) {
  return out.len > 0 && strstr((char *) out.buf, text) != NULL;
}
static void stop(void) {
  mg_iobuf_free(&out);
  mg_log_set(MG_LL_NONE);
  mg_log_set_fn(NULL, NULL);
}

TEST(nothing_is_said_before_somebody_asks) {
  CHECK_INT(mg_log_get(), MG_LL_NONE);
  mg_log_set_fn(mg_pfn_iobuf, &out);
  MG_ERROR(("error"));
  mg_hexdump("abc", 3);
  CHECK_INT(out.len, 0);
  stop();
}
TEST(each_level_lets_the_lower_ones_through) {
  for (int level = MG_LL_NONE; level <= MG_LL_VERBOSE; level++) {
    start(level);
    MG_ERROR(("m%d.", 1));
    MG_INFO(("m%d.", 2));
    MG_DEBUG(("m%d.", 3));
    MG_VERBOSE(("m%d.", 4));
    CHECK_INT(has("m1."), level >= 1);
    CHECK_INT(has("m2."), level >= 2);
    CHECK_INT(has("m3."), level >= 3);
    CHECK_INT(has("m4."), level >= 4);
  }
  stop();
}
TEST(levels_outside_the_list_go_to_its_ends) {
  mg_log_set(99);
  CHECK_INT(mg_log_get(), MG_LL_VERBOSE);
  mg_log_set(-1);
  CHECK_INT(mg_log_get(), MG_LL_NONE);
}
TEST(arguments_below_the_level_are_not_evaluated) {
  int n = 0;
  start(MG_LL_ERROR);
  MG_INFO(("%d", ++n));
  CHECK_INT(n, 0);
  stop();
}
TEST(a_line_names_its_place) {
  start(MG_LL_INFO);
  MG_INFO(("hello"));
  CHECK(has("test_log.c:"));
  CHECK(has(__func__));
  CHECK(has(" hello\n"));
  stop();
}
TEST(a_peer_cannot_forge_a_line) {
  start(MG_LL_INFO);
  MG_INFO(("%.*s", 8, "a\r\nb\x1b\tc\0"));
  CHECK(has("a\\x0d\\x0ab\\x1b\tc\\x00\n"));
  stop();
}
TEST(long_lines_are_whole_or_cut_when_memory_is_out) {
  char big[2000];
  memset(big, 'x', sizeof(big));
  start(MG_LL_INFO);
  MG_INFO(("%.*s", (int) sizeof(big), big));
  CHECK(out.len > 2000);
  start(MG_LL_INFO);
  CHECK_INT(mg_iobuf_resize(&out, 4096), 1); /* the sink has its memory */
  mg_alloc_fail_at(1);
  MG_INFO(("%.*s", (int) sizeof(big), big));
  mg_alloc_fail_at(0);
  CHECK(out.len > 500 && out.len < 2000 && out.buf[out.len - 1] == '\n');
  stop();
}
TEST(hexdump_shows_offset_bytes_and_text) {
  start(MG_LL_ERROR);
  mg_hexdump("0123456789abcde\nxyz\377", 20);
  CHECK(has("0000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 0a  0123456789abcde.\n"));
  CHECK(has("0010  78 79 7a ff "));
  CHECK(has(" xyz.\n"));
  stop();
}
static void loud_sink(char ch, void *param) {
  MG_ERROR(("from the sink"));
  mg_log_set_fn(NULL, NULL);
  mg_pfn_iobuf(ch, param);
}
TEST(a_sink_that_logs_does_not_lock_itself_out) {
  start(MG_LL_ERROR);
  mg_log_set_fn(loud_sink, &out);
  MG_ERROR(("once"));
  CHECK(has("once\n") && !has("from the sink"));
  stop();
}
static void *chatter(void *arg) {
  for (int i = 0; i < 200; i++) {
    MG_INFO(("[%s]", (const char *) arg));
    mg_log_set(i % 2 ? MG_LL_INFO : MG_LL_DEBUG);
  }
  return NULL;
}
TEST(lines_of_threads_do_not_mix) {
  pthread_t t[3];
  static char names[3][4] = {"aaa", "bbb", "ccc"};
  start(MG_LL_INFO);
  for (int i = 0; i < 3; i++) pthread_create(&t[i], NULL, chatter, names[i]);
  for (int i = 0; i < 3; i++) pthread_join(t[i], NULL);
  int lines = 0;
  for (char *p = (char *) out.buf, *nl; (nl = strchr(p, '\n')) != NULL; p = nl + 1, lines++) {
    CHECK(nl - p > 5 && (!memcmp(nl - 5, "[aaa]", 5) || !memcmp(nl - 5, "[bbb]", 5) || !memcmp(nl - 5, "[ccc]", 5)));
    CHECK(memchr(p, '[', (size_t) (nl - p)) == nl - 5);
  }
  CHECK_INT(lines, 600);
  stop();
}
static void *chatter_on(void *arg) {
  while (!__atomic_load_n((int *) arg, __ATOMIC_RELAXED)) MG_INFO(("and on"));
  return NULL;
}
static void nowhere(char ch, void *param) {
  (void) ch;
  (void) param;
}
TEST(a_child_forked_while_others_log_may_log) {
  pthread_t t[2];
  int over = 0;
  mg_log_set(MG_LL_INFO);
  mg_log_set_fn(nowhere, NULL);
  for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, chatter_on, &over);
  for (int i = 0; i < 50; i++) {
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
      alarm(20); /* the end of a child that hangs */
      MG_INFO(("hello"));
      _exit(0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK_INT(status, 0);
    if (status != 0) break;
  }
  __atomic_store_n(&over, 1, __ATOMIC_RELAXED);
  for (int i = 0; i < 2; i++) pthread_join(t[i], NULL);
  stop();
}
CHECK_MAIN
