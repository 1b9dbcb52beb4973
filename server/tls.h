// SPDX-License-Identifier: MIT
// TLS of the clients' connections (OpenSSL): 1.2 and 1.3, forward secrecy, sessions resumed by
// tickets, http/1.1 by ALPN. All calls return at once.
#ifndef SERVER_TLS_H
#define SERVER_TLS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/error.h"
#include "server/tickets.h"

struct ssl_ctx_st; // OpenSSL's SSL_CTX: the certificate, its key, and how sessions are made
struct ssl_st;     // OpenSSL's SSL: the session of one connection

// tls_identity_new reads the chain of certificates and the key, both PEM. ERROR_MALFORMED, and
// `why` says which file and what is wrong with it; ERROR_MEMORY. `tickets` must outlive it.
enum error tls_identity_new(const char *certificate, const char *key, struct tickets *tickets,
                            struct ssl_ctx_st **identity, struct bytes *why) MUST_USE;

// tls_identity_hold returns the same, for one more owner; both may be NULL. Any thread may call it.
struct ssl_ctx_st *tls_identity_hold(struct ssl_ctx_st *identity);
void tls_identity_release(struct ssl_ctx_st **identity);

// tls_new begins the session of an accepted, non-blocking socket, which stays the caller's. NULL
// if memory is out.
struct ssl_st *tls_new(struct ssl_ctx_st *identity, int fd);

// tls_free tells the client that nothing more comes, if that goes without waiting.
void tls_free(struct ssl_st **tls);

// tls_read and tls_write are read(2) and send(2), and go on with the handshake: -1 and EAGAIN when
// they have to wait, -1 and EPROTO when the session is broken. What the client was told of that is
// sent.
ssize_t tls_read(struct ssl_st *tls, void *to, size_t size);
ssize_t tls_write(struct ssl_st *tls, const void *from, size_t size);

// tls_handshake_over is false until then, but may also be so for a while later: messages of a
// handshake come at any time.
bool tls_handshake_over(const struct ssl_st *tls);

// tls_waits_to_write tells whether the EAGAIN was for the socket's output.
bool tls_waits_to_write(const struct ssl_st *tls);

// tls_end tells the client that nothing more comes; false if that has to wait for the socket's
// output, and is to be tried again.
bool tls_end(struct ssl_st *tls);

// tls_begins tells whether the first byte of a connection is that of a TLS handshake.
bool tls_begins(char first);

#endif
