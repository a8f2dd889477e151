/* mongoose.h - the whole API, bottom-up: this list is its table of contents.
 *
 * An independent implementation of the Mongoose 7 API; see README.md beside this file.
 */
#pragma once

#include "mongoose/config.h"

/* base: bytes, text, time */
#include "mongoose/base/alloc.h"
#include "mongoose/base/base64.h"
#include "mongoose/base/bytes.h"
#include "mongoose/base/chunk.h"
#include "mongoose/base/clock.h"
#include "mongoose/base/crc.h"
#include "mongoose/base/fs.h"
#include "mongoose/base/iobuf.h"
#include "mongoose/base/list.h"
#include "mongoose/base/log.h"
#include "mongoose/base/match.h"
#include "mongoose/base/md5.h"
#include "mongoose/base/printf.h"
#include "mongoose/base/queue.h"
#include "mongoose/base/rand.h"
#include "mongoose/base/sha1.h"
#include "mongoose/base/sha256.h"
#include "mongoose/base/sha384.h"
#include "mongoose/base/status.h"
#include "mongoose/base/str.h"

/* codec: formats, no I/O */
#include "mongoose/codec/compress.h"
#include "mongoose/codec/http_chunked.h"
#include "mongoose/codec/http_cond.h"
#include "mongoose/codec/http_forwarded.h"
#include "mongoose/codec/http_parse.h"
#include "mongoose/codec/http_range.h"
#include "mongoose/codec/http_text.h"
#include "mongoose/codec/http_time.h"
#include "mongoose/codec/json.h"
#include "mongoose/codec/jwt.h"
#include "mongoose/codec/mime.h"
#include "mongoose/codec/proxy_protocol.h"
#include "mongoose/codec/multipart.h"
#include "mongoose/codec/url.h"

/* loop: sockets, timers, events */
#include "mongoose/loop/addr.h"
#include "mongoose/loop/conn.h"
#include "mongoose/loop/event.h"
#include "mongoose/loop/limits.h"
#include "mongoose/loop/nets.h"
#include "mongoose/loop/resolve.h"
#include "mongoose/loop/timer.h"
#include "mongoose/loop/tls.h"

/* proto: bytes meet sockets */
#include "mongoose/proto/http.h"
#include "mongoose/proto/http_static.h"
#include "mongoose/proto/http_upload.h"
#include "mongoose/proto/ws.h"
#include "mongoose/proto/http_log.h"
#include "mongoose/proto/http_origin.h"
#include "mongoose/proto/proxy.h"
