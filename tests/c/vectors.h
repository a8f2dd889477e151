/* vectors.h - read the documents of tests/vectors (format: tests/vectors/README.md) into a list of cases.
 *
 * The folder is MG_VECTORS in the environment, else the one beside this file's, as the compiler saw it.
 */
#pragma once
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VECTOR_FACTS 24

struct vector_fact {
  char key[24];
  char *text; /* unescaped */
  size_t len;
};

struct vector {
  char name[100]; /* file and heading */
  char kind[16];  /* word behind the opening fence */
  char *bytes;
  size_t len;
  struct vector_fact facts[VECTOR_FACTS];
  size_t nfacts;
  struct vector *next;
};

static inline int vector_hex(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Append s with its escapes resolved. An escape nobody knows ends the test: it would test something else. */
static inline void vector_unescape(char **out, size_t *len, const char *s, const char *end) {
  while (s < end) {
    char one = *s++;
    const char *piece = &one;
    size_t n = 1, times = 1;
    if (one == '\\' && s < end) {
      char what = *s++;
      if (what == 'r')
        one = '\r';
      else if (what == 'n')
        one = '\n';
      else if (what == 't')
        one = '\t';
      else if (what == '\\')
        one = '\\';
      else if (what == 'x' && end - s >= 2 && vector_hex(s[0]) >= 0 && vector_hex(s[1]) >= 0) {
        one = (char) (vector_hex(s[0]) * 16 + vector_hex(s[1]));
        s += 2;
      } else if (what == '{') { /* \{8192 a} */
        char *text;
        const char *close = (const char *) memchr(s, '}', (size_t) (end - s));
        times = strtoul(s, &text, 10);
        if (close == NULL || *text != ' ') abort();
        piece = text + 1;
        n = (size_t) (close - piece);
        s = close + 1;
      } else {
        fprintf(stderr, "unknown escape \\%c\n", what);
        abort();
      }
    }
    *out = (char *) realloc(*out, *len + n * times + 1);
    if (*out == NULL) abort();
    for (; times > 0; times--, *len += n) memcpy(*out + *len, piece, n);
    (*out)[*len] = '\0';
  }
  if (*out == NULL) *out = (char *) calloc(1, 1);
}

/* All cases of one document, in order; exits when it cannot be read. */
static inline struct vector *vectors_read(const char *file) {
  struct vector *first = NULL, **tail = &first, *v = NULL;
  const char *dir = getenv("MG_VECTORS");
  char path[512], line[4096], heading[80] = "";
  bool in_block = false;
  FILE *f;
  if (dir != NULL)
    snprintf(path, sizeof(path), "%s/%s", dir, file);
  else
    snprintf(path, sizeof(path), "%.*s../vectors/%s", (int) (strlen(__FILE__) - strlen("vectors.h")), __FILE__, file);
  if ((f = fopen(path, "r")) == NULL) {
    perror(path);
    exit(2);
  }
  while (fgets(line, sizeof(line), f) != NULL) {
    size_t n = strlen(line);
    if (n > 0 && line[n - 1] == '\n') line[--n] = '\0';
    if (in_block) {
      in_block = strcmp(line, "```") != 0;
      if (in_block) vector_unescape(&v->bytes, &v->len, line, line + n);
    } else if (strncmp(line, "## ", 3) == 0) {
      snprintf(heading, sizeof(heading), "%.70s", line + 3);
    } else if (strncmp(line, "```", 3) == 0) {
      v = (struct vector *) calloc(1, sizeof(*v));
      if (v == NULL) abort();
      snprintf(v->name, sizeof(v->name), "%.20s: %.70s", file, heading);
      snprintf(v->kind, sizeof(v->kind), "%.15s", line + 3);
      v->bytes = (char *) calloc(1, 1);
      *tail = v;
      tail = &v->next;
      in_block = true;
    } else if (strncmp(line, "- ", 2) == 0 && v != NULL && strchr(line, ':') != NULL) {
      char *colon = strchr(line, ':'), *text = colon + 1;
      struct vector_fact *fact = &v->facts[v->nfacts++];
      if (v->nfacts > VECTOR_FACTS) abort();
      if (*text == ' ') text++;
      snprintf(fact->key, sizeof(fact->key), "%.*s", (int) (colon - line - 2), line + 2);
      vector_unescape(&fact->text, &fact->len, text, line + n);
    }
  }
  fclose(f);
  return first;
}

static inline void vectors_free(struct vector *v) {
  while (v != NULL) {
    struct vector *next = v->next;
    for (size_t i = 0; i < v->nfacts; i++) free(v->facts[i].text);
    free(v->bytes);
    free(v);
    v = next;
  }
}

/* The first fact of that name, NULL when the document is silent about it. */
static inline const struct vector_fact *vector_fact(const struct vector *v, const char *key) {
  for (size_t i = 0; i < v->nfacts; i++) {
    if (strcmp(v->facts[i].key, key) == 0) return &v->facts[i];
  }
  return NULL;
}
