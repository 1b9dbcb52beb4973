// SPDX-License-Identifier: MIT
// Each row begins good; each test spoils one thing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "store/key.h"
#include "store/row.h"

#define SAME(slice, text) assert_true(slice_equal((slice), SLICE(text)))
#define MAX               "18446744073709551615"
#define MAX_1             "18446744073709551616"
// When SQL wrote a row, and what version that makes.
#define TOUCHED    "2026-11-28 04:50:27.123456"
#define TOUCHED_US UINT64_C(1795841427123456)

enum {
    FIELDS = 11,
};

// A row whose fields can be set one by one.
struct made {
    char *field[FIELDS];
    unsigned long length[FIELDS];
    struct row row;
};

static void set(struct made *m, unsigned i, struct slice text)
{
    m->field[i] = (char *)text.data;
    m->length[i] = text.len;
}

// set_null makes SQL's NULL: what the length says then must not matter.
static void set_null(struct made *m, unsigned i)
{
    m->field[i] = NULL;
    m->length[i] = 3;
}

static void make(struct made *m, const char *const *text, unsigned fields)
{
    *m = (struct made){.row = {m->field, m->length, fields}};
    for (unsigned i = 0; i < fields; i++)
        set(m, i, slice_of(text[i]));
}

static void make_pair(struct made *m)
{
    make(m, (const char *const[]){"key", "value", "5", "text/plain", "1025", "", "7"}, 7);
    set_null(m, 5);
}

static void make_look(struct made *m)
{
    make(m, (const char *const[]){"key", "value", "5", "text/plain", "1025", "", "7", "1024", "0"},
         9);
    set_null(m, 5);
}

static void make_entry(struct made *m)
{
    make(m, (const char *const[]){"key", "text/plain", "1025", "", "0"}, 5);
    set_null(m, 3);
}

static void make_stamp(struct made *m)
{
    make(m, (const char *const[]){"key", "2049", "1025", "7"}, 4);
}

static void make_watch(struct made *m)
{
    make(m, (const char *const[]){"0", "3", "1", "1", "4294967295", "5", "6", "7", "8", "9", "10"},
         11);
}

static void make_check(struct made *m)
{
    make(m, (const char *const[]){"2", "5", "1", "16777216", "0", "1", "0", "0", "17"}, 9);
}

static void make_change(struct made *m)
{
    make(m, (const char *const[]){"9", "129", "1025", "0", "3=key"}, 5);
}

static void make_current(struct made *m)
{
    make(m, (const char *const[]){"key", "9", "2049", "7", "text/plain", "value"}, 6);
}

static void make_unstamped(struct made *m)
{
    make(m, (const char *const[]){TOUCHED, "key", "0"}, 3);
}

static void make_copy(struct made *m)
{
    make(m, (const char *const[]){"key", "value", "5", "text/plain", "1025", "1024", "7"}, 7);
}

static enum error read_pair(const struct row *row)
{
    struct pair pair;
    return row_pair(row, &pair);
}

static enum error read_entry(const struct row *row)
{
    struct pair pair;
    return row_entry(row, &pair);
}

static enum error read_stamp(const struct row *row)
{
    struct slice key;
    struct stamp stamp;
    return row_stamp(row, &key, &stamp);
}

static enum error read_watch(const struct row *row)
{
    struct watch watch;
    return row_watch(row, &watch);
}

static enum error read_change(const struct row *row)
{
    struct change change;
    return row_change(row, &change);
}

static enum error read_current(const struct row *row)
{
    struct current current;
    return row_current(row, &current);
}

static enum error read_unstamped(const struct row *row)
{
    struct slice touched, key;
    bool tombstone;
    return row_unstamped(row, &touched, &key, &tombstone);
}

static enum error read_copy(const struct row *row)
{
    struct pair pair;
    return row_copy(row, &pair);
}

static void make_placement(struct made *m)
{
    make(m,
         (const char *const[]){"01234567-89ab-4def-8123-456789abcdef", "7", "moving", "1:1 3:2",
                               "2", "1:1 2:1", "0", "4 5"},
         8);
}

static enum error read_check(const struct row *row)
{
    struct check check;
    return row_check(row, &check);
}

