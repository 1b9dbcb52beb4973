// SPDX-License-Identifier: MIT
#include "store/follow.h"

#include <assert.h>
#include <event2/event_struct.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/query.h"
#include "store/recent.h"
#include "store/slot.h"
#include "store/version.h"

enum {
    BATCHES = 50,      // entries of the log in one statement; they have 13 MB of keys at most
    PORTION = 200,     // keys whose rows are asked for in one; with values they have 12 MB at most
    PORTION_PAST = 16, // the same, with `until` and values: there may be many such readers
    KEYS_MAX = 10000,  // of an entry that are read; no writer of Sherd puts so many into one
    SETTLE_PAGE = 500, // rows that are stamped in one statement
    BURY_AGAIN_MS = 1000, // after nothing could be buried
    RANGES = 100,         // gaps looked at in one statement
    LOOKBACK = 200000,    // numbers below the end in which gaps are looked for at the beginning
    FILL_AFTER_MS = 5000, // a gap this old is filled for good
    FILL_EVERY_MS = 1000, // one statement
    FILL_MAX = 1000,      // numbers in it
    AWAY_MS = 250,        // before a partition that could not be asked is asked again
    POLL_FIRST_MS = 20,   // between two statements to one partition; more with many partitions,
    POLL_LAST_MS = 100,   // so that their number a second stays bounded
    LATE_US = 5000000,    // an entry that is older when it is read may have been overtaken
    RECENT = 16384,       // keys of which the last told version is remembered
    RECENT_PAST = 1024,   // the same, with `until`
};

enum op {
    OP_FILLER = 0,
    OP_WRITTEN = 1,
    OP_ECHO = 128, // beside it
};

enum reader_state {
    READER_ENDS,  // asks for the ends of the log
    READER_GAPS,  // asks for what is missing below the end
    READER_OPEN,  // waits until the others are as far
    READER_PAGE,  // asks for entries
    READER_ROWS,  // asks for the rows of some of their keys
    READER_LOOKS, // asks the other owners about late entries
    READER_TELLS, // tells, unless paused
    READER_FILL,  // fills a gap
    READER_FINDS, // asks which rows SQL wrote
    READER_STAMPS,
    READER_BURIES, // makes tombstones of what SQL deleted
    READER_WAITS,  // for the time of the next statement
    READER_DONE,
};

// An entry of the log, of which the keys lie in reader->log.
struct logged {
    struct change change;
    size_t keys;  // offset
    bool doubted; // a key of it is unsure: the entry stays a gap
};

// What became of a key that an entry names; texts lie in reader->log and reader->text.
struct entry {
    struct logged *logged;
    struct slice key; // empty where an entry has none
    bool removed;     // as the entry says
    bool first, last; // key of its entry
    uint64_t index;   // in its entry, from 1
    bool there;       // there is a row
    struct current current;
    size_t type, value; // offsets
    bool told;
    bool dead;
    bool unsure; // an owner that may know better cannot be asked: it comes again later
};

struct look {
    struct operation operation;
    struct reader *reader;
    size_t entry;
    unsigned partition; // that is asked
};

struct reader {
    struct follow *follow;
    unsigned id;
    enum reader_state state;
    bool opened; // the ends of the log are known
    bool away;   // the last statement was not answered
    bool behind; // it was away, and not all was read since
    struct partition_request request;
    bool asked; // it is under way
    struct event timer;
    struct bytes sql;
    struct bytes log;      // keys of the page's entries
    struct logged *logged; // [BATCHES]
    size_t logged_count;
    size_t logged_next; // not in a portion yet, from its key at `keys_left` on
    struct slice keys_left;
    uint64_t index;      // of the last key that was taken off
    struct bytes text;   // of the portion's rows
    struct entry *entry; // [room]: a portion, the keys that are told next
    size_t room;
    size_t count;
    size_t named;        // keys whose rows were asked for
    size_t next;         // to be told
    size_t unsure;       // entries of this round
    unsigned unsettled;  // QUERY_UNSTAMPED, QUERY_UNBURIED: when this round began
    bool settled;        // such rows were worked off
    bool tried;          // it was tried to, since the last pause
    int64_t bury_after;  // clock_ms
    bool bury_failed;    // the last time
    uint64_t gaps_after; // up to where the gaps were asked for in this round
    uint64_t gaps_asked; // up to where the statement asks for them; UINT64_MAX: for all
    struct look *look;
    unsigned looks;     // under way
    uint64_t log_end;   // at the beginning
    int64_t now_us;     // the partition's clock, with the page
    int64_t doubt_us;   // of a version before it, a newer one may have been told already
    bool back;          // that is now
    int64_t round_us;   // clock_us, when the round's first statement was asked
    int64_t told_us;    // clock_us, of the last statement whose answer left nothing
    int64_t settled_us; // the same, with all that SQL had written
    int64_t filled;     // clock_ms
    bool fill_failed;   // the last time
    bool has_values;    // all that is told from now on has
};

struct follow {
    struct store *store;
    struct follow_events events;
    struct token *token;
    struct token *until;
    bool values;
    size_t portion; // keys
    bool opened;
    bool trimmed;
    bool paused;
    bool abandoned;
    unsigned under_way;   // statements, looks, and calls of this file that are not over
    struct recent recent; // what was told of keys
    unsigned count;
    struct reader reader[];
};

