// SPDX-License-Identifier: MIT
#include "sync/stream.h"

#include "base/clock.h"
#include "store/query.h"
#include "store/slot.h"
#include "store/version.h"
#include "sync/copy.h"
#include "sync/keys.h"
#include "sync/peer.h"

enum {
    PAGE_MIN = 100,  // entries of a log at a time; they may have 500 keys each
    PAGE_MAX = 1600, // where they have few
    PAGE_KEYS = 20000,
    RANGES = 100,          // gaps looked at in one statement
    LOOKBACK = 1000,       // how many numbers below the log's first may still come
    WAITING_MAX = 1000000, // changes counted for a partition that is away
};

struct stream {
    struct hand *hand;
    struct pass *pass;
    struct peer *from;
    struct peer *to;
    struct cursor *cursor;
    struct channel *source;
    struct keys keys;
    struct cursor held; // as it was before the page
    bool left_out;      // rows that the destination did not take yet
    uint64_t last;      // number of the page's last entry

    unsigned page;      // entries to ask for
    size_t entries;     // of the page
    atomic_bool mostly; // most of the rows are needed
    atomic_bool page_left_out;
    atomic_bool failed;
    bool more; // there may be others behind it
    bool in_gaps;
    struct bytes sql;
};

// ---------------------------------------------------------------- pages

static enum error store_cursor(struct stream *s, const struct cursor *cursor)
{
    const struct copy copy = {.hand = s->hand, .from = s->from, .to = s->to, .cursor = cursor};
    return s->pass->options.dry_run ? ERROR_NONE : copy_run(&copy);
}

static enum error take_keys(struct stream *s, struct slice entry)
{
    struct slice key;
    bool tombstone, malformed;
    enum error error = ERROR_NONE;
    while (!error && row_entry_key(&entry, &key, &tombstone, &malformed))
        if (pass_owns(s->pass, slot_of(key), s->to->conf->id))
            error = keys_add(&s->keys, key, 0);
    return error ? error : malformed ? ERROR_MALFORMED : ERROR_NONE;
}

static enum error take_entry(const struct row *row, void *context)
{
    struct stream *s = context;
    uint64_t n[2];
    if (row_numbers(row, 0, 2, n))
        return ERROR_MALFORMED;
    s->last = n[0];
    s->entries++;
    enum error error = s->in_gaps ? cursor_close(s->cursor, n[0], n[0])
                                  : cursor_take(s->cursor, n[0], s->from->mark_ms);
    return error ? error : take_keys(s, row_bytes(row, 2));
}

// copy_portion copies the `i`th COPY_MAX keys of a page.
static enum error copy_portion(struct stream *s, struct hand *hand, size_t i,
                               const struct cursor *cursor)
{
    size_t first = i * COPY_MAX, left = s->keys.count - first;
    bool mostly = atomic_load(&s->mostly), left_out = atomic_load(&s->page_left_out);
    const struct copy copy = {.hand = hand,
                              .from = s->from,
                              .to = s->to,
                              .keys = s->keys.key + first,
                              .count = left < COPY_MAX ? left : COPY_MAX,
                              .mostly = &mostly,
                              .cursor = cursor,
                              .held = &s->held,
                              .left_out = &left_out};
    enum error error = copy_run(&copy);
    atomic_store(&s->mostly, mostly);
    if (left_out)
        atomic_store(&s->page_left_out, true);
    return error;
}

static void run_portion(struct hand *hand, size_t i, void *context)
{
    struct stream *s = context;
    if (!atomic_load(&s->failed) && copy_portion(s, hand, i, NULL))
        atomic_store(&s->failed, true);
}

// copy_portions copies what the page names. The cursor goes along with the rows; where they need
// several blocks, in one behind them.
static enum error copy_portions(struct stream *s)
{
    size_t portions = (s->keys.count + COPY_MAX - 1) / COPY_MAX;
    if (portions == 1)
        return copy_portion(s, s->hand, 0, s->cursor);
    atomic_store(&s->failed, false);
    crew_share(s->hand, portions, run_portion, s);
    if (atomic_load(&s->failed))
        return ERROR_UNAVAILABLE;
    return store_cursor(s, atomic_load(&s->page_left_out) ? &s->held : s->cursor);
}

