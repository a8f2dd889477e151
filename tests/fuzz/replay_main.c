/* replay_main.c - runs a fuzz harness without a fuzzer, so that plain gcc can.
 *
 *   replay_<name> [-n mutations] [-s seed] [file or folder]…
 *
 * Seeds are files as they are, and every block of the test vectors in *.md files (tests/vectors/README.md).
 * Each seed is run whole and cut at every length up to 512 bytes; then come -n mutations, spread evenly: bits and bytes
 * changed, parts taken out, doubled, swapped for another seed's. The mutations depend on the seed alone, so the same
 * command always runs the same inputs. Each input lies in a block of its exact size: reading past it is seen by ASan.
 * On a crash the input is printed, in hex, and written to crash-<name> in the current folder.
 */
#include <dirent.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "vectors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* There under the sanitizers only. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

enum { BIGGEST = 1 << 16, MAX_SEEDS = 4096 };

struct seed {
  uint8_t *data;
  size_t size;
  char *name;
};
static struct seed seeds[MAX_SEEDS];
static size_t num_seeds;

static const char *program = "replay";
static const char *current_name;
static const uint8_t *current_data;
static size_t current_size;
static unsigned long long inputs_run;
static uint64_t rng_state;

static void tell_current(void) {
  static int told;
  char path[256];
  FILE *fp;
  if (told++) return;
  fprintf(stderr, "\ninput %llu, made from %s, %zu bytes:", inputs_run, current_name, current_size);
  for (size_t i = 0; i < current_size && i < 1024; i++) fprintf(stderr, "%s%02x", i % 32 == 0 ? "\n  " : "", current_data[i]);
  fputs(current_size > 1024 ? "…\n" : "\n", stderr);
  snprintf(path, sizeof(path), "crash-%s", program);
  if ((fp = fopen(path, "wb")) != NULL) {
    if (fwrite(current_data, 1, current_size, fp) == current_size) fprintf(stderr, "written to %s\n", path);
    fclose(fp);
  }
}

static void on_signal(int sig) { /* best effort: the process is lost anyway */
  signal(sig, SIG_DFL);
  tell_current();
  raise(sig);
}

static void die(const char *what, const char *name) {
  fprintf(stderr, "%s: %s\n", what, name);
  exit(2);
}

/* splitmix64: tiny, and the same everywhere. */
static uint64_t rng(void) {
  uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
static size_t below(size_t n) {
  return n == 0 ? 0 : (size_t) (rng() % n);
}

static void run(const char *name, const uint8_t *data, size_t size) {
  uint8_t *exact = (uint8_t *) malloc(size > 0 ? size : 1);
  if (exact == NULL) die("out of memory", name);
  if (size > 0) memcpy(exact, data, size);
  current_name = name, current_data = exact, current_size = size;
  inputs_run++;
  LLVMFuzzerTestOneInput(exact, size);
  free(exact);
}

static void add_seed(const char *name, const uint8_t *data, size_t size) {
  struct seed *s = &seeds[num_seeds];
  if (size > BIGGEST) size = BIGGEST;
  if (num_seeds == MAX_SEEDS) die("too many seeds", name);
  s->name = strdup(name);
  s->data = (uint8_t *) malloc(size > 0 ? size : 1);
  s->size = size;
  if (s->name == NULL || s->data == NULL) die("out of memory", name);
  if (size > 0) memcpy(s->data, data, size);
  num_seeds++;
}

static void load_vectors(char *path) {
  char *slash = strrchr(path, '/');
  if (slash != NULL) *slash = '\0';
  setenv("MG_VECTORS", slash != NULL ? path : ".", 1); /* where vectors_read looks */
  struct vector *all = vectors_read(slash != NULL ? slash + 1 : path);
  for (struct vector *v = all; v != NULL; v = v->next) add_seed(v->name, (uint8_t *) v->bytes, v->len);
  vectors_free(all);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name); /* alphasort depends on the locale */
}