static void ask_page(struct reader *reader);
static void work_off(struct reader *reader);
static bool tell(struct reader *reader);

static struct cursor *cursor_of(struct reader *r)
{
    return &r->follow->token->at[r->id - 1].cursor;
}

static struct position *position_of(struct reader *r)
{
    return &r->follow->token->at[r->id - 1];
}

_Static_assert((int)FOLLOW_VALUE_MAX == (int)QUERY_LARGE, "what query_feed fetches");

static void note_time(struct reader *r, int64_t unix_us)
{
    position_note(position_of(r), (uint64_t)unix_us / 1000 + 1);
}

// ---------------------------------------------------------------- life

static void destroy(struct follow *f)
{
    for (unsigned i = 0; i < f->count; i++) {
        struct reader *r = &f->reader[i];
        event_del(&r->timer);
        bytes_fini(&r->sql);
        bytes_fini(&r->log);
        bytes_fini(&r->text);
        free(r->logged);
        free(r->entry);
        free(r->look);
    }
    token_free(&f->token);
    token_free(&f->until);
    recent_fini(&f->recent);
    free(f);
}

static void hold(struct follow *f)
{
    f->under_way++;
}

// release returns false if the follow is over: it must not be touched any more.
static bool release(struct follow *f)
{
    f->under_way--;
    if (!f->abandoned)
        return true;
    if (f->under_way == 0)
        destroy(f);
    return false;
}

void follow_free(struct follow **follow)
{
    struct follow *f = *follow;
    if (!f)
        return;
    *follow = NULL;
    f->abandoned = true;
    for (unsigned i = 0; i < f->count; i++) {
        struct reader *r = &f->reader[i];
        event_del(&r->timer);
        if (r->asked && partition_cancel(&r->request)) {
            r->asked = false;
            f->under_way--;
        }
    }
    if (f->under_way == 0)
        destroy(f);
}

// ---------------------------------------------------------------- waiting and ending

static unsigned poll_ms(const struct follow *f)
{
    unsigned ms = POLL_FIRST_MS + f->count;
    return ms < POLL_LAST_MS ? ms : POLL_LAST_MS;
}

// move is the only one that changes a reader's state.
static void move(struct reader *r, enum reader_state state)
{
    assert(r->state != READER_DONE && !r->asked);
    r->state = state;
}

static void wait_ms(struct reader *r, unsigned ms)
{
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    evtimer_add(&r->timer, &tv);
}

static bool is_settled(const struct reader *r)
{
    return r->away || r->state == READER_DONE;
}

static void tell_done(struct follow *f)
{
    bool whole = true;
    for (unsigned i = 0; i < f->count; i++) {
        if (!is_settled(&f->reader[i]))
            return;
        whole = whole && f->reader[i].state == READER_DONE;
    }
    f->events.on_done(f, whole, f->events.context);
}

static void finish(struct reader *r)
{
    struct follow *f = r->follow;
    move(r, READER_DONE);
    r->away = false;
    hold(f);
    tell_done(f);
    release(f);
}

// open_all lets the readers begin when each has looked at its log, or cannot.
static void open_all(struct follow *f)
{
    if (f->opened)
        return;
    bool any = false;
    for (unsigned i = 0; i < f->count; i++) {
        if (!f->reader[i].opened && !f->reader[i].away)
            return;
        any = any || f->reader[i].opened;
    }
    if (!any && !f->until)
        return;
    f->opened = true; // a past of which nothing can be read is over, too
    hold(f);
    for (unsigned i = 0; i < f->count && !f->abandoned; i++)
        if (f->reader[i].state == READER_OPEN)
            ask_page(&f->reader[i]);
    if (f->until && !f->abandoned)
        tell_done(f);
    release(f);
}

// go_away: the partition cannot be asked now. A position of now becomes one of this moment, as its
// clock may show it: what is written while nobody reads comes later.
static void go_away(struct reader *r)
{
    struct follow *f = r->follow;
    struct position *at = position_of(r);
    bool before = r->away;
    if (at->kind == POSITION_NOW) {
        at->kind = POSITION_TIME;
        at->time_us = clock_unix_us() - CLOCK_BOUND_US;
    }
    r->away = r->behind = true;
    move(r, READER_WAITS);
    wait_ms(r, AWAY_MS);
    hold(f);
    open_all(f);
    if (f->until && f->opened && !before && !f->abandoned)
        tell_done(f);
    release(f);
}

static void be_trimmed(struct reader *r)
{
    struct follow *f = r->follow;
    f->trimmed = true;
    hold(f);
    f->events.on_trimmed(f, r->id, f->events.context);
    release(f);
}

// ---------------------------------------------------------------- statements

static void on_answer(struct connection *connection, const struct answer *answer, void *context);

static void ask(struct reader *r, enum reader_state state)
{
    struct follow *f = r->follow;
    move(r, state);
    if (bytes_failed(&r->sql)) {
        bytes_fini(&r->sql);
        go_away(r);
        return;
    }
    r->request = (struct partition_request){
        .sql = bytes_slice(&r->sql), .on_answer = on_answer, .context = r};
    list_init(&r->request.link);
    r->asked = true;
    hold(f);
    partition_query(store_partition(f->store, r->id), &r->request);
}

