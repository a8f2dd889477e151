/* http_text.h - the reason phrase that goes with a status code (RFC 9110 15, and the IANA registry for the rest). */
#pragma once
#include "mongoose/config.h"

MG_BEGIN_DECLS

/* Static text, e.g. "Not Found"; "" for codes nobody registered: an empty phrase is legal (RFC 9112 4). Never NULL. */
const char *mg_http_status_text(int code);

MG_END_DECLS
