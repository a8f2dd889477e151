/* tls_resume.c - sessions that need no second full handshake: servers seal them into tickets under keys that change by the hour and are
 * kept in memory only, clients keep what they were given by name and port.
 */
#include "mongoose/loop/tls_openssl.h"

#if MG_TLS == MG_TLS_OPENSSL
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/rand.h>

#include "mongoose/base/alloc.h"
#include "mongoose/base/clock.h"

static const uint64_t KEY_MS = 3600 * 1000; /* seals for an hour, opens for two more */

static bool new_key(struct mg_tls_ticket_key *k, uint64_t now) {
  bool ok = RAND_bytes(k->name, sizeof(k->name)) == 1 && RAND_priv_bytes(k->cipher, sizeof(k->cipher)) == 1 &&
            RAND_priv_bytes(k->mac, sizeof(k->mac)) == 1;
  k->born = ok ? now + 1 : 0;
  return ok;
}

struct mg_tls_tickets *mg_tls_tickets_new(void) {
  struct mg_tls_tickets *t = (struct mg_tls_tickets *) mg_calloc(1, sizeof(*t));
  if (t == NULL) return NULL;
  t->refs = 1;
  if (new_key(&t->keys[0], mg_millis())) return t;
  mg_free(t);
  return NULL;
}

void mg_tls_tickets_drop(struct mg_tls_tickets *t) {
  if (t == NULL || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) > 0) return;
  OPENSSL_cleanse(t, sizeof(*t));
  mg_free(t);
}

bool mg_tls_tickets_rotate(struct mg_tls_tickets *t, uint64_t now) {
  size_t i;
  struct mg_tls_ticket_key fresh;
  if (now - t->keys[0].born >= KEY_MS && now > t->keys[0].born) {
    if (!new_key(&fresh, now)) return false;
    memmove(&t->keys[1], &t->keys[0], 2 * sizeof(t->keys[0]));
    t->keys[0] = fresh;
    OPENSSL_cleanse(&fresh, sizeof(fresh));
  }
  for (i = 1; i < 3; i++) {
    if (t->keys[i].born != 0 && now > t->keys[i].born + 3 * KEY_MS) OPENSSL_cleanse(&t->keys[i], sizeof(t->keys[i]));
  }
  return true;
}

static bool with_key(const struct mg_tls_ticket_key *k, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, const unsigned char *iv, int seal) {
  OSSL_PARAM params[3];
  params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *) (size_t) k->mac, sizeof(k->mac));
  params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *) "SHA256", 0);
  params[2] = OSSL_PARAM_construct_end();
  return EVP_MAC_CTX_set_params(mac, params) == 1 && EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv, seal) == 1;
}

/* OpenSSL's contract: when sealing 1, or < 0 and no handshake; when opening 0: unknown key, so a full handshake, 1: go on, 2: go on and
 * give the client a new ticket. */
int mg_tls_ticket_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal) {
  struct mg_connection *c = (struct mg_connection *) SSL_get_app_data(ssl);
  struct mg_tls_tickets *t = ((struct mg_tls *) c->tls)->ctx->tickets;
  int i;
  if (!mg_tls_tickets_rotate(t, mg_millis())) return -1;
  if (seal) {
    memcpy(name, t->keys[0].name, sizeof(t->keys[0].name));
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
    return with_key(&t->keys[0], cipher, mac, iv, 1) ? 1 : -1;
  }
  for (i = 0; i < 3; i++) {
    if (t->keys[i].born == 0 || memcmp(name, t->keys[i].name, sizeof(t->keys[i].name)) != 0) continue;
    if (!with_key(&t->keys[i], cipher, mac, iv, 0)) return -1;
    return i == 0 && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2; /* TLS 1.3 tickets are for one use */
  }
  return 0;
}

/* ---- clients ---- */

int mg_tls_new_session_cb(SSL *ssl, SSL_SESSION *s) {
  struct mg_connection *c = (struct mg_connection *) SSL_get_app_data(ssl);
  struct mg_tls *t = (struct mg_tls *) c->tls;
  struct mg_tls_session *slot;
  size_t n = strlen(t->peer) + 1;
  char *peer;
  if (t->peer[0] == '\0' || !SSL_SESSION_is_resumable(s)) return 0;
  peer = (char *) mg_malloc(n);
  if (peer == NULL) return 0;
  memcpy(peer, t->peer, n);
  slot = &t->ctx->sessions[t->ctx->next_session++ % MG_TLS_SESSIONS];
  mg_free(slot->peer);
  SSL_SESSION_free(slot->session);
  slot->peer = peer;
  slot->session = s; /* the reference is ours */
  return 1;
}

/* The newest session of this peer. One of TLS 1.3 is used once, so that nobody can tell two connections to be the same client's
 * (RFC 8446 C.4). */
void mg_tls_resume(struct mg_tls *t) {
  unsigned i;
  for (i = 1; i <= MG_TLS_SESSIONS; i++) {
    struct mg_tls_session *slot = &t->ctx->sessions[(t->ctx->next_session - i) % MG_TLS_SESSIONS];
    if (slot->session == NULL || strcmp(slot->peer, t->peer) != 0) continue;
    (void) SSL_set_session(t->ssl, slot->session);
    if (SSL_SESSION_get_protocol_version(slot->session) >= TLS1_3_VERSION) {
      SSL_SESSION_free(slot->session);
      mg_free(slot->peer);
      slot->session = NULL;
      slot->peer = NULL;
    }
    return;
  }
}

void mg_tls_sessions_free(struct mg_tls_ctx *ctx) {
  size_t i;
  for (i = 0; i < MG_TLS_SESSIONS; i++) {
    mg_free(ctx->sessions[i].peer);
    SSL_SESSION_free(ctx->sessions[i].session);
  }
}
#else
typedef int mg_tls_resume_is_not_built;
#endif