static void ask_ends(struct reader *r)
{
    const struct position *at = position_of(r);
    bytes_clear(&r->sql);
    query_log_ends(&r->sql, at->cursor.high,
                   at->kind == POSITION_TIME ? (uint64_t)at->time_us << VERSION_PARTITION_BITS : 0);
    ask(r, READER_ENDS);
}

// append_gaps asks for the next gaps behind gaps_after; a round through all of them may take
// several statements.
static void append_gaps(struct reader *r)
{
    const struct cursor *c = cursor_of(r);
    unsigned asked = 0;
    r->gaps_asked = UINT64_MAX;
    for (size_t i = 0; i < c->count; i++) {
        const struct gap *gap = &c->gap[i];
        if (gap->to <= r->gaps_after)
            continue;
        if (asked++ == RANGES)
            return;
        query_or_between(&r->sql, gap->from > r->gaps_after ? gap->from : r->gaps_after + 1,
                         gap->to);
        r->gaps_asked = asked == RANGES ? gap->to : UINT64_MAX;
    }
    r->gaps_asked = UINT64_MAX;
}

static void ask_page(struct reader *r)
{
    struct follow *f = r->follow;
    const struct cursor *c = cursor_of(r);
    uint64_t to = f->until ? f->until->at[r->id - 1].cursor.high : 0;
    if (f->until && cursor_covers(c, &f->until->at[r->id - 1].cursor)) {
        finish(r);
        return;
    }
    if (r->gaps_after == 0) {
        r->unsure = 0;
        r->round_us = clock_us();
    }
    bytes_clear(&r->sql);
    query_feed(&r->sql, c->high, to);
    append_gaps(r);
    query_limit(&r->sql, BATCHES);
    query_feed_end(&r->sql);
    r->has_values = f->values;
    ask(r, READER_PAGE);
}

// ---------------------------------------------------------------- beginning

static void doubt_before(struct reader *r, int64_t us)
{
    if (us > r->doubt_us)
        r->doubt_us = us;
}

static void be_open(struct reader *r)
{
    struct follow *f = r->follow;
    struct position *at = position_of(r);
    if (at->kind == POSITION_NOW) { // what is there now may be known
        note_time(r, r->now_us);
        doubt_before(r, r->now_us + LATE_US); // a version told before may lie ahead
    }
    at->kind = POSITION_CURSOR;
    r->opened = true;
    move(r, READER_OPEN);
    hold(f);
    open_all(f);
    if (!f->abandoned && f->opened && r->state == READER_OPEN)
        ask_page(r);
    release(f);
}

// What a log says of itself, in the order of query_log_ends.
enum {
    LOG_TRIMMED,
    LOG_LAST,
    LOG_NOW_US,
    LOG_VERSION, // of the entry up to which it was read
    LOG_PARTS,   // that every page begins with
    LOG_FIRST = LOG_PARTS,
    LOG_SINCE,
    LOG_LAST_VERSION,
    LOG_ENDS,
    LOG_UNSETTLED = LOG_PARTS, // of a page
    LOG_PAGE,
};

// is_trimmed tells whether the log no longer reaches back to the position, or is another log: the
// entry up to which it was read has another version, or is gone without being trimmed.
static bool is_trimmed(const struct position *at, const uint64_t log[LOG_PARTS])
{
    const struct cursor *c = &at->cursor;
    uint64_t trimmed = log[LOG_TRIMMED];
    if (cursor_whole(c) < trimmed || (c->high > log[LOG_LAST] && c->high > trimmed))
        return true;
    return at->mark && log[LOG_VERSION] != QUERY_NO_ENTRY &&
           token_mark(log[LOG_VERSION]) != at->mark;
}

static void take_ends(struct reader *r, const uint64_t ends[LOG_ENDS])
{
    struct position *at = position_of(r);
    uint64_t trimmed = ends[LOG_TRIMMED], first = ends[LOG_FIRST], last = ends[LOG_LAST],
             since = ends[LOG_SINCE];
    switch (at->kind) {
    case POSITION_START:
        at->cursor.high = trimmed;
        be_open(r);
        return;
    case POSITION_CURSOR:
        if (is_trimmed(at, ends))
            be_trimmed(r);
        else
            be_open(r);
        return;
    case POSITION_NOW:
    case POSITION_TIME:
        if (last < trimmed)
            last = trimmed;
        r->log_end = at->kind == POSITION_TIME && since ? since - 1 : last;
        at->mark = r->log_end == ends[LOG_LAST] ? token_mark(ends[LOG_LAST_VERSION]) : 0;
        break;
    }
    if (first == 0 || r->log_end < first) { // nothing lies before
        at->cursor.high = r->log_end;
        be_open(r);
        return;
    }
    uint64_t from = r->log_end > LOOKBACK ? r->log_end - LOOKBACK : 1;
    if (from <= trimmed)
        from = trimmed + 1;
    at->cursor.high = from - 1;
    bytes_clear(&r->sql);
    query_log_gaps(&r->sql, from, r->log_end);
    ask(r, READER_GAPS);
}

static void read_ends(struct reader *r, struct connection *connection)
{
    struct row row;
    uint64_t ends[LOG_ENDS];
    if (!connection_row(connection, &row) || row_numbers(&row, 0, LOG_ENDS, ends)) {
        go_away(r);
        return;
    }
    r->now_us = (int64_t)ends[LOG_NOW_US];
    doubt_before(r, r->now_us);
    take_ends(r, ends);
}

