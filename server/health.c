// SPDX-License-Identifier: MIT
// What one thread knows of a partition may differ from what another knows; a partition counts as up
// if this thread's connections say so, and numbers are added up over all threads.
#include "server/health.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/release.h"
#include "server/document.h"
#include "server/feed.h"
#include "server/reply.h"
#include "server/target.h"
#include "server/worker.h"
#include "store/slot.h"

static void answer(struct request *r, unsigned status, const char *type, struct bytes *body)
{
    if (bytes_failed(body)) {
        reply_problem(r, 503, "out of memory");
        return;
    }
    reply_begin(r, status);
    reply_header(r, "Content-Type", slice_of(type));
    reply_header(r, "Cache-Control", SLICE("no-store"));
    reply_header(r, "X-Content-Type-Options", SLICE("nosniff"));
    reply_body(r, bytes_slice(body));
}

// ---------------------------------------------------------------- /livez and /readyz

static void livez(struct request *r)
{
    struct bytes body = {0};
    bytes_append_text(&body, "ok\n");
    answer(r, 200, "text/plain; charset=utf-8", &body);
    bytes_fini(&body);
}

static bool is_up(const struct worker *worker, unsigned id)
{
    if (id > store_partitions(worker->store))
        return false;
    const struct pool *pool = partition_pool(store_partition(worker->store, id));
    return pool_state(pool) == POOL_UP && pool_open(pool) > 0;
}

static const char *state_name(const struct worker *worker, unsigned id)
{
    if (id > store_partitions(worker->store))
        return "down";
    const struct pool *pool = partition_pool(store_partition(worker->store, id));
    if (pool_state(pool) == POOL_STARTING)
        return "starting";
    return is_up(worker, id) ? "up" : "down";
}

// is_partition: of the configuration, or a member that it has no section for.
static bool is_partition(const struct worker *worker, struct slice text, unsigned long long *id)
{
    return slice_number(text, CONF_PARTITIONS_MAX, id) == ERROR_NONE && *id > 0 &&
           (*id <= store_partitions(worker->store) || store_lacks(worker->store, (unsigned)*id));
}

static void readyz_begin(struct request *r, const struct head *head)
{
    unsigned long long id;
    struct slice query = r->query, name, value;
    (void)head;
    r->key_len = 0; // no partition asked for
    while (target_query_next(&query, &name, &value)) {
        if (!slice_equal(name, SLICE("partition")) || !is_partition(r->worker, value, &id)) {
            reply_problem(r, 400, "/readyz takes partition=, the id of a partition");
            return;
        }
        r->key_len = (size_t)id;
    }
}

static void readyz(struct request *r)
{
    const struct worker *worker = r->worker;
    unsigned partitions = store_partitions(worker->store);
    unsigned asked = (unsigned)r->key_len;
    bool ready = false;
    struct bytes body = {0};
    for (unsigned id = asked ? asked : 1; id <= (asked ? asked : partitions); id++) {
        ready = ready || is_up(worker, id);
        bytes_format(&body, "partition-%u %s\n", id, state_name(worker, id));
    }
    answer(r, ready && !worker->stopping ? 200 : 503, "text/plain; charset=utf-8", &body);
    bytes_fini(&body);
}

// ---------------------------------------------------------------- sums over the threads

static uint64_t sum_partition(const struct workers *all, unsigned id, size_t counter_at)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < all->count; i++) {
        const struct partition_stats *stats =
            partition_stats(store_partition(all->worker[i]->store, id));
        sum += counter_get((const counter *)(const void *)((const char *)stats + counter_at));
    }
    return sum;
}

static uint64_t sum_stats(const struct workers *all, size_t counter_at)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < all->count; i++)
        sum += counter_get(
            (const counter *)(const void *)((const char *)&all->worker[i]->stats + counter_at));
    return sum;
}

#define SUM_PARTITION(all, id, member)                                                             \
    sum_partition(all, id, offsetof(struct partition_stats, member))
