// SPDX-License-Identifier: MIT
#include "store/listing.h"

#include <assert.h>
#include <stdlib.h>

#include "store/key.h"
#include "store/query.h"
#include "store/row.h"
#include "store/slot.h"

enum {
    PAGE_MAX = 1000, // rows
    RESTARTS_MAX = 3,
};

// An entry lies in a source's page as this head, the key's bytes, the type's bytes.
struct entry {
    uint64_t version;
    uint16_t key_len;
    uint16_t type_len;
    bool dead;
};

// What one partition still has to give.
struct source {
    struct listing *listing;
    unsigned id;
    struct partition *partition;
    struct partition_request request;
    struct bytes sql;
    struct bytes page; // entries
    size_t at;         // where the next entry begins
    bool under_way;    // a page was asked for
    bool asked_again;  // after a lost connection
    bool last_page;
    struct bytes from; // where the next page begins
    bool inclusive;
};

struct listing {
    struct store *store;
    void (*on_ready)(struct listing *listing, void *context);
    void *context;
    struct bytes prefix;
    struct bytes delimiter;
    const struct prefixes *only;
    char end[KEY_MAX];
    size_t end_len;
    unsigned page_rows;
    bool waiting; // on_ready is owed
    bool abandoned;
    unsigned under_way; // pages asked for
    enum error error;
    unsigned failed_partition;
    struct source *taken; // its first entry was given out by the last listing_next
    struct bytes last;    // what was given out last; before that, options.after
    unsigned restarts;
    uint64_t epoch; // of the placement by which it was planned
    bool wide;      // there are homes that are not usual
    bool *usual;    // [sources], by id of the home - 1
    uint16_t *missing;
    unsigned missing_count;
    unsigned sources;
    struct source source[];
};

static void ask(struct source *s);

// ---------------------------------------------------------------- pages

static void destroy(struct listing *l)
{
    for (unsigned i = 0; i < l->sources; i++) {
        bytes_fini(&l->source[i].sql);
        bytes_fini(&l->source[i].page);
        bytes_fini(&l->source[i].from);
    }
    bytes_fini(&l->prefix);
    bytes_fini(&l->delimiter);
    bytes_fini(&l->last);
    free(l->usual);
    free(l->missing);
    free(l);
}

static void fail(struct listing *l, unsigned partition, enum error error)
{
    l->error = error;
    l->failed_partition = partition;
}

static void set_from(struct source *s, struct slice from, bool inclusive)
{
    bytes_clear(&s->from);
    bytes_append_slice(&s->from, from);
    s->inclusive = inclusive;
    if (bytes_failed(&s->from))
        fail(s->listing, s->id, ERROR_MEMORY);
}

static void keep_entry(struct source *s, const struct pair *pair)
{
    unsigned home = ring_home(store_ring(s->listing->store), slot_of(pair->key));
    if (home <= s->listing->sources && s->listing->usual[home - 1] && home != s->id)
        return;
    struct entry entry = {pair->version, (uint16_t)pair->key.len, (uint16_t)pair->type.len,
                          pair->dead};
    bytes_append(&s->page, &entry, sizeof entry);
    bytes_append_slice(&s->page, pair->key);
    bytes_append_slice(&s->page, pair->type);
}

static enum error read_page(struct source *s, struct connection *connection)
{
    struct row row;
    struct pair last = {0};
    unsigned rows = 0;
    for (; connection_row(connection, &row); rows++) {
        if (row_entry(&row, &last))
            return ERROR_UNAVAILABLE;
        keep_entry(s, &last);
    }
    s->last_page = rows < s->listing->page_rows;
    if (rows)
        set_from(s, last.key, false);
    return bytes_failed(&s->page) ? ERROR_MEMORY : ERROR_NONE;
}

