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
    PAGE = 200,           // entries in one statement; with values they have 12 MB at most
    PAGE_PAST = 16,       // the same, with `until` and values: there may be many such readers
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
    OP_PUT = 1,
    OP_TOMBSTONE = 2,
    OP_REMOVED = 3,
    OP_ECHO = 128,
};

enum reader_state {
    READER_ENDS,  // asks for the ends of the log
    READER_GAPS,  // asks for what is missing below the end
    READER_OPEN,  // waits until the others are as far
    READER_PAGE,  // asks for entries
    READER_LOOKS, // asks the other owners about late entries
    READER_TELLS, // tells, unless paused
    READER_FILL,  // fills a gap
    READER_WAITS, // for the time of the next statement
    READER_DONE,
};

// What became of an entry; texts lie in reader->text.
struct entry {
    struct change change;
    bool told;
    bool dead;
    bool unsure;             // an owner that may know better cannot be asked: it comes again later
    size_t key, type, value; // offsets
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
    struct bytes text;
    struct entry *entry; // [follow->page]
    size_t count;
    size_t next;         // to be told
    size_t unsure;       // entries of this round
    uint64_t gaps_after; // up to where the gaps were asked for in this round
    uint64_t gaps_asked; // up to where the statement asks for them; UINT64_MAX: for all
    struct look *look;
    unsigned looks;   // under way
    uint64_t log_end; // at the beginning
    int64_t now_us;   // the partition's clock, with the page
    int64_t back_us;  // the same, when it could be asked first, or again
    bool back;        // that is now
    int64_t round_us; // clock_us, when the round's first statement was asked
    int64_t told_us;  // clock_us, of the last statement whose answer left nothing
    int64_t filled;   // clock_ms
    bool fill_failed; // the last time
    bool has_values;  // the page has
};

struct follow {
    struct store *store;
    struct follow_events events;
    struct token *token;
    struct token *until;
    bool values;
    unsigned page; // entries in one statement
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
static void tell(struct reader *reader);

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
        bytes_fini(&r->text);
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
    r->state = READER_DONE;
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
    r->state = state;
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
    query_feed(&r->sql, c->high, to, f->values);
    append_gaps(r);
    query_limit(&r->sql, r->follow->page);
    query_feed_end(&r->sql);
    r->has_values = f->values;
    ask(r, READER_PAGE);
}

// ---------------------------------------------------------------- beginning

