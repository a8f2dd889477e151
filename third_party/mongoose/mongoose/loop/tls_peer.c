/* tls_peer.c - what the two sides agreed on, and who the other one is. */
#include "mongoose/loop/tls_openssl.h"

#if MG_TLS == MG_TLS_OPENSSL
#include <string.h>
#include <arpa/inet.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "mongoose/base/alloc.h"

static struct mg_tls *of(const struct mg_connection *c) {
  return (struct mg_tls *) c->tls;
}

static bool is_verified(const struct mg_tls *t) {
  return SSL_get0_peer_certificate(t->ssl) != NULL && SSL_get_verify_mode(t->ssl) != SSL_VERIFY_NONE &&
         SSL_get_verify_result(t->ssl) == X509_V_OK;
}

bool mg_tls_info_of(const struct mg_connection *c, struct mg_tls_info *info) {
  const struct mg_tls *t = of(c);
  const unsigned char *alpn = NULL;
  unsigned len = 0;
  memset(info, 0, sizeof(*info));
  if (t == NULL || c->is_tls_hs) return false;
  SSL_get0_alpn_selected(t->ssl, &alpn, &len);
  info->version = SSL_get_version(t->ssl);
  info->cipher = SSL_CIPHER_get_name(SSL_get_current_cipher(t->ssl));
  info->alpn = mg_str_n((const char *) alpn, len);
  info->server_name = mg_str(t->sni);
  info->resumed = SSL_session_reused(t->ssl) != 0;
  info->verified = is_verified(t);
  info->in_kernel = mg_tls_in_kernel(c);
  info->truncated = c->is_truncated;
  return true;
}

/* ---- identity: everything in one piece of text, cut up in the end ---- */

struct text {
  BIO *bio;
  size_t ends[4 + 256]; /* where the fields and names end */
  size_t n;
};

static void ends_here(struct text *t) {
  char *p;
  t->ends[t->n++] = (size_t) BIO_get_mem_data(t->bio, &p);
}

static void put_name(struct text *t, X509_NAME *name) {
  X509_NAME_print_ex(t->bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long) ASN1_STRFLGS_ESC_MSB);
  ends_here(t);
}

static bool put_general(struct text *t, const GENERAL_NAME *g) {
  const ASN1_STRING *s = g->type == GEN_DNS ? g->d.dNSName : g->type == GEN_URI ? g->d.uniformResourceIdentifier : g->d.rfc822Name;
  const char *kind = g->type == GEN_DNS ? "DNS:" : g->type == GEN_URI ? "URI:" : g->type == GEN_EMAIL ? "email:" : "IP:";
  char ip[64];
  if (g->type == GEN_IPADD) {
    const unsigned char *a = ASN1_STRING_get0_data(g->d.iPAddress);
    int len = ASN1_STRING_length(g->d.iPAddress);
    if ((len != 4 && len != 16) || inet_ntop(len == 4 ? AF_INET : AF_INET6, a, ip, sizeof(ip)) == NULL) return false;
    BIO_puts(t->bio, kind);
    BIO_puts(t->bio, ip);
  } else if (g->type == GEN_DNS || g->type == GEN_URI || g->type == GEN_EMAIL) {
    if (memchr(ASN1_STRING_get0_data(s), '\0', (size_t) ASN1_STRING_length(s)) != NULL) return false; /* made to deceive */
    BIO_puts(t->bio, kind);
    BIO_write(t->bio, ASN1_STRING_get0_data(s), ASN1_STRING_length(s));
  } else {
    return false;
  }
  ends_here(t);
  return true;
}

static int64_t seconds(const ASN1_TIME *at) {
  struct tm tm;
  int64_t y, era, doy;
  if (ASN1_TIME_to_tm(at, &tm) != 1) return 0;
  /* Days since 1970 of a date in the Gregorian calendar; timegm is not everywhere. */
  y = (int64_t) tm.tm_year + 1900 - (tm.tm_mon < 2);
  era = (y >= 0 ? y : y - 399) / 400;
  doy = (153 * ((tm.tm_mon + 10) % 12) + 2) / 5 + tm.tm_mday - 1;
  y -= era * 400;
  return ((era * 146097 + y * 365 + y / 4 - y / 100 + doy - 719468) * 24 + tm.tm_hour) * 3600 + tm.tm_min * 60 + tm.tm_sec;
}

static void describe(struct text *t, X509 *x) {
  GENERAL_NAMES *names = (GENERAL_NAMES *) X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
  BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
  int i;
  put_name(t, X509_get_subject_name(x));
  put_name(t, X509_get_issuer_name(x));
  if (serial != NULL) BN_print(t->bio, serial);
  ends_here(t);
  i2d_X509_bio(t->bio, x);
  ends_here(t);
  for (i = 0; i < sk_GENERAL_NAME_num(names) && t->n < sizeof(t->ends) / sizeof(t->ends[0]); i++) {
    (void) put_general(t, sk_GENERAL_NAME_value(names, i));
  }
  BN_free(serial);
  GENERAL_NAMES_free(names);
}

struct mg_tls_peer *mg_tls_peer_new(const struct mg_connection *c) {
  const struct mg_tls *tls = of(c);
  X509 *x = tls != NULL && !c->is_tls_hs ? SSL_get0_peer_certificate(tls->ssl) : NULL;
  struct mg_tls_peer *p = NULL;
  struct text t;
  size_t i, names;
  if (x == NULL) return NULL;
  memset(&t, 0, sizeof(t));
  t.bio = BIO_new(BIO_s_mem());
  if (t.bio == NULL) return NULL;
  describe(&t, x);
  names = t.n - 4;
  p = (struct mg_tls_peer *) mg_calloc(1, sizeof(*p) + names * sizeof(struct mg_str) + t.ends[t.n - 1] + 1);
  if (p != NULL) {
    struct mg_str *fields[4] = {&p->subject, &p->issuer, &p->serial, &p->der};
    char *text = (char *) (p + 1) + names * sizeof(struct mg_str), *from;
    (void) BIO_get_mem_data(t.bio, &from);
    memcpy(text, from, t.ends[t.n - 1]);
    p->names = (struct mg_str *) (void *) (p + 1);
    p->nnames = names;
    for (i = 0; i < t.n; i++) {
      size_t at = i > 0 ? t.ends[i - 1] : 0;
      *(i < 4 ? fields[i] : &p->names[i - 4]) = mg_str_n(text + at, t.ends[i] - at);
    }
    p->not_before = seconds(X509_get0_notBefore(x));
    p->not_after = seconds(X509_get0_notAfter(x));
    p->verified = is_verified(tls);
    if (X509_digest(x, EVP_sha256(), p->sha256, NULL) != 1) memset(p->sha256, 0, sizeof(p->sha256));
  }
  BIO_free(t.bio);
  ERR_clear_error();
  return p;
}

void mg_tls_peer_free(struct mg_tls_peer *p) {
  mg_free(p);
}
#else
typedef int mg_tls_peer_is_not_built;
#endif
