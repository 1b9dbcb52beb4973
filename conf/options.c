// SPDX-License-Identifier: MIT
#include "conf/options.h"

#include <arpa/inet.h>
#include <assert.h>
#include <limits.h>
#include <stdlib.h>

#include "conf/conf.h"
#include "conf/ini.h"

#define STORE(field)                                                                               \
    .section = OPTION_STORE, .name = #field, .offset = offsetof(struct conf_store, field)
#define SERVER(field)                                                                              \
    .section = OPTION_SERVER, .name = #field, .offset = offsetof(struct conf_server, field)
#define SYNC(field)                                                                                \
    .section = OPTION_SYNC, .name = #field, .offset = offsetof(struct conf_sync, field)
#define PARTITION(field)                                                                           \
    .section = OPTION_PARTITION, .name = #field, .offset = offsetof(struct conf_partition, field)
#define TOKEN(field)                                                                               \
    .section = OPTION_TOKEN, .name = #field, .offset = offsetof(struct conf_token, field)
#define FROM_TO(type_, min_, max_) .type = type_, .min = min_, .max = max_

enum {
    K = 1024,
    M = 1024 * K,
    MS = 1,
    SECOND = 1000 * MS,
    MINUTE = 60 * SECOND,
    HOUR = 60 * MINUTE,
};

