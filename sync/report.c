// SPDX-License-Identifier: MIT
#include "sync/report.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

struct figure {
    const char *name;
    const char *help;
    uint64_t value;
};

enum { FIGURES = 8 };

static void figures_of(const struct pass *pass, struct figure figure[FIGURES])
{
    const struct pass_counts *c = &pass->counts;
    const struct figure all[FIGURES] = {
        {"copied", "Pairs that were brought from one partition to another by the change logs",
         atomic_load(&c->copied)},
        {"repaired", "Pairs that were brought where comparing found them lacking",
         atomic_load(&c->repaired) + atomic_load(&c->dropped)},
        {"stamped", "Rows that SQL wrote and that were given their versions",
         atomic_load(&c->stamped)},
        {"tombstones", "Tombstones made of rows that SQL deleted", atomic_load(&c->tombstones)},
        {"purged", "Tombstones and expired pairs deleted for good", atomic_load(&c->purged)},
        {"trimmed", "Entries deleted from the change logs", atomic_load(&c->trimmed)},
        {"conflicts", "Changes that met a newer version", atomic_load(&c->conflicts)},
        {"rejected", "Pairs that a partition refused because their versions lie in the future",
         atomic_load(&c->rejected)},
    };
    memcpy(figure, all, sizeof all);
}

static double duration_of(const struct pass *pass)
{
    return (double)(clock_us() - pass->started_us) / 1e6;
}

static int exit_of(const struct pass *pass)
{
    return atomic_load(&pass->exit_code);
}

// ---------------------------------------------------------------- JSON

static json_t *partition_json(const struct peer *peer)
{
    bool up = peer_up(peer);
    json_t *lag = peer->lag_known ? json_real(peer->lag_seconds) : json_null();
    bool known = up || peer->lag_known;
    json_t *pending = known ? json_integer((json_int_t)peer->pending) : json_null();
    return json_pack("{s:i,s:s,s:o,s:o,s:o}", "id", (int)peer->conf->id, "state",
                     peer_state_text(atomic_load(&peer->state)), "seeded",
                     up ? json_boolean(peer->seeded) : json_null(), "lag_seconds", lag, "pending",
                     pending);
}

void report_json(const struct pass *pass, struct bytes *out)
{
    struct figure figure[FIGURES];
    json_t *root = json_object(), *partitions = json_array();
    figures_of(pass, figure);
    json_object_set_new(root, "pass", json_integer((json_int_t)pass->number));
    json_object_set_new(root, "duration_seconds", json_real(duration_of(pass)));
    json_object_set_new(root, "converged", json_boolean(exit_of(pass) == PASS_CONVERGED));
    json_object_set_new(root, "dry_run", json_boolean(pass->options.dry_run));
    for (unsigned i = 0; i < FIGURES; i++)
        json_object_set_new(root, figure[i].name, json_integer((json_int_t)figure[i].value));
    for (unsigned i = 0; pass->peer && i < pass->partitions; i++)
        json_array_append_new(partitions, partition_json(&pass->peer[i]));
    if (pass->layout)
        json_object_set_new(root, "placement",
                            json_pack("{s:I,s:s}", "epoch", (json_int_t)pass->epoch, "phase",
                                      placement_phase_text(pass->layout->placement.phase)));
    json_object_set_new(root, "partitions", partitions);
    char *text = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(6));
    if (text)
        bytes_append_text(out, text);
    else
        out->failed = true;
    bytes_append_char(out, '\n');
    free(text);
    json_decref(root);
}

// ---------------------------------------------------------------- words

void report_plan(const struct pass *pass, struct bytes *out)
{
    struct figure figure[FIGURES];
    figures_of(pass, figure);
    bytes_append_text(out, "A pass would have:");
    for (unsigned i = 0; i < FIGURES - 2; i++)
        bytes_format(out, "%s %s %llu", i ? "," : "", figure[i].name,
                     (unsigned long long)figure[i].value);
    bytes_append_char(out, '\n');
    for (unsigned i = 0; pass->peer && i < pass->partitions; i++) {
        const struct peer *peer = &pass->peer[i];
        bytes_format(out, "partition-%u: %s", peer->conf->id,
                     peer_state_text(atomic_load(&peer->state)));
        if (peer_up(peer))
            bytes_format(out, ", %s, %llu log entries of others to read",
                         peer->trusted ? "seeded" : "to be filled",
                         (unsigned long long)peer->pending);
        bytes_append_char(out, '\n');
    }
}