static void read_gaps(struct reader *r, struct connection *connection)
{
    struct row row;
    uint64_t n[2];
    struct cursor *c = cursor_of(r);
    while (connection_row(connection, &row)) {
        if (row_numbers(&row, 0, 2, n) || n[0] <= c->high || n[0] > n[1] ||
            cursor_miss(c, n[0], n[1], (uint64_t)r->now_us / 1000)) {
            cursor_fini(c);
            go_away(r);
            return;
        }
    }
    if (c->high < r->log_end)
        c->high = r->log_end;
    be_open(r);
}

// ---------------------------------------------------------------- pages

static int by_number(const void *a, const void *b)
{
    const struct logged *x = a, *y = b;
    return (x->change.seq > y->change.seq) - (x->change.seq < y->change.seq);
}

// begin_entry begins to take keys off the next entry, behind those that were read already.
static void begin_entry(struct reader *r)
{
    const struct position *at = position_of(r);
    struct slice key;
    bool removed, malformed;
    if (r->logged_next == r->logged_count)
        return;
    const struct change *change = &r->logged[r->logged_next].change;
    r->keys_left = change->keys;
    r->index = 0;
    while (at->part_of == change->seq && r->index < at->part &&
           row_entry_key(&r->keys_left, &key, &removed, &malformed))
        r->index++;
}

// read_entries copies the entries: what they lie in is gone when the callback ends.
static enum error read_entries(struct reader *r, struct connection *connection)
{
    struct row row;
    r->logged_count = r->logged_next = r->count = r->next = 0;
    bytes_shrink(&r->log, BATCHES * 4096);
    bytes_append_char(&r->log, '\0');
    while (connection_row(connection, &row)) {
        if (r->logged_count == BATCHES)
            return ERROR_MALFORMED;
        struct logged *logged = &r->logged[r->logged_count++];
        if (row_change(&row, &logged->change))
            return ERROR_MALFORMED;
        logged->keys = r->log.len;
        bytes_append_slice(&r->log, logged->change.keys);
    }
    if (bytes_failed(&r->log)) {
        bytes_fini(&r->log);
        return ERROR_MEMORY;
    }
    for (size_t i = 0; i < r->logged_count; i++)
        r->logged[i].change.keys.data = r->log.data + r->logged[i].keys;
    qsort(r->logged, r->logged_count, sizeof r->logged[0], by_number);
    begin_entry(r);
    return ERROR_NONE;
}

// make_room makes room for a portion's next key.
static bool make_room(struct reader *r)
{
    if (r->count < r->room)
        return true;
    struct entry *grown = realloc(r->entry, 2 * r->room * sizeof *grown);
    if (!grown)
        return false;
    r->entry = grown;
    r->room *= 2;
    return true;
}

// next_key puts the next key of the page into the portion. An entry without one has an empty key,
// and so has what follows in one whose bytes are spoilt: that is passed over.
static void next_key(struct reader *r)
{
    struct logged *logged = &r->logged[r->logged_next];
    struct entry *e = &r->entry[r->count++];
    bool malformed = false;
    *e = (struct entry){.logged = logged, .first = r->index == 0};
    bool found = (logged->change.op & ~(unsigned)OP_ECHO) != OP_FILLER && r->index < KEYS_MAX &&
                 row_entry_key(&r->keys_left, &e->key, &e->removed, &malformed);
    e->last = !found || r->keys_left.len == 0;
    e->index = ++r->index;
    if (e->last) {
        r->logged_next++;
        begin_entry(r);
    }
}

// take_portion takes the keys that are told next: none when the page is over. For one who reads for
// ever it consists of whole entries: such an entry is told as a whole, or not at all.
static enum error take_portion(struct reader *r)
{
    const struct follow *f = r->follow;
    r->count = r->named = r->next = 0;
    bytes_shrink(&r->text, PORTION * 256);
    bytes_append_char(&r->text, '\0'); // so that what is empty lies somewhere
    while (r->logged_next < r->logged_count) {
        if (r->count >= f->portion && (f->until || r->entry[r->count - 1].last))
            break;
        if (!make_room(r))
            return ERROR_MEMORY;
        next_key(r);
    }
    return ERROR_NONE;
}

// reaches_readers tells whether an echo is news: at the key's home, or while that is away.
static bool reaches_readers(const struct reader *r, const struct entry *e)
{
    const struct store *store = r->follow->store;
    unsigned home = ring_home(store_ring(store), slot_of(e->key));
    return home == r->id || !outlook_is_up(store_outlook(store), home);
}

// is_echo: what it brought was told by the log that it came from, or will be.
static bool is_echo(const struct entry *e)
{
    return e->logged->change.op & OP_ECHO;
}

// has_to_be_judged tells whether the key's row is to be known.
static bool has_to_be_judged(const struct reader *r, const struct entry *e)
{
    return e->key.len && (!is_echo(e) || reaches_readers(r, e));
}

// ask_rows asks for the rows of the portion's next keys; false when there are none.
static bool ask_rows(struct reader *r)
{
    struct follow *f = r->follow;
    struct slice keys[PORTION];
    size_t count = 0;
    for (; r->named < r->count && count < f->portion; r->named++)
        if (has_to_be_judged(r, &r->entry[r->named]))
            keys[count++] = r->entry[r->named].key;
    if (count == 0)
        return false;
    bytes_clear(&r->sql);
    query_feed_rows(&r->sql, keys, count, f->values);
    r->has_values = f->values;
    ask(r, READER_ROWS);
    return true;
}