static const struct option options[] = {
    {STORE(partitions), FROM_TO(OPTION_INTEGER, 1, CONF_PARTITIONS_MAX),
     .help = "How many partitions there are; each needs its section, [partition-1], [partition-2] "
             "and so on."},
    {STORE(replicas), FROM_TO(OPTION_INTEGER, 1, CONF_PARTITIONS_MAX), .zero = "all",
     .fallback = "all",
     .help = "On how many partitions each pair is kept; at most as many as there are."},
    {STORE(write_acks), FROM_TO(OPTION_INTEGER, 1, CONF_PARTITIONS_MAX), .fallback = "1",
     .help =
         "On how many partitions a write is before it is acknowledged; at most as many as there "
         "are replicas."},
    {STORE(connections), FROM_TO(OPTION_INTEGER, 1, 64), .fallback = "2",
     .help = "Connections of each thread to each partition."},
    {STORE(batch), FROM_TO(OPTION_INTEGER, 1, 500), .fallback = "500",
     .help = "Operations in one SQL statement, at most."},
    {STORE(queue), FROM_TO(OPTION_INTEGER, 1, 1000000), .fallback = "10000",
     .help = "Operations of one thread that wait for one partition, at most; the next is answered "
             "503."},
    {STORE(timeout), FROM_TO(OPTION_DURATION, 100 * MS, 60 * SECOND), .fallback = "2s",
     .help = "After how long a statement without an answer counts as lost."},

    {SERVER(listen), FROM_TO(OPTION_ADDRESS, 1, INI_VALUE_MAX), .fallback = "127.0.0.1:8080",
     .help = "Where clients connect; port 0 takes any free port."},
    {SERVER(threads), FROM_TO(OPTION_INTEGER, 0, 256), .zero = "auto", .fallback = "auto",
     .help = "Event loops, one a thread; auto (or 0) is one a core."},
    {SERVER(clients), FROM_TO(OPTION_INTEGER, 1, 1000000), .fallback = "20000",
     .help = "Connections of clients in all, at most; each thread takes an equal share of them, "
             "more are answered 503."},
    {SERVER(clients_per_address), FROM_TO(OPTION_INTEGER, 0, 1000000), .fallback = "0",
     .reload = true,
     .help = "Connections of one client's address (of IPv6: its /64), at most; 0 for no limit, as "
             "behind a load balancer, which has one address."},
    {SERVER(listeners), FROM_TO(OPTION_INTEGER, 1, 1000000), .fallback = "20000", .reload = true,
     .help = "Listeners of /changes in all, at most; more are answered 503."},
    {SERVER(memory), FROM_TO(OPTION_SIZE, 0, 1024 * 1024ull * M), .fallback = "1024M",
     .reload = true,
     .help = "Memory that the server may have taken, at least twice the cache; while it has more, "
             "requests for keys, lists, "
             "bulks and changes are answered 503; 0 for no limit."},
    {SERVER(max_value), FROM_TO(OPTION_SIZE, 1, 16 * M), .fallback = "1M",
     .help = "Bytes of a value, at most; a longer one is answered 413."},
    {SERVER(pipeline), FROM_TO(OPTION_INTEGER, 1, 1000), .fallback = "16", .reload = true,
     .help = "Unanswered requests on one connection, at most; more are left unread."},
    {SERVER(head_timeout), FROM_TO(OPTION_DURATION, 100 * MS, 10 * MINUTE), .fallback = "5s",
     .reload = true,
     .help = "From the first byte of a request to the end of its header block, at most; also for a "
             "TLS handshake."},
    {SERVER(idle_timeout), FROM_TO(OPTION_DURATION, 1 * SECOND, 1 * HOUR), .fallback = "1m",
     .reload = true,
     .help = "How long a connection may wait between two requests, and how long a client may take "
             "nothing of an answer."},
    {SERVER(body_rate), FROM_TO(OPTION_INTEGER, 0, 1000000000), .fallback = "1000", .reload = true,
     .help = "Bytes a second that a body must keep up on average; 0 for none."},
    {SERVER(stop_timeout), FROM_TO(OPTION_DURATION, 100 * MS, 60 * SECOND), .fallback = "5s",
     .reload = true, .help = "How long SIGTERM waits for the requests in flight."},
    {SERVER(log_level), .type = OPTION_LEVEL, .fallback = "info", .reload = true,
     .help = "The least important lines that the log, on standard error, still holds."},
    {SERVER(access_log), FROM_TO(OPTION_STRING, 0, INI_VALUE_MAX), .fallback = "", .reload = true,
     .help = "A file that gets a line for each request, - for standard output, empty for none; "
             "better an absolute path."},
    {SERVER(cache), FROM_TO(OPTION_SIZE, 0, 1024 * 1024ull * M), .fallback = "0",
     .help = "Memory for hot values, kept true by the change logs; 0 for none."},
    {SERVER(cache_staleness), FROM_TO(OPTION_DURATION, 0, 1 * MINUTE), .fallback = "100ms",
     .help = "A value comes from the cache only while the change log of its home was read so "
             "recently."},
    {SERVER(allow_clear), .type = OPTION_BOOLEAN, .fallback = "no", .reload = true,
     .help = "Whether DELETE of a prefix may clear it outside of test mode."},
    {SERVER(tls_certificate), FROM_TO(OPTION_PATH, 1, INI_VALUE_MAX), .fallback = "",
     .reload = true,
     .help = "A chain of certificates in PEM, the server's own first: clients then speak TLS; "
             "relative to the directory of this file, as the next."},
    {SERVER(tls_key), FROM_TO(OPTION_PATH, 1, INI_VALUE_MAX), .fallback = "", .reload = true,
     .help = "The private key of the certificate, in PEM; only its owner may read it (chmod 600)."},
    {SERVER(user), FROM_TO(OPTION_STRING, 1, 32), .fallback = "",
     .help = "Who the server becomes before it answers anybody, if root starts it; files that a "
             "reload reads must be that user's."},
    {SERVER(insecure), .type = OPTION_BOOLEAN, .fallback = "no", .reload = true,
     .help = "Whether, without any token, everybody who can connect may do everything: listen may "
             "be any address, and Host is not looked at."},
    {SERVER(cors_origins), FROM_TO(OPTION_ORIGINS, 0, INI_VALUE_MAX), .fallback = "",
     .reload = true,
     .help = "Pages of which other origins may ask (CORS), such as https://app.example.com."},

    {SYNC(threads), FROM_TO(OPTION_INTEGER, 1, 64), .fallback = "4", .reload = true,
     .help =
         "Threads, each with a connection to each partition; every run of sherd-sync reads this "
         "section anew."},
    {SYNC(rows_per_second), FROM_TO(OPTION_INTEGER, 0, 1000000000), .fallback = "0", .reload = true,
     .help = "Rows written in a second, at most; 0 for no limit."},
    {SYNC(bytes_per_second), FROM_TO(OPTION_SIZE, 0, 16384ull * M), .fallback = "0", .reload = true,
     .help = "Bytes of keys and values written in a second, at most; 0 for no limit."},
    {SYNC(verify), FROM_TO(OPTION_INTEGER, 0, 1000000000), .fallback = "10000", .reload = true,
     .help = "How many rows each pass compares on all partitions, in turn; 0 for none."},
    {SYNC(grace), FROM_TO(OPTION_DURATION, 0, 24 * HOUR), .fallback = "1m", .reload = true,
     .help =
         "How much longer a tombstone is kept than until all partitions have it; longer than any "
         "transaction of a SQL client waits for a lock."},
    {SYNC(keep_log), FROM_TO(OPTION_DURATION, 0, 30u * 24 * HOUR), .fallback = "1h", .reload = true,
     .help = "How long entries of the change log are kept for its readers when all partitions have "
             "them."},

    {PARTITION(host), FROM_TO(OPTION_HOST, 1, INI_VALUE_MAX), .fallback = "", .reload = true,
     .help = "The database server; either host or socket is required."},
    {PARTITION(port), FROM_TO(OPTION_INTEGER, 1, 65535), .fallback = "3306", .reload = true,
     .help = "The port of host."},
    {PARTITION(socket), FROM_TO(OPTION_PATH, 1, 107), .fallback = "", .reload = true,
     .help = "The UNIX socket of a database server on this machine, instead of host; relative to "
             "the directory of this file."},
    {PARTITION(user), FROM_TO(OPTION_STRING, 1, 128), .reload = true,
     .help = "The database user, who needs no more than database_definition.sql grants."},
    {PARTITION(password), FROM_TO(OPTION_STRING, 0, INI_VALUE_MAX), .fallback = "", .secret = true,
     .reload = true,
     .help = "The password of user; better in a password_file, for who reads this file knows it."},
    {PARTITION(password_file), FROM_TO(OPTION_PATH, 1, INI_VALUE_MAX), .fallback = "",
     .reload = true,
     .help = "A file of one line, the password, that only its owner may read (chmod 600); relative "
             "to the directory of this file."},
    {PARTITION(database), FROM_TO(OPTION_DATABASE, 1, 64), .fallback = "sherd",
     .help = "The database; test mode puts test_ in front."},
    {PARTITION(tls), .type = OPTION_TLS, .fallback = "off", .reload = true,
     .help = "Whether the connection must be TLS and the server show a certificate for host."},
    {PARTITION(tls_ca), FROM_TO(OPTION_PATH, 1, INI_VALUE_MAX), .fallback = "", .reload = true,
     .help = "The certificates, in PEM, one of which must have signed the server's; required with "
             "tls; relative to the directory of this file, as the next two."},
    {PARTITION(tls_certificate), FROM_TO(OPTION_PATH, 1, INI_VALUE_MAX), .fallback = "",
     .reload = true, .help = "A certificate in PEM to show, if the server wants one."},
    {PARTITION(tls_key), FROM_TO(OPTION_PATH, 1, INI_VALUE_MAX), .fallback = "", .reload = true,
     .help = "The private key of tls_certificate, in PEM; only its owner may read it (chmod 600)."},
    {PARTITION(weight), FROM_TO(OPTION_INTEGER, 0, 1000), .fallback = "1", .reload = true,
     .help = "The share of keys that this partition owns, relative to the others; 0: it leaves the "
             "store. The section of one that has left keeps its number, and needs no more than "
             "`weight = 0`."},

    {TOKEN(sha256), FROM_TO(OPTION_HASH, 64, 64), .reload = true,
     .help = "The SHA-256 of the token; `sherd-server --new-token NAME` makes both."},
    {TOKEN(read), FROM_TO(OPTION_PREFIXES, 0, INI_VALUE_MAX), .fallback = "", .reload = true,
     .help = "The keys that it may read, list and listen to, by their prefixes; * for all."},
    {TOKEN(write), FROM_TO(OPTION_PREFIXES, 0, INI_VALUE_MAX), .fallback = "", .reload = true,
     .help = "The keys that it may put and delete, by their prefixes; * for all."},
    {TOKEN(admin), .type = OPTION_BOOLEAN, .fallback = "no", .reload = true,
     .help = "Whether it may read /status and /metrics."},
    {TOKEN(rate), FROM_TO(OPTION_INTEGER, 0, 1000000), .fallback = "0", .reload = true,
     .help = "Requests a second, at most, of which it may save up one second; more are answered "
             "429; 0 for no limit."},
};

