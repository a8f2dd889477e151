/* multipart_head.h - what the lines in front of a part's content say. Inside codec/ only. */
#pragma once
#include "mongoose/codec/multipart.h"

MG_BEGIN_DECLS

/* m->head[0..head_len) is whole: fill m->part. 0, or -400 with m->why. */
int mg_multipart_read_head(struct mg_multipart *m);

/* The boundary parameter of a Content-Type of multipart/form-data, decoded to `to`. Its length, or -400 / -415 with *why. */
int mg_multipart_boundary(struct mg_str content_type, char to[MG_MULTIPART_BOUNDARY], const char **why);

/* A parameter of a Content-Disposition as it stands there, `name` in lower case; NULL buf: none. */
struct mg_str mg_multipart_raw_param(struct mg_str disposition, const char *name);

MG_END_DECLS
