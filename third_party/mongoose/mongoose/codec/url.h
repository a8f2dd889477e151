/* url.h - URLs taken apart in place, percent-encoding, and variables of forms and query strings.
 *
 *   scheme "://" [ user [ ":" pass ] "@" ] host [ ":" port ] [ uri ]
 *
 * Nothing is allocated, and what is returned points into the URL. Parts that are absent are empty. Parts are not
 * decoded. The authority ends at the first '/', '?', '#' or backslash, and the last '@' in it ends the user part:
 * both as browsers do, so that http://good@evil and http://evil\@good mean to us what they mean to them.
 */
#pragma once
#include "mongoose/base/str.h"

MG_BEGIN_DECLS

/* The port, or what the scheme implies (http, ws 80; https, wss 443; mqtt 1883; mqtts 8883). 0 when there is neither,
 * and for what is no port: letters, above 65535. */
unsigned short mg_url_port(const char *url);
struct mg_str mg_url_host(const char *url); /* an IPv6 address keeps its brackets */
struct mg_str mg_url_user(const char *url);
struct mg_str mg_url_pass(const char *url);
const char *mg_url_uri(const char *url); /* from the '/' (or, without one, the '?') on; "/" when there is none */
int mg_url_is_ssl(const char *url);      /* https wss mqtts ssl tls tcps */

/* Percent-encode all but letters, digits and -._~, in lower-case hex. Returns the length of buf, which gets a NUL;
 * 0, and an empty buf, when it does not fit. */
size_t mg_url_encode(const char *s, size_t n, char *buf, size_t len);

/* Undo it; with is_form, '+' is a space. Returns the length of `to`, which gets a NUL, or -1 for a '%' without two
 * hex digits and when it does not fit. `to` may be s. Decoded bytes can be anything, NUL too. */
int mg_url_decode(const char *s, size_t n, char *to, size_t to_len, int is_form);

/* The value of the first "name=value" between '&' in buf, as it stands there. NULL buf when there is none; "" has
 * an address. Letter case of the name is ignored, as Mongoose does. */
struct mg_str mg_http_var(struct mg_str buf, struct mg_str name);

/* The same, decoded as a form into dst with a NUL. Its length, or -1: buf is empty or name NULL, -2: no dst,
 * -3: malformed or too long for dst, -4: not there. On failure dst is an empty string. */
int mg_http_get_var(const struct mg_str *buf, const char *name, char *dst, size_t dst_len);

MG_END_DECLS
