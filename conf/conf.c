// SPDX-License-Identifier: MIT
// The file becomes a struct conf in steps: ini yields the items, each item finds its option and is
// stored, what was left out gets its default, then come the rules between options. Every step adds
// its faults and goes on, so that one run tells all.
#include "conf/conf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "conf/faults.h"
#include "conf/ini.h"
#include "conf/options.h"
#include "conf/password.h"
#include "conf/place.h"
#include "conf/secret.h"

enum {
    FILE_MAX = 1 << 20, // bytes; a thousand partitions need a quarter of it
};

// Where the file speaks of one section: lines, 0 = nowhere.
struct lines {
    unsigned header;
    unsigned option[OPTIONS_MAX];
};

// One conf_parse. Like struct bytes it remembers a failed allocation.
struct reading {
    const char *path;
    bool test;
    bool no_memory;
    struct conf *conf;   // with room for all partitions
    struct lines *lines; // [PLACES]
    struct ini ini;
    struct faults faults;
};

// append_shown appends a value from the file for a message, at most 80 bytes of it.
static void append_shown(struct slice value, struct bytes *out)
{
    bool cut = value.len > 80;
    if (cut)
        value.len = 80;
    log_escape(out, value);
    if (cut)
        bytes_append_text(out, "...");
}

static const struct option *find_option(size_t place, const char *name)
{
    const struct option *o = option_find(place_section(place), slice_of(name));
    assert(o);
    return o;
}

static unsigned *line_of(struct reading *r, size_t place, const struct option *o)
{
    size_t count;
    size_t at = (size_t)(o - options_of(o->section, &count));
    assert(at < count);
    return &r->lines[place].option[at];
}

// given returns the line of an option, 0 if it was left out.
static unsigned given(struct reading *r, size_t place, const char *name)
{
    return *line_of(r, place, find_option(place, name));
}

// complain begins a fault about an option, or about a whole section if `name` is NULL.
static struct bytes *complain(struct reading *r, unsigned line, size_t place, const char *name)
{
    struct bytes *out = faults_add(&r->faults, line);
    place_title(r->conf, place, out);
    if (name)
        bytes_format(out, " %s", name);
    bytes_append_text(out, ": ");
    return out;
}

// complain_of_value is complain that shows the value, unless it is secret.
static struct bytes *complain_of_value(struct reading *r, unsigned line, size_t place,
                                       const struct option *o, struct slice value)
{
    if (o->secret)
        return complain(r, line, place, o->name);
    struct bytes *out = faults_add(&r->faults, line);
    place_title(r->conf, place, out);
    bytes_format(out, " %s =%s", o->name, value.len ? " " : "");
    append_shown(value, out);
    bytes_append_text(out, ": ");
    return out;
}

// Reading the items ------------------------------------------------------------------------------

static void take_header(struct reading *r, const struct ini_item *item)
{
    size_t place = place_find(r->conf, item->section);
    if (place < PLACES) {
        if (!r->lines[place].header)
            r->lines[place].header = item->line;
        return;
    }
    if (item->wrong)
        return;
    struct bytes *out = faults_add(&r->faults, item->line);
    bytes_append_char(out, '[');
    log_escape(out, item->section);
    bytes_format(out,
                 "]: unknown section; [store], [server], [sync], [partition-1] to [partition-%d], "
                 "[token-NAME], at most %d of them, NAME of at most %d of a-z, 0-9, - and _",
                 CONF_PARTITIONS_MAX, CONF_TOKENS_MAX, CONF_TOKEN_NAME_MAX);
}

static void refuse_unknown(struct reading *r, size_t place, const struct ini_item *item)
{
    struct bytes *out = faults_add(&r->faults, item->line);
    place_title(r->conf, place, out);
    bytes_append_char(out, ' ');
    append_shown(item->name, out);
    bytes_append_text(out, ": unknown option; ");
    size_t count;
    const struct option *o = options_of(place_section(place), &count);
    for (size_t i = 0; i < count; i++)
        bytes_format(out, "%s%s", i ? ", " : "", o[i].name);
}