static void load(char *path) {
  static uint8_t buf[BIGGEST];
  struct stat st;
  FILE *fp;
  if (stat(path, &st) != 0) die("cannot read", path);
  if (S_ISDIR(st.st_mode)) {
    struct dirent **names;
    int n = scandir(path, &names, NULL, by_name);
    if (n < 0) die("cannot read", path);
    for (int i = 0; i < n; i++) {
      char inner[4096];
      snprintf(inner, sizeof(inner), "%s/%s", path, names[i]->d_name);
      if (names[i]->d_name[0] != '.') load(inner);
      free(names[i]);
    }
    free(names);
  } else if (strlen(path) > 3 && strcmp(path + strlen(path) - 3, ".md") == 0) {
    load_vectors(path);
  } else {
    if ((fp = fopen(path, "rb")) == NULL) die("cannot read", path);
    add_seed(path, buf, fread(buf, 1, sizeof(buf), fp));
    fclose(fp);
  }
}

/* Change `buf` in one place; returns its new size, at most BIGGEST. */
static size_t mutate_once(uint8_t *buf, size_t size) {
  static const uint8_t telling[] = "\r\n \t:;,=\"%/\\?#&{}[]-+0129aAfFxX\0\x01\x7f\x80\xc0\xc1\xed\xf4\xff";
  size_t at = below(size + 1), len = below(size - at + 1), room = BIGGEST - size;
  switch (below(8)) {
    case 0: /* flip a bit */
      if (at < size) buf[at] ^= (uint8_t) (1u << below(8));
      break;
    case 1: /* any byte */
      if (at < size) buf[at] = (uint8_t) rng();
      break;
    case 2: /* a byte that means something to some parser */
      if (at < size) buf[at] = telling[below(sizeof(telling) - 1)];
      break;
    case 3: /* put such a byte in, now and then very often */
      len = below(16) == 0 ? below(600) : 1 + below(4);
      if (len > room) len = room;
      memmove(buf + at + len, buf + at, size - at);
      memset(buf + at, telling[below(sizeof(telling) - 1)], len);
      return size + len;
    case 4: /* take a part out */
      if (below(4) != 0 && len > 8) len = 1 + below(8);
      memmove(buf + at, buf + at + len, size - at - len);
      return size - len;
    case 5: /* double a part */
      if (len > room) len = room;
      memmove(buf + at + len, buf + at, size - at);
      return size + len;
    case 6: { /* end like another seed */
      const struct seed *other = &seeds[below(num_seeds)];
      size_t from = below(other->size + 1), n = other->size - from;
      if (n > BIGGEST - at) n = BIGGEST - at;
      memcpy(buf + at, other->data + from, n);
      return at + n;
    }
    default: /* cut short */
      return at;
  }
  return size;
}

int main(int argc, char **argv) {
  static uint8_t buf[BIGGEST];
  unsigned long mutations = 0, seed = 1;
  int opt;
  program = strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];
  while ((opt = getopt(argc, argv, "n:s:")) != -1) {
    if (opt == 'n') mutations = strtoul(optarg, NULL, 10);
    else if (opt == 's') seed = strtoul(optarg, NULL, 10);
    else return 2;
  }
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(tell_current);
  signal(SIGABRT, on_signal);
  signal(SIGILL, on_signal);
  signal(SIGTRAP, on_signal);
  signal(SIGALRM, on_signal);
  if (!__sanitizer_set_death_callback) signal(SIGSEGV, on_signal);

  add_seed("the empty input", NULL, 0);
  for (int i = optind; i < argc; i++) load(argv[i]);

  for (size_t i = 0; i < num_seeds; i++) {
    const struct seed *s = &seeds[i];
    run(s->name, s->data, s->size);
    for (size_t cut = 1; cut < s->size && cut <= 512; cut++) run(s->name, s->data, cut);
  }
  rng_state = seed;
  mutations = (mutations + num_seeds - 1) / num_seeds;
  for (size_t i = 0; i < num_seeds; i++) {
    size_t size = 0;
    for (unsigned long m = 0; m < mutations; m++) {
      size_t steps = 1 + below(6);
      if (m == 0 || below(4) != 0) { /* else go on from the last one */
        size = seeds[i].size;
        if (size > 0) memcpy(buf, seeds[i].data, size);
      }
      while (steps-- > 0) size = mutate_once(buf, size);
      run(seeds[i].name, buf, size);
    }
  }
  printf("%s: %zu seeds, %llu inputs, none broke the harness's promise\n", program, num_seeds, inputs_run);
  for (size_t i = 0; i < num_seeds; i++) {
    free(seeds[i].data);
    free(seeds[i].name);
  }
  return 0;
}