enum { OPTIONS = sizeof options / sizeof *options };

struct unit {
    const char *suffix;
    unsigned long long factor;
};

// Largest first: a number is shown in the first that divides it.
static const struct unit sizes[] = {{"M", M}, {"K", K}, {"", 1}, {NULL, 0}};
static const struct unit durations[] = {{"h", HOUR}, {"m", MINUTE}, {"s", SECOND},
                                        {"ms", MS},  {"", MS},      {NULL, 0}};

// The words of types that are one of a few, in the order of their numbers.
static const struct words {
    size_t count;
    const char *word[4];
} booleans = {2, {"no", "yes"}}, levels = {4, {"error", "warn", "info", "debug"}},
  tls = {2, {"off", "required"}};

const struct option *options_of(enum option_section section, size_t *count)
{
    size_t first = 0;
    while (options[first].section != section) // each has some
        first++;
    *count = 0;
    while (first + *count < OPTIONS && options[first + *count].section == section)
        ++*count;
    assert(*count > 0 && *count <= OPTIONS_MAX);
    return &options[first];
}

const struct option *option_find(enum option_section section, struct slice name)
{
    size_t count;
    const struct option *o = options_of(section, &count);
    for (size_t i = 0; i < count; i++)
        if (slice_equal(slice_of(o[i].name), name))
            return &o[i];
    return NULL;
}

