// SPDX-License-Identifier: MIT
#include "sync/copy.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/query.h"
#include "store/version.h"
#include "sync/keys.h"
#include "sync/peer.h"
#include "sync/retry.h"
#include "sync/settle.h"

enum {
    PIECE_BYTES = 1024 * 1024, // of SQL text with values, unless one row alone is more
    TRIES = 3,
    PACKET_REST = 64 * 1024, // of a statement beside its largest row
    ROW_BYTES = 100,         // of a row's SQL beside key, value and type
    PAGE_MIN = 50,           // rows
};

// Where the SQL of a row ends; it begins where that of the row before ends, with a comma.
struct row_at {
    uint64_t version;
    size_t end;
    size_t entry_end;
};

// The rows that leave in one transaction, as SQL, and their log entry.
struct piece {
    struct bytes text;
    struct bytes entry;
    struct row_at row[COPY_PAGE_MAX];
    size_t count;
};

struct copying {
    const struct copy *copy;
    struct pass *pass;
    struct channel *source;
    struct channel *target;
    bool logged;             // somebody follows the target's log
    bool filters;            // rows are compared with `there` when they come
    size_t needed;           // rows that were needed
    struct keys there;       // versions at the target
    struct keys here;        // versions at the source
    struct keys wanted_keys; // to fetch
    struct keys large;       // keys whose values are fetched one by one
    struct piece piece;
    bool left_out; // rows that the target does not take yet
    struct bytes sql;
    bool (*wanted)(const struct copy *copy, const struct pair *pair); // copy_page: or NULL
    struct copy_at *at;                                               // copy_page
    size_t looked_at;                                                 // copy_page: rows
    size_t bytes;                                                     // copy_page: of those rows
};

// ---------------------------------------------------------------- writing

// add_row appends a row; false when it is larger than `most` bytes of SQL.
static bool add_row(struct copying *c, const struct pair *pair, uint64_t most)
{
    struct piece *p = &c->piece;
    size_t begin = p->text.len;
    if (p->count)
        bytes_append_char(&p->text, ',');
    query_applied_row(&p->text, pair);
    if (p->text.len - begin > most) {
        p->text.len = begin;
        return false;
    }
    if (c->logged)
        query_entry_key(&p->entry, pair->key, pair->tombstone);
    p->row[p->count++] = (struct row_at){pair->version, p->text.len, p->entry.len};
    return true;
}

static void clear_piece(struct piece *piece)
{
    piece->count = 0;
    bytes_shrink(&piece->text, PIECE_BYTES);
    bytes_clear(&piece->entry);
}

// keep_row appends row `i` of `from` to `to`.
static void keep_row(struct piece *to, const struct piece *from, size_t i)
{
    static const struct row_at start = {0};
    const struct row_at *before = i ? &from->row[i - 1] : &start, *row = &from->row[i];
    size_t begin = before->end + (i > 0); // behind the comma
    if (to->count)
        bytes_append_char(&to->text, ',');
    bytes_append(&to->text, from->text.data + begin, row->end - begin);
    if (row->entry_end > before->entry_end)
        bytes_append(&to->entry, from->entry.data + before->entry_end,
                     row->entry_end - before->entry_end);
    to->row[to->count++] = (struct row_at){row->version, to->text.len, to->entry.len};
}

// keep_before leaves only rows of versions before `limit` in the piece and returns how many went.
static uint64_t keep_before(struct copying *c, uint64_t limit)
{
    struct piece *kept = calloc(1, sizeof *kept);
    uint64_t count = c->piece.count;
    if (!kept)
        c->piece.text.failed = true;
    for (size_t i = 0; kept && i < c->piece.count; i++)
        if (c->piece.row[i].version < limit)
            keep_row(kept, &c->piece, i);
    if (kept) {
        bytes_fini(&c->piece.text);
        bytes_fini(&c->piece.entry);
        c->piece = *kept;
    }
    free(kept);
    return count - c->piece.count;
}

static void drop_future_rows(struct copying *c, uint64_t limit)
{
    struct pass *pass = c->pass;
    uint64_t dropped = keep_before(c, limit);
    c->left_out = c->left_out || dropped;
    if (dropped && atomic_fetch_add(&pass->counts.rejected, dropped) == 0)
        pass_trouble(pass, PASS_BUSY,
                     "partition-%u holds rows of more than 5 s in the future of partition-%u",
                     c->copy->from->conf->id, c->copy->to->conf->id);
}