static void take_option(struct reading *r, const struct ini_item *item)
{
    size_t place = place_find(r->conf, item->section);
    if (place == PLACES)
        return; // its header is the fault
    const struct option *o = option_find(place_section(place), item->name);
    if (!o) {
        refuse_unknown(r, place, item);
        return;
    }
    unsigned *line = line_of(r, place, o);
    if (*line)
        return; // a duplicate, which ini told
    *line = item->line;
    if (item->wrong)
        return;
    enum error error = option_set(o, place_base(r->conf, place), item->value);
    if (error == ERROR_MEMORY)
        r->no_memory = true;
    else if (error)
        option_explain(o, item->value, error,
                       complain_of_value(r, item->line, place, o, item->value));
}

static void take_items(struct reading *r)
{
    for (size_t i = 0; i < r->ini.count; i++) {
        const struct ini_item *item = &r->ini.item[i];
        if (item->name.len)
            take_option(r, item);
        else
            take_header(r, item);
    }
}

// What was left out ------------------------------------------------------------------------------

// has_left: a section with `weight = 0` and no server keeps the number of a partition that is gone.
static bool has_left(struct reading *r, size_t place)
{
    const struct conf_partition *p = place_base_in(r->conf, place);
    return place_section(place) == OPTION_PARTITION && given(r, place, "weight") &&
           p->weight == 0 && !given(r, place, "host") && !given(r, place, "socket");
}

static void add_default(struct reading *r, size_t place, const struct option *o)
{
    if (*line_of(r, place, o))
        return;
    if (!o->fallback && has_left(r, place))
        return;
    if (!o->fallback) {
        unsigned header = r->lines[place].header;
        struct bytes *out = complain(r, header ? header : r->ini.lines, place, o->name);
        bytes_append_text(out, "missing; ");
        option_accepts(o, out);
        return;
    }
    if (o->min > 0 && !*o->fallback)
        return; // not there
    enum error error = option_set(o, place_base(r->conf, place), slice_of(o->fallback));
    assert(error == ERROR_NONE || error == ERROR_MEMORY);
    r->no_memory = r->no_memory || error;
}

static void add_defaults(struct reading *r)
{
    for (size_t place = 0; place < PLACES; place++) {
        if (place >= PLACE_PARTITION && !r->lines[place].header)
            continue; // not there
        size_t count;
        const struct option *o = options_of(place_section(place), &count);
        for (size_t i = 0; i < count; i++)
            add_default(r, place, &o[i]);
    }
}

// The rules between options ----------------------------------------------------------------------

static bool is_here(const struct reading *r, size_t id)
{
    return r->lines[PLACE_PARTITION + id - 1].header;
}

// count_weighed returns how many partitions the store is to have.
static unsigned count_weighed(const struct reading *r)
{
    unsigned count = 0;
    for (unsigned i = 0; i < r->conf->store.partitions; i++)
        count += !is_here(r, i + 1) || r->conf->partition[i].weight > 0; // which is another fault
    return count;
}

static void check_weights(struct reading *r)
{
    if (r->conf->store.partitions && count_weighed(r) == 0 && !faults_any(&r->faults))
        bytes_append_text(
            complain(r, given(r, PLACE_STORE, "partitions"), PLACE_STORE, "partitions"),
            "none has a weight; at least one with weight = 1");
}

static void check_write_acks(struct reading *r)
{
    const struct conf_store *store = &r->conf->store;
    unsigned replicas = store->replicas ? store->replicas : count_weighed(r);
    if (replicas && store->write_acks > replicas)
        bytes_format(complain(r, given(r, PLACE_STORE, "write_acks"), PLACE_STORE, "write_acks"),
                     "%u, more than there are replicas; at most %u", store->write_acks, replicas);
}

static void check_replicas(struct reading *r)
{
    const struct conf_store *store = &r->conf->store;
    unsigned weighed = count_weighed(r);
    if (store->partitions && store->replicas > store->partitions)
        bytes_format(complain(r, given(r, PLACE_STORE, "replicas"), PLACE_STORE, "replicas"),
                     "%u, more than partitions = %u; at most that, or all", store->replicas,
                     store->partitions);
    else if (weighed && store->replicas > weighed && !faults_any(&r->faults))
        bytes_format(complain(r, given(r, PLACE_STORE, "replicas"), PLACE_STORE, "replicas"),
                     "%u, more than the %u partitions with a weight; at most that, or all",
                     store->replicas, weighed);
}

