// SPDX-License-Identifier: MIT
// sherd-server: reads the configuration, looks at the partitions, starts the workers, and waits for
// signals: SIGTERM and SIGINT stop it, SIGHUP reloads the configuration.
#include <argp.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <libxml/parser.h>
#include <mysql.h>
#include <netdb.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/process.h"
#include "base/random.h"
#include "base/release.h"
#include "conf/conf.h"
#include "server/page.h"
#include "server/tls.h"
#include "server/worker.h"
#include "store/connection.h"
#include "store/placing.h"

enum {
    FIRST_LOOK_MS = 2000, // how long the start waits for partitions before it goes on without them
    FILES = 32,           // open besides connections: the log, files that are read
    THREAD_FILES = 8,     // of each thread: its event loop, its listener, who is being refused
};

struct arguments {
    const char *config;
    bool check_config;
    bool print_config;
    const char *new_token;
};

const char *argp_program_version = "sherd-server " SHERD_VERSION;

static error_t parse_argument(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->config = value;
        return 0;
    case 'C':
        arguments->check_config = true;
        return 0;
    case 'p':
        arguments->print_config = true;
        return 0;
    case 't':
        if (!conf_is_token_name(slice_of(value)))
            argp_error(state, "a token's name has 1 to %d of a-z, 0-9, - and _",
                       CONF_TOKEN_NAME_MAX);
        arguments->new_token = value;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument: %s", value);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "read the configuration from FILE (configuration.cfg)", 0},
    {"check-config", 'C', NULL, 0, "check the configuration and exit: 0 right, 78 wrong, 1 failed",
     0},
    {"print-config", 'p', NULL, 0, "print the configuration with all defaults and exit", 0},
    {"new-token", 't', "NAME", 0, "make a token, print it and its section, and exit", 0},
    {0},
};

static const struct argp argp = {
    .options = options,
    .parser = parse_argument,
    .doc =
        "One HTTP key-value store over MariaDB servers.\v"
        "SIGTERM stops it after the requests under way, SIGHUP reloads the configuration. "
        "Exit: 0 stopped, 1 failed, 64 usage, 78 configuration or partition that can never work.",
};

// ---------------------------------------------------------------- configuration

// printed returns what to end with once everything was written to standard output, or not.
static int printed(bool written)
{
    if (written && fflush(stdout) == 0)
        return EXIT_OK;
    log_write(LOG_ERROR, "standard output: %s", strerror(errno));
    return EXIT_OTHER;
}

static int print_conf(const struct conf *conf)
{
    struct bytes text = {0};
    conf_print(conf, &text);
    if (bytes_failed(&text))
        errno = ENOMEM;
    int code = printed(!bytes_failed(&text) && fwrite(text.data, 1, text.len, stdout) == text.len);
    bytes_fini(&text);
    return code;
}

