/* config.h - build-time choices. Every macro may be set by the build (-DMG_IO_SIZE=…) or in a file
 * named by MG_CONFIG_FILE; limits that a server should tune at run time are in loop/limits.h instead.
 */
#pragma once

#ifdef MG_CONFIG_FILE
#include MG_CONFIG_FILE
#endif

#define MG_VERSION "7.22"  /* the Mongoose API level this implements */

#ifndef MG_IO_SIZE
#define MG_IO_SIZE 16384  /* bytes one recv asks for, at least */
#endif
#ifndef MG_DATA_SIZE
#define MG_DATA_SIZE 32  /* bytes of c->data, free for the application */
#endif
#ifndef MG_MAX_HTTP_HEADERS
#define MG_MAX_HTTP_HEADERS 100  /* slots in struct mg_http_message; more are answered 431, never dropped */
#endif
#ifndef MG_MAX_RECV_SIZE
#define MG_MAX_RECV_SIZE (3UL * 1024UL * 1024UL)  /* receive buffer of a connection without a protocol */
#endif
#ifndef MG_JSON_MAX_DEPTH
#define MG_JSON_MAX_DEPTH 64
#endif
#ifndef MG_SOCK_LISTEN_BACKLOG_SIZE
#define MG_SOCK_LISTEN_BACKLOG_SIZE 4096  /* the kernel caps it at net.core.somaxconn */
#endif
#ifndef MG_PATH_MAX
#define MG_PATH_MAX 4096
#endif
#ifndef MG_ENABLE_LOG
#define MG_ENABLE_LOG 1
#endif

/* The TLS engine; the numbers are Mongoose's. */
#define MG_TLS_NONE 0
#define MG_TLS_OPENSSL 2
#ifndef MG_TLS
#define MG_TLS MG_TLS_NONE
#endif

#ifdef __cplusplus
#define MG_BEGIN_DECLS extern "C" {
#define MG_END_DECLS }
#else
#define MG_BEGIN_DECLS
#define MG_END_DECLS
#endif

#if defined(__GNUC__)
#define MG_PRINTF_LIKE /* our %m, %M are unknown to the compiler's checker, so no attribute */
#define MG_LIKELY(x) __builtin_expect(!!(x), 1)
#define MG_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define MG_MUST_CHECK __attribute__((warn_unused_result))
#else
#define MG_LIKELY(x) (x)
#define MG_UNLIKELY(x) (x)
#define MG_MUST_CHECK
#endif