#define SUM_STATS(all, member) sum_stats(all, offsetof(struct stats, member))

// ---------------------------------------------------------------- /status

static unsigned slots_owned(const struct ring *ring, unsigned id)
{
    unsigned owned = 0;
    for (unsigned slot = 0; slot < SLOT_COUNT; slot++)
        owned += ring_home(ring, slot) == id;
    return owned;
}

// status_diverts lists the homes for which the partition holds writes.
static json_t *status_diverts(const struct worker *worker, unsigned id)
{
    json_t *targets = json_array();
    for (unsigned target = 1; target <= store_partitions(worker->store); target++)
        if (outlook_holds(store_outlook(worker->store), id, target))
            json_array_append_new(targets, json_integer(target));
    return targets;
}

static json_t *status_lag(const struct outlook *outlook, unsigned id)
{
    int64_t lag = outlook_lag_us(outlook, id);
    return lag < 0 ? json_null() : json_real((double)lag / 1e6);
}

// status_members lists members as {"id": weight}; null for none.
static json_t *status_members(const struct members *members)
{
    json_t *ids = members_any(members) ? json_object() : json_null();
    for (unsigned id = 1; id <= CONF_PARTITIONS_MAX; id++) {
        char name[8];
        if (members->weight[id - 1] == 0)
            continue;
        snprintf(name, sizeof name, "%u", id);
        json_object_set_new(ids, name, json_integer(members->weight[id - 1]));
    }
    return ids;
}

// status_missing lists the members that the configuration has no section for.
static json_t *status_missing(const struct worker *worker)
{
    json_t *ids = json_array();
    for (unsigned id = 1; id <= CONF_PARTITIONS_MAX; id++)
        if (store_lacks(worker->store, id))
            json_array_append_new(ids, json_integer(id));
    return ids;
}

static json_t *status_placement(const struct worker *worker)
{
    const struct placement *placement = store_placement(worker->store);
    return json_pack("{s:s, s:I, s:s, s:o, s:o, s:o}", "store", placement->store, "epoch",
                     (json_int_t)placement->epoch, "phase",
                     placement->epoch ? placement_phase_text(placement->phase) : "unknown",
                     "members", status_members(&placement->now), "other_members",
                     status_members(&placement->other), "missing", status_missing(worker));
}

static json_t *status_partition(const struct workers *all, const struct worker *worker, unsigned id)
{
    const struct conf_partition *conf = partition_conf(store_partition(worker->store, id));
    const struct outlook *outlook = store_outlook(worker->store);
    return json_pack(
        "{s:i, s:s, s:b, s:I, s:o, s:o, s:s, s:i, s:i, s:I, s:I, s:I, s:s}", "id", (int)id, "state",
        state_name(worker, id), "trusted", outlook_trusted(outlook, id), "clock_offset_us",
        (json_int_t)outlook_offset_us(outlook, id), "lag_seconds", status_lag(outlook, id),
        "holds_diverts_for", status_diverts(worker, id), "database", conf->database, "weight",
        (int)conf->weight, "slots", (int)slots_owned(store_ring(worker->store), id), "connections",
        (json_int_t)SUM_PARTITION(all, id, open), "queued",
        (json_int_t)SUM_PARTITION(all, id, queued), "operations",
        (json_int_t)SUM_PARTITION(all, id, operations), "problem",
        pool_why(partition_pool(store_partition(worker->store, id))));
}

static void status(struct request *r)
{
    const struct workers *all = r->worker->all;
    struct bytes body = {0};
    json_t *partitions = json_array();
    for (unsigned id = 1; id <= all->conf->store.partitions; id++)
        json_array_append_new(partitions, status_partition(all, r->worker, id));
    double uptime = (double)(clock_unix_us() - all->started_us) / 1e6;
    document_append_json(
        &body,
        json_pack("{s:s, s:s, s:f, s:i, s:I, s:i, s:i, s:o, s:o}", "version", SHERD_VERSION, "mode",
                  all->conf->test ? "test" : "live", "uptime_seconds", uptime, "threads",
                  (int)all->count, "clients", (json_int_t)SUM_STATS(all, clients), "slots",
                  SLOT_COUNT, "replicas", (int)ring_replicas(store_ring(r->worker->store)),
                  "placement", status_placement(r->worker), "partitions", partitions));
    bytes_append_char(&body, '\n');
    answer(r, 200, "application/json", &body);
    bytes_fini(&body);
}