static void *field_of(const struct option *o, void *base)
{
    return (char *)base + o->offset;
}

static const void *field_in(const struct option *o, const void *base)
{
    return (const char *)base + o->offset;
}

bool option_is_text(const struct option *o)
{
    return o->type >= OPTION_STRING;
}

char *option_text(const struct option *o, const void *base)
{
    assert(option_is_text(o));
    return *(char *const *)field_in(o, base);
}

static unsigned long long number_in(const struct option *o, const void *base)
{
    const void *field = field_in(o, base);
    switch (o->type) {
    case OPTION_SIZE:
        return *(const size_t *)field;
    case OPTION_BOOLEAN:
        return *(const bool *)field;
    case OPTION_LEVEL:
        return *(const enum log_level *)field;
    case OPTION_TLS:
        return *(const enum conf_tls *)field;
    default:
        assert(!option_is_text(o));
        return *(const unsigned *)field;
    }
}

static void set_number(const struct option *o, void *base, unsigned long long number)
{
    void *field = field_of(o, base);
    switch (o->type) {
    case OPTION_SIZE:
        *(size_t *)field = (size_t)number;
        break;
    case OPTION_BOOLEAN:
        *(bool *)field = number;
        break;
    case OPTION_LEVEL:
        *(enum log_level *)field = (enum log_level)number;
        break;
    case OPTION_TLS:
        *(enum conf_tls *)field = (enum conf_tls)number;
        break;
    default:
        assert(!option_is_text(o) && number <= UINT_MAX);
        *(unsigned *)field = (unsigned)number;
    }
}

void option_set_text(const struct option *o, void *base, char *text)
{
    assert(option_is_text(o));
    char **field = field_of(o, base);
    if (*field && o->secret)
        explicit_bzero(*field, strlen(*field));
    free(*field);
    *field = text;
}

static const struct unit *units_of(const struct option *o)
{
    static const struct unit plain[] = {{"", 1}, {NULL, 0}};
    if (o->type == OPTION_SIZE)
        return sizes;
    return o->type == OPTION_DURATION ? durations : plain;
}