static size_t keep_text(struct reader *r, struct slice s)
{
    size_t at = r->text.len;
    bytes_append_slice(&r->text, s);
    return at;
}

static void take_current(struct reader *r, const struct current *current)
{
    size_t type = keep_text(r, current->pair.type), value = keep_text(r, current->pair.value);
    for (size_t i = 0; i < r->named; i++) {
        struct entry *e = &r->entry[i];
        if (!slice_equal(e->key, current->pair.key) || e->there)
            continue;
        e->there = true;
        e->current = *current;
        e->type = type;
        e->value = value;
    }
}

// read_rows copies the rows: what they lie in is gone when the callback ends.
static enum error read_rows(struct reader *r, struct connection *connection)
{
    struct row row;
    struct current current;
    while (connection_row(connection, &row)) {
        if (row_current(&row, &current))
            return ERROR_MALFORMED;
        take_current(r, &current);
    }
    if (bytes_failed(&r->text)) {
        bytes_fini(&r->text);
        return ERROR_MEMORY;
    }
    return ERROR_NONE;
}

static void find_texts(struct reader *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct entry *e = &r->entry[i];
        struct pair *pair = &e->current.pair;
        pair->key = e->key;
        pair->type.data = r->text.data + e->type;
        if (pair->value.data)
            pair->value.data = r->text.data + e->value;
    }
}

// ---------------------------------------------------------------- which entries are told

// version_of returns that of the row that the entry speaks for, else the entry's.
static uint64_t version_of(const struct entry *e)
{
    return e->there ? e->current.pair.version : e->logged->change.version;
}

// is_late tells whether a newer version of the key may have been told that this follow has not
// read.
static bool is_late(const struct reader *r, const struct entry *e)
{
    uint64_t version = version_of(e);
    int64_t written_us = version_unix_us(version);
    return r->follow->until || written_us < r->now_us - LATE_US || written_us < r->doubt_us ||
           version <= r->follow->recent.forgotten;
}

// is_known tells whether a version as great was told of the key already: by another partition, a
// moment ago. An echo that reaches the home is told again on purpose.
static bool is_known(const struct follow *f, const struct entry *e)
{
    uint64_t known = recent_version(&f->recent, e->key), version = version_of(e);
    return known > version || (known == version && !is_echo(e));
}

// judge decides by the key's row alone. An entry speaks for a row that names it. Where there is no
// row, and SQL has not removed it just now, what was put and is gone has another entry; what was
// removed is a tombstone that was purged, of which the log that gave its version tells.
static void judge(const struct reader *r, struct entry *e)
{
    if (!has_to_be_judged(r, e))
        return;
    if (!e->there) {
        e->dead = true;
        e->told = e->removed && !is_echo(e);
    } else {
        uint64_t expires = e->current.pair.expires;
        e->dead = expires && (int64_t)expires <= r->now_us / 1000;
        e->told = e->current.seq == e->logged->change.seq;
    }
    e->told = e->told && !is_known(r->follow, e);
}

// doubt: a partition could not be asked about a late entry. If nothing newer was read of that one,
// what it knows better is still to come, in order. Else the entry waits; an echo is left to the log
// that it came from.
static void doubt(struct reader *r, struct entry *e, unsigned silent)
{
    if (!position_is_past(&r->follow->token->at[silent - 1], version_of(e)))
        return;
    if (is_echo(e))
        e->told = false;
    else
        e->unsure = true;
}

static void on_looked(struct operation *operation, const struct outcome *outcome)
{
    struct look *look = CONTAINER_OF(operation, struct look, operation);
    struct reader *r = look->reader;
    struct entry *e = &r->entry[look->entry];
    if (outcome->error)
        doubt(r, e, look->partition);
    else if (outcome->found && outcome->pair.version > version_of(e))
        e->told = false;
    r->looks--;
    if (release(r->follow) && r->looks == 0 && tell(r))
        work_off(r);
}

static bool is_looked_at(const struct reader *r, const struct entry *e)
{
    return e->told && is_late(r, e);
}

static size_t count_looks(const struct reader *r)
{
    size_t entries = 0;
    for (size_t i = 0; i < r->count; i++)
        entries += is_looked_at(r, &r->entry[i]);
    return entries * (r->follow->count - 1);
}

static void ask_partition(struct reader *r, size_t entry, unsigned id, struct look *look)
{
    struct follow *f = r->follow;
    look->reader = r;
    look->entry = entry;
    look->partition = id;
    look->operation.kind = OPERATION_LOOK;
    look->operation.key = r->entry[entry].key;
    r->looks++;
    hold(f);
    store_send(f->store, id, &look->operation, on_looked);
}

// look_at_late asks the other partitions about late entries' keys, not only owners: SQL writes
// where it likes.
static enum error look_at_late(struct reader *r)
{
    struct follow *f = r->follow;
    size_t made = 0;
    free(r->look);
    r->look = calloc(count_looks(r) + 1, sizeof *r->look); // one more: never NULL for none
    move(r, READER_LOOKS);
    r->looks = 0;
    if (!r->look)
        return ERROR_MEMORY;
    for (unsigned id = 1; id <= f->count; id++) {
        bool up = outlook_is_up(store_outlook(f->store), id);
        if (!placement_has(store_placement(f->store), id))
            continue; // what it has counts for nothing
        for (size_t i = 0; i < r->count && id != r->id; i++) {
            if (!is_looked_at(r, &r->entry[i]))
                continue;
            if (up)
                ask_partition(r, i, id, &r->look[made++]);
            else
                doubt(r, &r->entry[i], id);
        }
    }
    return ERROR_NONE;
}