// ---------------------------------------------------------------- /metrics

static unsigned count_diverts(const struct worker *worker, unsigned id)
{
    unsigned count = 0;
    for (unsigned target = 1; target <= store_partitions(worker->store); target++)
        count += outlook_holds(store_outlook(worker->store), id, target) != 0;
    return count;
}

static unsigned count_missing(const struct worker *worker)
{
    unsigned count = 0;
    for (unsigned id = 1; id <= CONF_PARTITIONS_MAX; id++)
        count += store_lacks(worker->store, id);
    return count;
}

static void metric(struct bytes *out, const char *name, const char *type, const char *help)
{
    bytes_format(out, "# HELP sherd_%s %s\n# TYPE sherd_%s %s\n", name, help, name, type);
}

static void metric_value(struct bytes *out, const char *name, const char *type, const char *help,
                         uint64_t value)
{
    metric(out, name, type, help);
    bytes_format(out, "sherd_%s %llu\n", name, (unsigned long long)value);
}

static void metric_requests(struct bytes *out, const struct workers *all)
{
    metric(out, "http_requests_total", "counter", "Answered requests by method and status.");
    for (unsigned m = 0; m <= METHODS; m++) {
        for (unsigned s = 0; s < STATS_STATUS_MAX; s++) {
            uint64_t sum = SUM_STATS(all, requests[m][s]);
            if (sum)
                bytes_format(out, "sherd_http_requests_total{method=\"%s\",status=\"%u\"} %llu\n",
                             method_name((enum method)m), s, (unsigned long long)sum);
        }
    }
}

// histogram_lines appends one series of a histogram whose counts are already summed up; bounds and
// sum are multiplied by `unit`.
static void histogram_lines(struct bytes *out, const char *name, const char *labels,
                            const uint64_t bucket[HISTOGRAM_BUCKETS], uint64_t sum, uint64_t first,
                            double unit)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        total += bucket[i];
        bytes_format(out, "sherd_%s_bucket{%s%sle=\"%.9g\"} %llu\n", name, labels,
                     labels[0] ? "," : "", (double)(first << i) * unit, (unsigned long long)total);
    }
    total += bucket[HISTOGRAM_BUCKETS - 1];
    bytes_format(out, "sherd_%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, labels[0] ? "," : "",
                 (unsigned long long)total);
    const char *open = labels[0] ? "{" : "", *close = labels[0] ? "}" : "";
    bytes_format(out, "sherd_%s_sum%s%s%s %.9g\n", name, open, labels, close, (double)sum * unit);
    bytes_format(out, "sherd_%s_count%s%s%s %llu\n", name, open, labels, close,
                 (unsigned long long)total);
}

static void metric_latency(struct bytes *out, const struct workers *all)
{
    uint64_t bucket[HISTOGRAM_BUCKETS];
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        bucket[i] = SUM_STATS(all, latency.bucket[i]);
    metric(out, "http_request_duration_seconds", "histogram",
           "Time from a request's head to the end of its answer.");
    histogram_lines(out, "http_request_duration_seconds", "", bucket, SUM_STATS(all, latency.sum),
                    STATS_LATENCY_FIRST_US, 1e-6);
}

