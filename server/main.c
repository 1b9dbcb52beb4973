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
#include "base/release.h"
#include "conf/conf.h"
#include "server/page.h"
#include "server/worker.h"

enum {
    FIRST_LOOK_MS = 2000, // how long the start waits for partitions before it goes on without them
};

struct arguments {
    const char *config;
    bool check_config;
    bool print_config;
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
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument: %s", value);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "read the configuration from FILE (configuration.cfg)", 0},
    {"check-config", 'C', NULL, 0, "check the configuration and exit: 0 right, 78 wrong", 0},
    {"print-config", 'p', NULL, 0, "print the configuration with all defaults and exit", 0},
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

static struct conf *read_conf(const char *path, int *exit_code)
{
    struct conf *conf;
    struct bytes why = {0};
    enum error error = conf_read(path, &conf, &why);
    if (error) {
        fprintf(stderr, "%.*s", (int)why.len, why.len ? why.data : "");
        if (why.len == 0)
            fprintf(stderr, "%s: %s\n", path, error_text(error));
        *exit_code = EXIT_CONFIG;
    }
    bytes_fini(&why);
    return conf;
}

static int print_conf(const struct conf *conf)
{
    struct bytes text = {0};
    conf_print(conf, &text);
    bool written = !bytes_failed(&text) && fwrite(text.data, 1, text.len, stdout) == text.len;
    bytes_fini(&text);
    return written ? EXIT_OK : EXIT_OTHER;
}

static void log_lines(enum log_level level, const struct bytes *lines)
{
    struct slice rest = bytes_slice(lines), line;
    while (rest.len && (line = slice_token(&rest, '\n')).data)
        log_write(level, "%.*s", (int)line.len, line.data);
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
    int old = atomic_exchange(&all->access_log, fd);
    // A worker may be writing to the old one: it is replaced, not closed under its hands.
    if (old >= 0 && fd >= 0) {
        if (dup3(fd, old, O_CLOEXEC) == old)
            atomic_store(&all->access_log, old);
        close(fd);
    }
}

static void reload(struct workers *all, const char *path)
{
    struct conf *fresh;
    struct bytes why = {0};
    if (conf_read(path, &fresh, &why)) {
        log_lines(LOG_ERROR, &why);
        log_write(LOG_ERROR, "%s is not valid: the old configuration stays", path);
        bytes_fini(&why);
        return;
    }
    pthread_mutex_lock(&all->reload_lock);
    enum error error = conf_adopt(all->conf, fresh, &why);
    pthread_mutex_unlock(&all->reload_lock);
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
    log_write(LOG_INFO, "sherd-server %s listening on %s%s%s:%s, %u partitions, %u threads%s",
              SHERD_VERSION, v6 ? "[" : "", host, v6 ? "]" : "", port, all->conf->store.partitions,
              all->count, all->conf->test ? ", test mode" : "");
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

static bool is_claiming(const struct store *store)
{
    return !store_idle(store);
}

// wait_for_workers returns when every worker knows of every partition whether it is up: what is
// said to be listening can then be relied on.
static void wait_for_workers(const struct workers *all)
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
static int look_at_partitions(const struct workers *all)
{
    struct event_base *base = event_base_new();
    struct store *store = NULL;
    const struct store_options store_options = {.conf = all->conf,
                                                .ring = all->ring,
                                                .addresses = all->addresses,
                                                .shared = all->shared,
                                                .connections = 1};
    int code = EXIT_OTHER;
    if (base && store_new(base, &store_options, &store) == ERROR_NONE) {
        run_while(base, still_starting, store);
        if (outlook_all_blank(store_outlook(store))) {
            store_claim(store);
            run_while(base, is_claiming, store);
        }
        code = report_misconfigured(store) ? EXIT_CONFIG : EXIT_OK;
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

static enum error new_ring(const struct conf *conf, struct ring **ring)
{
    unsigned weight[CONF_PARTITIONS_MAX];
    for (unsigned i = 0; i < conf->store.partitions; i++)
        weight[i] = conf->partition[i].weight;
    return ring_new(weight, conf->store.partitions, conf->store.replicas, ring);
}

static void wait_for_stop(struct workers *all, const sigset_t *signals, const char *path)
{
    for (;;) {
        int signal = sigwaitinfo(signals, NULL);
        if (signal == SIGHUP)
            reload(all, path);
        else if (signal == SIGTERM || signal == SIGINT)
            return;
    }
}

// serve runs until a signal stops it.
static int serve(struct workers *all, const sigset_t *signals, const char *path)
{
    int code = look_at_partitions(all);
    if (code)
        return code;
    if (resolve_listen(all->conf->server.listen, all) || workers_start(all)) {
        log_write(LOG_ERROR, "cannot serve on %s", all->conf->server.listen);
        return EXIT_OTHER;
    }
    wait_for_workers(all);
    say_listening(all);
    wait_for_stop(all, signals, path);
    log_write(LOG_INFO, "stopping");
    workers_stop(all);
    return EXIT_OK;
}

static int start(struct conf *conf, const sigset_t *signals, const char *path)
{
    unsigned threads = thread_count(conf);
    struct workers *all = calloc(1, sizeof *all + sizeof all->worker[0] * threads);
    struct address *addresses = calloc(conf->store.partitions, sizeof *addresses);
    struct outlook_shared *shared = NULL;
    struct ring *ring = NULL;
    struct bytes why = {0};
    int code = EXIT_OTHER;
    if (!all || !addresses || new_ring(conf, &ring) ||
        outlook_shared_new(conf->store.partitions, &shared)) {
        log_write(LOG_ERROR, "out of memory");
    } else if (address_resolve(conf, addresses, &why)) {
        log_lines(LOG_ERROR, &why);
    } else {
        all->conf = conf;
        all->ring = ring;
        all->addresses = addresses;
        all->shared = shared;
        all->count = threads;
        all->started_us = clock_unix_us();
        pthread_mutex_init(&all->reload_lock, NULL);
        atomic_store(&all->access_log, -1);
        open_access_log(all);
        code = serve(all, signals, path);
    }
    workers_free(&all);
    ring_free(&ring);
    free(addresses);
    outlook_shared_free(&shared);
    bytes_fini(&why);
    return code;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.config = "configuration.cfg"};
    sigset_t signals;
    int code = EXIT_OK;
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);

    // Before any thread is made: all of them leave these to the main thread.
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    xmlInitParser(); // not safe once there are threads
    if (sodium_init() < 0 || mysql_library_init(0, NULL, NULL))
        return EXIT_OTHER;
    page_init();

    struct conf *conf = read_conf(arguments.config, &code);
    if (!conf)
        return code;
    log_set_level(conf->server.log_level);
    if (arguments.print_config)
        code = print_conf(conf);
    else if (!arguments.check_config)
        code = start(conf, &signals, arguments.config);
    conf_free(&conf);
    mysql_library_end();
    return code;
}