// decide finds out what is told of a portion whose rows are known; false when it has to wait for
// that.
static bool decide(struct reader *r)
{
    find_texts(r);
    for (size_t i = 0; i < r->count; i++)
        judge(r, &r->entry[i]);
    if (look_at_late(r)) {
        go_away(r);
        return false;
    }
    return r->looks == 0;
}

// ---------------------------------------------------------------- telling

static enum error note_read(struct reader *r, const struct change *change)
{
    struct cursor *c = cursor_of(r);
    if (change->seq <= c->high)
        return cursor_close(c, change->seq, change->seq);
    enum error error = cursor_take(c, change->seq, (uint64_t)r->now_us / 1000);
    if (!error)
        position_of(r)->mark = token_mark(change->version);
    return error;
}

// leave_out makes an entry a gap, from which it comes again.
static enum error leave_out(struct reader *r, const struct change *change)
{
    struct cursor *c = cursor_of(r);
    if (change->seq <= c->high)
        return ERROR_NONE;
    position_of(r)->mark = token_mark(change->version);
    return cursor_miss(c, c->high + 1, change->seq, (uint64_t)r->now_us / 1000);
}

// tell_entry tells what was decided. Of an entry that stays a gap nothing is told to one who reads
// for ever: what is told is either whole in the position, or not in it.
static void tell_entry(struct reader *r, struct entry *e)
{
    struct follow *f = r->follow;
    bool waits = f->until ? e->unsure : e->logged->doubted;
    bool told = e->told && !waits && !is_known(f, e);
    if (e->key.len == 0)
        return;
    if (told) {
        recent_note(&f->recent, e->key, version_of(e));
        note_time(r, version_unix_us(version_of(e)));
    }
    const struct follow_entry entry = {.partition = r->id,
                                       .seq = e->logged->change.seq,
                                       .last = e->last,
                                       .told = told,
                                       .dead = e->dead,
                                       .version = version_of(e),
                                       .key = e->key,
                                       .pair = e->current.pair};
    f->events.on_entry(f, &entry, f->events.context);
}

// fill_gaps makes sure that what is long missing will never come; what a slow transaction still
// holds stays a gap.
static bool fill_gaps(struct reader *r)
{
    const struct cursor *c = cursor_of(r);
    uint64_t old = (uint64_t)r->now_us / 1000 - FILL_AFTER_MS, numbers = 0;
    if (clock_ms() - r->filled < FILL_EVERY_MS)
        return false;
    bytes_clear(&r->sql);
    for (size_t i = 0; i < c->count && numbers < FILL_MAX; i++) {
        const struct gap *gap = &c->gap[i];
        if (gap->seen > old)
            continue;
        uint64_t to = gap->to - gap->from < FILL_MAX ? gap->to : gap->from + FILL_MAX - 1;
        query_feed_fill(&r->sql, gap->from, to);
        numbers += to - gap->from + 1;
        if (r->fill_failed) // one of many may be held: the first alone, until that works
            break;
    }
    if (numbers == 0)
        return false;
    r->filled = clock_ms();
    ask(r, READER_FILL);
    return true;
}

// is_round_over tells whether this page was the last of a round through the log's end and all gaps.
static bool is_round_over(struct reader *r)
{
    bool full = r->logged_count == BATCHES;
    r->gaps_after = r->gaps_asked;
    if (full && r->logged[BATCHES - 1].change.seq < r->gaps_asked) // they come in order
        r->gaps_after = r->logged[BATCHES - 1].change.seq;
    if (full || r->gaps_asked != UINT64_MAX)
        return false;
    r->gaps_after = 0;
    return true;
}

static void pause_reading(struct reader *r)
{
    r->tried = false;
    move(r, READER_WAITS);
    wait_ms(r, poll_ms(r->follow));
}

// ---------------------------------------------------------------- what SQL wrote

static bool ask_unstamped(struct reader *r)
{
    if (!(r->unsettled & QUERY_UNSTAMPED))
        return false;
    bytes_clear(&r->sql);
    query_unstamped(&r->sql, SLICE(""), SLICE(""), SETTLE_PAGE);
    ask(r, READER_FINDS);
    return true;
}

// ask_stamp stamps the rows that were found, if any were.
static bool ask_stamp(struct reader *r, struct connection *connection)
{
    struct row row;
    struct slice touched, keys[SETTLE_PAGE];
    bool removed[SETTLE_PAGE];
    size_t count = 0;
    while (count < SETTLE_PAGE && connection_row(connection, &row) &&
           row_unstamped(&row, &touched, &keys[count], &removed[count]) == ERROR_NONE)
        count++;
    if (count == 0)
        return false;
    bytes_clear(&r->sql);
    query_stamp(&r->sql, r->id, keys, removed, count);
    ask(r, READER_STAMPS);
    return true;
}