static void metric_batches(struct bytes *out, const struct workers *all)
{
    static const struct {
        const char *kind;
        size_t at;
    } kinds[] = {{"read", offsetof(struct partition_stats, reads)},
                 {"write", offsetof(struct partition_stats, writes)}};
    metric(out, "batch_operations", "histogram", "Operations in each statement to a partition.");
    for (unsigned id = 1; id <= all->conf->store.partitions; id++) {
        for (unsigned k = 0; k < 2; k++) {
            uint64_t bucket[HISTOGRAM_BUCKETS];
            struct bytes labels = {0};
            for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
                bucket[i] = sum_partition(all, id,
                                          kinds[k].at + offsetof(struct histogram, bucket[0]) +
                                              i * sizeof(counter));
            bytes_format(&labels, "partition=\"%u\",kind=\"%s\"", id, kinds[k].kind);
            bytes_append_char(&labels, '\0');
            if (!bytes_failed(&labels))
                histogram_lines(
                    out, "batch_operations", labels.data, bucket,
                    sum_partition(all, id, kinds[k].at + offsetof(struct histogram, sum)), 1, 1);
            bytes_fini(&labels);
        }
    }
}

static void metric_partitions(struct bytes *out, const struct worker *worker)
{
    static const struct {
        const char *name;
        const char *type;
        const char *help;
        size_t at;
    } metrics[] = {
        {"partition_connections", "gauge", "Open connections to the partition.",
         offsetof(struct partition_stats, open)},
        {"partition_queue_operations", "gauge", "Operations waiting for the partition.",
         offsetof(struct partition_stats, queued)},
        {"partition_operations_total", "counter", "Operations handed to the partition.",
         offsetof(struct partition_stats, operations)},
        {"partition_diverts_total", "counter",
         "Writes that the partition took because the home of their keys was away.",
         offsetof(struct partition_stats, diverts)},
        {"partition_applied_total", "counter",
         "Rows brought to the partition from others: repairs and further acknowledgements.",
         offsetof(struct partition_stats, applied)},
    };
    const struct workers *all = worker->all;
    unsigned partitions = all->conf->store.partitions;
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++) {
        metric(out, metrics[i].name, metrics[i].type, metrics[i].help);
        for (unsigned id = 1; id <= partitions; id++)
            bytes_format(out, "sherd_%s{partition=\"%u\"} %llu\n", metrics[i].name, id,
                         (unsigned long long)sum_partition(all, id, metrics[i].at));
    }
    metric(out, "partition_up", "gauge", "1 while the partition answers.");
    for (unsigned id = 1; id <= partitions; id++)
        bytes_format(out, "sherd_partition_up{partition=\"%u\"} %d\n", id, is_up(worker, id));
    const struct outlook *outlook = store_outlook(worker->store);
    metric_value(out, "placement_epoch", "gauge",
                 "The epoch of the placement by which the server works; 0 before it knows one.",
                 store_placement(worker->store)->epoch);
    metric_value(out, "placement_moving", "gauge", "1 while the members of the store change.",
                 outlook_changes(outlook));
    metric_value(out, "placement_missing", "gauge",
                 "Members of the store that the configuration has no section for.",
                 count_missing(worker));
    metric(out, "partition_trusted", "gauge",
           "0 until sync has filled a blank or restored partition.");
    for (unsigned id = 1; id <= partitions; id++)
        bytes_format(out, "sherd_partition_trusted{partition=\"%u\"} %d\n", id,
                     outlook_trusted(outlook, id));
    metric(out, "partition_holds_diverts", "gauge",
           "Homes for which the partition holds writes until sync brings them there.");
    for (unsigned id = 1; id <= partitions; id++)
        bytes_format(out, "sherd_partition_holds_diverts{partition=\"%u\"} %u\n", id,
                     count_diverts(worker, id));
    metric(out, "partition_clock_offset_seconds", "gauge",
           "How far the clock of the partition is ahead of this machine's.");
    for (unsigned id = 1; id <= partitions; id++)
        bytes_format(out, "sherd_partition_clock_offset_seconds{partition=\"%u\"} %.6f\n", id,
                     (double)outlook_offset_us(outlook, id) / 1e6);
    metric(out, "partition_durable", "gauge",
           "1 if innodb_flush_log_at_trx_commit is 1: acknowledged writes survive a power loss.");
    for (unsigned id = 1; id <= partitions; id++) {
        const struct pool *pool = partition_pool(store_partition(worker->store, id));
        bytes_format(out, "sherd_partition_durable{partition=\"%u\"} %d\n", id,
                     pool_check(pool)->flush_at_commit == 1);
    }
}