// copy_page_of_log copies what the page names. If rows have to be left out (they lie in the future
// by the destination's clock) the whole page stays a gap, to be read again.
static enum error copy_page_of_log(struct stream *s)
{
    atomic_store(&s->page_left_out, false);
    enum error error = s->in_gaps
                           ? ERROR_NONE
                           : cursor_miss(&s->held, s->held.high + 1, s->last, s->from->mark_ms);
    keys_sort(&s->keys);
    if (!error)
        error = copy_portions(s);
    if (!error && atomic_load(&s->page_left_out)) {
        s->left_out = true;
        error = cursor_copy(s->cursor, &s->held);
    }
    return error;
}

// size_page finds out how many entries have about PAGE_KEYS keys.
static void size_page(struct stream *s)
{
    if (s->keys.count > 2 * PAGE_KEYS && s->page > PAGE_MIN)
        s->page /= 2;
    else if (s->keys.count < PAGE_KEYS / 2 && s->more && s->page < PAGE_MAX)
        s->page *= 2;
}

// read_page runs the statement in s->sql and copies what its entries name; the cursor goes along
// with the rows.
static enum error read_page(struct stream *s)
{
    keys_clear(&s->keys);
    s->entries = 0;
    enum error error = cursor_copy(&s->held, s->cursor);
    if (!error)
        error = pass_do(s->pass, s->from, s->source, &s->sql, take_entry, s);
    bytes_clear(&s->sql);
    s->more = s->entries == s->page;
    size_page(s);
    if (error || s->keys.count == 0)
        return error; // the cursor is stored at the end
    return copy_page_of_log(s);
}

static enum error read_log(struct stream *s)
{
    enum error error = ERROR_NONE;
    s->in_gaps = false;
    while (!error && s->cursor->high < s->from->mark && !pass_stopped(s->pass)) {
        query_changes(&s->sql, s->cursor->high, s->from->mark, s->page);
        error = read_page(s);
        if (!s->more)
            break;
    }
    return error;
}

// ---------------------------------------------------------------- gaps

// read_ranges reads what became visible in some of the gaps. They are copied first: reading closes
// them.
static enum error read_ranges(struct stream *s, const struct gap *gap, size_t count)
{
    struct gap copy[RANGES];
    enum error error = ERROR_NONE;
    memcpy(copy, gap, count * sizeof *gap);
    s->last = 0;
    do {
        query_missing(&s->sql, s->last);
        for (size_t i = 0; i < count; i++)
            query_or_between(&s->sql, copy[i].from, copy[i].to);
        bytes_append_char(&s->sql, ')');
        query_limit(&s->sql, s->page);
        error = read_page(s);
    } while (!error && s->more && !pass_stopped(s->pass));
    return error;
}

static enum error read_gaps(struct stream *s)
{
    struct cursor before;
    cursor_init(&before);
    enum error error = cursor_copy(&before, s->cursor);
    s->in_gaps = true;
    for (size_t i = 0; i < before.count && !error; i += RANGES)
        error =
            read_ranges(s, &before.gap[i], before.count - i < RANGES ? before.count - i : RANGES);
    cursor_fini(&before);
    return error;
}

// ---------------------------------------------------------------- a stream

static enum error take_hole(const struct row *row, void *context)
{
    struct stream *s = context;
    uint64_t n[2];
    if (row_numbers(row, 0, 2, n) || n[0] > n[1])
        return ERROR_MALFORMED;
    if (n[0] <= s->cursor->high) // beside the first entry: the next begins later
        return ERROR_NONE;
    return cursor_miss(s->cursor, n[0], n[1], s->from->mark_ms);
}

// begin_at_mark is for a pair that will be compared row by row: from now on its log counts, and
// what is under way now.
static enum error begin_at_mark(struct stream *s)
{
    cursor_fini(s->cursor);
    query_holes(&s->sql, s->from->mark, LOOKBACK);
    enum error error = pass_do(s->pass, s->from, s->source, &s->sql, take_hole, s);
    if (!error && s->from->mark > s->cursor->high)
        s->cursor->high = s->from->mark;
    return error ? error : cursor_mark(s->cursor, s->from->mark, s->from->mark_ms);
}

static enum error take_first(const struct row *row, void *context)
{
    return row_numbers(row, 0, 1, context);
}