// refuse_missing tells of each run of partitions without a section.
static void refuse_missing(struct reading *r)
{
    size_t partitions = r->conf->store.partitions;
    for (size_t id = 1; id <= partitions; id++) {
        if (is_here(r, id))
            continue;
        size_t last = id;
        while (last < partitions && !is_here(r, last + 1))
            last++;
        struct bytes *out = faults_add(&r->faults, r->ini.lines);
        bytes_format(out, "[partition-%zu]", id);
        if (last > id)
            bytes_format(out, " to [partition-%zu]", last);
        bytes_format(out, ": missing; every one of partitions = %zu needs its section", partitions);
        id = last;
    }
}

static void refuse_beyond(struct reading *r)
{
    size_t partitions = r->conf->store.partitions;
    for (size_t id = partitions + 1; id <= CONF_PARTITIONS_MAX; id++)
        if (is_here(r, id)) {
            size_t place = PLACE_PARTITION + id - 1;
            bytes_format(complain(r, r->lines[place].header, place, NULL),
                         "beyond partitions = %zu; raise partitions, or remove the section",
                         partitions);
        }
}

static void check_server_of(struct reading *r, size_t place)
{
    unsigned host = given(r, place, "host"), port = given(r, place, "port");
    unsigned socket = given(r, place, "socket");
    struct conf_partition *p = place_base(r->conf, place);
    if (host && socket)
        bytes_append_text(complain(r, socket > host ? socket : host, place, NULL),
                          "both host and socket; keep one of them");
    if (!host && !socket && !has_left(r, place))
        bytes_append_text(complain(r, r->lines[place].header, place, NULL),
                          "neither host nor socket; give one of them");
    if (socket && port && !host)
        bytes_append_text(complain(r, port, place, "port"),
                          "there is none with a socket; remove one of them");
    if (socket && !host)
        p->port = 0;
}

// check_pair: of the two options neither is of use without the other.
static void check_pair(struct reading *r, size_t place, const char *one, const char *other)
{
    if (!given(r, place, one) == !given(r, place, other))
        return;
    const char *here = given(r, place, one) ? one : other;
    bytes_format(complain(r, given(r, place, here), place, here), "of no use without %s",
                 here == one ? other : one);
}

// check_secret tells what is wrong with a file that only its owner may see into.
static void check_secret(struct reading *r, size_t place, const char *name)
{
    const struct option *o = find_option(place, name);
    const char *path = option_text(o, place_base(r->conf, place));
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
    const char *problem = fd < 0 ? strerror(errno) : secret_problem(fd);
    if (path && problem)
        bytes_format(complain_of_value(r, *line_of(r, place, o), place, o, slice_of(path)),
                     "%s; a file with chmod 600", problem);
    if (fd >= 0)
        close(fd);
}

// check_tls: a socket does not leave the machine, and who verifies needs to know by what.
static void check_tls(struct reading *r, size_t place)
{
    static const char *const of_tls[] = {"tls_ca", "tls_certificate", "tls_key"};
    const struct conf_partition *p = place_base(r->conf, place);
    bool required = p->tls == CONF_TLS_REQUIRED;
    if (required && given(r, place, "socket"))
        bytes_append_text(complain(r, given(r, place, "tls"), place, "tls"),
                          "not for a socket; it stays on this machine");
    else if (required && !given(r, place, "tls_ca"))
        bytes_append_text(complain(r, given(r, place, "tls"), place, "tls"),
                          "required without tls_ca; a file of certificates to trust");
    for (size_t i = 0; !required && i < sizeof of_tls / sizeof *of_tls; i++)
        if (given(r, place, of_tls[i]))
            bytes_append_text(complain(r, given(r, place, of_tls[i]), place, of_tls[i]),
                              "of no use without tls = required");
    check_pair(r, place, "tls_certificate", "tls_key");
    check_secret(r, place, "tls_key");
}

