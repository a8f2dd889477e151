/* http_upload.h - request bodies into files: in parts that a client sends one after the other, or one body as it arrives.
 *
 * Forms (multipart/form-data) are codec/multipart.h's; these two take the body as it is. Loop thread only.
 */
#pragma once
#include "mongoose/base/fs.h"
#include "mongoose/proto/http.h"

MG_BEGIN_DECLS

/* Mongoose's: in MG_EV_HTTP_MSG of "POST /any?file=NAME&offset=N", put the body at that offset of the file NAME in `dir`, which must be
 * there. Offset 0 (or none) begins the file anew; any other must be the size it has, so that a part that is sent twice or got lost is
 * noticed. Answers 200 with the size in decimal, and returns it. Or answers and returns minus the status: 400 a NAME that is missing,
 * not one plain name (a slash, a backslash, a control character or a dot in front) or leads elsewhere (a link), a malformed offset; 409
 * another offset than the size, which the text tells; 413 beyond max_size bytes; 500 the file could not be written. */
long mg_http_upload(struct mg_connection *c, struct mg_http_message *hm, struct mg_fs *fs, const char *dir, size_t max_size);

/* In MG_EV_HTTP_HDRS: the body goes into the file `path`, which is the program's word, as it arrives and whatever its length; `path` is
 * replaced when the body is whole, so nobody sees half of it. Then 200 with the size is answered; 413 beyond max_size (0: any), 500 when
 * the file cannot be written. What a client that goes away left is removed. MG_EV_HTTP_MSG does not come; c->fn is wrapped until the
 * end and must be left alone. False: as mg_http_stream_body, or the file cannot be made (MG_EIO): the request is still to be answered. */
bool mg_http_start_upload(struct mg_connection *c, struct mg_http_message *hm, struct mg_fs *fs, const char *path, size_t max_size);

MG_END_DECLS