// begin_at_start is for a pair that never met: what the log has lost since then is no gap.
static enum error begin_at_start(struct stream *s)
{
    uint64_t first = 1;
    query_log_head(&s->sql, 1);
    enum error error = pass_do(s->pass, s->from, s->source, &s->sql, take_first, &first);
    bytes_clear(&s->sql);
    if (first > LOOKBACK)
        s->cursor->high = first - LOOKBACK;
    return error;
}

static enum error follow(struct stream *s, bool present)
{
    enum error error = present ? read_gaps(s) : begin_at_start(s);
    if (!error)
        error = read_log(s);
    if (!error)
        error = cursor_mark(s->cursor, s->from->mark, s->from->mark_ms);
    return error ? error : store_cursor(s, s->cursor);
}

static void run_stream(struct hand *hand, struct peer *from, struct peer *to)
{
    struct pass *pass = hand_pass(hand);
    struct reading *reading = &to->reading[from->conf->id - 1];
    struct stream s = {.hand = hand,
                       .pass = pass,
                       .from = from,
                       .to = to,
                       .cursor = &reading->cursor,
                       .page = PAGE_MIN,
                       .source = hand_channel(hand, from)};
    bool followed = from->trusted && to->trusted;
    enum error error = ERROR_UNAVAILABLE;
    if (s.source && peer_up(to))
        error = followed ? follow(&s, reading->present) : begin_at_mark(&s);
    if (error || pass_stopped(pass))
        atomic_store(&pass->streams_failed, true);
    else
        reading->done = followed && !s.left_out;
    cursor_fini(&s.held);
    keys_fini(&s.keys);
    bytes_fini(&s.sql);
    atomic_fetch_add(&pass->steps_done, 1);
}

static void run_pair(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = context;
    struct peer *from = &pass->peer[i / pass->partitions];
    struct peer *to = &pass->peer[i % pass->partitions];
    if (from != to && peer_up(from) && peer_up(to) && !pass_stopped(pass))
        run_stream(hand, from, to);
}

void streams_run(struct pass *pass)
{
    crew_run(pass->crew, (size_t)pass->partitions * pass->partitions, run_pair, pass);
}

// ---------------------------------------------------------------- how far behind

static void measure_up(struct pass *pass, struct peer *peer)
{
    uint64_t now_ms = (uint64_t)clock_unix_us() / 1000;
    for (unsigned s = 0; s < pass->partitions; s++) {
        const struct reading *reading = &peer->reading[s];
        const struct peer *source = &pass->peer[s];
        if (source == peer)
            continue;
        uint64_t marked = reading->cursor.marked;
        double lag = marked && marked < now_ms ? (double)(now_ms - marked) / 1000 : 0;
        if (peer_up(source) && source->mark > reading->cursor.high)
            peer->pending += source->mark - reading->cursor.high;
        if (lag > peer->lag_seconds)
            peer->lag_seconds = lag;
        peer->lag_known |= marked != 0;
    }
}

static enum error take_count(const struct row *row, void *context)
{
    return row_numbers(row, 0, 1, context);
}

// measure_away counts what the others will have for a partition that is away: what changed since it
// was last read.
static void measure_away(struct pass *pass, struct peer *peer)
{
    uint64_t last_ms = 0;
    for (unsigned i = 0; i < pass->partitions; i++) {
        const struct cursor *c = &pass->peer[i].reading[peer->conf->id - 1].cursor;
        if (c->marked > last_ms)
            last_ms = c->marked;
    }
    if (!last_ms)
        return;
    peer->lag_known = true;
    peer->lag_seconds = (double)clock_unix_us() / 1e6 - (double)last_ms / 1e3;
    for (unsigned i = 0; i < pass->partitions; i++) {
        struct bytes sql = {0};
        uint64_t count = 0;
        query_waiting(&sql, (last_ms + 1) * 1000 << VERSION_PARTITION_BITS, WAITING_MAX);
        if (peer_up(&pass->peer[i]) && pass_do(pass, &pass->peer[i], pass->peer[i].control, &sql,
                                               take_count, &count) == ERROR_NONE)
            peer->pending += count;
        bytes_fini(&sql);
    }
}

void streams_measure(struct pass *pass)
{
    for (unsigned i = 0; i < pass->partitions; i++) {
        if (peer_up(&pass->peer[i]))
            measure_up(pass, &pass->peer[i]);
        else
            measure_away(pass, &pass->peer[i]);
    }
}
