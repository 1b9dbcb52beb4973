// SPDX-License-Identifier: MIT
#include "sync/ranges.h"

void range_fini(struct range *range)
{
    bytes_fini(&range->after);
    bytes_fini(&range->to);
}

// set replaces the content of `b` by `s`, which may lie in it.
static enum error set(struct bytes *b, struct slice s)
{
    struct bytes copy = {0};
    bytes_append_slice(&copy, s);
    bytes_fini(b);
    *b = copy;
    return bytes_failed(b) ? ERROR_MEMORY : ERROR_NONE;
}

enum error range_set(struct range *range, struct slice after, struct slice to)
{
    struct range old = *range;
    *range = (struct range){0};
    enum error error = set(&range->after, after);
    if (!error)
        error = set(&range->to, to);
    range_fini(&old);
    return error;
}

static enum error take_border(const struct row *row, void *context)
{
    struct slice key;
    struct bytes *border = context;
    if (row_key(row, 0, &key))
        return ERROR_MALFORMED;
    bytes_append_slice(border, key);
    return bytes_failed(border) ? ERROR_MEMORY : ERROR_NONE;
}

enum error range_border(struct hand *hand, struct peer *peer, const struct query_range *range,
                        unsigned step, struct bytes *key, bool *found)
{
    struct channel *channel = hand_channel(hand, peer);
    struct bytes sql = {0};
    if (!channel)
        return ERROR_UNAVAILABLE;
    query_border(&sql, range, step);
    bytes_clear(key);
    enum error error = pass_do(hand_pass(hand), peer, channel, &sql, take_border, key);
    *found = key->len > 0; // no key is empty
    bytes_fini(&sql);
    return error;
}

static enum error take_estimate(const struct row *row, void *context)
{
    return row_numbers(row, 0, 1, context);
}

size_t range_count(struct pass *pass, struct peer *peer, unsigned step)
{
    struct bytes sql = {0};
    uint64_t rows = 0;
    query_estimate(&sql);
    enum error error = ERROR_NONE;
    if (pass->options.progress)
        error = pass_do(pass, peer, peer->control, &sql, take_estimate, &rows);
    bytes_fini(&sql);
    return error ? 1 : rows / step + 1;
}

enum error ranges_init(struct ranges *ranges, struct peer *peer, unsigned step, struct slice start,
                       size_t most)
{
    static const struct slice end = {0};
    *ranges = (struct ranges){.peer = peer, .step = step, .left = most};
    pthread_mutex_init(&ranges->lock, NULL);
    enum error error = set(&ranges->turn, start);
    return error ? error : range_set(&ranges->rest, start, end);
}

void ranges_fini(struct ranges *ranges)
{
    range_fini(&ranges->rest);
    bytes_fini(&ranges->turn);
    pthread_mutex_destroy(&ranges->lock);
}

// go_on makes `rest` begin at `border`, or behind the end of the key space at its beginning.
static enum error go_on(struct ranges *ranges, bool found, struct slice border)
{
    static const struct slice start = {0};
    if (found)
        return set(&ranges->rest.after, border);
    ranges->done = ranges->turn.len == 0;
    enum error error = range_set(&ranges->rest, start, bytes_slice(&ranges->turn));
    bytes_clear(&ranges->turn);
    return error;
}

static enum error take(struct ranges *ranges, struct hand *hand, struct range *range)
{
    struct query_range rest = range_borrow(&ranges->rest);
    struct bytes border = {0};
    bool found;
    enum error error = range_border(hand, ranges->peer, &rest, ranges->step, &border, &found);
    if (!error)
        error = range_set(range, rest.after, found ? bytes_slice(&border) : rest.to);
    if (!error)
        error = go_on(ranges, found, bytes_slice(&border));
    bytes_fini(&border);
    return error;
}

bool ranges_next(struct ranges *ranges, struct hand *hand, struct range *range)
{
    bool taken = false;
    pthread_mutex_lock(&ranges->lock);
    if (ranges->left && !ranges->done && !ranges->error && !pass_stopped(hand_pass(hand))) {
        ranges->error = take(ranges, hand, range);
        ranges->left--;
        taken = !ranges->error;
    }
    pthread_mutex_unlock(&ranges->lock);
    return taken;
}