// append_directory appends where relative paths begin: the directory of the file, made absolute.
static bool append_directory(const char *path, struct bytes *out)
{
    char here[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (path[0] != '/') {
        if (!getcwd(here, sizeof here))
            return false;
        bytes_append_text(out, here);
        bytes_append_char(out, '/');
    }
    if (slash)
        bytes_append(out, path, (size_t)(slash - path) + 1);
    return true;
}

// resolve_path makes a path absolute.
static void resolve_path(struct reading *r, size_t place, const struct option *o)
{
    struct bytes full = {0};
    void *base = place_base(r->conf, place);
    const char *path = option_text(o, base);
    if (!path || path[0] == '/')
        return;
    bool known = append_directory(r->path, &full);
    bytes_append(&full, path, strlen(path) + 1);
    if (bytes_failed(&full)) {
        r->no_memory = true;
    } else if (!known || full.len - 1 > o->max ||
               !ini_holds((struct slice){full.data, full.len - 1})) {
        bytes_format(complain_of_value(r, *line_of(r, place, o), place, o, slice_of(path)),
                     "cannot be taken from the directory of this file; an absolute path of at most "
                     "%llu bytes",
                     o->max);
        option_set_text(o, base, NULL);
    } else {
        option_set_text(o, base, full.data);
        return; // which took the bytes
    }
    bytes_fini(&full);
}

static void resolve_paths(struct reading *r, size_t place)
{
    size_t count;
    const struct option *o = options_of(place_section(place), &count);
    for (size_t i = 0; i < count; i++)
        if (o[i].type == OPTION_PATH)
            resolve_path(r, place, &o[i]);
}

static void read_password(struct reading *r, size_t place)
{
    const struct option *o = find_option(place, "password_file");
    struct conf_partition *p = place_base(r->conf, place);
    unsigned line = given(r, place, "password");
    char *password = NULL;
    const char *why;
    if (line && *line_of(r, place, o)) {
        if (line < *line_of(r, place, o))
            line = *line_of(r, place, o);
        bytes_append_text(complain(r, line, place, NULL),
                          "both password and password_file; keep one of them");
        return;
    }
    enum error error = ERROR_NONE;
    if (p->password_file)
        error = password_read(p->password_file, &password, &why);
    if (error == ERROR_MALFORMED)
        bytes_format(
            complain_of_value(r, *line_of(r, place, o), place, o, slice_of(p->password_file)),
            "%s; a file of one line, the password, chmod 600", why);
    if (!error && !p->password_file && !p->password)
        error = (password = strdup("")) ? ERROR_NONE : ERROR_MEMORY;
    if (error == ERROR_MEMORY)
        r->no_memory = true;
    if (password)
        option_set_text(find_option(place, "password"), p, password);
}

// set_test_database puts test_ in front of the database.
static void set_test_database(struct reading *r, size_t place, const struct option *o)
{
    struct conf_partition *p = place_base(r->conf, place);
    char *name;
    if (strncmp(p->database, "test_", 5) == 0)
        return;
    if (strlen(p->database) + 5 > o->max) {
        bytes_append_text(
            complain_of_value(r, *line_of(r, place, o), place, o, slice_of(p->database)),
            "too long to have test_ in front; at most 59 bytes");
        return;
    }
    if (asprintf(&name, "test_%s", p->database) < 0) {
        r->no_memory = true;
        return;
    }
    option_set_text(o, p, name);
    assert(strncmp(p->database, "test_", 5) == 0);
}

static void check_database(struct reading *r, size_t place)
{
    const struct option *o = find_option(place, "database");
    struct conf_partition *p = place_base(r->conf, place);
    if (!p->database)
        return; // it was refused
    if (r->test) {
        set_test_database(r, place, o);
        return;
    }
    // In any case of letters: a server may ignore the case of names.
    if (strncasecmp(p->database, "test_", 5) == 0)
        bytes_append_text(
            complain_of_value(r, *line_of(r, place, o), place, o, slice_of(p->database)),
            "a database for tests; another name, or SHERD_ENV=test");
}

bool conf_same_server(const struct conf_partition *a, const struct conf_partition *b)
{
    if (a->socket || b->socket)
        return a->socket && b->socket && strcmp(a->socket, b->socket) == 0;
    return a->host && b->host && a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

bool conf_same_database(const struct conf_partition *a, const struct conf_partition *b)
{
    return a->database && b->database && strcasecmp(a->database, b->database) == 0 &&
           conf_same_server(a, b);
}

// check_distinct refuses a partition that is where an earlier one is.
static void check_distinct(struct reading *r, size_t place)
{
    const struct conf_partition *partition = r->conf->partition;
    size_t at = place - PLACE_PARTITION;
    for (size_t i = 0; i < at; i++)
        if (conf_same_database(&partition[i], &partition[at])) {
            bytes_format(complain(r, r->lines[place].header, place, NULL),
                         "the same server and database as [partition-%zu]; each needs its own",
                         i + 1);
            return;
        }
}

static void check_partition(struct reading *r, size_t place)
{
    struct conf_partition *p = place_base(r->conf, place);
    p->id = (unsigned)(place - PLACE_PARTITION + 1);
    check_server_of(r, place);
    resolve_paths(r, place);
    check_tls(r, place);
    read_password(r, place);
    check_database(r, place);
    check_distinct(r, place);
}

static bool same_hash(const struct conf_token *a, const struct conf_token *b)
{
    return a->sha256 && b->sha256 && strcasecmp(a->sha256, b->sha256) == 0;
}

static void check_token(struct reading *r, size_t place)
{
    const struct conf_token *token = place_base(r->conf, place);
    // Not if one of them was refused, which was told.
    if (!token->read && !token->write && !token->admin && !faults_any(&r->faults))
        bytes_append_text(complain(r, r->lines[place].header, place, NULL),
                          "neither read nor write nor admin; it may do nothing");
    for (const struct conf_token *other = r->conf->token; other < token; other++)
        if (same_hash(other, token)) {
            bytes_format(complain(r, given(r, place, "sha256"), place, "sha256"),
                         "that of [token-%s]; each needs its own", other->name);
            return;
        }
}

// is_loopback tells whether only this machine can reach an address to listen on.
static bool is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]:", 6) == 0 ||
           strncasecmp(listen, "localhost:", 10) == 0;
}