// read_number reads digits and one of the units of the type.
static enum error read_number(const struct option *o, struct slice value,
                              unsigned long long *number)
{
    struct slice digits = value;
    while (digits.len && (digits.data[digits.len - 1] < '0' || digits.data[digits.len - 1] > '9'))
        digits.len--;
    struct slice suffix = {value.data + digits.len, value.len - digits.len};
    const struct unit *unit = units_of(o);
    while (unit->suffix && !slice_equal(slice_of(unit->suffix), suffix))
        unit++;
    if (!unit->suffix)
        return ERROR_MALFORMED;
    enum error error = slice_number(digits, o->max / unit->factor, number);
    if (error)
        return error;
    *number *= unit->factor;
    return *number < o->min ? ERROR_TOO_LARGE : ERROR_NONE;
}

// words_of returns NULL for what is a number.
static const struct words *words_of(const struct option *o)
{
    switch (o->type) {
    case OPTION_BOOLEAN:
        return &booleans;
    case OPTION_LEVEL:
        return &levels;
    case OPTION_TLS:
        return &tls;
    default:
        return NULL;
    }
}

static enum error read_word(const struct words *words, struct slice value,
                            unsigned long long *number)
{
    for (size_t i = 0; i < words->count; i++)
        if (slice_equal(slice_of(words->word[i]), value)) {
            *number = i;
            return ERROR_NONE;
        }
    return ERROR_MALFORMED;
}

static enum error parse_number(const struct option *o, struct slice value,
                               unsigned long long *number)
{
    if (o->zero && slice_equal(slice_of(o->zero), value)) {
        *number = 0;
        return ERROR_NONE;
    }
    const struct words *words = words_of(o);
    return words ? read_word(words, value, number) : read_number(o, value, number);
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// all_of is true if `s` consists of letters, digits and the bytes of `others`.
static bool all_of(struct slice s, const char *others)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum(s.data[i]) && (!s.data[i] || !strchr(others, s.data[i])))
            return false;
    return s.len > 0;
}

static bool is_ip(int family, struct slice s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[sizeof(struct in6_addr)];
    if (s.len >= sizeof text)
        return false;
    memcpy(text, s.data, s.len);
    text[s.len] = 0;
    return strlen(text) == s.len && inet_pton(family, text, address) == 1;
}

// is_number is true for what a resolver could take for a part of an IPv4 address.
static bool is_number(struct slice label)
{
    unsigned long long number;
    return slice_starts(label, SLICE("0x")) || slice_starts(label, SLICE("0X")) ||
           slice_number(label, ULLONG_MAX, &number) != ERROR_MALFORMED;
}

// is_host_name also takes the underscores of container names. What ends like an IPv4 address must
// be one: resolvers read 10.1 as 10.0.0.1.
static bool is_host_name(struct slice s)
{
    struct slice rest = s, label = {0};
    while (rest.data) {
        label = slice_token(&rest, '.');
        if (!all_of(label, "-_") || label.len > 63 || label.data[0] == '-')
            return false;
    }
    return is_ip(AF_INET, s) || !is_number(label);
}

static bool is_host(struct slice s)
{
    return is_host_name(s) || is_ip(AF_INET6, s);
}

static bool is_address(struct slice s)
{
    unsigned long long port;
    const char *colon = s.len ? memrchr(s.data, ':', s.len) : NULL;
    if (!colon)
        return false;
    struct slice host = {s.data, (size_t)(colon - s.data)};
    struct slice digits = {colon + 1, s.len - host.len - 1};
    if (slice_number(digits, 65535, &port))
        return false;
    if (host.len < 2 || host.data[0] != '[')
        return is_host_name(host);
    return host.data[host.len - 1] == ']' &&
           is_ip(AF_INET6, (struct slice){host.data + 1, host.len - 2});
}

static bool is_hexadecimal(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool all_hexadecimal(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_hexadecimal(s.data[i]))
            return false;
    return true;
}

// is_list is true if `is_item` is, of each item between commas.
static bool is_list(struct slice list, bool (*is_item)(struct slice item))
{
    struct slice rest = list;
    while (rest.data)
        if (!is_item(slice_trim(slice_token(&rest, ','))))
            return false;
    return true;
}