static enum error take_clock(const struct row *row, void *context)
{
    return row_numbers(row, 6, 1, context);
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

static uint64_t newest(const struct piece *piece)
{
    uint64_t version = 0;
    for (size_t i = 0; i < piece->count; i++)
        if (piece->row[i].version > version)
            version = piece->row[i].version;
    return version;
}

static void build_block(struct copying *c, bool last)
{
    const struct copy *copy = c->copy;
    const struct piece *piece = &c->piece;
    bytes_clear(&c->sql);
    query_guard(&c->sql, c->pass->token);
    if (piece->count)
        query_applying(&c->sql, bytes_slice(&piece->text), bytes_slice(&piece->entry),
                       newest(piece));
    if (last && copy->cursor)
        peer_put_cursor(c->pass, c->left_out && copy->held ? copy->held : copy->cursor,
                        copy->from->conf->id, &c->sql);
    query_commit(&c->sql);
    c->sql.failed |= piece->text.failed || piece->entry.failed;
}

// try_block sends the block until its rows are accepted, with those that never will be left out.
static enum error try_block(struct copying *c, bool last)
{
    enum error error = ERROR_NONE;
    for (unsigned try = 0; try < TRIES; try++) {
        if (c->piece.count == 0 && !(last && c->copy->cursor))
            return ERROR_NONE;
        build_block(c, last);
        error = retry_ask(c->pass, c->copy->to, c->target, &c->sql, NULL, NULL);
        if (error != ERROR_REJECTED || pass_stopped(c->pass))
            return error;
        enum error mended = ERROR_REJECTED;
        if (channel_code(c->target) == CHANNEL_FUTURE)
            mended = leave_out_future(c);
        else if (channel_code(c->target) == CHANNEL_REMOVED)
            mended = settle(c->pass, c->copy->to, c->target);
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
    if (bytes_failed(&c->piece.text) || bytes_failed(&c->piece.entry))
        error = ERROR_MEMORY;
    else if (!c->pass->options.dry_run) {
        throttle_wait(&c->pass->throttle, c->piece.count, c->piece.text.len);
        int64_t began = clock_us();
        error = try_block(c, last);
        throttle_spare(clock_us() - began);
    }
    if (!error)
        count_rows(c);
    clear_piece(&c->piece);
    return error;
}

// ---------------------------------------------------------------- reading

static uint64_t most_bytes(const struct copying *c)
{
    uint64_t source = channel_check(c->source)->max_packet;
    uint64_t target = channel_check(c->target)->max_packet;
    return (source < target ? source : target) - PACKET_REST;
}

// tell_too_large tells of a row that no statement can carry. It is left out: the others go on.
static void tell_too_large(struct copying *c, struct slice key)
{
    struct bytes name = {0};
    log_escape(&name, key);
    atomic_fetch_add(&c->pass->counts.rejected, 1);
    pass_trouble(c->pass, PASS_BUSY,
                 "partition-%u to partition-%u: key %.*s: its value is larger than "
                 "max_allowed_packet admits",
                 c->copy->from->conf->id, c->copy->to->conf->id, (int)name.len,
                 name.len ? name.data : "");
    bytes_fini(&name);
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

// passes_over tells whether a row is none that is to be copied; it counts those of copy_page.
static bool passes_over(struct copying *c, const struct pair *pair)
{
    if (c->filters)
        return !is_wanted(c, pair->key, pair->version);
    if (!c->wanted)
        return false;
    bytes_clear(&c->at->key);
    bytes_append_slice(&c->at->key, pair->key);
    c->looked_at++;
    c->bytes += ROW_BYTES + pair->key.len + pair->value.len + pair->type.len;
    return !c->wanted(c->copy, pair);
}

// is_full: a log entry has no more than COPY_MAX keys.
static bool is_full(const struct copying *c, const struct pair *pair)
{
    const struct piece *piece = &c->piece;
    return piece->count == (c->logged ? COPY_MAX : COPY_PAGE_MAX) ||
           (piece->count && piece->text.len + piece->entry.len + 2 * pair->size > PIECE_BYTES);
}

static enum error take_row(const struct row *row, void *context)
{
    struct copying *c = context;
    struct pair pair;
    enum error error = row_copy(row, &pair);
    if (error || passes_over(c, &pair))
        return error;
    c->needed++;
    if (!pair.whole && pair.size <= most_bytes(c))
        return keys_add(&c->large, pair.key, 0);
    if (pair.whole && is_full(c, &pair) && (error = write_piece(c, false)))
        return error;
    if (!pair.whole || !add_row(c, &pair, most_bytes(c)))
        tell_too_large(c, pair.key);
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
    keys_clear(versions);
    bytes_clear(&c->sql);
    query_versions(&c->sql, c->copy->keys, c->copy->count);
    enum error error = pass_do(c->pass, peer, channel, &c->sql, take_version, versions);
    keys_sort(versions);
    return error;
}

static enum error compare(struct copying *c)
{
    enum error error = look(c, c->copy->from, c->source, &c->here);
    if (!error && c->here.count)
        error = look(c, c->copy->to, c->target, &c->there);
    for (size_t i = 0; i < c->here.count && !error; i++)
        if (is_wanted(c, c->here.key[i], c->here.version[i]))
            error = keys_add(&c->wanted_keys, c->here.key[i], 0);
    keys_settle(&c->wanted_keys);
    return error;
}

static enum error fetch_large(struct copying *c)
{
    enum error error = ERROR_NONE;
    keys_settle(&c->large);
    for (size_t i = 0; i < c->large.count && !error; i++)
        error = fetch(c, &c->large.key[i], 1, true);
    return error;
}

// fetch_all fetches all rows; those that are not known to be needed are compared as they come.
static enum error fetch_all(struct copying *c)
{
    enum error error = ERROR_NONE;
    c->filters = !c->copy->known;
    if (c->filters)
        error = look(c, c->copy->to, c->target, &c->there);
    if (!error)
        error = fetch(c, c->copy->keys, c->copy->count, false);
    c->filters = false;
    return error;
}

static enum error fetch_wanted(struct copying *c)
{
    enum error error = compare(c);
    if (!error && c->wanted_keys.count)
        error = fetch(c, c->wanted_keys.key, c->wanted_keys.count, false);
    return error;
}

static enum error copy_all(struct copying *c)
{
    const struct copy *copy = c->copy;
    bool at_once = copy->known || (copy->mostly && *copy->mostly);
    enum error error = ERROR_NONE;
    if (copy->count)
        error = at_once ? fetch_all(c) : fetch_wanted(c);
    if (copy->mostly)
        *copy->mostly = c->needed > copy->count / 2;
    if (!error)
        error = fetch_large(c);
    if (!error && (c->piece.count || copy->cursor))
        error = write_piece(c, true);
    return error;
}

// size_page finds out how many of such rows a statement carries.
static void size_page(struct copying *c)
{
    size_t rows = PIECE_BYTES / (c->bytes / c->looked_at + 1);
    rows = rows < PAGE_MIN ? PAGE_MIN : rows;
    c->at->rows = rows < COPY_PAGE_MAX ? (unsigned)rows : COPY_PAGE_MAX;
}

static enum error copy_some(struct copying *c, struct slice to)
{
    struct bytes sql = {0};
    query_rows_after(&sql, bytes_slice(&c->at->key), to, c->copy->slots, c->at->rows);
    enum error error = pass_do(c->pass, c->copy->from, c->source, &sql, take_row, c);
    bytes_fini(&sql);
    c->wanted = NULL;
    if (!error)
        error = fetch_large(c);
    if (!error && c->piece.count)
        error = write_piece(c, true);
    if (c->looked_at < c->at->rows)
        bytes_clear(&c->at->key);
    else
        size_page(c);
    return error;
}

static struct copying *begin_copying(const struct copy *copy)
{
    struct copying *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->copy = copy;
    c->logged = copy->to->trusted;
    c->left_out = copy->left_out && *copy->left_out;
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
    bytes_fini(&c->piece.entry);
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

enum error copy_page(const struct copy *copy, struct copy_at *at, struct slice to,
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
