// SPDX-License-Identifier: MIT
#include "server/access.h"

#include <sodium.h>
#include <stdlib.h>

#include "conf/ini.h"
#include "server/target.h"

enum {
    HASH = crypto_hash_sha256_BYTES,
};

#define SECOND_NS INT64_C(1000000000)

struct access {
    unsigned references;
    bool local_only; // Host has to name this machine
    struct grant *grant;
    size_t grants;
    struct bytes origins; // as configured
};

static struct slice all_keys = {"", 0};
static const struct grant everybody = {
    .read = {&all_keys, 1}, .write = {&all_keys, 1}, .admin = true};
static const struct grant nobody = {0};

// ---------------------------------------------------------------- the configuration

static enum error read_prefix(struct slice text, struct prefixes *prefixes)
{
    char prefix[INI_VALUE_MAX];
    size_t len = 0;
    if (slice_equal(text, SLICE("*")))
        return prefixes_add(prefixes, SLICE(""));
    enum error error = target_decode(text, prefix, sizeof prefix, &len);
    return error ? error : prefixes_add(prefixes, (struct slice){prefix, len});
}

static enum error read_prefixes(const char *list, struct prefixes *prefixes)
{
    struct slice rest = list ? slice_of(list) : (struct slice){0};
    enum error error = ERROR_NONE;
    while (rest.data && !error)
        error = read_prefix(slice_trim(slice_token(&rest, ',')), prefixes);
    return error;
}

static enum error read_token(const struct conf_token *token, struct grant *grant)
{
    grant->name = strdup(token->name);
    sodium_hex2bin(grant->sha256, HASH, token->sha256, strlen(token->sha256), NULL, NULL, NULL);
    grant->admin = token->admin;
    grant->rate = token->rate;
    enum error error = grant->name ? ERROR_NONE : ERROR_MEMORY;
    if (!error)
        error = read_prefixes(token->read, &grant->read);
    if (!error)
        error = read_prefixes(token->write, &grant->write);
    return error;
}

enum error access_new(const struct conf *conf, struct access_rates *rates, struct access **access)
{
    struct access *a = calloc(1, sizeof *a);
    *access = a;
    if (!a)
        return ERROR_MEMORY;
    a->references = 1;
    a->local_only = conf->tokens == 0 && !conf->server.insecure;
    if (conf->server.cors_origins)
        bytes_append_text(&a->origins, conf->server.cors_origins);
    a->grant = calloc(conf->tokens + 1, sizeof *a->grant);
    enum error error = a->grant && !bytes_failed(&a->origins) ? ERROR_NONE : ERROR_MEMORY;
    for (unsigned i = 0; i < conf->tokens && !error; i++) {
        a->grant[i].next_ns = &rates->next_ns[i];
        a->grants++;
        error = read_token(&conf->token[i], &a->grant[i]);
    }
    if (error)
        access_release(access);
    return error;
}

struct access *access_hold(struct access *a)
{
    a->references++;
    return a;
}

void access_release(struct access **access)
{
    struct access *a = *access;
    *access = NULL;
    if (!a || --a->references)
        return;
    for (size_t i = 0; a->grant && i < a->grants; i++) {
        free((char *)a->grant[i].name);
        prefixes_fini(&a->grant[i].read);
        prefixes_fini(&a->grant[i].write);
    }
    free(a->grant);
    bytes_fini(&a->origins);
    free(a);
}

// ---------------------------------------------------------------- where a request comes from

// without_port cuts off the port of a Host.
static struct slice without_port(struct slice host)
{
    const char *colon = host.len ? memrchr(host.data, ':', host.len) : NULL;
    bool bracket = host.len && host.data[host.len - 1] == ']';
    return colon && !bracket ? (struct slice){host.data, (size_t)(colon - host.data)} : host;
}

// is_loopback: of the form 127.x.x.x.
static bool is_loopback(struct slice name)
{
    struct slice rest = name;
    unsigned long long part;
    int parts = 0;
    while (parts < 4 && rest.data &&
           slice_number(slice_token(&rest, '.'), 255, &part) == ERROR_NONE)
        parts++;
    return !rest.data && parts == 4;
}

// names_this_machine: nobody else's name server can have a say in these.
static bool names_this_machine(struct slice host)
{
    struct slice name = without_port(host);
    return slice_equal_nocase(name, SLICE("localhost")) ||
           (slice_starts(name, SLICE("127.")) && is_loopback(name)) ||
           slice_equal(name, SLICE("[::1]"));
}