// Burying writes to the log, also when it can do nothing.
static bool ask_bury(struct reader *r)
{
    if (!(r->unsettled & QUERY_UNBURIED) || clock_ms() < r->bury_after)
        return false;
    bytes_clear(&r->sql);
    if (r->bury_failed) // one of the rows may be held for long: that is waited for only once
        query_without_waiting(&r->sql);
    query_bury(&r->sql, r->id, SLICE(""), SETTLE_PAGE);
    ask(r, READER_BURIES);
    return true;
}

static uint64_t read_buried(struct connection *connection)
{
    struct row row;
    uint64_t buried;
    return connection_row(connection, &row) && !row_numbers(&row, 0, 1, &buried) ? buried : 0;
}

// settle works off some of what SQL has written, once between two pauses; false: there is nothing.
static bool settle(struct reader *r)
{
    if (r->tried)
        return false;
    r->tried = true;
    r->settled = false;
    return ask_unstamped(r) || ask_bury(r);
}

static bool note_buried(struct reader *r, bool done, struct connection *connection)
{
    r->bury_failed = !done;
    if (done && read_buried(connection))
        return true;
    r->bury_after = clock_ms() + BURY_AGAIN_MS;
    return false;
}

// settle_on goes on after a statement that settles. What could not be done (it is locked, or lies
// in the future, or the partition cannot write) waits for the next time, and holds back nothing
// else.
static void settle_on(struct reader *r, bool done, struct connection *connection)
{
    enum reader_state state = r->state;
    if (state == READER_FINDS && done && ask_stamp(r, connection))
        return;
    if (state == READER_STAMPS)
        r->settled = done;
    if (state == READER_BURIES)
        r->settled = note_buried(r, done, connection) || r->settled;
    else if (ask_bury(r))
        return;
    if (r->settled)
        ask_page(r);
    else if (!fill_gaps(r))
        pause_reading(r);
}

// ---------------------------------------------------------------- the end of a round

static void end_round(struct reader *r)
{
    struct follow *f = r->follow;
    if (f->until && r->unsure) {
        go_away(r);
    } else if (f->until) { // the log has nothing more up to there
        position_of(r)->mark = f->until->at[r->id - 1].mark;
        if (cursor_copy(cursor_of(r), &f->until->at[r->id - 1].cursor))
            go_away(r);
        else
            finish(r);
    } else if (!settle(r) && !fill_gaps(r)) {
        pause_reading(r);
    }
}

static void end_page(struct reader *r)
{
    struct follow *f = r->follow;
    if (!is_round_over(r)) {
        ask_page(r);
        return;
    }
    r->told_us = r->round_us;
    if (!r->unsettled)
        r->settled_us = r->round_us;
    r->behind = false;
    if (!f->until)
        note_time(r, r->now_us);
    hold(f);
    if (f->events.on_read)
        f->events.on_read(f, r->id, r->round_us, !r->unsettled, f->events.context);
    if (!f->abandoned && !f->trimmed)
        end_round(r);
    release(f);
}

// note_doubts finds the entries of which something has to wait: they become gaps, from which all of
// them comes again.
static void note_doubts(struct reader *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct entry *e = &r->entry[i];
        e->logged->doubted = e->logged->doubted || (e->told && e->unsure);
    }
}

// pass moves the position over a key; over its entry if it is the last one.
static enum error pass(struct reader *r, const struct entry *e)
{
    const struct logged *logged = e->logged;
    struct position *at = position_of(r);
    if (e->last) {
        r->unsure += logged->doubted;
        enum error error =
            logged->doubted ? leave_out(r, &logged->change) : note_read(r, &logged->change);
        if (error)
            return error;
    }
    if (e->last && !logged->doubted && at->part_of == logged->change.seq)
        at->part_of = at->part = 0;
    if (!e->last && !logged->doubted) {
        at->part_of = logged->change.seq;
        at->part = e->index;
    }
    return ERROR_NONE;
}

// give_up_page: there is no memory. What was not told comes again; where a part of an entry was
// told to one who reads for ever, all begins again.
static void give_up_page(struct reader *r)
{
    r->gaps_after = 0;
    if (r->follow->until || r->entry[r->next].first)
        go_away(r);
    else
        be_trimmed(r);
}

// tell tells a portion; false when not all of it was.
static bool tell(struct reader *r)
{
    struct follow *f = r->follow;
    bool passed = true;
    if (r->state != READER_TELLS) {
        move(r, READER_TELLS);
        note_doubts(r);
    }
    hold(f);
    while (passed && r->next < r->count && !f->paused && !f->abandoned && !f->trimmed) {
        struct entry *e = &r->entry[r->next];
        passed = pass(r, e) == ERROR_NONE;
        if (!passed) {
            give_up_page(r);
        } else {
            r->next++;
            tell_entry(r, e);
        }
    }
    bool all = passed && r->next == r->count && !f->trimmed;
    return release(f) && all;
}

// work_off works off the page behind a portion that was told, until something has to be waited for.
static void work_off(struct reader *r)
{
    do {
        if (take_portion(r)) {
            go_away(r);
            return;
        }
        if (r->count == 0) {
            end_page(r);
            return;
        }
    } while (!ask_rows(r) && decide(r) && tell(r));
}

