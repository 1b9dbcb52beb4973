// SPDX-License-Identifier: MIT
#include "sync/settle.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/query.h"
#include "sync/keys.h"
#include "sync/retry.h"

enum {
    PAGE = 500, // rows, or notes of removed ones
};

// A page of unstamped rows.
struct page {
    struct keys keys;
    bool tombstone[PAGE];
    struct bytes touched; // of the last row
};

// The pages of one partition. Whoever asks for the next one stamps it.
struct pages {
    struct peer *peer;
    pthread_mutex_t lock;
    struct bytes touched; // of the last row handed out, and its key
    struct bytes key;
    bool last; // there are no more
};

// ---------------------------------------------------------------- pages

static struct page *new_page(void)
{
    return calloc(1, sizeof(struct page));
}

static void free_page(struct page *page)
{
    if (!page)
        return;
    keys_fini(&page->keys);
    bytes_fini(&page->touched);
    free(page);
}

static void init_pages(struct pages *pages, struct peer *peer)
{
    *pages = (struct pages){.peer = peer};
    pthread_mutex_init(&pages->lock, NULL);
}

static void fini_pages(struct pages *pages)
{
    bytes_fini(&pages->touched);
    bytes_fini(&pages->key);
    pthread_mutex_destroy(&pages->lock);
}

static enum error take_unstamped(const struct row *row, void *context)
{
    struct page *page = context;
    struct slice touched, key;
    bool tombstone;
    if (row_unstamped(row, &touched, &key, &tombstone) || page->keys.count == PAGE)
        return ERROR_MALFORMED;
    page->tombstone[page->keys.count] = tombstone;
    bytes_clear(&page->touched);
    bytes_append_slice(&page->touched, touched);
    return bytes_failed(&page->touched) ? ERROR_MEMORY : keys_add(&page->keys, key, 0);
}

// go_on notes where a page ended.
static enum error go_on(struct pages *pages, const struct page *page)
{
    size_t count = page->keys.count;
    pages->last = count < PAGE;
    if (count == 0)
        return ERROR_NONE;
    bytes_clear(&pages->touched);
    bytes_append_slice(&pages->touched, bytes_slice(&page->touched));
    bytes_clear(&pages->key);
    bytes_append_slice(&pages->key, page->keys.key[count - 1]);
    return bytes_failed(&pages->touched) || bytes_failed(&pages->key) ? ERROR_MEMORY : ERROR_NONE;
}

static enum error read_page(struct pass *pass, struct channel *channel, struct pages *pages,
                            struct page *page)
{
    struct bytes sql = {0};
    query_unstamped(&sql, bytes_slice(&pages->touched), bytes_slice(&pages->key), PAGE);
    enum error error = pass_do(pass, pages->peer, channel, &sql, take_unstamped, page);
    bytes_fini(&sql);
    keys_settle(&page->keys);
    return error ? error : go_on(pages, page);
}

// next_page reads the next page; it is empty when there is none.
static enum error next_page(struct pass *pass, struct channel *channel, struct pages *pages,
                            struct page *page)
{
    enum error error = ERROR_NONE;
    keys_clear(&page->keys);
    pthread_mutex_lock(&pages->lock);
    if (!pages->last && !pass_stopped(pass))
        error = read_page(pass, channel, pages, page);
    pages->last |= error != ERROR_NONE;
    pthread_mutex_unlock(&pages->lock);
    return error;
}

// ---------------------------------------------------------------- stamping

// stamp_page stamps a page, unless somebody has locked one of its rows meanwhile.
static enum error stamp_page(struct pass *pass, struct peer *peer, struct channel *channel,
                             const struct page *page)
{
    struct bytes sql = {0};
    query_stamp_block(&sql, peer->conf->id, page->keys.key, page->tombstone, page->keys.count);
    throttle_wait(&pass->throttle, page->keys.count, 0);
    int64_t began = clock_us();
    enum error error = retry_ask(pass, peer, channel, &sql, NULL, NULL);
    throttle_spare(clock_us() - began);
    bytes_fini(&sql);
    if (!error)
        atomic_fetch_add(&pass->counts.stamped, page->keys.count);
    else if (error == ERROR_REJECTED && retry_locked(channel))
        error = ERROR_NONE;
    else if (error == ERROR_REJECTED)
        pass_refused(pass, peer, channel);
    return error;
}

