// SPDX-License-Identifier: MIT
#include "server/present.h"

#include <stdlib.h>

#include "server/changes.h"
#include "server/document.h"
#include "server/http.h"

enum {
    FETCH = 32, // values read at a time while a list is told
};

// An item of a list whose value is being read.
struct fetch {
    struct operation operation;
    struct listener *listener;
    bool found;
    struct bytes members;
    struct bytes value;
    size_t key_len;
    char key[KEY_MAX];
};

// begin_log: what the partition has may not be in the list, for it is away. Its log will be read
// from its beginning; what that no longer has is on other partitions.
static void begin_log(struct listener *l, uint16_t id)
{
    struct position *at = &l->from->at[id - 1];
    listener_note_stale(l, id);
    if (at->kind == POSITION_START)
        return;
    cursor_fini(&at->cursor);
    *at = (struct position){.kind = POSITION_START, .newest_ms = at->newest_ms};
    bytes_clear(&l->token);
    token_format(l->from, &l->token);
}

// begin_logs_of_missing: partitions may go away while the list is told, too.
static void begin_logs_of_missing(struct listener *l)
{
    unsigned count;
    const uint16_t *missing = listing_missing(l->listing, &count);
    for (unsigned i = 0; i < count; i++)
        begin_log(l, missing[i]);
}

static void tell_item(struct listener *l, struct slice key, struct slice members,
                      struct slice value)
{
    struct bytes start = {0};
    bytes_append_slice(&start, bytes_slice(&l->token)); // which a poll's event replaces
    const struct news news = {
        .token = bytes_slice(&start), .after = key, .members = members, .value = value};
    listener_tell(l, &news);
    bytes_clear(&l->token);
    bytes_append_slice(&l->token, news.token);
    bytes_fini(&start);
}

static void end_list_at_limit(struct listener *l, struct slice key)
{
    token_format_after(key, &l->token);
    listener_send(l);
    if (l->state != LISTENER_OVER)
        listener_end(l);
}

static void tell_fetched(struct listener *l)
{
    unsigned count = l->fetched;
    l->fetched = 0;
    for (unsigned i = 0; i < count && l->state == LISTENER_LISTS; i++) {
        struct fetch *f = &l->fetch[i];
        struct slice key = {f->key, f->key_len};
        if (!f->found)
            continue;
        tell_item(l, key, bytes_slice(&f->members), bytes_slice(&f->value));
        if (listener_is_full(l))
            end_list_at_limit(l, key);
    }
    if (l->state == LISTENER_LISTS && !listener_is_poll(l))
        listener_send(l);
    if (l->state == LISTENER_LISTS)
        present_go_on(l);
}

static void on_fetched(struct operation *operation, const struct outcome *outcome)
{
    struct fetch *f = CONTAINER_OF(operation, struct fetch, operation);
    struct listener *l = f->listener;
    l->fetching--;
    if (!request_release(l->request))
        return;
    if (l->state != LISTENER_LISTS)
        return;
    if (outcome->error) {
        listener_fail(l, document_status(outcome->error), document_detail(outcome->error));
        return;
    }
    for (unsigned i = 0; i < outcome->stale_count; i++) // they may know better
        begin_log(l, outcome->stale[i]);
    f->found = outcome->found;
    bytes_clear(&f->members);
    bytes_clear(&f->value);
    if (f->found) {
        const struct follow_entry entry = {
            .version = outcome->pair.version, .key = {f->key, f->key_len}, .pair = outcome->pair};
        feed_write_members(&entry, &f->members);
        if (outcome->pair.size <= FOLLOW_VALUE_MAX)
            feed_write_value(&entry, &f->value);
    }
    if (l->fetching == 0)
        tell_fetched(l);
}

static void fetch_item(struct listener *l, const struct listing_item *item)
{
    struct fetch *f = &l->fetch[l->fetched++];
    memcpy(f->key, item->key.data, item->key.len);
    f->key_len = item->key.len;
    f->listener = l;
}

static void fetch_all(struct listener *l)
{
    l->fetching = l->fetched;
    for (unsigned i = 0; i < l->fetched; i++) {
        struct fetch *f = &l->fetch[i];
        f->operation = (struct operation){
            .kind = OPERATION_GET, .key = {f->key, f->key_len}, .on_done = on_fetched};
        request_hold(l->request);
        store_submit(listener_worker(l)->store, &f->operation);
    }
}

// take_item tells an item, or lays it by until its value is there; false when no more can be taken.
static bool take_item(struct listener *l, const struct listing_item *item)
{
    if (l->values) {
        fetch_item(l, item);
        return l->fetched < FETCH;
    }
    const struct follow_entry entry = {
        .version = item->version, .key = item->key, .pair = {.type = item->type}};
    struct bytes members = {0};
    feed_write_members(&entry, &members);
    l->out.failed |= bytes_failed(&members);
    tell_item(l, item->key, bytes_slice(&members), (struct slice){0});
    bytes_fini(&members);
    if (listener_is_full(l)) {
        end_list_at_limit(l, item->key);
        return false;
    }
    if (listener_has_piece(l))
        listener_send(l);
    return l->state == LISTENER_LISTS && (listener_is_poll(l) || http_writable(l->request));
}

// end_list: the list told what was there a moment ago. The journal must know of it, too, before the
// logs are read up to it: else it might tell older versions later.
static void end_list(struct listener *l)
{
    listener_send(l);
    if (l->state == LISTENER_OVER)
        return;
    listing_free(&l->listing);
    l->since = SINCE_TOKEN;
    l->listed = true;
    changes_wait(l);
}

// present_go_on takes from the list until it has to wait: for the list, for values, for the client.
void present_go_on(struct listener *l)
{
    bool more = !l->fetching && !listing_waiting(l->listing) &&
                (listener_is_poll(l) || http_writable(l->request));
    while (more) {
        struct listing_item item;
        enum listing_result result = listing_next(l->listing, &item);
        begin_logs_of_missing(l);
        if (result == LISTING_ITEM) {
            more = take_item(l, &item);
            continue;
        }
        if (result == LISTING_FAILED)
            listener_fail(l, 503, "a partition that is needed is unavailable");
        else if (l->fetched == 0 && result == LISTING_END)
            end_list(l);
        break;
    }
    if (l->state == LISTENER_LISTS && l->fetched && !l->fetching)
        fetch_all(l);
    else if (l->state == LISTENER_LISTS)
        listener_send(l);
}

static void on_listing_ready(struct listing *listing, void *context)
{
    (void)listing;
    present_go_on(context);
}

// present_begin lists the present state, from behind l->from's key on; the logs are then read from
// l->from.
void present_begin(struct listener *l)
{
    const struct listing_options options = {.prefix = {l->prefix, l->prefix_len},
                                            .after = {l->from->after, l->from->after_len},
                                            .only = &l->request->grant->read,
                                            .expected = listener_is_poll(l) ? l->limit : 0};
    listener_set_state(l, LISTENER_LISTS);
    l->from->listing = false;
    l->fetch = l->values ? calloc(FETCH, sizeof *l->fetch) : NULL;
    if ((l->values && !l->fetch) ||
        listing_new(listener_worker(l)->store, &options, on_listing_ready, l, &l->listing)) {
        listener_fail(l, 503, "out of memory");
        return;
    }
    token_format(l->from, &l->token);
    begin_logs_of_missing(l);
    present_go_on(l);
}

void present_fini(struct listener *l)
{
    for (unsigned i = 0; l->fetch && i < FETCH; i++) {
        bytes_fini(&l->fetch[i].members);
        bytes_fini(&l->fetch[i].value);
    }
    free(l->fetch);
}