static void on_answer(struct connection *connection, const struct answer *answer, void *context)
{
    struct source *s = context;
    struct listing *l = s->listing;
    s->under_way = false;
    l->under_way--;
    if (l->abandoned) {
        if (l->under_way == 0)
            destroy(l);
        return;
    }
    bool lost = answer && answer->error == ERROR_OUTCOME && !answer->timed_out;
    if (lost && !s->asked_again) {
        s->asked_again = true;
        ask(s);
    } else {
        bool planned = l->epoch == store_placement(l->store)->epoch &&
                       !outlook_outdated(store_outlook(l->store));
        enum error error =
            planned && answer && !answer->error ? read_page(s, connection) : ERROR_UNAVAILABLE;
        if (error)
            fail(l, s->id, error);
        s->asked_again = false;
    }
    if (l->waiting && l->under_way == 0) {
        l->waiting = false;
        l->on_ready(l, l->context);
    }
}

static void ask(struct source *s)
{
    struct listing *l = s->listing;
    const struct query_page page = {.from = bytes_slice(&s->from),
                                    .inclusive = s->inclusive,
                                    .end = {l->end, l->end_len},
                                    .limit = l->page_rows,
                                    .dead = l->wide};
    bytes_clear(&s->page);
    bytes_clear(&s->sql);
    s->at = 0;
    query_page(&s->sql, &page);
    if (bytes_failed(&s->sql)) {
        fail(l, s->id, ERROR_MEMORY);
        return;
    }
    s->under_way = true;
    l->under_way++;
    s->request.sql = bytes_slice(&s->sql);
    partition_query(s->partition, &s->request);
}

// ---------------------------------------------------------------- merging

static bool first_entry(const struct source *s, struct listing_item *item, bool *dead)
{
    struct entry entry;
    if (s->at == s->page.len)
        return false;
    memcpy(&entry, s->page.data + s->at, sizeof entry);
    *dead = entry.dead;
    const char *key = s->page.data + s->at + sizeof entry;
    *item = (struct listing_item){.key = {key, entry.key_len},
                                  .type = {key + entry.key_len, entry.type_len},
                                  .version = entry.version};
    return true;
}

static void drop_entry(struct source *s)
{
    struct listing_item item;
    bool dead, there = first_entry(s, &item, &dead);
    assert(there);
    s->at += sizeof(struct entry) + item.key.len + item.type.len;
}

// folder_of returns what the key's folder is called, an empty slice if the key lies in none.
static struct slice folder_of(const struct listing *l, struct slice key)
{
    if (l->delimiter.len == 0 || key.len <= l->prefix.len)
        return (struct slice){NULL, 0};
    const char *rest = key.data + l->prefix.len;
    const char *at = memmem(rest, key.len - l->prefix.len, l->delimiter.data, l->delimiter.len);
    return at ? (struct slice){key.data, (size_t)(at - key.data) + l->delimiter.len}
              : (struct slice){NULL, 0};
}

// skip moves a source to the first key that is not before `to`: over those it has, and the next
// page begins there.
static void skip(struct source *s, struct slice to)
{
    struct listing_item item;
    bool dead;
    while (first_entry(s, &item, &dead)) {
        if (slice_compare(item.key, to) >= 0)
            return;
        drop_entry(s);
    }
    if (!s->last_page && slice_compare(bytes_slice(&s->from), to) < 0)
        set_from(s, to, true);
}

// skip_all moves all sources; to the end of the store if `to` is empty.
static void skip_all(struct listing *l, struct slice to)
{
    for (unsigned i = 0; i < l->sources; i++) {
        struct source *s = &l->source[i];
        if (to.len)
            skip(s, to);
        else
            s->at = s->page.len;
        s->last_page = s->last_page || to.len == 0;
    }
}

// drop_key removes a key from all sources that have it.
static void drop_key(struct listing *l, struct slice key)
{
    struct listing_item item;
    bool dead;
    for (unsigned i = 0; i < l->sources; i++)
        if (first_entry(&l->source[i], &item, &dead) && slice_equal(item.key, key))
            drop_entry(&l->source[i]); // the bytes stay where they are
}

// drop_taken removes what the last listing_next gave out.
static void drop_taken(struct listing *l, const struct source *taken)
{
    struct listing_item item;
    bool dead, there = first_entry(taken, &item, &dead);
    assert(there);
    struct slice folder = folder_of(l, item.key);
    if (folder.len == 0) {
        drop_key(l, item.key);
        return;
    }
    char end[KEY_MAX];
    skip_all(l, (struct slice){end, key_prefix_end(folder, end)});
}