// is_prefix: not empty, for that would be everything, and %XX only where it is complete.
static bool is_prefix(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == ' ' || s.data[i] == '\t') // no other control byte comes out of a file
            return false;
        if (s.data[i] == '%' &&
            (i + 2 >= s.len || !is_hexadecimal(s.data[i + 1]) || !is_hexadecimal(s.data[i + 2])))
            return false;
    }
    return s.len > 0;
}

// is_origin: scheme, host, and the port if it is not the scheme's; as browsers write it.
static bool is_origin(struct slice s)
{
    struct slice scheme = slice_starts(s, SLICE("https://")) ? SLICE("https://") : SLICE("http://");
    if (!slice_starts(s, scheme))
        return false;
    struct slice rest = {s.data + scheme.len, s.len - scheme.len};
    return is_address(rest) || is_host(rest) ||
           (rest.len > 2 && rest.data[0] == '[' && rest.data[rest.len - 1] == ']' &&
            is_ip(AF_INET6, (struct slice){rest.data + 1, rest.len - 2}));
}

static bool is_well_formed(const struct option *o, struct slice value)
{
    switch (o->type) {
    case OPTION_HOST:
        return is_host(value);
    case OPTION_ADDRESS:
        return is_address(value);
    case OPTION_DATABASE:
        return all_of(value, "_$-");
    case OPTION_HASH:
        return all_hexadecimal(value);
    case OPTION_PREFIXES:
        return is_list(value, is_prefix);
    case OPTION_ORIGINS:
        return is_list(value, is_origin);
    default:
        return memchr(value.data, 0, value.len) == NULL;
    }
}

static enum error set_text(const struct option *o, void *base, struct slice value)
{
    if (value.len < o->min || value.len > o->max)
        return ERROR_TOO_LARGE;
    if (value.len && !is_well_formed(o, value))
        return ERROR_MALFORMED;
    char *text = value.len ? strndup(value.data, value.len) : NULL;
    if (value.len && !text)
        return ERROR_MEMORY;
    option_set_text(o, base, text);
    return ERROR_NONE;
}

enum error option_set(const struct option *o, void *base, struct slice value)
{
    if (option_is_text(o))
        return set_text(o, base, value);
    unsigned long long number;
    enum error error = parse_number(o, value, &number);
    if (!error)
        set_number(o, base, number);
    return error;
}

bool option_is_set(const struct option *o, const void *base)
{
    if (option_is_text(o))
        return option_text(o, base) || o->min == 0;
    return o->zero || number_in(o, base) >= o->min;
}

bool option_equal(const struct option *o, const void *a, const void *b)
{
    if (!option_is_text(o))
        return number_in(o, a) == number_in(o, b);
    const char *x = option_text(o, a), *y = option_text(o, b);
    return x && y ? strcmp(x, y) == 0 : x == y;
}

void option_copy(const struct option *o, void *to, const void *from)
{
    set_number(o, to, number_in(o, from));
}

bool options_equal(enum option_section section, const void *a, const void *b)
{
    size_t count;
    const struct option *o = options_of(section, &count);
    for (size_t i = 0; i < count; i++)
        if (!option_equal(&o[i], a, b))
            return false;
    return true;
}

static enum error copy_any(const struct option *o, void *to, const void *from)
{
    if (!option_is_text(o)) {
        option_copy(o, to, from);
        return ERROR_NONE;
    }
    const char *text = option_text(o, from);
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        return ERROR_MEMORY;
    option_set_text(o, to, copy);
    return ERROR_NONE;
}

enum error options_copy(enum option_section section, void *to, const void *fixed, const void *from)
{
    size_t count;
    const struct option *o = options_of(section, &count);
    enum error error = ERROR_NONE;
    for (size_t i = 0; i < count && !error; i++)
        error = copy_any(&o[i], to, o[i].reload ? from : fixed);
    return error;
}

void options_fini(enum option_section section, void *base)
{
    size_t count;
    const struct option *o = options_of(section, &count);
    for (size_t i = 0; i < count; i++)
        if (option_is_text(&o[i]))
            option_set_text(&o[i], base, NULL);
}

static void show_number(const struct option *o, unsigned long long number, struct bytes *out)
{
    const struct unit *unit = units_of(o);
    while (number % unit->factor || (number == 0 && *unit->suffix))
        unit++;
    bytes_append_number(out, number / unit->factor);
    bytes_append_text(out, unit->suffix);
}