// check_listen: without tokens everybody who can connect may do everything.
static void check_listen(struct reading *r)
{
    const struct conf_server *server = &r->conf->server;
    if (server->listen && !is_loopback(server->listen) && !r->conf->tokens && !server->insecure)
        bytes_append_text(
            complain_of_value(r, given(r, PLACE_SERVER, "listen"), PLACE_SERVER,
                              find_option(PLACE_SERVER, "listen"), slice_of(server->listen)),
            "others could connect and there is no [token-NAME]; tokens, a loopback address, or "
            "insecure = yes");
}

// check_memory: a cache that is full must leave room for requests.
static void check_memory(struct reading *r)
{
    const struct conf_server *server = &r->conf->server;
    if (server->memory && server->memory / 2 < server->cache)
        bytes_append_text(complain(r, given(r, PLACE_SERVER, "memory"), PLACE_SERVER, "memory"),
                          "less than twice the cache; more, or 0 for no limit");
}

static void check_rules(struct reading *r)
{
    check_weights(r);
    check_replicas(r);
    check_write_acks(r);
    if (r->conf->store.partitions) {
        refuse_missing(r);
        refuse_beyond(r);
    }
    for (size_t place = PLACE_PARTITION; place < PLACE_TOKEN; place++)
        if (r->lines[place].header)
            check_partition(r, place);
    for (size_t place = PLACE_TOKEN; place_exists(r->conf, place); place++)
        check_token(r, place);
    check_listen(r);
    check_memory(r);
    resolve_paths(r, PLACE_SERVER);
    check_pair(r, PLACE_SERVER, "tls_certificate", "tls_key");
    check_secret(r, PLACE_SERVER, "tls_key");
}

// Parsing ----------------------------------------------------------------------------------------

static enum error reading_init(struct reading *r)
{
    r->conf = calloc(1, sizeof *r->conf);
    r->lines = calloc(PLACES, sizeof *r->lines);
    if (!r->conf || !r->lines)
        return ERROR_MEMORY;
    r->conf->test = r->test;
    r->conf->partition = calloc(CONF_PARTITIONS_MAX, sizeof *r->conf->partition);
    r->conf->token = calloc(CONF_TOKENS_MAX, sizeof *r->conf->token);
    return r->conf->partition && r->conf->token ? ERROR_NONE : ERROR_MEMORY;
}

static void reading_fini(struct reading *r)
{
    if (r->conf) {
        r->conf->store.partitions = CONF_PARTITIONS_MAX; // any of them may hold something
        conf_free(&r->conf);
    }
    free(r->lines);
    ini_fini(&r->ini);
    faults_fini(&r->faults);
}

// reading_take returns the conf of a reading without faults, and no more room than it needs.
static struct conf *reading_take(struct reading *r)
{
    struct conf *conf = r->conf;
    r->conf = NULL;
    struct conf_partition *fit =
        realloc(conf->partition, conf->store.partitions * sizeof *conf->partition);
    if (fit)
        conf->partition = fit;
    return conf; // the tokens keep their room
}

