/* http_log.h - the access log of a listener: one JSON object for each exchange, made here and handed to a function.
 *
 *   {"ts":1795732516.123456,"level":"info","message":"request","client":"127.0.0.1","method":"GET","path":"/","query":"a=1",
 *    "host":"localhost","user_agent":"…","referer":"…","request_id":"…","trace_id":"…","parent_id":"…",
 *    "status":200,"duration_ms":0.042,"bytes_in":0,"bytes_out":13}
 *
 * What the request did not have is not there. `ts` is when the answer was complete, `duration_ms` the time from the turn that received
 * the head until then (not until the last byte was on its way), bytes are those of the bodies, as sent. Level is warning from status 400 on, error
 * from 500 on. An answer that did not come to its end because the connection did is "aborted":true, with status 499 if it had not
 * begun. A head that was refused has no method and path, but "error". An upgrade is told when it happens, with 101.
 */
#pragma once
#include "mongoose/proto/http.h"

MG_BEGIN_DECLS

enum mg_http_log_level { MG_HTTP_LOG_INFO, MG_HTTP_LOG_WARNING, MG_HTTP_LOG_ERROR };

/* On the loop's thread, in the middle of the connection's work: it must not touch connections. `json` is valid during the call, one
 * line of UTF-8 without its end. */
typedef void (*mg_http_log_fn)(void *arg, int level, struct mg_str json);

/* Tell fn of every exchange of this HTTP listener from now on; NULL: no more. False: MG_EINVAL (no HTTP listener). A record for which
 * there is no memory is lost and counted in mgr->stats.log_lost. */
bool mg_http_log(struct mg_connection *listener, mg_http_log_fn fn, void *arg);

MG_END_DECLS