static void show_text(const struct option *o, const char *text, struct bytes *out)
{
    if (text && *text)
        bytes_append_text(out, o->secret ? "********" : text);
}

void option_show(const struct option *o, const void *base, struct bytes *out)
{
    if (option_is_text(o)) {
        show_text(o, option_text(o, base), out);
        return;
    }
    unsigned long long number = number_in(o, base);
    if (o->zero && number == 0)
        bytes_append_text(out, o->zero);
    else if (words_of(o))
        bytes_append_text(out, words_of(o)->word[number]);
    else
        show_number(o, number, out);
}

static void accept_bounds(const struct option *o, struct bytes *out)
{
    show_number(o, o->min, out);
    bytes_append_text(out, " to ");
    show_number(o, o->max, out);
}

void option_accepts(const struct option *o, struct bytes *out)
{
    switch (o->type) { // GCOVR_EXCL_BR_LINE: all are there
    case OPTION_BOOLEAN:
        bytes_append_text(out, "yes or no");
        break;
    case OPTION_LEVEL:
        bytes_append_text(out, "error, warn, info or debug");
        break;
    case OPTION_TLS:
        bytes_append_text(out, "off or required");
        break;
    case OPTION_INTEGER:
        accept_bounds(o, out);
        break;
    case OPTION_SIZE:
        accept_bounds(o, out);
        bytes_append_text(out, " bytes (K and M allowed)");
        break;
    case OPTION_DURATION:
        accept_bounds(o, out);
        bytes_append_text(out, " (a number is ms)");
        break;
    case OPTION_HOST:
        bytes_append_text(out, "a host name, an IPv4 or an IPv6 address, without the port");
        break;
    case OPTION_ADDRESS:
        bytes_append_text(out, "host:port or [IPv6]:port, port 0 to 65535");
        break;
    case OPTION_DATABASE:
        bytes_format(out, "%llu to %llu letters, digits, _, $ or -", o->min, o->max);
        break;
    case OPTION_HASH:
        bytes_append_text(out, "64 hexadecimal digits");
        break;
    case OPTION_PREFIXES:
        bytes_append_text(out, "prefixes of keys, percent-encoded, with commas between, or *");
        break;
    case OPTION_ORIGINS:
        bytes_append_text(out, "origins such as https://example.com:8443, with commas between");
        break;
    case OPTION_STRING:
    case OPTION_PATH:
        bytes_format(out, "%s%llu to %llu bytes", o->type == OPTION_PATH ? "a path of " : "",
                     o->min, o->max);
        break;
    }
    if (o->zero)
        bytes_format(out, ", or %s", o->zero);
}

static const char *noun_of(const struct option *o)
{
    switch (o->type) {
    case OPTION_INTEGER:
        return "not a whole number";
    case OPTION_SIZE:
        return "not a size";
    case OPTION_DURATION:
        return "not a duration";
    case OPTION_LEVEL:
        return "not a level";
    case OPTION_HOST:
        return "not a host";
    case OPTION_ADDRESS:
        return "not an address";
    case OPTION_DATABASE:
        return "not the name of a database";
    case OPTION_HASH:
        return "not a SHA-256";
    case OPTION_PREFIXES:
        return "not prefixes";
    case OPTION_ORIGINS:
        return "not origins";
    default:
        return "not understood";
    }
}

void option_explain(const struct option *o, struct slice value, enum error error, struct bytes *out)
{
    if (value.len == 0)
        bytes_append_text(out, "empty");
    else if (error == ERROR_TOO_LARGE)
        bytes_append_text(out, !option_is_text(o)   ? "out of bounds"
                               : value.len < o->min ? "too short"
                                                    : "too long");
    else
        bytes_append_text(out, noun_of(o));
    bytes_append_text(out, "; ");
    option_accepts(o, out);
}

void options_title(enum option_section section, struct bytes *out)
{
    static const char *const titles[] = {"store", "server", "sync", "partition-N", "token-NAME"};
    bytes_append_text(out, titles[section]);
}