struct slice access_allowed_origin(const struct access *a, struct slice origin)
{
    struct slice rest = bytes_slice(&a->origins);
    while (rest.len) {
        struct slice allowed = slice_trim(slice_token(&rest, ','));
        if (slice_equal_nocase(allowed, origin))
            return allowed;
    }
    return (struct slice){NULL, 0};
}

static bool is_same_origin(struct slice origin, struct slice host)
{
    struct slice scheme =
        slice_starts(origin, SLICE("https://")) ? SLICE("https://") : SLICE("http://");
    if (!slice_starts(origin, scheme))
        return false; // `null` among them
    return slice_equal_nocase((struct slice){origin.data + scheme.len, origin.len - scheme.len},
                              host);
}

static bool changes_something(enum method method)
{
    return method == METHOD_PUT || method == METHOD_DELETE || method == METHOD_POST;
}

static bool is_foreign(const struct access *a, const struct access_request *r)
{
    if (r->origin.data)
        return !is_same_origin(r->origin, r->host) && !access_allowed_origin(a, r->origin).data;
    return slice_equal(r->site, SLICE("cross-site"));
}

// ---------------------------------------------------------------- tokens

// find_grant looks at all tokens, for as long whichever it is (and whether it is one).
static const struct grant *find_grant(const struct access *a, struct slice authorization)
{
    struct slice token = authorization, scheme = slice_token(&token, ' ');
    const struct grant *found = NULL;
    unsigned char hash[HASH];
    if (!token.data || !slice_equal_nocase(scheme, SLICE("Bearer")))
        return NULL;
    token = slice_trim(token);
    crypto_hash_sha256(hash, (const unsigned char *)token.data, token.len);
    for (size_t i = 0; i < a->grants; i++)
        if (sodium_memcmp(hash, a->grant[i].sha256, HASH) == 0)
            found = &a->grant[i];
    return found;
}

// is_open: what tells nothing and what a browser or a balancer asks without a token.
static bool is_open(const struct access_request *r)
{
    switch (r->resource) {
    case RESOURCE_NONE:
    case RESOURCE_LIVEZ:
    case RESOURCE_READYZ:
    case RESOURCE_PAGE:
    case RESOURCE_SERVER:
        return true;
    default:
        return r->method == METHOD_OPTIONS || r->method == METHOD_OTHER;
    }
}

static bool grants_equal(const struct grant *a, const struct grant *b)
{
    return strcmp(a->name, b->name) == 0 && sodium_memcmp(a->sha256, b->sha256, HASH) == 0 &&
           prefixes_equal(&a->read, &b->read) && prefixes_equal(&a->write, &b->write) &&
           a->admin == b->admin && a->rate == b->rate;
}

bool access_equal(const struct access *a, const struct access *b)
{
    bool equal = a->local_only == b->local_only && a->grants == b->grants &&
                 slice_equal(bytes_slice(&a->origins), bytes_slice(&b->origins));
    for (size_t i = 0; equal && i < a->grants; i++)
        equal = grants_equal(&a->grant[i], &b->grant[i]);
    return equal;
}

enum access_verdict access_check(const struct access *a, const struct access_request *r,
                                 const struct grant **grant)
{
    *grant = a->grants ? &nobody : &everybody;
    if (a->local_only && r->host.data && !names_this_machine(r->host))
        return ACCESS_MISDIRECTED;
    if (changes_something(r->method) && is_foreign(a, r))
        return ACCESS_FOREIGN;
    if (a->grants == 0 || is_open(r))
        return ACCESS_GRANTED;
    const struct grant *found = find_grant(a, r->authorization);
    if (!found)
        return ACCESS_UNKNOWN;
    *grant = found;
    bool admin = r->resource == RESOURCE_STATUS || r->resource == RESOURCE_METRICS;
    return admin && !found->admin ? ACCESS_FORBIDDEN : ACCESS_GRANTED;
}

bool access_take(const struct grant *g, unsigned requests, int64_t now_us)
{
    if (!g->rate)
        return true;
    int64_t now = now_us * 1000, cost = SECOND_NS / g->rate * requests;
    int64_t next = atomic_load_explicit(g->next_ns, memory_order_relaxed), base;
    do {
        base = next > now ? next : now;
        if (base - now >= SECOND_NS)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(g->next_ns, &next, base + cost,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}