static void read_page(struct reader *r, struct connection *connection)
{
    struct row row;
    uint64_t log[LOG_PAGE];
    if (!connection_row(connection, &row) || row_numbers(&row, 0, LOG_PAGE, log)) {
        go_away(r);
        return;
    }
    r->now_us = (int64_t)log[LOG_NOW_US];
    if (r->back)
        doubt_before(r, r->now_us);
    r->back = false;
    if (is_trimmed(position_of(r), log)) {
        be_trimmed(r);
        return;
    }
    if (r->gaps_after == 0) // what comes in later is not of this round
        r->unsettled = r->follow->until ? 0 : (unsigned)log[LOG_UNSETTLED];
    if (read_entries(r, connection))
        go_away(r);
    else
        work_off(r);
}

static void read_portion(struct reader *r, struct connection *connection)
{
    if (read_rows(r, connection)) {
        go_away(r);
        return;
    }
    if (!ask_rows(r) && decide(r) && tell(r))
        work_off(r);
}

static void on_answer(struct connection *connection, const struct answer *answer, void *context)
{
    struct reader *r = context;
    r->asked = false;
    if (!release(r->follow) || r->follow->trimmed)
        return;
    if (r->state == READER_FILL) { // whatever came of it, the next page shows
        r->fill_failed = !answer || answer->error;
        pause_reading(r);
        return;
    }
    if (r->state >= READER_FINDS && r->state <= READER_BURIES) {
        settle_on(r, answer && !answer->error, connection);
        return;
    }
    if (!answer || answer->error) {
        go_away(r);
        return;
    }
    r->back = r->back || r->away;
    r->away = false;
    switch (r->state) {
    case READER_ENDS:
        read_ends(r, connection);
        return;
    case READER_GAPS:
        read_gaps(r, connection);
        return;
    case READER_ROWS:
        read_portion(r, connection);
        return;
    default:
        read_page(r, connection);
        return;
    }
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct reader *r = context;
    (void)fd;
    (void)what;
    if (r->follow->trimmed)
        return;
    if (r->opened)
        ask_page(r);
    else
        ask_ends(r);
}

// ---------------------------------------------------------------- the interface

static enum error prepare(struct follow *f, const struct follow_options *options)
{
    enum error error = token_new(f->count, &f->token);
    if (!error)
        error = token_copy(f->token, options->from);
    if (!error && options->until)
        error = token_new(f->count, &f->until);
    if (!error && options->until)
        error = token_copy(f->until, options->until);
    if (!error)
        error = recent_init(&f->recent, options->until ? RECENT_PAST : RECENT);
    for (unsigned i = 0; i < f->count && !error; i++) {
        struct reader *r = &f->reader[i];
        r->room = f->portion;
        r->entry = calloc(r->room, sizeof *r->entry);
        r->logged = calloc(BATCHES, sizeof *r->logged);
        error = r->entry && r->logged ? ERROR_NONE : ERROR_MEMORY;
    }
    return error;
}

// leave_out_partition: one that keeps only its number has no log, and nothing is waited for.
static void leave_out_partition(struct reader *r)
{
    r->state = READER_DONE;
    r->away = r->behind = true;
    position_of(r)->kind = POSITION_START;
}

enum error follow_new(struct event_base *base, struct store *store,
                      const struct follow_options *options, const struct follow_events *events,
                      struct follow **follow)
{
    unsigned count = store_partitions(store);
    struct follow *f = calloc(1, sizeof *f + sizeof f->reader[0] * count);
    *follow = f;
    if (!f)
        return ERROR_MEMORY;
    f->store = store;
    f->events = *events;
    f->values = options->values;
    f->portion = options->until && options->values ? PORTION_PAST : PORTION;
    f->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct reader *r = &f->reader[i];
        r->follow = f;
        r->id = i + 1;
        evtimer_assign(&r->timer, base, on_timer, r);
    }
    enum error error = prepare(f, options);
    if (error) {
        follow_free(follow);
        return error;
    }
    for (unsigned i = 0; i < count; i++) {
        if (partition_exists(store_partition(store, i + 1)))
            wait_ms(&f->reader[i], 0); // no callback comes from inside this call
        else
            leave_out_partition(&f->reader[i]);
    }
    return ERROR_NONE;
}

void follow_pause(struct follow *f)
{
    f->paused = true;
}

void follow_resume(struct follow *f)
{
    if (!f->paused)
        return;
    f->paused = false;
    hold(f);
    for (unsigned i = 0; i < f->count && !f->paused && !f->abandoned; i++)
        if (f->reader[i].state == READER_TELLS && tell(&f->reader[i]))
            work_off(&f->reader[i]);
    release(f);
}

void follow_want_values(struct follow *f, bool values)
{
    f->values = values;
}

bool follow_has_values(const struct follow *f)
{
    for (unsigned i = 0; i < f->count; i++)
        if (f->reader[i].opened && !f->reader[i].away && !f->reader[i].has_values)
            return false;
    return f->values;
}

int64_t follow_asked_us(const struct follow *f)
{
    int64_t least = INT64_MAX;
    for (unsigned i = 0; i < f->count; i++)
        if (!f->reader[i].behind && f->reader[i].told_us < least)
            least = f->reader[i].told_us;
    return least;
}

int64_t follow_settled_us(const struct follow *f)
{
    int64_t least = INT64_MAX;
    for (unsigned i = 0; i < f->count; i++)
        if (!f->reader[i].behind && f->reader[i].settled_us < least)
            least = f->reader[i].settled_us;
    return least;
}

const struct token *follow_token(const struct follow *f)
{
    return f->token;
}

bool follow_finished(const struct follow *f, unsigned id)
{
    return f->reader[id - 1].state == READER_DONE;
}