// fill asks every source that ran dry for its next page and returns whether one has to be waited
// for.
static bool fill(struct listing *l)
{
    for (unsigned i = 0; i < l->sources && !l->error; i++) {
        struct source *s = &l->source[i];
        if (s->at == s->page.len && !s->last_page && !s->under_way)
            ask(s);
    }
    return l->under_way > 0;
}

// miss_unknown adds the members that the configuration does not have.
static void miss_unknown(struct listing *l)
{
    const struct placement *placement = store_placement(l->store);
    for (unsigned id = l->sources + 1; id <= CONF_PARTITIONS_MAX; id++)
        if (placement_has(placement, id))
            l->missing[l->missing_count++] = (uint16_t)id;
}

// plan decides whom to ask, by how things stand now. Where all owners of a slot may be down there
// is nothing to be said about its keys.
static void plan(struct listing *l)
{
    const struct outlook *outlook = store_outlook(l->store);
    const struct placement *placement = store_placement(l->store);
    l->epoch = placement->epoch;
    l->wide = outlook_changes(outlook);
    l->missing_count = 0;
    for (unsigned i = 0; i < l->sources; i++) {
        struct source *s = &l->source[i];
        bool member = placement_has(placement, s->id), up = member && outlook_is_up(outlook, s->id);
        l->usual[i] = outlook_usual(outlook, s->id) && !outlook_changes(outlook);
        l->wide = l->wide || (member && !l->usual[i]);
        s->last_page = s->last_page || !up;
        if (member && !up)
            l->missing[l->missing_count++] = (uint16_t)s->id;
    }
    miss_unknown(l);
    if (l->missing_count >= outlook_replicas(outlook))
        fail(l, l->missing[0], ERROR_UNAVAILABLE);
}

// begin sets where every source begins: behind `after`, and not before the prefix. An `after` that
// is a folder stands for all that is in it.
static void begin(struct listing *l)
{
    char end[KEY_MAX];
    struct slice prefix = bytes_slice(&l->prefix);
    struct slice after = bytes_slice(&l->last);
    struct slice from = after;
    bool inclusive = false;
    bool done = false;
    struct slice folder =
        slice_starts(after, prefix) ? folder_of(l, after) : (struct slice){NULL, 0};
    if (folder.len && folder.len == after.len) {
        from = (struct slice){end, key_prefix_end(after, end)};
        inclusive = true;
        done = from.len == 0;
    } else if (slice_compare(after, prefix) < 0) {
        from = prefix;
        inclusive = true;
    }
    if (l->only && !prefixes_cover(l->only, from)) { // what lies before is not looked at
        from = prefixes_next(l->only, from);
        inclusive = true;
        done = done || from.len == 0;
    }
    l->error = ERROR_NONE;
    for (unsigned i = 0; i < l->sources; i++) {
        struct source *s = &l->source[i];
        bytes_clear(&s->page);
        s->at = 0;
        s->last_page = done;
        set_from(s, from, inclusive);
    }
    plan(l);
}

// find_next finds the least key of all sources, and of its rows the newest.
static struct source *find_next(struct listing *l, struct listing_item *item, bool *dead)
{
    struct source *found = NULL;
    struct listing_item candidate;
    bool candidate_dead;
    for (unsigned i = 0; i < l->sources; i++) {
        struct source *s = &l->source[i];
        if (!first_entry(s, &candidate, &candidate_dead))
            continue;
        int order = found ? slice_compare(candidate.key, item->key) : -1;
        if (order < 0 || (order == 0 && candidate.version > item->version)) {
            *item = candidate;
            *dead = candidate_dead;
            found = s;
        }
    }
    return found;
}

static void give(struct listing *l, struct listing_item *item)
{
    struct slice folder = folder_of(l, item->key);
    if (folder.len)
        *item = (struct listing_item){.key = folder, .folder = true};
    bytes_clear(&l->last);
    bytes_append_slice(&l->last, item->key);
}

