// SPDX-License-Identifier: MIT
#include "server/tls.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/random.h"

enum {
    RECORD_HANDSHAKE = 22, // RFC 8446, 5.1
    IV_SIZE = 16,
};

// ---------------------------------------------------------------- tickets

static bool set_cipher(EVP_CIPHER_CTX *cipher, const struct ticket_key *key,
                       const unsigned char *iv, bool encrypt)
{
    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, encrypt);
}

static bool set_mac(EVP_MAC_CTX *mac, struct ticket_key *key)
{
    char sha256[] = "sha256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof key->mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, parameters);
}

// on_ticket returns what SSL_CTX_set_tlsext_ticket_key_evp_cb(3) asks for: below 0 an error, 0 no
// such key, 1 the key, 2 the key and a new ticket is due.
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypt)
{
    struct tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key key;
    int found = 1;
    if (encrypt) {
        tickets_present(tickets, &key);
        memcpy(name, key.name, TICKET_NAME);
        random_secret(iv, IV_SIZE);
    } else {
        found = (int)tickets_find(tickets, name, &key);
        // A ticket of TLS 1.3 should serve once (RFC 8446, C.4): the client needs the next one.
        if (found && SSL_version(ssl) >= TLS1_3_VERSION)
            found = TICKETS_BEFORE;
    }
    if (found && (!set_cipher(cipher, &key, iv, encrypt) || !set_mac(mac, &key)))
        found = -1;
    explicit_bzero(&key, sizeof key);
    return found;
}

// ---------------------------------------------------------------- the identity

// on_alpn: a client that offers protocols must offer this one.
static int on_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_len,
                   const unsigned char *offered, unsigned offered_len, void *context)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *at;
    (void)ssl;
    (void)context;
    if (SSL_select_next_proto(&at, chosen_len, ours, sizeof ours - 1, offered, offered_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = at;
    return SSL_TLSEXT_ERR_OK;
}

// on_passphrase: nobody is there to type one.
static int on_passphrase(char *to, int size, int writing, void *context)
{
    (void)to;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static bool set_up(SSL_CTX *identity, struct tickets *tickets)
{
    static const unsigned char context[] = "sherd";
    SSL_CTX_set_options(identity, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                      SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                      SSL_OP_IGNORE_UNEXPECTED_EOF); // HTTP knows where bodies end
    SSL_CTX_set_mode(identity, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS |
                                   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(identity, SSL_SESS_CACHE_OFF); // the tickets hold it all
    SSL_CTX_set_timeout(identity, TICKETS_ROTATE_MS / 1000);
    SSL_CTX_set_app_data(identity, tickets);
    SSL_CTX_set_alpn_select_cb(identity, on_alpn, NULL);
    SSL_CTX_set_default_passwd_cb(identity, on_passphrase);
    return SSL_CTX_set_min_proto_version(identity, TLS1_2_VERSION) &&
           SSL_CTX_set_cipher_list(identity, "ECDHE+AESGCM:ECDHE+CHACHA20") &&
           SSL_CTX_set_num_tickets(identity, 1) &&
           SSL_CTX_set_session_id_context(identity, context, sizeof context - 1) &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(identity, on_ticket);
}

// complain adds OpenSSL's own words, which hold no secrets.
static enum error complain(const char *path, const char *what, struct bytes *why)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    bytes_format(why, "%s: %s%s%s\n", path, what, reason ? ": " : "", reason ? reason : "");
    ERR_clear_error();
    return bytes_failed(why) ? ERROR_MEMORY : ERROR_MALFORMED;
}

enum error tls_identity_new(const char *certificate, const char *key, struct tickets *tickets,
                            struct ssl_ctx_st **identity, struct bytes *why)
{
    SSL_CTX *made = SSL_CTX_new(TLS_server_method());
    *identity = NULL;
    if (!made)
        return ERROR_MEMORY;
    enum error error = set_up(made, tickets) ? ERROR_NONE : ERROR_MEMORY;
    ERR_clear_error();
    if (!error && SSL_CTX_use_certificate_chain_file(made, certificate) != 1)
        error = complain(certificate, "no chain of certificates in PEM", why);
    if (!error && (SSL_CTX_use_PrivateKey_file(made, key, SSL_FILETYPE_PEM) != 1 ||
                   SSL_CTX_check_private_key(made) != 1))
        error =
            complain(key, "no private key in PEM, without a passphrase, of the certificate", why);
    if (error)
        SSL_CTX_free(made);
    else
        *identity = made;
    return error;
}

struct ssl_ctx_st *tls_identity_hold(struct ssl_ctx_st *identity)
{
    if (identity)
        SSL_CTX_up_ref(identity);
    return identity;
}

void tls_identity_release(struct ssl_ctx_st **identity)
{
    SSL_CTX_free(*identity);
    *identity = NULL;
}

// ---------------------------------------------------------------- sessions

struct ssl_st *tls_new(struct ssl_ctx_st *identity, int fd)
{
    SSL *tls = SSL_new(identity);
    if (tls && !SSL_set_fd(tls, fd)) {
        SSL_free(tls);
        tls = NULL;
    }
    if (tls)
        SSL_set_accept_state(tls);
    ERR_clear_error();
    return tls;
}

void tls_free(struct ssl_st **tls)
{
    if (!*tls)
        return;
    (void)tls_end(*tls);
    SSL_free(*tls);
    *tls = NULL;
}

// ended returns what read(2) would.
static ssize_t ended(SSL *tls, int code)
{
    int error = SSL_get_error(tls, code);
    ERR_clear_error();
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

ssize_t tls_read(struct ssl_st *tls, void *to, size_t size)
{
    size_t n;
    ERR_clear_error(); // what others on this thread have left
    int code = SSL_read_ex(tls, to, size, &n);
    return code == 1 ? (ssize_t)n : ended(tls, code);
}

// OpenSSL writes a record, 16 KB, at a time.
ssize_t tls_write(struct ssl_st *tls, const void *from, size_t size)
{
    size_t sent = 0, n;
    while (sent < size) {
        ERR_clear_error();
        int code = SSL_write_ex(tls, (const char *)from + sent, size - sent, &n);
        if (code != 1) {
            (void)ended(
                tls, code); // 0 would be no progress: that the client's end is known is EPROTO here
            return sent ? (ssize_t)sent : -1;
        }
        sent += n;
    }
    return (ssize_t)sent;
}

bool tls_handshake_over(const struct ssl_st *tls)
{
    return SSL_is_init_finished(tls);
}

bool tls_waits_to_write(const struct ssl_st *tls)
{
    return SSL_want_write(tls);
}

// The second call sends what the first one could not.
bool tls_end(struct ssl_st *tls)
{
    bool done = true;
    ERR_clear_error();
    if (SSL_is_init_finished(tls)) {
        int code = SSL_shutdown(tls);
        done = code >= 0 || SSL_get_error(tls, code) != SSL_ERROR_WANT_WRITE;
    }
    ERR_clear_error();
    return done;
}

bool tls_begins(char first)
{
    return first == RECORD_HANDSHAKE;
}