static void be_open(struct reader *r)
{
    struct follow *f = r->follow;
    struct position *at = position_of(r);
    if (at->kind == POSITION_NOW) // what is there now may be known
        note_time(r, r->now_us);
    at->kind = POSITION_CURSOR;
    r->opened = true;
    r->state = READER_OPEN;
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
    r->now_us = r->back_us = (int64_t)ends[LOG_NOW_US];
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

static size_t keep_text(struct reader *r, struct slice s)
{
    size_t at = r->text.len;
    bytes_append_slice(&r->text, s);
    return at;
}

static int by_number(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return (x->change.seq > y->change.seq) - (x->change.seq < y->change.seq);
}

// read_page copies the rows: what they lie in is gone when the callback ends.
static enum error read_rows(struct reader *r, struct connection *connection)
{
    struct row row;
    r->count = r->next = 0;
    bytes_shrink(&r->text, PAGE * 256);
    while (connection_row(connection, &row)) {
        if (r->count == r->follow->page)
            return ERROR_MALFORMED;
        struct entry *e = &r->entry[r->count++];
        *e = (struct entry){0};
        if (row_change(&row, &e->change))
            return ERROR_MALFORMED;
        e->key = keep_text(r, e->change.key);
        e->type = keep_text(r, e->change.pair.type);
        e->value = keep_text(r, e->change.pair.value);
    }
    if (bytes_failed(&r->text)) {
        bytes_fini(&r->text);
        return ERROR_MEMORY;
    }
    for (size_t i = 0; i < r->count; i++) {
        struct entry *e = &r->entry[i];
        struct pair *pair = &e->change.pair;
        e->change.key.data = pair->key.data = r->text.data + e->key;
        pair->key.len = e->change.key.len;
        pair->type.data = r->text.data + e->type;
        if (pair->value.data)
            pair->value.data = r->text.data + e->value;
    }
    qsort(r->entry, r->count, sizeof r->entry[0], by_number);
    return ERROR_NONE;
}

// ---------------------------------------------------------------- which entries are told

static bool is_late(const struct reader *r, const struct entry *e)
{
    int64_t written_us = version_unix_us(e->change.version);
    return r->follow->until || written_us < r->now_us - LATE_US || written_us < r->back_us ||
           e->change.version <= r->follow->recent.forgotten;
}

// reaches_readers tells whether an echo is news: at the key's home, or while that is away.
static bool reaches_readers(const struct reader *r, const struct change *change)
{
    const struct store *store = r->follow->store;
    unsigned home = ring_home(store_ring(store), slot_of(change->key));
    return home == r->id || !outlook_is_up(store_outlook(store), home);
}

// is_echo: what it brought was told by the log that it came from, or will be.
static bool is_echo(const struct change *change)
{
    return change->op & OP_ECHO;
}

// judge decides by the key's row alone.
static void judge(const struct reader *r, struct entry *e)
{
    const struct change *change = &e->change;
    unsigned op = change->op & ~(unsigned)OP_ECHO;
    if (op == OP_FILLER || (is_echo(change) && !reaches_readers(r, change)))
        return;
    if (!change->there) {
        e->dead = true; // what was put and is gone has another entry, and so has an earlier removal
        e->told = op != OP_PUT && change->removed <= change->version;
    } else {
        uint64_t expires = change->pair.expires;
        e->dead = expires && (int64_t)expires <= r->now_us / 1000;
        e->told = op != OP_REMOVED && change->pair.version == change->version;
    }
}

// doubt: a partition could not be asked about a late entry. If nothing newer was read of that one,
// what it knows better is still to come, in order. Else the entry waits; an echo is left to the log
// that it came from.
static void doubt(struct reader *r, struct entry *e, unsigned silent)
{
    if (!position_is_past(&r->follow->token->at[silent - 1], e->change.version))
        return;
    if (is_echo(&e->change))
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
    else if (outcome->found && outcome->pair.version > e->change.version)
        e->told = false;
    r->looks--;
    if (release(r->follow) && r->looks == 0)
        tell(r);
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
    look->operation.key = r->entry[entry].change.key;
    r->looks++;
    hold(f);
    store_send(f->store, id, &look->operation, on_looked);
}

// look_at_late asks the other partitions about late entries' keys, not only owners: SQL writes
// where it likes.
static enum error look_at_late(struct reader *r)
{
    struct follow *f = r->follow;
    size_t most = count_looks(r), made = 0;
    free(r->look);
    r->look = most ? calloc(most, sizeof *r->look) : NULL;
    r->state = READER_LOOKS;
    r->looks = 0;
    if (most && !r->look)
        return ERROR_MEMORY;
    for (unsigned id = 1; id <= f->count; id++) {
        bool up = outlook_is_up(store_outlook(f->store), id);
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

// is_news remembers the version, and returns false if one as great was told of the key already: by
// another partition, a moment ago. An echo that reaches the home is told again on purpose.
static bool is_news(struct follow *f, const struct change *change)
{
    uint64_t known = recent_version(&f->recent, change->key);
    if (known > change->version || (known == change->version && !is_echo(change)))
        return false;
    recent_note(&f->recent, change->key, change->version);
    return true;
}

// ---------------------------------------------------------------- telling

static enum error note_read(struct reader *r, const struct change *change)
{
    struct cursor *c = cursor_of(r);
    if (change->version)
        note_time(r, version_unix_us(change->version));
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

static void tell_entry(struct follow *f, struct reader *r, struct entry *e)
{
    const struct change *change = &e->change;
    if ((change->op & ~(unsigned)OP_ECHO) == OP_FILLER)
        return;
    const struct follow_entry entry = {.partition = r->id,
                                       .seq = change->seq,
                                       .told = e->told && is_news(f, change),
                                       .dead = e->dead,
                                       .version = change->version,
                                       .key = change->key,
                                       .pair = change->pair};
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
    bool full = r->count == r->follow->page;
    r->gaps_after = r->gaps_asked;
    if (full && r->entry[r->count - 1].change.seq < r->gaps_asked) // they come in order
        r->gaps_after = r->entry[r->count - 1].change.seq;
    if (full || r->gaps_asked != UINT64_MAX)
        return false;
    r->gaps_after = 0;
    return true;
}

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
    } else if (!fill_gaps(r)) {
        r->state = READER_WAITS;
        wait_ms(r, poll_ms(f));
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
    r->behind = false;
    if (!f->until)
        note_time(r, r->now_us);
    if (f->events.on_read)
        f->events.on_read(f, r->id, r->round_us, f->events.context);
    if (!f->abandoned && !f->trimmed)
        end_round(r);
}

static void tell(struct reader *r)
{
    struct follow *f = r->follow;
    r->state = READER_TELLS;
    hold(f);
    while (r->next < r->count && !f->paused && !f->abandoned && !f->trimmed) {
        struct entry *e = &r->entry[r->next];
        bool unsure = e->told && e->unsure;
        r->unsure += unsure;
        if (unsure ? leave_out(r, &e->change)
                   : note_read(r, &e->change)) { // no memory: it comes again
            r->gaps_after = 0;
            go_away(r);
            break;
        }
        r->next++;
        if (!unsure)
            tell_entry(f, r, e);
    }
    if (r->next == r->count && !f->abandoned && !f->trimmed)
        end_page(r);
    release(f);
}

static void read_page(struct reader *r, struct connection *connection)
{
    struct row row;
    uint64_t log[LOG_PARTS];
    if (!connection_row(connection, &row) || row_numbers(&row, 0, LOG_PARTS, log)) {
        go_away(r);
        return;
    }
    r->now_us = (int64_t)log[LOG_NOW_US];
    if (r->back)
        r->back_us = r->now_us;
    r->back = false;
    if (is_trimmed(position_of(r), log)) {
        be_trimmed(r);
        return;
    }
    if (read_rows(r, connection)) {
        go_away(r);
        return;
    }
    for (size_t i = 0; i < r->count; i++)
        judge(r, &r->entry[i]);
    if (look_at_late(r))
        go_away(r);
    else if (r->looks == 0)
        tell(r);
}

static void on_answer(struct connection *connection, const struct answer *answer, void *context)
{
    struct reader *r = context;
    r->asked = false;
    if (!release(r->follow) || r->follow->trimmed)
        return;
    if (r->state == READER_FILL) { // whatever came of it, the next page shows
        r->fill_failed = !answer || answer->error;
        r->state = READER_WAITS;
        wait_ms(r, poll_ms(r->follow));
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
        f->reader[i].entry = calloc(f->page, sizeof *f->reader[i].entry);
        error = f->reader[i].entry ? ERROR_NONE : ERROR_MEMORY;
    }
    return error;
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
    f->page = options->until && options->values ? PAGE_PAST : PAGE;
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
    for (unsigned i = 0; i < count; i++)
        wait_ms(&f->reader[i], 0); // no callback comes from inside this call
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
        if (f->reader[i].state == READER_TELLS)
            tell(&f->reader[i]);
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

const struct token *follow_token(const struct follow *f)
{
    return f->token;
}

bool follow_finished(const struct follow *f, unsigned id)
{
    return f->reader[id - 1].state == READER_DONE;
}