// ---------------------------------------------------------------- metrics

static void gauge(struct bytes *out, const char *name, const char *help)
{
    bytes_format(out, "# HELP sherd_sync_%s %s.\n# TYPE sherd_sync_%s gauge\n", name, help, name);
}

static void plain_gauge(struct bytes *out, const char *name, const char *help, double value)
{
    gauge(out, name, help);
    bytes_format(out, "sherd_sync_%s %.17g\n", name, value);
}

// last_success reads the time of the last success from an older file; 0 if there is none.
static double last_success(const char *path)
{
    static const char name[] = "sherd_sync_last_success_timestamp_seconds ";
    char line[256];
    double seconds = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, sizeof name - 1) == 0)
            seconds = strtod(line + sizeof name - 1, NULL);
    fclose(file);
    return seconds;
}

static void append_partitions(const struct pass *pass, struct bytes *out)
{
    gauge(out, "lag_seconds", "How long ago a partition was last known to have all writes");
    for (unsigned i = 0; pass->peer && i < pass->partitions; i++)
        if (pass->peer[i].lag_known)
            bytes_format(out, "sherd_sync_lag_seconds{partition=\"%u\"} %.3f\n", i + 1,
                         pass->peer[i].lag_seconds);
    gauge(out, "pending", "Changes that a partition has not got yet");
    for (unsigned i = 0; pass->peer && i < pass->partitions; i++)
        if (peer_up(&pass->peer[i]) || pass->peer[i].lag_known)
            bytes_format(out, "sherd_sync_pending{partition=\"%u\"} %llu\n", i + 1,
                         (unsigned long long)pass->peer[i].pending);
    gauge(out, "partition_up", "Whether a partition took part in the last pass");
    for (unsigned i = 0; pass->peer && i < pass->partitions; i++)
        bytes_format(out, "sherd_sync_partition_up{partition=\"%u\"} %d\n", i + 1,
                     peer_up(&pass->peer[i]));
}

static void append_metrics(const struct pass *pass, double success, struct bytes *out)
{
    struct figure figure[FIGURES];
    figures_of(pass, figure);
    plain_gauge(out, "last_success_timestamp_seconds",
                "When a pass last ended with all partitions equal", success);
    plain_gauge(out, "last_run_timestamp_seconds", "When the last pass ended",
                (double)clock_unix_us() / 1e6);
    plain_gauge(out, "duration_seconds", "How long the last pass took", duration_of(pass));
    plain_gauge(out, "exit_code", "How the last pass ended, 0 is well", exit_of(pass));
    for (unsigned i = 0; i < FIGURES; i++)
        plain_gauge(out, figure[i].name, figure[i].help, (double)figure[i].value);
    append_partitions(pass, out);
}

static bool write_file(const char *path, const struct bytes *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return false;
    bool written = write(fd, text->data, text->len) == (ssize_t)text->len;
    return close(fd) == 0 && written;
}

enum error report_metrics(const struct pass *pass, const char *path)
{
    struct bytes text = {0}, other = {0};
    bool well = exit_of(pass) == PASS_CONVERGED;
    append_metrics(pass, well ? (double)clock_unix_us() / 1e6 : last_success(path), &text);
    // Beside the file, so that rename replaces it at once; the collector reads *.prom only.
    bytes_format(&other, "%s.%ld", path, (long)getpid());
    bytes_append_char(&other, 0);
    enum error error = bytes_failed(&text) || bytes_failed(&other) ? ERROR_MEMORY : ERROR_NONE;
    if (!error && (!write_file(other.data, &text) || rename(other.data, path))) {
        int reason = errno;
        unlink(other.data);
        errno = reason;
        error = ERROR_SYSTEM;
    }
    bytes_fini(&text);
    bytes_fini(&other);
    return error;
}
