// SPDX-License-Identifier: MIT
#include "sync/copy.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/query.h"
#include "store/version.h"
#include "sync/materialise.h"
#include "sync/peer.h"
#include "sync/retry.h"

enum {
    PIECE_BYTES = 1024 * 1024, // of SQL text with values, unless one row alone is more
    FILLED_BY_LOG = 2,         // what @sherd_apply shall be: the change is logged as an echo,
    FILLED_SILENTLY = 3,       // or not, in a partition that nobody follows yet
    TRIES = 3,
    PACKET_REST = 64 * 1024, // of a statement beside its largest row
};

struct row_at {
    uint64_t version;
    size_t begin;
    size_t end;
};

// The rows that leave in one transaction, as SQL.
struct piece {
    struct bytes text;
    struct row_at row[COPY_MAX];
    size_t count;
};

struct copying {
    const struct copy *copy;
    struct pass *pass;
    struct channel *source;
    struct channel *target;
    struct keys there;       // versions at the target
    struct keys here;        // versions at the source
    struct keys wanted_keys; // to fetch
    struct keys large;       // keys whose values are fetched one by one
    struct piece piece;
    bool left_out; // rows that the target does not take yet
    struct bytes sql;
    bool (*wanted)(const struct copy *copy, const struct pair *pair); // copy_page: or NULL
    struct bytes *at; // copy_page: key of the last row
    size_t looked_at; // copy_page: rows
};

// ---------------------------------------------------------------- writing

static void drop_future_rows(struct copying *c, uint64_t limit)
{
    struct pass *pass = c->pass;
    size_t kept = 0;
    for (size_t i = 0; i < c->piece.count; i++)
        if (c->piece.row[i].version < limit)
            c->piece.row[kept++] = c->piece.row[i];
    uint64_t dropped = c->piece.count - kept;
    c->piece.count = kept;
    c->left_out = c->left_out || dropped;
    if (dropped && atomic_fetch_add(&pass->counts.rejected, dropped) == 0)
        pass_trouble(pass, PASS_BUSY,
                     "partition-%u holds rows of more than 5 s in the future of partition-%u",
                     c->copy->from->conf->id, c->copy->to->conf->id);
}

static enum error take_clock(const struct row *row, void *context)
{
    return row_numbers(row, 7, 1, context);
}

// leave_out_future drops the rows that the target's clock refuses. A little more than those: its
// clock runs on.
static enum error leave_out_future(struct copying *c)
{
    uint64_t now = 0;
    bytes_clear(&c->sql);
    query_itself(&c->sql);
    enum error error = pass_do(c->pass, c->copy->to, c->target, &c->sql, take_clock, &now);
    if (!error)
        drop_future_rows(c, (now + PASS_CLOCK_BOUND_US) << VERSION_PARTITION_BITS);
    return error;
}

static void build_block(struct copying *c, bool last)
{
    const struct copy *copy = c->copy;
    bytes_clear(&c->sql);
    query_guard(&c->sql, c->pass->token, copy->to->trusted ? FILLED_BY_LOG : FILLED_SILENTLY);
    if (c->piece.count)
        query_apply_head(&c->sql);
    for (size_t i = 0; i < c->piece.count; i++) {
        const struct row_at *row = &c->piece.row[i];
        if (i)
            bytes_append_char(&c->sql, ',');
        bytes_append(&c->sql, c->piece.text.data + row->begin, row->end - row->begin);
    }
    if (c->piece.count)
        query_apply_tail(&c->sql);
    if (last && copy->cursor)
        peer_put_cursor(c->pass, c->left_out && copy->held ? copy->held : copy->cursor,
                        copy->from->conf->id, &c->sql);
    query_commit(&c->sql);
}

// try_block sends the block until its rows are accepted, with those that never will be left out.
static enum error try_block(struct copying *c, bool last)
{
    enum error error = ERROR_NONE;
    for (unsigned try = 0; try < TRIES; try++) {
        if (c->piece.count == 0 && !(last && c->copy->cursor))
            return ERROR_NONE;
        build_block(c, last);
        error = retry_ask(c->pass, c->copy->to, c->target, &c->sql);
        if (error != ERROR_REJECTED || pass_stopped(c->pass))
            return error;
        enum error mended = ERROR_REJECTED;
        if (channel_code(c->target) == CHANNEL_FUTURE)
            mended = leave_out_future(c);
        else if (channel_code(c->target) == CHANNEL_REMOVED)
            mended = materialise(c->pass, c->copy->to, c->target);
        if (mended)
            break;
    }
    pass_trouble(c->pass, PASS_BUSY, "partition-%u to partition-%u: %s", c->copy->from->conf->id,
                 c->copy->to->conf->id, channel_text(c->target));
    return error;
}