static enum error stamp_pages(struct pass *pass, struct channel *channel, struct pages *pages)
{
    struct page *page = new_page();
    enum error error = page ? ERROR_NONE : ERROR_MEMORY;
    bool more = true;
    while (!error && more) {
        error = next_page(pass, channel, pages, page);
        more = page->keys.count > 0;
        if (!error && more)
            error = stamp_page(pass, pages->peer, channel, page);
    }
    free_page(page);
    return error;
}

// ---------------------------------------------------------------- burying

static enum error take_one(const struct row *row, void *context)
{
    return row_numbers(row, 0, 1, context);
}

static enum error take_key(const struct row *row, void *context)
{
    struct slice key;
    return row_key(row, 0, &key) ? ERROR_MALFORMED : keys_add(context, key, 0);
}

static void count_buried(struct pass *pass, uint64_t gone)
{
    atomic_fetch_add(&pass->counts.tombstones, gone);
    throttle_wait(&pass->throttle, gone, 0);
}

// bury_singly buries the rows of `notes` that nobody has locked, and counts the others.
static enum error bury_singly(struct pass *pass, struct peer *peer, struct channel *channel,
                              const struct keys *notes, struct slice after, size_t *locked)
{
    struct bytes sql = {0};
    enum error error = ERROR_NONE;
    for (size_t i = 0; i < notes->count && !error && !pass_stopped(pass); i++) {
        uint64_t gone = 0;
        bytes_clear(&sql);
        query_without_waiting(&sql);
        query_bury(&sql, peer->conf->id, i ? notes->key[i - 1] : after, 1);
        error = pass_ask(pass, peer, channel, &sql, take_one, &gone);
        if (error == ERROR_REJECTED && retry_locked(channel)) {
            error = ERROR_NONE;
            ++*locked;
        }
        count_buried(pass, gone);
    }
    bytes_fini(&sql);
    return error;
}

// bury_around buries what there is around a row that somebody has locked for long.
static enum error bury_around(struct pass *pass, struct peer *peer, struct channel *channel)
{
    struct bytes sql = {0}, after = {0};
    struct keys notes = {0};
    size_t locked = 0;
    enum error error;
    do {
        keys_clear(&notes);
        bytes_clear(&sql);
        query_unburied(&sql, bytes_slice(&after), PAGE);
        error = pass_ask(pass, peer, channel, &sql, take_key, &notes);
        keys_settle(&notes);
        if (!error)
            error = bury_singly(pass, peer, channel, &notes, bytes_slice(&after), &locked);
        bytes_clear(&after);
        if (notes.count)
            bytes_append_slice(&after, notes.key[notes.count - 1]);
        if (bytes_failed(&after))
            error = ERROR_MEMORY;
    } while (!error && notes.count == PAGE && !pass_stopped(pass));
    if (!error && locked)
        pass_trouble(pass, PASS_BUSY, "partition-%u: %zu key%s that SQL deleted %s locked",
                     peer->conf->id, locked, locked == 1 ? "" : "s", locked == 1 ? "is" : "are");
    keys_fini(&notes);
    bytes_fini(&after);
    bytes_fini(&sql);
    return error;
}

static enum error bury(struct pass *pass, struct peer *peer, struct channel *channel)
{
    struct bytes sql = {0};
    enum error error = ERROR_NONE;
    uint64_t gone = PAGE;
    query_bury(&sql, peer->conf->id, SLICE(""), PAGE);
    while (!error && gone == PAGE && !pass_stopped(pass)) {
        gone = 0;
        error = pass_ask(pass, peer, channel, &sql, take_one, &gone);
        count_buried(pass, gone);
    }
    if (error == ERROR_REJECTED && retry_locked(channel))
        error = bury_around(pass, peer, channel);
    if (error == ERROR_REJECTED)
        pass_refused(pass, peer, channel);
    bytes_fini(&sql);
    return error;
}

