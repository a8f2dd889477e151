/* mime.h - the media type of a file, by the end of its name. */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

/* `extra` is "ext=type,ext=type", looked at first; ASCII case of the extension is ignored. Text has "; charset=utf-8". A name
 * without a known extension is application/octet-stream: nobody guesses then. Points to static text or into `extra`. */
struct mg_str mg_mime_type(struct mg_str path, struct mg_str extra);

MG_END_DECLS