// The kinds of rows, and the places of keys, types and numbers in them.
static const struct kind {
    void (*make)(struct made *m);
    enum error (*read)(const struct row *row);
    unsigned fields;
    // k key, t type, n number that must be there, m small number that must be there, s size,
    // w time or NULL, T time that must be there, b bytes that must be there, o others
    const char *places;
} kinds[] = {
    {make_pair, read_pair, 7, "kostnwn"},        {make_look, read_pair, 9, "kostnwnnn"},
    {make_entry, read_entry, 5, "ktnwn"},        {make_stamp, read_stamp, 4, "knnn"},
    {make_watch, read_watch, 11, "mmnnnnnnnnn"}, {make_check, read_check, 9, "onnnnnnon"},
    {make_copy, read_copy, 7, "kostnnn"},        {make_change, read_change, 5, "nmnnb"},
    {make_current, read_current, 6, "knnnto"},   {make_unstamped, read_unstamped, 3, "Tkn"},
};

enum {
    KINDS = sizeof kinds / sizeof kinds[0],
};

static void row_pair__reads_all_fields(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    make_pair(&m);
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    SAME(pair.key, "key");
    SAME(pair.value, "value");
    SAME(pair.type, "text/plain");
    assert_true(pair.whole);
    assert_int_equal(pair.size, 5);
    assert_int_equal(pair.version, 1025);
    assert_int_equal(pair.expires, 7);
    assert_ptr_equal(pair.value.data, m.field[1]); // borrowed
}

static void row_pair__reads_the_row_of_a_look(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    make_look(&m);
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_int_equal(pair.version, 1025);
    assert_int_equal(pair.created, 1024);
    assert_int_equal(pair.expires, 7);
    assert_false(pair.dead);
    assert_false(pair.tombstone);
    set(&m, 8, SLICE("1")); // expired
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_true(pair.dead && pair.whole);
}

// A tombstone has no value, hence no size, whatever its time.
static void row_pair__takes_a_tombstone_for_whole(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    make_look(&m);
    set_null(&m, 1);
    set_null(&m, 2);
    set(&m, 3, SLICE(""));
    set(&m, 6, SLICE("0"));
    set(&m, 8, SLICE("1"));
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_true(pair.tombstone && pair.whole && pair.dead);
    assert_int_equal(pair.size, 0);
    assert_int_equal(pair.value.len, 0);
    set(&m, 6, SLICE("7"));
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_true(pair.tombstone);
    assert_int_equal(pair.expires, 7);
    set(&m, 2, SLICE("0")); // a value that was left out has a size
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_false(pair.tombstone || pair.whole);
}

// A time means nothing of its own: 1 was once the mark of a tombstone.
static void row_pair__takes_no_live_pair_for_a_tombstone(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    make_look(&m);
    set(&m, 6, SLICE("1"));
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_false(pair.tombstone || pair.dead);
    assert_int_equal(pair.expires, 1);
    SAME(pair.value, "value");
    set(&m, 8, SLICE("1"));
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_true(pair.dead && !pair.tombstone);
    set_null(&m, 2); // as a large value comes
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_false(pair.tombstone);
}