enum error settle(struct pass *pass, struct peer *peer, struct channel *channel)
{
    struct pages pages;
    init_pages(&pages, peer);
    enum error error = stamp_pages(pass, channel, &pages);
    fini_pages(&pages);
    return error ? error : bury(pass, peer, channel);
}

// ---------------------------------------------------------------- all partitions

// What there is to do on a partition.
struct settling {
    uint64_t rows; // as query_unsettled counts: up to a page
    uint64_t notes;
    struct pages pages;
};

static enum error take_unsettled(const struct row *row, void *context)
{
    struct settling *s = context;
    uint64_t n[2];
    if (row_numbers(row, 0, 2, n))
        return ERROR_MALFORMED;
    s->rows = n[0];
    s->notes = n[1];
    return ERROR_NONE;
}

static void look(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = hand_pass(hand);
    struct peer *peer = &pass->peer[i];
    struct settling *s = (struct settling *)context + i;
    struct bytes sql = {0};
    init_pages(&s->pages, peer);
    if (!peer_up(peer) || pass_stopped(pass))
        return;
    query_unsettled(&sql);
    if (pass_do(pass, peer, peer->control, &sql, take_unsettled, s))
        atomic_store(&pass->streams_failed, true);
    bytes_fini(&sql);
}

static void stamp_some(struct pass *pass, struct channel *channel, struct pages *pages)
{
    if (!channel || stamp_pages(pass, channel, pages))
        atomic_store(&pass->streams_failed, true);
}

// stamp_few stamps on a partition that has few rows to stamp.
static void stamp_few(struct hand *hand, size_t i, void *context)
{
    struct settling *s = (struct settling *)context + i;
    if (s->rows && s->rows < PAGE)
        stamp_some(hand_pass(hand), s->pages.peer->control, &s->pages);
}

// stamp_many is what each of the crew does where there are many: it begins with a partition of its
// own, and helps with the others.
static void stamp_many(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = hand_pass(hand);
    struct settling *all = context;
    for (size_t n = 0; n < pass->partitions && !pass_stopped(pass); n++) {
        struct settling *s = &all[(i + n) % pass->partitions];
        if (s->rows >= PAGE)
            stamp_some(pass, hand_channel(hand, s->pages.peer), &s->pages);
    }
}

static void bury_notes(struct hand *hand, size_t i, void *context)
{
    struct pass *pass = hand_pass(hand);
    struct settling *s = (struct settling *)context + i;
    struct peer *peer = s->pages.peer;
    if (s->notes && !pass_stopped(pass) && bury(pass, peer, peer->control))
        atomic_store(&pass->streams_failed, true);
}

static void count(struct pass *pass, const struct settling *all)
{
    for (unsigned i = 0; i < pass->partitions; i++) {
        atomic_fetch_add(&pass->counts.stamped, all[i].rows);
        atomic_fetch_add(&pass->counts.tombstones, all[i].notes);
    }
}

// A row that SQL deleted and inserted again is stamped before the note of its removal goes.
static void settle_them(struct pass *pass, struct settling *all)
{
    bool few = false, many = false, notes = false;
    for (unsigned i = 0; i < pass->partitions; i++) {
        few |= all[i].rows && all[i].rows < PAGE;
        many |= all[i].rows >= PAGE;
        notes |= all[i].notes > 0;
    }
    if (few)
        crew_run(pass->crew, pass->partitions, stamp_few, all);
    if (many)
        crew_run(pass->crew, pass->conf->sync.threads, stamp_many, all);
    if (notes)
        crew_run(pass->crew, pass->partitions, bury_notes, all);
}

void settle_all(struct pass *pass)
{
    struct settling *all = calloc(pass->partitions, sizeof *all);
    if (!all) {
        atomic_store(&pass->streams_failed, true);
        return;
    }
    crew_run(pass->crew, pass->partitions, look, all);
    if (pass->options.dry_run)
        count(pass, all);
    else
        settle_them(pass, all);
    for (unsigned i = 0; i < pass->partitions; i++)
        fini_pages(&all[i].pages);
    free(all);
}