enum error conf_parse(const char *path, struct slice text, bool test, struct conf **conf,
                      struct bytes *why)
{
    struct reading r = {.path = path, .test = test};
    *conf = NULL;
    enum error error = reading_init(&r);
    if (!error)
        error = ini_read(text, &r.ini, &r.faults);
    if (!error) {
        take_items(&r);
        add_defaults(&r);
        check_rules(&r);
        if (r.no_memory)
            error = ERROR_MEMORY;
        else if (faults_any(&r.faults))
            error = faults_write(&r.faults, path, why) ? ERROR_MEMORY : ERROR_MALFORMED;
        else
            *conf = reading_take(&r);
    }
    reading_fini(&r);
    return error;
}

// Reading the file -------------------------------------------------------------------------------

static enum error read_environment(bool *test, struct bytes *why)
{
    const char *name = getenv("SHERD_ENV");
    *test = name && strcmp(name, "test") == 0;
    if (!name || !*name || *test || strcmp(name, "production") == 0)
        return ERROR_NONE;
    bytes_append_text(why, "SHERD_ENV: ");
    append_shown(slice_of(name), why);
    bytes_append_text(why, " is unknown; test or production, which it is when unset\n");
    return bytes_failed(why) ? ERROR_MEMORY : ERROR_MALFORMED;
}

// read_text reads the open file into `data`, FILE_MAX + 1 bytes of room.
static enum error read_text(int fd, char *data, size_t *len)
{
    *len = 0;
    while (*len <= FILE_MAX) {
        ssize_t n = read(fd, data + *len, FILE_MAX + 1 - *len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERROR_SYSTEM;
        if (n == 0)
            return ERROR_NONE;
        *len += (size_t)n;
    }
    return ERROR_TOO_LARGE;
}

// refuse_open: what a file says that others may change is not to be done, and what it says may be
// secret.
static enum error refuse_open(const char *path, int fd, struct bytes *why)
{
    const char *problem = secret_problem(fd);
    if (!problem)
        return ERROR_NONE;
    bytes_format(why, "%s: %s; chmod 600\n", path, problem);
    return bytes_failed(why) ? ERROR_MEMORY : ERROR_MALFORMED;
}

static enum error read_open(const char *path, int fd, struct conf **conf, struct bytes *why)
{
    bool test;
    size_t len = 0;
    char *data = malloc(FILE_MAX + 1);
    enum error error = data ? read_environment(&test, why) : ERROR_MEMORY;
    if (!error)
        error = refuse_open(path, fd, why);
    if (!error)
        error = read_text(fd, data, &len);
    if (error == ERROR_TOO_LARGE) {
        bytes_format(why, "%s: too long; at most %d bytes\n", path, FILE_MAX);
        error = bytes_failed(why) ? ERROR_MEMORY : ERROR_MALFORMED;
    }
    if (!error)
        error = conf_parse(path, (struct slice){data, len}, test, conf, why);
    if (data)
        explicit_bzero(data, len);
    free(data);
    return error;
}

enum error conf_read(const char *path, struct conf **conf, struct bytes *why)
{
    *conf = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    enum error error = fd < 0 ? ERROR_SYSTEM : read_open(path, fd, conf, why);
    if (error == ERROR_SYSTEM) {
        int saved = errno;
        bytes_format(why, "%s: %s; a configuration file that may be read\n", path, strerror(saved));
        errno = saved;
        if (bytes_failed(why))
            error = ERROR_MEMORY;
    }
    if (fd >= 0)
        close(fd);
    return error;
}

struct conf *conf_load(const char *path, int *exit_code)
{
    struct conf *conf;
    struct bytes why = {0};
    enum error error = conf_read(path, &conf, &why);
    if (error == ERROR_MEMORY)
        fprintf(stderr, "%s: %s\n", path, error_text(error));
    else if (error)
        fprintf(stderr, "%.*s", (int)why.len, why.data);
    if (error)
        *exit_code = error == ERROR_MEMORY ? EXIT_OTHER : EXIT_CONFIG;
    bytes_fini(&why);
    return conf;
}

void conf_free(struct conf **conf)
{
    if (!*conf)
        return;
    for (size_t place = 0; place < PLACES; place++)
        if (place_exists(*conf, place))
            options_fini(place_section(place), place_base(*conf, place));
    for (struct conf_retired *next; (*conf)->retired; (*conf)->retired = next) {
        next = (*conf)->retired->next;
        place_free_retired(*conf, &(*conf)->retired);
    }
    free((*conf)->partition);
    free((*conf)->token);
    free(*conf);
    *conf = NULL;
}
