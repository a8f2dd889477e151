/* file_helpers.h - a folder for one test, and what is put in it. */
#pragma once
#include <dirent.h>
#include <sys/stat.h>
#include "check.h"

#define FUNUSED __attribute__((unused))

static char folder[64]; /* without a slash behind it */

static FUNUSED void folder_make(void) {
  strcpy(folder, "/tmp/mg_test_XXXXXX");
  if (mkdtemp(folder) == NULL) {
    perror("mkdtemp");
    exit(2);
  }
}

static FUNUSED void remove_tree(const char *path) {
  DIR *dir = opendir(path);
  struct dirent *e;
  while (dir != NULL && (e = readdir(dir)) != NULL) {
    char inner[512];
    struct stat st;
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    snprintf(inner, sizeof(inner), "%s/%.250s", path, e->d_name);
    if (lstat(inner, &st) == 0 && S_ISDIR(st.st_mode)) {
      remove_tree(inner);
    } else {
      unlink(inner);
    }
  }
  if (dir != NULL) closedir(dir);
  rmdir(path);
}

static FUNUSED void folder_remove(void) {
  remove_tree(folder);
}

/* A path in the folder; valid until the fourth call after this one. */
static FUNUSED const char *in_folder(const char *name) {
  static char paths[4][512];
  static int i;
  i = (i + 1) % 4;
  snprintf(paths[i], sizeof(paths[i]), "%s%s%s", folder, *name != '\0' ? "/" : "", name);
  return paths[i];
}

static FUNUSED void put_file(const char *name, const char *text) {
  FILE *f = fopen(in_folder(name), "w");
  if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0) {
    perror(name);
    exit(2);
  }
}

static FUNUSED void put_folder(const char *name) {
  if (mkdir(in_folder(name), 0755) != 0) perror(name);
}

static FUNUSED void put_link(const char *name, const char *target) {
  if (symlink(target, in_folder(name)) != 0) perror(name);
}