static void count_rows(struct copying *c)
{
    struct pass_counts *counts = &c->pass->counts;
    atomic_fetch_add(c->copy->repairs ? &counts->repaired : &counts->copied, c->piece.count);
    atomic_fetch_add(&counts->bytes, c->piece.text.len);
}

static enum error write_piece(struct copying *c, bool last)
{
    enum error error = ERROR_NONE;
    if (bytes_failed(&c->piece.text))
        error = ERROR_MEMORY;
    else if (!c->pass->options.dry_run) {
        throttle_wait(&c->pass->throttle, c->piece.count, c->piece.text.len);
        int64_t began = clock_us();
        error = try_block(c, last);
        throttle_spare(clock_us() - began);
    }
    if (!error)
        count_rows(c);
    c->piece.count = 0;
    bytes_shrink(&c->piece.text, PIECE_BYTES);
    return error;
}

// ---------------------------------------------------------------- reading

// too_large tells of a row that no statement can carry, and leaves it out: the others go on.
static bool too_large(struct copying *c, struct slice key, uint64_t size)
{
    uint64_t most = channel_check(c->source)->max_packet;
    if (channel_check(c->target)->max_packet < most)
        most = channel_check(c->target)->max_packet;
    if (size + PACKET_REST <= most)
        return false;
    struct bytes name = {0};
    log_escape(&name, key);
    atomic_fetch_add(&c->pass->counts.rejected, 1);
    pass_trouble(c->pass, PASS_BUSY,
                 "partition-%u to partition-%u: key %.*s: its value is larger than "
                 "max_allowed_packet admits",
                 c->copy->from->conf->id, c->copy->to->conf->id, (int)name.len,
                 name.len ? name.data : "");
    bytes_fini(&name);
    return true;
}

// passes_over counts a row of copy_page and tells whether it is none that is to be copied.
static bool passes_over(struct copying *c, const struct pair *pair)
{
    if (!c->wanted)
        return false;
    bytes_clear(c->at);
    bytes_append_slice(c->at, pair->key);
    c->looked_at++;
    return !c->wanted(c->copy, pair);
}

static enum error take_row(const struct row *row, void *context)
{
    struct copying *c = context;
    struct pair pair;
    enum error error = row_copy(row, &pair);
    if (error || passes_over(c, &pair))
        return error;
    if (!pair.whole && pair.size > QUERY_LARGE)
        return too_large(c, pair.key, pair.size) ? ERROR_NONE : keys_add(&c->large, pair.key, 0);
    bool full = c->piece.count == COPY_MAX ||
                (c->piece.count && c->piece.text.len + 2 * pair.size > PIECE_BYTES);
    if (full && (error = write_piece(c, false)))
        return error;
    struct row_at *at = &c->piece.row[c->piece.count];
    at->version = pair.version;
    at->begin = c->piece.text.len;
    query_apply_row(&c->piece.text, &pair, !pair.whole || !row->field[1]);
    at->end = c->piece.text.len;
    if (pair.size > QUERY_LARGE && too_large(c, pair.key, at->end - at->begin))
        c->piece.text.len = at->begin;
    else
        c->piece.count++;
    return ERROR_NONE;
}

static enum error fetch(struct copying *c, const struct slice *keys, size_t count, bool large)
{
    struct bytes sql = {0};
    query_rows(&sql, keys, count, large);
    enum error error = pass_do(c->pass, c->copy->from, c->source, &sql, take_row, c);
    bytes_fini(&sql);
    return error;
}

static enum error fetch_wanted(struct copying *c)
{
    enum error error = ERROR_NONE;
    if (c->wanted_keys.count)
        error = fetch(c, c->wanted_keys.key, c->wanted_keys.count, false);
    keys_settle(&c->large);
    for (size_t i = 0; i < c->large.count && !error; i++)
        error = fetch(c, &c->large.key[i], 1, true);
    return error;
}

// ---------------------------------------------------------------- comparing

static enum error take_version(const struct row *row, void *context)
{
    struct slice key;
    uint64_t version;
    if (row_key(row, 0, &key) || row_numbers(row, 1, 1, &version))
        return ERROR_MALFORMED;
    return keys_add(context, key, version);
}