// print_token makes a token of 256 random bits. It is not kept anywhere.
static int print_token(const char *name)
{
    unsigned char secret[32], hash[crypto_hash_sha256_BYTES];
    char text[sodium_base64_ENCODED_LEN(sizeof secret, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    char hex[2 * sizeof hash + 1];
    random_secret(secret, sizeof secret);
    sodium_bin2base64(text, sizeof text, secret, sizeof secret,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    crypto_hash_sha256(hash, (unsigned char *)text, strlen(text));
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    bool written = printf("# Give this to whoever is to use it; it cannot be shown again:\n"
                          "#   Authorization: Bearer %s\n"
                          "[token-%s]\n"
                          "sha256 = %s\n"
                          "read = *\n"
                          "write =\n"
                          "admin = no\n"
                          "rate = 0\n",
                          text, name, hex) > 0;
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(text, sizeof text);
    return printed(written);
}

static void open_access_log(struct workers *all)
{
    const char *path = all->conf->server.access_log;
    int fd = -1;
    if (path && strcmp(path, "-") == 0)
        fd = dup(STDOUT_FILENO);
    else if (path)
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (path && fd < 0)
        log_write(LOG_ERROR, "access log %s: %s", path, strerror(errno));
    if (path && fd < 0)
        return; // the one before goes on
    // A worker may be writing to the one before: that becomes another file under the same number,
    // and is never closed, so that the number cannot become somebody's connection.
    int old = all->access_log_fd;
    if (old >= 0 && fd >= 0 && dup3(fd, old, O_CLOEXEC) == old) {
        close(fd);
        fd = old;
    }
    if (fd >= 0)
        all->access_log_fd = fd;
    atomic_store(&all->access_log, fd);
}

static bool is_loopback(const struct workers *all)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&all->listen;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&all->listen;
    if (all->listen.ss_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

static void warn_if_insecure(const struct workers *all)
{
    const struct conf *conf = all->conf;
    if (conf->tokens && !conf->server.tls_certificate && !is_loopback(all))
        log_write(LOG_WARN, "tls_certificate is not set: tokens and values travel in clear, unless "
                            "what stands in front of this server speaks TLS");
    if (conf->server.insecure && !conf->tokens)
        log_write(LOG_WARN, "insecure = yes and no token: everybody who can connect may read and "
                            "change everything");
}

// may_listen: what conf says of `listen` is a name yet, and a reload cannot change the address.
static bool may_listen(const struct workers *all, const struct conf *conf)
{
    if (conf->tokens || conf->server.insecure || is_loopback(all))
        return true;
    log_write(LOG_ERROR,
              "others can connect to the address and there is no [token-NAME]: tokens, a "
              "loopback address (after a restart), or insecure = yes");
    return false;
}

// read_identity reads what TLS of the clients needs; NULL if it is not configured. The log says
// what is wrong.
static enum error read_identity(const struct conf *conf, struct tickets *tickets,
                                struct ssl_ctx_st **identity)
{
    struct bytes why = {0};
    const struct conf_server *server = &conf->server;
    enum error error = ERROR_NONE;
    *identity = NULL;
    if (server->tls_certificate)
        error = tls_identity_new(server->tls_certificate, server->tls_key, tickets, identity, &why);
    if (error == ERROR_MEMORY)
        log_write(LOG_ERROR, "%s: %s", server->tls_certificate, error_text(error));
    else
        log_lines(LOG_ERROR, &why);
    bytes_fini(&why);
    return error;
}

// exit_of is what the program ends with that cannot begin for `error`.
static int exit_of(enum error error)
{
    return error == ERROR_MEMORY ? EXIT_OTHER : EXIT_CONFIG;
}

static bool may_read(unsigned partition, const char *path)
{
    if (!path || access(path, R_OK) == 0)
        return true;
    log_write(LOG_ERROR, "partition-%u: %s: %s", partition, path, strerror(errno));
    return false;
}

// may_read_tls_files: each connection to a partition reads them anew.
static bool may_read_tls_files(const struct conf *conf)
{
    bool may = true;
    for (unsigned i = 0; i < conf->store.partitions; i++) {
        const struct conf_partition *p = &conf->partition[i];
        may = may_read(p->id, p->tls_ca) && may;
        may = may_read(p->id, p->tls_certificate) && may;
        may = may_read(p->id, p->tls_key) && may;
    }
    return may;
}

static void reload(struct workers *all, const char *path)
{
    struct conf *fresh;
    struct ssl_ctx_st *identity;
    struct bytes why = {0};
    enum error error = conf_read(path, &fresh, &why);
    if (error) {
        if (error == ERROR_MEMORY)
            log_write(LOG_ERROR, "%s: %s", path, error_text(error));
        else
            log_lines(LOG_ERROR, &why);
        log_write(LOG_ERROR, "the old configuration stays");
        bytes_fini(&why);
        return;
    }
    if (!may_listen(all, fresh) || !may_read_tls_files(fresh) ||
        read_identity(fresh, &all->tickets, &identity)) {
        log_write(LOG_ERROR, "the old configuration stays");
        conf_free(&fresh);
        return;
    }
    pthread_mutex_lock(&all->reload_lock);
    error = conf_adopt(all->conf, fresh, &why);
    if (!error) {
        tls_identity_release(&all->tls);
        all->tls = tls_identity_hold(identity);
    }
    pthread_mutex_unlock(&all->reload_lock);
    tls_identity_release(&identity);
    log_lines(LOG_WARN, &why);
    bytes_fini(&why);
    conf_free(&fresh);
    if (error) {
        log_write(LOG_ERROR, "reload: %s", error_text(error));
        return;
    }
    log_set_level(all->conf->server.log_level);
    open_access_log(all);
    workers_reload(all);
    log_write(LOG_INFO, "configuration reloaded");
    warn_if_insecure(all);
}

// ---------------------------------------------------------------- start

// resolve_listen finds the address to listen on, tries it, and replaces port 0 by a free one. The
// workers share the address by SO_REUSEPORT, which would let a second server slip in beside them:
// this first socket has no such option and fails then.
static enum error resolve_listen(const char *listen, struct workers *all)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    const char *colon = strrchr(listen, ':');
    size_t host_len = (size_t)(colon - listen);
    char host[256];
    static const int yes = 1;
    if (host_len >= sizeof host)
        return ERROR_MALFORMED;
    bool brackets = host_len >= 2 && listen[0] == '[';
    snprintf(host, sizeof host, "%.*s", (int)(brackets ? host_len - 2 : host_len),
             brackets ? listen + 1 : listen);
    int code = getaddrinfo(host, colon + 1, &hints, &found);
    if (code) {
        log_write(LOG_ERROR, "listen = %s: %s", listen, gai_strerror(code));
        return ERROR_SYSTEM;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = found->ai_addrlen;
    memcpy(&all->listen, found->ai_addr, len);
    freeaddrinfo(found);
    bool bound = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
                 bind(fd, (struct sockaddr *)&all->listen, len) == 0 &&
                 getsockname(fd, (struct sockaddr *)&all->listen, &len) == 0;
    all->listen_len = (int)len;
    if (!bound)
        log_write(LOG_ERROR, "listen = %s: %s", listen, strerror(errno));
    if (fd >= 0)
        close(fd);
    return bound ? ERROR_NONE : ERROR_SYSTEM;
}

static void say_listening(const struct workers *all)
{
    char host[64], port[16];
    getnameinfo((const struct sockaddr *)&all->listen, (socklen_t)all->listen_len, host,
                sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    bool v6 = strchr(host, ':') != NULL;
    log_write(LOG_INFO, "sherd-server %s listening on %s%s%s:%s, %u partitions, %u threads%s%s",
              SHERD_VERSION, v6 ? "[" : "", host, v6 ? "]" : "", port, all->conf->store.partitions,
              all->count, all->tls ? ", TLS" : "", all->conf->test ? ", test mode" : "");
}

// still_starting: a partition has neither been heard nor found down.
static bool still_starting(const struct store *store)
{
    for (unsigned id = 1; id <= store_partitions(store); id++)
        if (pool_state(partition_pool(store_partition(store, id))) != POOL_DOWN &&
            !outlook_known(store_outlook(store), id))
            return true;
    return false;
}

static void run_while(struct event_base *base, bool (*condition)(const struct store *store),
                      const struct store *store)
{
    const struct timeval turn = {0, 10 * 1000};
    int64_t deadline = clock_ms() + FIRST_LOOK_MS;
    while (condition(store) && clock_ms() < deadline) {
        event_base_loopexit(base, &turn);
        event_base_loop(base, EVLOOP_ONCE);
    }
}

// may_be_placed: all partitions of a store without a placement have to be there to give it one.
static bool may_be_placed(const struct store *store)
{
    for (unsigned id = 1; id <= store_partitions(store); id++)
        if (outlook_epoch(store_outlook(store), id))
            return true;
    for (unsigned id = 1; id <= store_partitions(store); id++)
        if (store_placement(store)->now.weight[id - 1] && !outlook_is_up(store_outlook(store), id))
            return false;
    return true;
}

static bool is_claiming(const struct store *store)
{
    return !store_idle(store) || (!store_placed(store) && may_be_placed(store));
}

// wait_for_workers returns when every worker knows of every partition whether it is up, and the
// placement if there is one: what is said to be listening can then be relied on.
static void wait_for_workers(const struct workers *all, bool placed)
{
    static const struct timespec pause = {0, 1000 * 1000};
    int64_t deadline = clock_ms() + FIRST_LOOK_MS;
    for (unsigned i = 0; i < all->count; i++) {
        for (unsigned id = 1; id <= all->conf->store.partitions; id++) {
            const struct partition_stats *stats =
                partition_stats(store_partition(all->worker[i]->store, id));
            while (counter_get(&stats->state) != POOL_DOWN && !counter_get(&stats->known) &&
                   clock_ms() < deadline)
                nanosleep(&pause, NULL);
        }
        while (placed && !store_knows(all->worker[i]->store) && clock_ms() < deadline)
            nanosleep(&pause, NULL);
    }
}

static bool report_misconfigured(const struct store *store)
{
    bool wrong = false;
    for (unsigned id = 1; id <= store_partitions(store); id++) {
        const struct pool *pool = partition_pool(store_partition(store, id));
        if (!pool_misconfigured(pool))
            continue;
        log_write(LOG_ERROR, "partition-%u: %s", id, pool_why(pool));
        wrong = true;
    }
    return wrong;
}

// look_at_partitions connects once to each. One that is away is no reason not to start; one that
// answers but can never serve is. When all are blank the store is new, and nothing is missing.
static int look_at_partitions(const struct workers *all, bool *placed)
{
    struct event_base *base = event_base_new();
    struct store *store = NULL;
    const struct store_options store_options = {
        .conf = all->conf, .shared = all->shared, .connections = 1, .leads = true};
    int code = EXIT_OTHER;
    if (base && store_new(base, &store_options, &store) == ERROR_NONE) {
        run_while(base, still_starting, store);
        if (outlook_all_blank(store_outlook(store)))
            store_claim(store);
        run_while(base, is_claiming, store);
        *placed = store_knows(store);
        code = report_misconfigured(store) ? EXIT_CONFIG : EXIT_OK;
    } else {
        log_write(LOG_ERROR, "no memory, or no file can be opened any more");
    }
    store_free(&store);
    if (base)
        event_base_free(base);
    return code;
}

static unsigned thread_count(const struct conf *conf)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (conf->server.threads)
        return conf->server.threads;
    return cores < 1 ? 1 : (unsigned)cores;
}

static void wait_for_stop(struct workers *all, const sigset_t *signals, const char *path)
{
    for (;;) {
        int signal = sigwaitinfo(signals, NULL);
        if (signal == SIGHUP)
            reload(all, path);
        else if (signal > 0)
            return;
    }
}

static enum error drop_privileges(const char *user)
{
    struct bytes why = {0};
    enum error error = user ? process_become(user, &why) : ERROR_NONE;
    log_lines(LOG_ERROR, &why);
    bytes_fini(&why);
    return error;
}

// bound_clients leaves enough of the files that may be open to the partitions: else clients who
// say nothing could keep a lost connection from coming back.
static void bound_clients(struct workers *all)
{
    const struct conf *conf = all->conf;
    // Each thread watches each partition over a connection of its own, too.
    unsigned long long a_thread =
        THREAD_FILES + conf->store.partitions * (conf->store.connections + 1ull);
    unsigned long long ours = FILES + all->count * a_thread;
    unsigned long long files = process_files(conf->server.clients + ours);
    all->clients = conf->server.clients;
    if (files >= conf->server.clients + ours)
        return;
    all->clients = files > ours ? (unsigned)(files - ours) : 1;
    log_write(LOG_WARN, "%llu files may be open: no more than %u clients are served (ulimit -n)",
              files, all->clients);
}

// serve runs until a signal stops it.
static int serve(struct workers *all, const sigset_t *signals, const char *path)
{
    enum error error = read_identity(all->conf, &all->tickets, &all->tls);
    if (error)
        return exit_of(error);
    bool placed = false;
    int code = look_at_partitions(all, &placed);
    if (code)
        return code;
    if (resolve_listen(all->conf->server.listen, all))
        return EXIT_OTHER;
    if (!may_listen(all, all->conf))
        return EXIT_CONFIG;
    bound_clients(all);
    if (workers_listen(all)) {
        log_write(LOG_ERROR, "cannot serve on %s", all->conf->server.listen);
        return EXIT_OTHER;
    }
    if (drop_privileges(all->conf->server.user) || !may_read_tls_files(all->conf))
        return EXIT_CONFIG;
    open_access_log(all);
    workers_start(all);
    wait_for_workers(all, placed);
    say_listening(all);
    warn_if_insecure(all);
    wait_for_stop(all, signals, path);
    log_write(LOG_INFO, "stopping");
    workers_stop(all);
    return EXIT_OK;
}

static int start(struct conf *conf, const sigset_t *signals, const char *path)
{
    unsigned threads = thread_count(conf);
    struct workers *all = calloc(1, sizeof *all + sizeof all->worker[0] * threads);
    struct outlook_shared *shared = NULL;
    struct placing_shared *placing = NULL;
    int code = EXIT_OTHER;
    if (all)
        workers_init(all);
    if (!all || outlook_shared_new(CONF_PARTITIONS_MAX, &shared) ||
        placing_shared_new(threads, &placing)) {
        log_write(LOG_ERROR, "out of memory");
    } else {
        all->conf = conf;
        all->shared = shared;
        all->placing = placing;
        all->count = threads;
        all->started_us = clock_unix_us();
        code = serve(all, signals, path);
    }
    workers_free(&all);
    outlook_shared_free(&shared);
    placing_shared_free(&placing);
    return code;
}

static int check_identity(const struct conf *conf)
{
    struct tickets tickets;
    struct ssl_ctx_st *identity;
    tickets_init(&tickets);
    enum error error = read_identity(conf, &tickets, &identity);
    tls_identity_release(&identity);
    tickets_fini(&tickets);
    return error ? exit_of(error) : EXIT_OK;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.config = "configuration.cfg"};
    sigset_t signals;
    int code = EXIT_OK;
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &arguments)) {
        log_write(LOG_ERROR, "%s", error_text(ERROR_MEMORY));
        return EXIT_OTHER;
    }

    // Before any thread is made: all of them leave these to the main thread.
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    process_hide();
    xmlInitParser(); // not safe once there are threads
    if (sodium_init() < 0 || mysql_library_init(0, NULL, NULL))
        return EXIT_OTHER;
    page_init();
    if (arguments.new_token)
        return print_token(arguments.new_token);

    struct conf *conf = conf_load(arguments.config, &code);
    if (!conf)
        return code;
    log_set_level(conf->server.log_level);
    if (arguments.print_config)
        code = print_conf(conf);
    else if (arguments.check_config)
        code = check_identity(conf);
    else
        code = start(conf, &signals, arguments.config);
    if (connection_opening()) { // a thread still waits for a partition
        fflush(NULL);
        _exit(code);
    }
    conf_free(&conf);
    mysql_library_end();
    return code;
}
