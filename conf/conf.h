// SPDX-License-Identifier: MIT
// The configuration of both programs, read from one file. What each option means, its bounds and
// its default stand in conf/options.c and nowhere else.
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/log.h"

enum {
    CONF_PARTITIONS_MAX = 1000, // ids are 1..1000: a version keeps them in ten bits
    CONF_TOKENS_MAX = 100,
    CONF_TOKEN_NAME_MAX = 32, // bytes
};

enum conf_tls {
    CONF_TLS_OFF,
    CONF_TLS_REQUIRED,
};

// One database server and schema. Strings are owned by the conf that holds it.
struct conf_partition {
    unsigned id;   // N of [partition-N], 1..partitions, for ever
    char *host;    // NULL when a socket is used
    unsigned port; // 0 when a socket is used
    char *socket;  // absolute; NULL when host and port are used
    char *user;
    char *password;      // never logged, never printed; "" for none
    char *password_file; // absolute path that the password was read from, or NULL
    char *database;      // as used: with test_ in front in test mode
    enum conf_tls tls;
    char *tls_ca;          // absolute; there when TLS is required
    char *tls_certificate; // absolute, or NULL: what the client shows
    char *tls_key;         // absolute; there with the certificate
    unsigned weight;       // 0 = it leaves the store, or has left it
};

// conf_partition_exists: a section with `weight = 0` and no server keeps the number of a partition
// that has left.
static inline bool conf_partition_exists(const struct conf_partition *partition)
{
    return partition->host || partition->socket;
}

struct conf_store {
    unsigned partitions;
    unsigned replicas;    // 0 = all
    unsigned write_acks;  // partitions that a write is on before it is acknowledged
    unsigned connections; // of each thread to each partition
    unsigned batch;       // operations in one statement, at most
    unsigned queue;       // operations waiting for one partition in one thread, at most
    unsigned timeout;     // ms until a statement without an answer counts as lost
};

struct conf_server {
    char *listen;                 // "host:port", "[v6]:port"
    unsigned threads;             // 0 = one a core
    unsigned clients;             // connections of clients in all, at most
    unsigned clients_per_address; // 0 = any number
    unsigned listeners;           // of the feed
    size_t memory;                // bytes; 0 = any number
    size_t max_value;             // bytes
    unsigned pipeline;            // unanswered requests on one connection, at most
    unsigned head_timeout;        // ms from a request's first byte to the end of its header block
    unsigned idle_timeout;        // ms that a connection may wait between requests
    unsigned body_rate;           // bytes a second that a body must keep up
    unsigned stop_timeout;        // ms that requests in flight may take after SIGTERM
    enum log_level log_level;
    char *access_log;         // NULL = none, "-" = standard output, else a file
    size_t cache;             // bytes; 0 = none
    unsigned cache_staleness; // ms
    char *tls_certificate;    // absolute; NULL = clients speak in clear
    char *tls_key;            // absolute; there with the certificate
    char *user;               // that root becomes; NULL = none
    bool allow_clear;         // DELETE /keys/prefix: outside test mode
    bool insecure;            // without tokens: for any address and any Host
    char *cors_origins;       // of foreign pages that may ask; NULL = none
};

// Who may ask for what. Strings are owned by the conf that holds it.
struct conf_token {
    char name[CONF_TOKEN_NAME_MAX + 1]; // NAME of [token-NAME]
    char *sha256;                       // of the token, in hexadecimal
    char *read;                         // prefixes of keys, as OPTION_PREFIXES; NULL = none
    char *write;                        // the same
    bool admin;                         // /status, /metrics
    unsigned rate;                      // requests a second; 0 = as many as there are
};

// What sherd-sync reads; the server ignores it.
struct conf_sync {
    unsigned threads;
    unsigned rows_per_second; // written; 0 = as many as there are
    size_t bytes_per_second;  // written; 0 = as many as there are
    unsigned verify;          // rows compared in each pass
    unsigned grace;           // ms
    unsigned keep_log;        // ms
};

// Partitions of before: threads may read them to the end.
struct conf_retired {
    struct conf_partition *partition; // [store.partitions]
    struct conf_retired *next;
};

struct conf {
    bool test; // SHERD_ENV=test
    struct conf_store store;
    struct conf_server server;
    struct conf_sync sync;
    struct conf_partition *partition; // [store.partitions], partition[i].id == i + 1
    struct conf_retired *retired;     // what conf_adopt has replaced, the last first
    unsigned tokens;
    struct conf_token *token; // [tokens], in the order of the file
};

// conf_read reads and checks the file at `path` and the environment variable SHERD_ENV. On success
// *conf is new and the caller's. On an error *conf is NULL and `why` got one line an error found
// (all of them, in the order of the file), each "path:line: what is wrong; what would be right";
// "path: ..." or "SHERD_ENV: ..." where no line is to blame. Values of secret options never appear.
// ERROR_MALFORMED (a wrong file), ERROR_SYSTEM (cannot be read), ERROR_MEMORY (`why` is of no use).
enum error conf_read(const char *path, struct conf **conf, struct bytes *why) MUST_USE;

// conf_load is conf_read at the start of a program. NULL: standard error says why, and *exit_code
// is what to end with, EXIT_CONFIG, or EXIT_OTHER if there was no memory.
struct conf *conf_load(const char *path, int *exit_code) MUST_USE;

// conf_parse is conf_read on bytes in memory; `path` serves the messages and is what relative paths
// in the text are relative to. Files named by password_file are read.
enum error conf_parse(const char *path, struct slice text, bool test, struct conf **conf,
                      struct bytes *why) MUST_USE;

// conf_free frees and nulls; secrets are overwritten first.
void conf_free(struct conf **conf);

// conf_print appends the whole configuration as a file that conf_parse accepts, defaults included,
// passwords shown as `********`.
void conf_print(const struct conf *conf, struct bytes *out);

// conf_adopt takes from `fresh` into `conf` every option that may change while running, and all
// tokens, for which `fresh` gets those of before. For each other option that differs, `why` gets a
// line that names it and says that it needs a restart. ERROR_MEMORY: nothing was taken.
//
// If an option of a partition changes, conf->partition is a new array. The one before stays as it
// is until conf_free: other threads may be reading it.
enum error conf_adopt(struct conf *conf, struct conf *fresh, struct bytes *why) MUST_USE;

// conf_partition_equal is true if all options of the two are equal.
bool conf_partition_equal(const struct conf_partition *a, const struct conf_partition *b);

// conf_same_server is true if the two have the same socket, or the same host and port;
// conf_same_database, if they have the same database there, too.
bool conf_same_server(const struct conf_partition *a, const struct conf_partition *b);
bool conf_same_database(const struct conf_partition *a, const struct conf_partition *b);

// conf_is_token_name tells whether NAME may stand in [token-NAME].
bool conf_is_token_name(struct slice name);

// conf_reference appends the table of all options in Markdown: docs/configuration.md holds it.
void conf_reference(struct bytes *out);

#endif