static enum error look(struct copying *c, struct peer *peer, struct channel *channel,
                       struct keys *versions)
{
    struct keys *keys = c->copy->keys;
    keys_clear(versions);
    bytes_clear(&c->sql);
    query_versions(&c->sql, keys->key, keys->count);
    enum error error = pass_do(c->pass, peer, channel, &c->sql, take_version, versions);
    keys_sort(versions);
    return error;
}

// look_here reads the versions at the source; keys without a row may be such that SQL removed.
static enum error look_here(struct copying *c)
{
    const struct copy *copy = c->copy;
    enum error error = look(c, copy->from, c->source, &c->here);
    bool removed = false;
    if (!error && c->here.count < copy->keys->count && !c->pass->options.dry_run)
        error = materialise_needed(c->pass, copy->from, c->source, copy->keys->key,
                                   copy->keys->count, &removed);
    if (error || !removed)
        return error;
    error = materialise(c->pass, copy->from, c->source);
    return error ? error : look(c, copy->from, c->source, &c->here);
}

// is_wanted: two rows that SQL wrote on two partitions in the same microsecond have equal versions
// and may differ.
static bool is_wanted(struct copying *c, struct slice key, uint64_t version)
{
    ptrdiff_t i = keys_find(&c->there, key);
    if (i < 0 || c->there.version[i] < version)
        return true;
    if (c->there.version[i] == version)
        return version_partition(version) == 0;
    atomic_fetch_add(&c->pass->counts.conflicts, 1);
    return false;
}

static enum error compare(struct copying *c)
{
    enum error error = look_here(c);
    if (!error && c->here.count)
        error = look(c, c->copy->to, c->target, &c->there);
    for (size_t i = 0; i < c->here.count && !error; i++)
        if (is_wanted(c, c->here.key[i], c->here.version[i]))
            error = keys_add(&c->wanted_keys, c->here.key[i], 0);
    keys_settle(&c->wanted_keys);
    return error;
}

static enum error want_all(struct copying *c)
{
    enum error error = ERROR_NONE;
    for (size_t i = 0; i < c->copy->keys->count && !error; i++)
        error = keys_add(&c->wanted_keys, c->copy->keys->key[i], 0);
    keys_settle(&c->wanted_keys);
    return error;
}

static enum error copy_all(struct copying *c)
{
    enum error error = ERROR_NONE;
    if (c->copy->keys->count)
        error = c->copy->known ? want_all(c) : compare(c);
    if (!error)
        error = fetch_wanted(c);
    if (!error && (c->piece.count || c->copy->cursor))
        error = write_piece(c, true);
    return error;
}

static enum error copy_some(struct copying *c, struct slice to)
{
    struct bytes sql = {0};
    query_rows_after(&sql, bytes_slice(c->at), to, COPY_MAX);
    enum error error = pass_do(c->pass, c->copy->from, c->source, &sql, take_row, c);
    bytes_fini(&sql);
    c->wanted = NULL;
    if (!error)
        error = fetch_wanted(c); // large values
    if (!error && c->piece.count)
        error = write_piece(c, true);
    if (c->looked_at < COPY_MAX)
        bytes_clear(c->at);
    return error;
}

static struct copying *begin_copying(const struct copy *copy)
{
    struct copying *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->copy = copy;
    c->pass = hand_pass(copy->hand);
    c->source = hand_channel(copy->hand, copy->from);
    c->target = hand_channel(copy->hand, copy->to);
    return c;
}

static bool can_copy(const struct copying *c)
{
    return c->source && c->target && !pass_stopped(c->pass);
}

static void end_copying(struct copying *c)
{
    if (c->copy->left_out && c->left_out)
        *c->copy->left_out = true;
    keys_fini(&c->there);
    keys_fini(&c->here);
    keys_fini(&c->wanted_keys);
    keys_fini(&c->large);
    bytes_fini(&c->piece.text);
    bytes_fini(&c->sql);
    free(c);
}

enum error copy_run(const struct copy *copy)
{
    struct copying *c = begin_copying(copy);
    if (!c)
        return ERROR_MEMORY;
    enum error error = can_copy(c) ? copy_all(c) : ERROR_UNAVAILABLE;
    end_copying(c);
    return error;
}

enum error copy_page(const struct copy *copy, struct bytes *at, struct slice to,
                     bool (*wanted)(const struct copy *copy, const struct pair *pair))
{
    struct copying *c = begin_copying(copy);
    if (!c)
        return ERROR_MEMORY;
    c->wanted = wanted;
    c->at = at;
    enum error error = can_copy(c) ? copy_some(c, to) : ERROR_UNAVAILABLE;
    end_copying(c);
    return error;
}