static void metric_cache(struct bytes *out, struct cache *cache)
{
    struct cache_stats stats;
    cache_stats(cache, &stats);
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } metrics[] = {
        {"cache_hits_total", "counter", "Reads that memory answered.", stats.hits},
        {"cache_misses_total", "counter", "Reads that it could not.", stats.misses},
        {"cache_fills_total", "counter", "Values that were kept.", stats.fills},
        {"cache_refused_total", "counter", "Values asked for too rarely, or too large, to be kept.",
         stats.refused},
        {"cache_late_total", "counter", "Values that had changed when they came.", stats.late},
        {"cache_evictions_total", "counter", "Values that had to make room.", stats.evictions},
        {"cache_invalidations_total", "counter", "Changes of keys.", stats.invalidations},
        {"cache_clears_total", "counter", "Times that all was forgotten.", stats.clears},
        {"cache_entries", "gauge", "Values in memory.", stats.entries},
        {"cache_bytes", "gauge", "What they take.", stats.bytes},
    };
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++)
        metric_value(out, metrics[i].name, metrics[i].type, metrics[i].help, metrics[i].value);
}

static void metric_feed(struct bytes *out, struct feed *feed)
{
    const struct feed_stats *stats = feed_stats(feed);
    metric_value(out, "feed_listeners", "gauge", "Requests for /changes that are open.",
                 atomic_load(&stats->listeners));
    metric_value(out, "feed_entries_total", "counter",
                 "Entries of change logs that the follower read.", atomic_load(&stats->entries));
    metric_value(out, "feed_events_total", "counter", "Events that it put into the journal.",
                 atomic_load(&stats->events));
    metric_value(out, "feed_dropped_total", "counter", "Listeners that the journal left behind.",
                 atomic_load(&stats->dropped));
}

static void metrics(struct request *r)
{
    const struct workers *all = r->worker->all;
    struct bytes body = {0};
    metric(&body, "build_info", "gauge", "Always 1; the label names the version.");
    bytes_format(&body, "sherd_build_info{version=\"%s\"} 1\n", SHERD_VERSION);
    metric(&body, "start_time_seconds", "gauge", "When the process started, in unix time.");
    bytes_format(&body, "sherd_start_time_seconds %.3f\n", (double)all->started_us / 1e6);
    metric_value(&body, "http_clients", "gauge", "Connected clients.", SUM_STATS(all, clients));
    metric_value(&body, "http_clients_accepted_total", "counter", "Connections accepted.",
                 SUM_STATS(all, accepted));
    metric_value(&body, "http_clients_refused_total", "counter",
                 "Connections refused because there were too many.", SUM_STATS(all, refused));
    metric_value(&body, "http_received_bytes_total", "counter", "Bytes read from clients.",
                 SUM_STATS(all, bytes_in));
    metric_value(&body, "http_sent_bytes_total", "counter", "Bytes written to clients.",
                 SUM_STATS(all, bytes_out));
    metric_requests(&body, all);
    metric_latency(&body, all);
    metric_partitions(&body, r->worker);
    metric_batches(&body, all);
    metric_feed(&body, all->feed);
    if (all->hot)
        metric_cache(&body, all->hot->cache);
    answer(r, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
    bytes_fini(&body);
}

const struct handler health_livez = {.on_body = request_pass_over, .end = livez};
const struct handler health_readyz = {
    .begin = readyz_begin, .on_body = request_pass_over, .end = readyz};
const struct handler health_status = {.on_body = request_pass_over, .end = status};
const struct handler health_metrics = {.on_body = request_pass_over, .end = metrics};