static void row_pair__gives_a_row_that_sql_wrote_its_effective_version(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    static const struct {
        const char *version, *touched;
        uint64_t expected;
    } cases[] = {
        {"0", TOUCHED, TOUCHED_US << 10},
        {"1025", TOUCHED, TOUCHED_US << 10},
        {"1838941621374417923", TOUCHED, TOUCHED_US << 10},       // a µs earlier, by partition 3
        {"1838941621374418947", TOUCHED, (TOUCHED_US + 1) << 10}, // at the same time
        {"1838941621374419971", TOUCHED, (TOUCHED_US + 2) << 10},
        {"1839030094974418943", TOUCHED, (TOUCHED_US + UINT64_C(86400000000)) << 10}, // a day ahead
        {"1839030094974418944", TOUCHED, TOUCHED_US << 10}, // more: SQL made it up
        {MAX, TOUCHED, TOUCHED_US << 10},
        {"0", "1970-01-01 00:00:00.000001", UINT64_C(1) << 10},
        {"0", "2106-02-07 06:28:15.999999", UINT64_C(4294967295999999) << 10},
        {"0", "2024-02-29 23:59:59.000000", UINT64_C(1709251199000000) << 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_pair(&m);
        set(&m, 4, slice_of(cases[i].version));
        set(&m, 5, slice_of(cases[i].touched));
        assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
        if (pair.version != cases[i].expected)
            fail_msg("case %zu: %llu", i, (unsigned long long)pair.version);
        assert_int_equal(pair.expires, 7);
    }
    make_look(&m);
    set(&m, 5, SLICE(TOUCHED));
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_true(pair.version == TOUCHED_US << 10);
    assert_int_equal(pair.created, 1024);
}

static void row_pair__knows_a_value_that_was_left_out(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    make_pair(&m);
    set_null(&m, 1);
    set(&m, 2, SLICE("4294967295"));
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_false(pair.whole);
    assert_int_equal(pair.value.len, 0);
    assert_true(pair.size == UINT32_MAX);
}

static void row_pair__tells_an_empty_value_from_none(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    make_pair(&m);
    set(&m, 1, SLICE(""));
    set(&m, 2, SLICE("0"));
    set(&m, 3, SLICE(""));
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_true(pair.whole);
    assert_int_equal(pair.value.len, 0);
    assert_int_equal(pair.type.len, 0);
}

static void row_pair__takes_binary_bytes(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    make_pair(&m);
    set(&m, 0, SLICE("\0'\xff"));
    set(&m, 1, SLICE("\0\0\n\x1a\xff"));
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    SAME(pair.key, "\0'\xff");
    SAME(pair.value, "\0\0\n\x1a\xff");
}

static void row_pair__takes_the_size_of_a_value_that_came_without(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    make_pair(&m);
    set_null(&m, 2);
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_true(pair.whole);
    assert_int_equal(pair.size, 5);
    assert_false(pair.tombstone);
    set_null(&m, 1); // neither value nor size: a tombstone
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    assert_true(pair.tombstone);
    assert_int_equal(pair.size, 0);
}

static void row_pair__wants_the_size_to_be_the_value_s(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    static const struct slice sizes[] = {{"4", 1}, {"6", 1}, {"0", 1}, {MAX, sizeof MAX - 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        make_pair(&m);
        set(&m, 2, sizes[i]);
        assert_int_equal(row_pair(&m.row, &pair), ERROR_MALFORMED);
    }
}

static void row_entry__reads_all_fields(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    make_entry(&m);
    assert_int_equal(row_entry(&m.row, &pair), ERROR_NONE);
    SAME(pair.key, "key");
    SAME(pair.type, "text/plain");
    assert_int_equal(pair.version, 1025);
    assert_false(pair.whole);
    assert_int_equal(pair.size, 0);
    assert_int_equal(pair.expires, 0);
    assert_false(pair.dead);
    set(&m, 4, SLICE("1"));
    assert_int_equal(row_entry(&m.row, &pair), ERROR_NONE);
    assert_true(pair.dead);
}

static void row_stamp__reads_all_fields(void **state)
{
    (void)state;
    struct made m;
    struct slice key;
    struct stamp stamp;
    make_stamp(&m);
    assert_int_equal(row_stamp(&m.row, &key, &stamp), ERROR_NONE);
    SAME(key, "key");
    assert_int_equal(stamp.version, 2049);
    assert_int_equal(stamp.created, 1025);
    assert_int_equal(stamp.expires, 7);
}

static void row_watch__reads_all_fields(void **state)
{
    (void)state;
    struct made m;
    struct watch watch;
    make_watch(&m);
    assert_int_equal(row_watch(&m.row, &watch), ERROR_NONE);
    assert_int_equal(watch.kind, WATCH_ITSELF);
    assert_int_equal(watch.id, 3);
    assert_true(watch.seeded && watch.has_pairs);
    assert_true(watch.ring == UINT32_MAX);
    assert_int_equal(watch.pass, 5);
    assert_int_equal(watch.floor, 6);
    assert_int_equal(watch.version, 7);
    assert_int_equal(watch.now_us, 8);
    assert_int_equal(watch.epoch, 9);
    assert_int_equal(watch.store, 10);
    set(&m, 2, SLICE("0"));
    set(&m, 3, SLICE("0"));
    assert_int_equal(row_watch(&m.row, &watch), ERROR_NONE);
    assert_false(watch.seeded || watch.has_pairs);
}

static void row_watch__knows_three_kinds(void **state)
{
    (void)state;
    struct made m;
    struct watch watch;
    make_watch(&m);
    set(&m, 0, SLICE("1"));
    assert_int_equal(row_watch(&m.row, &watch), ERROR_NONE);
    assert_int_equal(watch.kind, WATCH_CURSOR);
    assert_int_equal(watch.marked, 7);
    set(&m, 0, SLICE("2"));
    assert_int_equal(row_watch(&m.row, &watch), ERROR_NONE);
    assert_int_equal(watch.kind, WATCH_DIVERT);
    assert_int_equal(watch.version, 7);
    set(&m, 0, SLICE("3"));
    assert_int_equal(row_watch(&m.row, &watch), ERROR_MALFORMED);
}

static void row_watch__wants_ids_of_16_bits(void **state)
{
    (void)state;
    struct made m;
    struct watch watch;
    make_watch(&m);
    set(&m, 1, SLICE("65535"));
    assert_int_equal(row_watch(&m.row, &watch), ERROR_NONE);
    assert_int_equal(watch.id, 65535);
    set(&m, 1, SLICE("65536"));
    assert_int_equal(row_watch(&m.row, &watch), ERROR_MALFORMED);
}

static void row_placement__reads_all_fields(void **state)
{
    (void)state;
    struct made m;
    struct placement p;
    make_placement(&m);
    assert_int_equal(row_placement(&m.row, &p), ERROR_NONE);
    assert_string_equal(p.store, "01234567-89ab-4def-8123-456789abcdef");
    assert_int_equal(p.epoch, 7);
    assert_int_equal(p.phase, PLACEMENT_MOVING);
    assert_int_equal(p.now.weight[0], 1);
    assert_int_equal(p.now.weight[2], 2);
    assert_int_equal(p.now.replicas, 2);
    assert_int_equal(p.other.weight[1], 1);
    assert_true(p.gone[3] && p.gone[4] && !p.gone[5]);
}

static void row_placement__refuses_what_cannot_be(void **state)
{
    (void)state;
    static const struct {
        unsigned field;
        const char *text;
    } wrong[] = {{0, "short"},   {1, "0"},    {2, "later"}, {2, "settled"}, {3, ""},
                 {3, "1:1 1:1"}, {4, "1001"}, {5, ""},      {6, "1001"},    {7, "0"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct made m;
        struct placement p;
        make_placement(&m);
        set(&m, wrong[i].field, slice_of(wrong[i].text));
        assert_int_equal(row_placement(&m.row, &p), ERROR_MALFORMED);
    }
}

static void row_copy__reads_all_fields(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    make_copy(&m);
    assert_int_equal(row_copy(&m.row, &pair), ERROR_NONE);
    SAME(pair.key, "key");
    SAME(pair.value, "value");
    SAME(pair.type, "text/plain");
    assert_int_equal(pair.version, 1025);
    assert_int_equal(pair.created, 1024);
    assert_int_equal(pair.expires, 7);
    assert_true(pair.whole);
    assert_int_equal(pair.size, 5);
}

static void row_copy__tells_a_tombstone_from_a_value_that_was_left_out(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    make_copy(&m);
    set_null(&m, 1);
    set(&m, 2, SLICE("70000"));
    assert_int_equal(row_copy(&m.row, &pair), ERROR_NONE);
    assert_false(pair.whole);
    assert_int_equal(pair.size, 70000);
    assert_false(pair.tombstone);
    set_null(&m, 2);
    assert_int_equal(row_copy(&m.row, &pair), ERROR_NONE);
    assert_true(pair.whole && pair.tombstone);
    assert_int_equal(pair.size, 0);
    assert_int_equal(pair.expires, 7);
    make_copy(&m); // what its time is does not matter
    set(&m, 6, SLICE("1"));
    assert_int_equal(row_copy(&m.row, &pair), ERROR_NONE);
    assert_true(pair.whole && !pair.tombstone);
    SAME(pair.value, "value");
}

static void row_numbers__reads_some_fields_and_null_as_0(void **state)
{
    (void)state;
    struct made m;
    uint64_t number[3];
    make(&m, (const char *const[]){"x", "1", "2", MAX}, 4);
    assert_int_equal(row_numbers(&m.row, 1, 3, number), ERROR_NONE);
    assert_true(number[0] == 1 && number[1] == 2 && number[2] == UINT64_MAX);
    set_null(&m, 2);
    assert_int_equal(row_numbers(&m.row, 1, 3, number), ERROR_NONE);
    assert_int_equal(number[1], 0);
    assert_int_equal(row_numbers(&m.row, 0, 2, number), ERROR_MALFORMED);
    assert_int_equal(row_numbers(&m.row, 2, 3, number), ERROR_MALFORMED);
}

static void row_bytes__is_empty_beyond_the_last_field(void **state)
{
    (void)state;
    struct made m;
    struct slice key;
    make(&m, (const char *const[]){"key", ""}, 2);
    SAME(row_bytes(&m.row, 0), "key");
    set_null(&m, 1);
    assert_int_equal(row_bytes(&m.row, 1).len, 0);
    assert_int_equal(row_bytes(&m.row, 2).len, 0);
    assert_int_equal(row_key(&m.row, 0, &key), ERROR_NONE);
    SAME(key, "key");
    assert_int_equal(row_key(&m.row, 1, &key), ERROR_MALFORMED);
    assert_int_equal(row_key(&m.row, 2, &key), ERROR_MALFORMED);
}

static void row_check__reads_all_fields(void **state)
{
    (void)state;
    struct made m;
    struct check check;
    make(&m, (const char *const[]){"1", "2", "3", "4", "5", "6", "7", "0", "9"}, 9);
    assert_int_equal(row_check(&m.row, &check), ERROR_NONE);
    assert_int_equal(check.schema_version, 1);
    assert_int_equal(check.triggers, 2);
    assert_int_equal(check.flush_at_commit, 3);
    assert_int_equal(check.max_packet, 4);
    assert_int_equal(check.read_only, 5);
    assert_int_equal(check.binary, 6);
    assert_int_equal(check.statement_log, 7);
    assert_int_equal(check.now_us, 9);
}

static void row_check__takes_an_empty_schema_for_version_0(void **state)
{
    (void)state;
    struct made m;
    struct check check = {.schema_version = 9};
    make_check(&m);
    set_null(&m, 0);
    assert_int_equal(row_check(&m.row, &check), ERROR_NONE);
    assert_int_equal(check.schema_version, 0);
}

static void rows__of_another_number_of_fields_are_malformed(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        for (unsigned fields = 0; fields <= FIELDS; fields++) {
            struct made m;
            bool right = fields == kinds[k].fields;
            kinds[k].make(&m);
            for (unsigned i = kinds[k].fields; i < FIELDS; i++)
                set(&m, i, SLICE("1"));
            m.row.fields = fields;
            if (kinds[k].read == read_pair) // of query_select or of query_look
                right = fields == 7 || fields == 9;
            assert_int_equal(kinds[k].read(&m.row), right ? ERROR_NONE : ERROR_MALFORMED);
        }
    }
}

// expect_at spoils each field of the kind `place` in each kind of row with `text`.
static void expect_at(char place, const char *text, size_t len, enum error expected)
{
    for (size_t k = 0; k < KINDS; k++) {
        for (unsigned i = 0; i < kinds[k].fields; i++) {
            struct made m;
            if (kinds[k].places[i] != place)
                continue;
            kinds[k].make(&m);
            if (text)
                set(&m, i, (struct slice){text, len});
            else
                set_null(&m, i);
            if (kinds[k].read(&m.row) != expected)
                fail_msg("row kind %zu, field %u, %zu bytes: not %d", k, i, len, (int)expected);
        }
    }
}

static void rows__want_fields_that_are_not_null(void **state)
{
    (void)state;
    expect_at('k', NULL, 0, ERROR_MALFORMED);
    expect_at('t', NULL, 0, ERROR_MALFORMED);
    expect_at('n', NULL, 0, ERROR_MALFORMED);
    expect_at('m', NULL, 0, ERROR_MALFORMED);
    expect_at('T', NULL, 0, ERROR_MALFORMED);
    expect_at('b', NULL, 0, ERROR_MALFORMED);
    expect_at('w', NULL, 0, ERROR_NONE);
    expect_at('o', NULL, 0, ERROR_NONE);
}

static void rows__want_keys_of_1_to_512_bytes(void **state)
{
    (void)state;
    static const char text[KEY_MAX + 1];
    expect_at('k', "", 0, ERROR_MALFORMED);
    expect_at('k', text, 1, ERROR_NONE);
    expect_at('k', text, KEY_MAX, ERROR_NONE);
    expect_at('k', text, KEY_MAX + 1, ERROR_MALFORMED);
}

static void rows__want_types_of_up_to_128_bytes(void **state)
{
    (void)state;
    static const char text[TYPE_MAX + 1];
    expect_at('t', "", 0, ERROR_NONE);
    expect_at('t', text, TYPE_MAX, ERROR_NONE);
    expect_at('t', text, TYPE_MAX + 1, ERROR_MALFORMED);
}

static void rows__want_numbers_of_64_bits(void **state)
{
    (void)state;
    static const char *const bad[] = {
        MAX_1, "99999999999999999999999", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "", "a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect_at('n', bad[i], strlen(bad[i]), ERROR_MALFORMED);
        expect_at('m', bad[i], strlen(bad[i]), ERROR_MALFORMED);
        expect_at('s', bad[i], strlen(bad[i]), ERROR_MALFORMED);
    }
    expect_at('n', "1\0", 2, ERROR_MALFORMED);
    struct made m;
    struct slice key;
    struct stamp stamp;
    make_stamp(&m);
    set(&m, 1, SLICE(MAX));
    set(&m, 2, SLICE("0"));
    assert_int_equal(row_stamp(&m.row, &key, &stamp), ERROR_NONE);
    assert_true(stamp.version == UINT64_MAX);
    assert_true(stamp.created == 0);
}

static void rows__want_times_as_a_session_in_utc_says_them(void **state)
{
    (void)state;
    static const char *const good[] = {TOUCHED, "1970-01-01 00:00:01.000000",
                                       "2038-01-19 03:14:07.999999", "2106-02-07 06:28:15.000000"};
    static const char *const bad[] = {
        "",
        "0",
        "2026-11-28",
        "2026-11-28 04:50:27",
        "2026-11-28 04:50:27.12345",
        "2026-11-28 04:50:27.1234567",
        "2026-11-28T04:50:27.123456",
        "2026-11-28 04:50:27,123456",
        "2026/11/28 04:50:27.123456",
        "2026-11-28 04.50.27.123456",
        "2026-11-28 04:50:27.12345 ",
        "2026-11-28 04:50:27.-12345",
        "2026-11-28 +4:50:27.123456",
        " 026-11-28 04:50:27.123456",
        "202x-11-28 04:50:27.123456",
        "2026-1x-28 04:50:27.123456",
        "2026-11-2x 04:50:27.123456",
        "2026-11-28 04:5x:27.123456",
        "2026-11-28 04:50:2x.123456",
        "2026-11-28 04:50:27.12345x",
        "-026-11-28 04:50:27.123456",
        "0000-00-00 00:00:00.000000",
        "1969-12-31 23:59:59.999999",
        "2026-11-28 04:50:27.\357\274\221123",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        expect_at('w', good[i], strlen(good[i]), ERROR_NONE);
        expect_at('T', good[i], strlen(good[i]), ERROR_NONE);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect_at('w', bad[i], strlen(bad[i]), ERROR_MALFORMED);
        expect_at('T', bad[i], strlen(bad[i]), ERROR_MALFORMED);
    }
    expect_at('w', "2026-11-28 04:50:27.12345\0", 26, ERROR_MALFORMED);
}

// The library ends its fields with NUL; nothing may rely on it.
static void rows__end_where_their_length_says(void **state)
{
    (void)state;
    struct made m;
    struct pair pair;
    make_pair(&m);
    set(&m, 0, (struct slice){"keyring", 3});
    set(&m, 2, (struct slice){"599", 1});
    set(&m, 4, (struct slice){"10259", 4});
    assert_int_equal(row_pair(&m.row, &pair), ERROR_NONE);
    SAME(pair.key, "key");
    assert_int_equal(pair.size, 5);
    assert_int_equal(pair.version, 1025);
}

// ---------------------------------------------------------------- the log

static void row_change__reads_an_entry(void **state)
{
    (void)state;
    struct made m;
    struct change change;
    make_change(&m);
    assert_int_equal(row_change(&m.row, &change), ERROR_NONE);
    assert_int_equal(change.seq, 9);
    assert_int_equal(change.op, 129);
    assert_int_equal(change.version, 1025);
    SAME(change.keys, "3=key");
    assert_ptr_equal(change.keys.data, m.field[4]); // borrowed
    set(&m, 1, SLICE("0"));
    set(&m, 4, SLICE(""));
    assert_int_equal(row_change(&m.row, &change), ERROR_NONE); // a filler has no keys
    assert_int_equal(change.op, 0);
    assert_int_equal(change.keys.len, 0);
}

static void row_change__refuses_a_row_that_is_spoilt(void **state)
{
    static const struct {
        unsigned field;
        const char *text; // NULL: SQL's NULL
    } spoilt[] = {{0, NULL}, {0, "x"},  {1, NULL}, {1, "256"}, {1, "-1"},
                  {2, NULL}, {2, "1x"}, {3, NULL}, {3, "x"},   {4, NULL}};
    (void)state;
    struct made m;
    struct change change;
    for (size_t i = 0; i < sizeof spoilt / sizeof spoilt[0]; i++) {
        make_change(&m);
        if (spoilt[i].text)
            set(&m, spoilt[i].field, slice_of(spoilt[i].text));
        else
            set_null(&m, spoilt[i].field);
        assert_int_equal(row_change(&m.row, &change), ERROR_MALFORMED);
    }
    make_change(&m);
    set(&m, 1, SLICE("255"));
    assert_int_equal(row_change(&m.row, &change), ERROR_NONE);
    assert_int_equal(change.op, 255);
}

// expect_keys holds that an entry names `count` keys, and whether it ends well.
static void expect_keys(struct slice keys, const char *const *expected, bool ends_well)
{
    struct slice key;
    bool tombstone, malformed = true;
    for (; *expected; expected++) {
        assert_true(row_entry_key(&keys, &key, &tombstone, &malformed));
        assert_false(malformed);
        assert_int_equal(tombstone, **expected == '-');
        assert_true(slice_equal(key, slice_of(*expected + 1)));
    }
    assert_false(row_entry_key(&keys, &key, &tombstone, &malformed));
    assert_int_equal(malformed, !ends_well);
}

#define EXPECT_KEYS(keys, ...) expect_keys(SLICE(keys), (const char *const[]){__VA_ARGS__}, true)

static void row_entry_key__takes_keys_one_by_one(void **state)
{
    (void)state;
    EXPECT_KEYS("", NULL);
    EXPECT_KEYS("5=hello3-bye", "=hello", "-bye", NULL);
    EXPECT_KEYS("1=a1=a", "=a", "=a", NULL);
    EXPECT_KEYS("11-hello world", "-hello world", NULL);
}

// A key may be what comes behind a key.
static void row_entry_key__believes_the_length_and_not_the_bytes(void **state)
{
    (void)state;
    EXPECT_KEYS("5=1=a1-1=-", "=1=a1-", "=-", NULL);
    EXPECT_KEYS("3-5=h", "-5=h", NULL);
    EXPECT_KEYS("2=9-1=9", "=9-", "=9", NULL);
    EXPECT_KEYS("1=-1-=", "=-", "-=", NULL);
    struct slice key, keys = SLICE("4=\0'\xff\n1-\0");
    bool tombstone, malformed;
    assert_true(row_entry_key(&keys, &key, &tombstone, &malformed));
    SAME(key, "\0'\xff\n");
    assert_true(row_entry_key(&keys, &key, &tombstone, &malformed));
    SAME(key, "\0");
    assert_true(tombstone);
    assert_int_equal(keys.len, 0);
}

static void row_entry_key__takes_keys_of_1_to_512_bytes(void **state)
{
    (void)state;
    static char text[4 + KEY_MAX + 1];
    struct slice key, keys = {text, 4 + KEY_MAX};
    bool tombstone, malformed;
    snprintf(text, sizeof text, "%d=", KEY_MAX);
    assert_true(row_entry_key(&keys, &key, &tombstone, &malformed));
    assert_int_equal(key.len, KEY_MAX);
    assert_ptr_equal(key.data, text + 4);
    assert_int_equal(keys.len, 0);
    snprintf(text, sizeof text, "%d=", KEY_MAX + 1);
    expect_keys((struct slice){text, sizeof text}, (const char *const[]){NULL}, false);
}

// The bytes come from another machine; none before the spoilt one are lost.
static void row_entry_key__refuses_what_is_no_entry(void **state)
{
    (void)state;
    static const struct slice spoilt[] = {
        SLICE("0="),
        SLICE("0=a"),
        SLICE("00-"),
        SLICE("1"),
        SLICE("1="),
        SLICE("3=ab"),
        SLICE("="),
        SLICE("=a"),
        SLICE("-"),
        SLICE("-1=a"),
        SLICE("+1=a"),
        SLICE(" 1=a"),
        SLICE("1 =a"),
        SLICE("1:a"),
        SLICE("1\0a"),
        SLICE("\0"),
        SLICE("a"),
        SLICE("0x1=a"),
        SLICE("513=a"),
        SLICE(MAX "=a"),
        SLICE(MAX_1 "=a"),
        SLICE("184467440737095516170=a"), // 10 * 2^64 + 10: wraps to 10
        SLICE("18446744073709551617=a"),  // 2^64 + 1: wraps to 1
        SLICE("4294967297=a"),
    };
    for (size_t i = 0; i < sizeof spoilt / sizeof spoilt[0]; i++) {
        struct bytes keys = {0};
        expect_keys(spoilt[i], (const char *const[]){NULL}, false);
        bytes_append_text(&keys, "2=k1");
        bytes_append_slice(&keys, spoilt[i]);
        expect_keys(bytes_slice(&keys), (const char *const[]){"=k1", NULL}, false);
        bytes_fini(&keys);
    }
}

// Each cut of an entry either ends between two keys or is noticed.
static void row_entry_key__notices_where_an_entry_was_cut(void **state)
{
    (void)state;
    static const char text[] = "3=abc12-0123456789=-1=x";
    for (size_t len = 0; len < sizeof text; len++) {
        struct slice key, keys = {text, len};
        bool tombstone, malformed;
        while (row_entry_key(&keys, &key, &tombstone, &malformed)) {
        }
        assert_int_equal(malformed, len != 0 && len != 5 && len != 20 && len != 23);
    }
}

static void row_current__reads_the_row_of_a_key(void **state)
{
    (void)state;
    struct made m;
    struct current current;
    make_current(&m);
    assert_int_equal(row_current(&m.row, &current), ERROR_NONE);
    SAME(current.pair.key, "key");
    assert_int_equal(current.seq, 9);
    assert_int_equal(current.pair.version, 2049);
    assert_int_equal(current.pair.expires, 7);
    SAME(current.pair.type, "text/plain");
    SAME(current.pair.value, "value");
    assert_true(current.pair.whole);
    set_null(&m, 5);
    assert_int_equal(row_current(&m.row, &current), ERROR_NONE);
    assert_null(current.pair.value.data);
    assert_int_equal(current.pair.value.len, 0);
    assert_false(current.pair.whole);
    set(&m, 1, SLICE("0")); // no entry speaks for it
    set(&m, 5, SLICE(""));
    assert_int_equal(row_current(&m.row, &current), ERROR_NONE);
    assert_int_equal(current.seq, 0);
    assert_non_null(current.pair.value.data);
    assert_int_equal(current.pair.value.len, 0);
}

static void row_unstamped__reads_when_which_and_what(void **state)
{
    (void)state;
    struct made m;
    struct slice touched, key;
    bool tombstone;
    make_unstamped(&m);
    set(&m, 1, SLICE("k\0'"));
    assert_int_equal(row_unstamped(&m.row, &touched, &key, &tombstone), ERROR_NONE);
    SAME(touched, TOUCHED);
    SAME(key, "k\0'");
    assert_false(tombstone);
    set(&m, 2, SLICE("1"));
    assert_int_equal(row_unstamped(&m.row, &touched, &key, &tombstone), ERROR_NONE);
    assert_true(tombstone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(row_pair__reads_all_fields),
        cmocka_unit_test(row_pair__reads_the_row_of_a_look),
        cmocka_unit_test(row_pair__takes_a_tombstone_for_whole),
        cmocka_unit_test(row_pair__takes_no_live_pair_for_a_tombstone),
        cmocka_unit_test(row_pair__gives_a_row_that_sql_wrote_its_effective_version),
        cmocka_unit_test(row_pair__knows_a_value_that_was_left_out),
        cmocka_unit_test(row_pair__tells_an_empty_value_from_none),
        cmocka_unit_test(row_pair__takes_binary_bytes),
        cmocka_unit_test(row_pair__takes_the_size_of_a_value_that_came_without),
        cmocka_unit_test(row_pair__wants_the_size_to_be_the_value_s),
        cmocka_unit_test(row_entry__reads_all_fields),
        cmocka_unit_test(row_stamp__reads_all_fields),
        cmocka_unit_test(row_watch__reads_all_fields),
        cmocka_unit_test(row_watch__knows_three_kinds),
        cmocka_unit_test(row_watch__wants_ids_of_16_bits),
        cmocka_unit_test(row_placement__reads_all_fields),
        cmocka_unit_test(row_placement__refuses_what_cannot_be),
        cmocka_unit_test(row_copy__reads_all_fields),
        cmocka_unit_test(row_copy__tells_a_tombstone_from_a_value_that_was_left_out),
        cmocka_unit_test(row_numbers__reads_some_fields_and_null_as_0),
        cmocka_unit_test(row_bytes__is_empty_beyond_the_last_field),
        cmocka_unit_test(row_check__reads_all_fields),
        cmocka_unit_test(row_check__takes_an_empty_schema_for_version_0),
        cmocka_unit_test(rows__of_another_number_of_fields_are_malformed),
        cmocka_unit_test(rows__want_fields_that_are_not_null),
        cmocka_unit_test(rows__want_keys_of_1_to_512_bytes),
        cmocka_unit_test(rows__want_types_of_up_to_128_bytes),
        cmocka_unit_test(rows__want_numbers_of_64_bits),
        cmocka_unit_test(rows__want_times_as_a_session_in_utc_says_them),
        cmocka_unit_test(rows__end_where_their_length_says),
        cmocka_unit_test(row_change__reads_an_entry),
        cmocka_unit_test(row_change__refuses_a_row_that_is_spoilt),
        cmocka_unit_test(row_entry_key__takes_keys_one_by_one),
        cmocka_unit_test(row_entry_key__believes_the_length_and_not_the_bytes),
        cmocka_unit_test(row_entry_key__takes_keys_of_1_to_512_bytes),
        cmocka_unit_test(row_entry_key__refuses_what_is_no_entry),
        cmocka_unit_test(row_entry_key__notices_where_an_entry_was_cut),
        cmocka_unit_test(row_current__reads_the_row_of_a_key),
        cmocka_unit_test(row_unstamped__reads_when_which_and_what),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