// is_listed: a key that is not is skipped, with all up to the next that may be.
static bool is_listed(struct listing *l, struct slice key, bool dead)
{
    if (l->only && !prefixes_cover(l->only, key)) {
        skip_all(l, prefixes_next(l->only, key));
        return false;
    }
    if (dead)
        drop_key(l, key);
    return !dead;
}

// step does what a listing_next can do without waiting; false if it came upon a key that is not
// listed.
static bool step(struct listing *l, struct listing_item *item, enum listing_result *result)
{
    bool dead = false, wait = !l->error && fill(l);
    l->waiting = wait || l->under_way > 0;
    *result = l->waiting ? LISTING_WAIT : l->error ? LISTING_FAILED : LISTING_END;
    if (l->waiting || l->error)
        return true;
    struct source *next = find_next(l, item, &dead);
    if (next && !is_listed(l, item->key, dead))
        return false;
    l->taken = next;
    if (next) {
        *result = LISTING_ITEM;
        give(l, item);
    }
    return true;
}

enum listing_result listing_next(struct listing *l, struct listing_item *item)
{
    enum listing_result result;
    if (l->taken)
        drop_taken(l, l->taken);
    l->taken = NULL;
    if (l->error == ERROR_UNAVAILABLE && l->under_way == 0 && l->restarts++ < RESTARTS_MAX)
        begin(l);
    while (!step(l, item, &result))
        ; // skipped
    return result;
}

// ---------------------------------------------------------------- life

// page_rows_for guesses how many rows of each partition `expected` items need: an even share, and
// some more because shares vary.
static unsigned page_rows_for(uint64_t expected, unsigned partitions)
{
    uint64_t share = expected / partitions;
    uint64_t rows = share + share / 8 + 32;
    return expected == 0 || rows > PAGE_MAX ? PAGE_MAX : (unsigned)rows;
}

enum error listing_new(struct store *store, const struct listing_options *options,
                       void (*on_ready)(struct listing *listing, void *context), void *context,
                       struct listing **listing)
{
    unsigned partitions = store_partitions(store);
    struct listing *l = calloc(1, sizeof *l + sizeof l->source[0] * partitions);
    *listing = l;
    if (!l)
        return ERROR_MEMORY;
    l->store = store;
    l->on_ready = on_ready;
    l->context = context;
    l->only = options->only;
    l->sources = partitions;
    l->page_rows = page_rows_for(options->expected, partitions);
    bytes_append_slice(&l->prefix, options->prefix);
    bytes_append_slice(&l->delimiter, options->delimiter);
    bytes_append_slice(&l->last, options->after);
    l->usual = calloc(partitions, sizeof *l->usual);
    l->missing = calloc(CONF_PARTITIONS_MAX, sizeof *l->missing);
    l->end_len = key_prefix_end(options->prefix, l->end);
    for (unsigned i = 0; i < partitions; i++) {
        struct source *s = &l->source[i];
        s->listing = l;
        s->id = i + 1;
        s->partition = store_partition(store, s->id);
        s->request.on_answer = on_answer;
        s->request.context = s;
        list_init(&s->request.link);
    }
    if (bytes_failed(&l->prefix) || bytes_failed(&l->delimiter) || bytes_failed(&l->last) ||
        !l->usual || !l->missing) {
        listing_free(listing);
        return ERROR_MEMORY;
    }
    begin(l);
    return ERROR_NONE;
}

void listing_free(struct listing **listing)
{
    struct listing *l = *listing;
    if (!l)
        return;
    *listing = NULL;
    for (unsigned i = 0; i < l->sources; i++) {
        struct source *s = &l->source[i];
        if (s->under_way && partition_cancel(&s->request)) {
            s->under_way = false;
            l->under_way--;
        }
    }
    l->abandoned = true;
    if (l->under_way == 0)
        destroy(l);
}

bool listing_waiting(const struct listing *l)
{
    return l->waiting;
}

const uint16_t *listing_missing(const struct listing *l, unsigned *count)
{
    *count = l->missing_count;
    return l->missing;
}

unsigned listing_failed_partition(const struct listing *l)
{
    return l->failed_partition;
}
