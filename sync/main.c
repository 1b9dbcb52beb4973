// SPDX-License-Identifier: MIT
// sherd-sync: one pass over all partitions that makes them equal, then the end. Started by cron or
// a timer; it says nothing when all went well.
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <mysql.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/release.h"
#include "conf/conf.h"
#include "store/connection.h"
#include "sync/pass.h"
#include "sync/plan.h"
#include "sync/report.h"

struct arguments {
    const char *config;
    const char *metrics;
    bool dry_run;
    bool verify_all;
    bool plan;
    unsigned forget;
    bool json;
    bool quiet;
};

const char *argp_program_version = "sherd-sync " SHERD_VERSION;

static error_t parse_argument(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    unsigned long long number = 0;
    switch (key) {
    case 'c':
        arguments->config = value;
        return 0;
    case 'n':
        arguments->dry_run = true;
        return 0;
    case 'V':
        if (strcmp(value, "all") != 0)
            argp_error(state, "--verify takes nothing but all");
        arguments->verify_all = true;
        return 0;
    case 'j':
        arguments->json = true;
        return 0;
    case 'q':
        arguments->quiet = true;
        return 0;
    case 'p':
        arguments->plan = arguments->dry_run = true;
        return 0;
    case 'f':
        if (slice_number(slice_of(value), CONF_PARTITIONS_MAX, &number) || number == 0)
            argp_error(state, "--forget takes the N of [partition-N]");
        arguments->forget = (unsigned)number;
        return 0;
    case 'm':
        arguments->metrics = value;
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
    {"dry-run", 'n', NULL, 0, "write nothing, print what would be done", 0},
    {"verify", 'V', "all", 0, "compare all rows, not only a part of them", 0},
    {"json", 'j', NULL, 0, "print a report as JSON", 0},
    {"quiet", 'q', NULL, 0, "no progress bar", 0},
    {"plan", 'p', NULL, 0, "print what a change of the members would move, and change nothing", 0},
    {"forget", 'f', "N", 0, "give up partition N, which is gone for good: it leaves the store", 0},
    {"metrics", 'm', "FILE", 0, "write metrics to FILE, for node_exporter's textfile collector", 0},
    {0},
};

static const struct argp argp = {
    .options = options,
    .parser = parse_argument,
    .doc = "Makes the partitions of a Sherd store equal: one pass.\v"
           "Exit: 0 all equal, 1 failed, 64 usage, 75 another sync runs, or a partition is away or "
           "its "
           "clock is wrong (the rest was done), 78 configuration or partition that can never work.",
};

// lock_file keeps a second sync of this machine out for as long as the process lives: the
// descriptor stays open.
static bool lock_file(const char *path, int *code)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    bool busy = fd >= 0 && errno == EWOULDBLOCK;
    log_write(LOG_ERROR, "%s: %s", path, busy ? "another sync is running" : strerror(errno));
    *code = busy ? (int)PASS_BUSY : (int)EXIT_OTHER;
    return false;
}

static bool print(const struct bytes *text)
{
    bool empty = text->len == 0 && !bytes_failed(text);
    return empty || (!bytes_failed(text) && fwrite(text->data, 1, text->len, stdout) == text->len &&
                     fflush(stdout) == 0);
}

// report tells what the pass did, and makes the exit code worse if it cannot.
static int report(const struct pass *pass, const struct arguments *arguments, int code)
{
    struct bytes out = {0};
    if (arguments->plan)
        plan_print(pass, &out);
    else if (arguments->json)
        report_json(pass, &out);
    else if (arguments->dry_run)
        report_plan(pass, &out);
    if (!print(&out)) {
        log_write(LOG_ERROR, "standard output: %s", strerror(errno));
        code = code ? code : EXIT_OTHER;
    }
    bytes_fini(&out);
    if (arguments->metrics && report_metrics(pass, arguments->metrics)) {
        log_write(LOG_ERROR, "%s: %s", arguments->metrics, strerror(errno));
        code = code ? code : EXIT_OTHER;
    }
    return code;
}

static int run(const struct conf *conf, const struct arguments *arguments)
{
    static struct pass pass;
    const struct pass_options pass_options = {.dry_run = arguments->dry_run,
                                              .verify_all = arguments->verify_all,
                                              .plan = arguments->plan,
                                              .forget = arguments->forget,
                                              .progress =
                                                  !arguments->quiet && isatty(STDERR_FILENO)};
    int code = (int)pass_run(&pass, conf, &pass_options);
    code = report(&pass, arguments, code);
    pass_fini(&pass);
    return code;
}

static void tell_statements(void)
{
    const char *wanted = getenv("SHERD_SYNC_STATEMENTS"), *mode = getenv("SHERD_ENV");
    if (wanted && mode && strcmp(mode, "test") == 0)
        fprintf(stderr, "%lu statements\n", channel_statements());
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.config = "configuration.cfg"};
    int code = EXIT_OK;
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &arguments)) {
        log_write(LOG_ERROR, "%s", error_text(ERROR_MEMORY));
        return EXIT_OTHER;
    }
    if (arguments.forget && arguments.dry_run) {
        fprintf(
            stderr,
            "sherd-sync: --forget changes the store: neither --dry-run nor --plan goes with it\n");
        return EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    process_hide();
    if (sodium_init() < 0 || mysql_library_init(0, NULL, NULL))
        return EXIT_OTHER;
    struct conf *conf = conf_load(arguments.config, &code);
    if (!conf)
        return code;
    if (arguments.plan || lock_file(arguments.config, &code))
        code = run(conf, &arguments);
    tell_statements();
    if (connection_opening()) { // a thread still waits for a partition
        fflush(NULL);
        _exit(code);
    }
    conf_free(&conf);
    mysql_library_end();
    return code;
}
