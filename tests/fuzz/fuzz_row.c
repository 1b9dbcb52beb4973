// SPDX-License-Identifier: MIT
// Any bytes as a row of the database: what is accepted obeys the bounds that store/row.h, key.h and
// pair.h state, and lies within the row.
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "store/key.h"
#include "store/row.h"
#include "store/version.h"

enum {
    FIELDS_MAX = 10,
};

struct made {
    char *field[FIELDS_MAX];
    unsigned long length[FIELDS_MAX];
    struct row row;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// take_length reads the length of a field: 255 is NULL, 254 and 253 are near the limits of keys and
// types, the rest says itself.
static size_t take_length(struct slice *in, bool *null)
{
    unsigned char c = in->len ? (unsigned char)in->data[0] : 0;
    if (in->len)
        *in = (struct slice){in->data + 1, in->len - 1};
    *null = c == 255;
    if (*null)
        return 0;
    return c == 254 ? KEY_MAX + 1 : c == 253 ? KEY_MAX : c == 252 ? TYPE_MAX + 1 : c;
}

// make copies each field to memory of its own, without a NUL behind it, so that the sanitizer sees
// a read beyond it. Fields that the input is too short for are filled with digits.
static void make(struct made *m, struct slice in)
{
    unsigned fields = in.len ? (unsigned char)in.data[0] % (FIELDS_MAX + 1) : 0;
    if (in.len)
        in = (struct slice){in.data + 1, in.len - 1};
    *m = (struct made){.row = {m->field, m->length, fields}};
    for (unsigned i = 0; i < fields; i++) {
        bool null;
        size_t len = take_length(&in, &null), have = len < in.len ? len : in.len;
        m->length[i] = null ? 99 : len; // of NULL it must not matter
        if (null)
            continue;
        m->field[i] = malloc(len ? len : 1);
        assert(m->field[i]);
        memset(m->field[i], '1', len);
        if (have)
            memcpy(m->field[i], in.data, have);
        in = (struct slice){in.data + have, in.len - have};
    }
}

static bool is_field(const struct made *m, unsigned i, struct slice s)
{
    return s.data == m->field[i] && s.len == m->length[i];
}

// is_number compares with the digits, leading zeros aside.
static bool is_number(const struct made *m, unsigned i, uint64_t number)
{
    struct bytes digits = {0};
    struct slice text = {m->field[i], m->length[i]};
    while (text.len > 1 && text.data[0] == '0')
        text = (struct slice){text.data + 1, text.len - 1};
    bytes_append_number(&digits, number);
    bool same = slice_equal(bytes_slice(&digits), text);
    bytes_fini(&digits);
    return same;
}

// is_version holds that a version is that of the column, or the effective one of a row that SQL
// wrote: its time lies then in the version, or the version was there before.
static bool is_version(const struct made *m, unsigned i, uint64_t version)
{
    unsigned long long stored;
    if (!m->field[i + 1])
        return is_number(m, i, version);
    if (slice_number((struct slice){m->field[i], m->length[i]}, UINT64_MAX, &stored))
        return false;
    return m->length[i + 1] == 26 && version_partition(version) == 0 &&
           (version > stored || stored >> 10 > version >> 10);
}

static void check_pair(const struct made *m)
{
    struct pair pair;
    if (row_pair(&m->row, &pair))
        return;
    assert(m->row.fields == 7 || m->row.fields == 9);
    assert(key_valid(pair.key) && pair.type.len <= TYPE_MAX);
    assert(is_field(m, 0, pair.key) && is_field(m, 3, pair.type));
    assert(is_version(m, 4, pair.version) && is_number(m, 6, pair.expires));
    if (m->row.fields == 9)
        assert(is_number(m, 7, pair.created));
    else
        assert(!pair.dead);
    assert(pair.tombstone == (!m->field[1] && !m->field[2]));
    assert(pair.whole == (m->field[1] != NULL || pair.tombstone));
    if (m->field[1])
        assert(is_field(m, 1, pair.value) && pair.size == pair.value.len);
    else
        assert(pair.value.len == 0 && (!pair.tombstone || pair.size == 0));
    if (m->field[2])
        assert(is_number(m, 2, pair.size));
    else
        assert(pair.whole);
}

static void check_entry(const struct made *m)
{
    struct pair pair;
    if (row_entry(&m->row, &pair))
        return;
    assert(m->row.fields == 5 && key_valid(pair.key) && pair.type.len <= TYPE_MAX);
    assert(is_field(m, 0, pair.key) && is_field(m, 1, pair.type));
    assert(is_version(m, 2, pair.version) && !pair.whole);
    assert(is_number(m, 4, 0) == !pair.dead);
}

static void check_stamp(const struct made *m)
{
    struct slice key;
    struct stamp stamp;
    if (row_stamp(&m->row, &key, &stamp))
        return;
    assert(m->row.fields == 4 && key_valid(key) && is_field(m, 0, key));
    assert(is_number(m, 1, stamp.version) && is_number(m, 2, stamp.created));
    assert(is_number(m, 3, stamp.expires));
}

static void check_watch(const struct made *m)
{
    struct watch watch;
    if (row_watch(&m->row, &watch))
        return;
    assert(m->row.fields == 11 && watch.kind <= WATCH_DIVERT && watch.id <= UINT16_MAX);
    assert(is_number(m, 0, watch.kind) && is_number(m, 1, watch.id));
    assert(is_number(m, 5, watch.pass) && is_number(m, 6, watch.floor));
    assert(is_number(m, 7, watch.kind == WATCH_CURSOR ? watch.marked : watch.version));
    assert(is_number(m, 8, watch.now_us) && is_number(m, 9, watch.epoch));
}

// check_keys holds that the keys of an entry lie in it one behind the other, each behind its
// length.
static void check_keys(struct slice keys)
{
    struct slice key, rest = keys;
    bool tombstone, malformed;
    while (row_entry_key(&rest, &key, &tombstone, &malformed)) {
        size_t read = keys.len - rest.len;
        assert(!malformed && key_valid(key));
        assert(key.data > keys.data && key.data + key.len == rest.data);
        assert(rest.data == keys.data + read && read >= key.len + 2);
        assert(key.data[-1] == (tombstone ? '-' : '='));
        struct slice digits = {keys.data, (size_t)(key.data - 1 - keys.data)};
        unsigned long long len;
        assert(!slice_number(digits, KEY_MAX, &len) && len == key.len);
        keys = rest;
    }
    assert(malformed == (keys.len != 0) && rest.len == keys.len && rest.data == keys.data);
}

static void check_change(const struct made *m)
{
    struct change change;
    for (unsigned i = 0; i < m->row.fields; i++)
        if (m->field[i])
            check_keys((struct slice){m->field[i], m->length[i]});
    if (row_change(&m->row, &change))
        return;
    assert(m->row.fields == 5 && change.op <= 255);
    assert(is_number(m, 0, change.seq) && is_number(m, 1, change.op));
    assert(is_number(m, 2, change.version) && is_field(m, 4, change.keys));
}

static void check_current(const struct made *m)
{
    struct current current;
    const struct pair *pair = &current.pair;
    if (row_current(&m->row, &current))
        return;
    assert(m->row.fields == 6 && key_valid(pair->key) && pair->type.len <= TYPE_MAX);
    assert(is_field(m, 0, pair->key) && is_field(m, 4, pair->type));
    assert(is_number(m, 1, current.seq) && is_number(m, 2, pair->version));
    assert(is_number(m, 3, pair->expires) && pair->whole == (m->field[5] != NULL));
    if (pair->whole)
        assert(is_field(m, 5, pair->value));
    else
        assert(pair->value.data == NULL && pair->value.len == 0);
}

static void check_unstamped(const struct made *m)
{
    struct slice touched, key;
    bool tombstone;
    if (row_unstamped(&m->row, &touched, &key, &tombstone))
        return;
    assert(m->row.fields == 3 && touched.len == 26 && key_valid(key));
    assert(is_field(m, 0, touched) && is_field(m, 1, key));
    for (size_t i = 0; i < touched.len; i++)
        assert(strchr("0123456789-: .", touched.data[i]) && touched.data[i]);
    assert(is_number(m, 2, 0) == !tombstone);
}

static void check_copy(const struct made *m)
{
    struct pair pair;
    if (row_copy(&m->row, &pair))
        return;
    assert(m->row.fields == 7 && key_valid(pair.key) && pair.type.len <= TYPE_MAX);
    assert(is_field(m, 0, pair.key) && is_field(m, 3, pair.type));
    assert(is_number(m, 4, pair.version) && is_number(m, 5, pair.created));
    assert(is_number(m, 6, pair.expires));
    assert(pair.tombstone == (!m->field[1] && !m->field[2]));
    assert(pair.whole == (m->field[1] != NULL || pair.tombstone));
}

static void check_fields(const struct made *m)
{
    uint64_t numbers[FIELDS_MAX];
    struct slice key;
    if (!row_numbers(&m->row, 1, 3, numbers)) {
        assert(m->row.fields >= 4);
        for (unsigned i = 0; i < 3; i++)
            assert(m->field[1 + i] ? is_number(m, 1 + i, numbers[i]) : numbers[i] == 0);
    }
    if (!row_key(&m->row, 2, &key))
        assert(m->row.fields >= 3 && key_valid(key) && is_field(m, 2, key));
    assert(row_bytes(&m->row, m->row.fields).data == NULL);
}

static void check_check(const struct made *m)
{
    struct check check;
    struct bytes why = {0};
    if (row_check(&m->row, &check))
        return;
    assert(m->row.fields == 9);
    assert(check.schema_version == 0 || is_number(m, 0, check.schema_version));
    assert(is_number(m, 1, check.triggers) && is_number(m, 2, check.flush_at_commit));
    assert(is_number(m, 3, check.max_packet) && is_number(m, 4, check.read_only));
    assert(is_number(m, 5, check.binary) && is_number(m, 6, check.statement_log));
    assert(is_number(m, 8, check.now_us));
    check_problem(&check, 1 << 20, &why);
    assert(!bytes_failed(&why));
    bytes_fini(&why);
}

static void check_placement(const struct made *m)
{
    struct placement placement;
    struct layout *layout;
    if (row_placement(&m->row, &placement))
        return;
    assert(m->row.fields == 8 && placement.epoch && is_number(m, 1, placement.epoch));
    assert(is_number(m, 4, placement.now.replicas) && is_number(m, 6, placement.other.replicas));
    assert(members_any(&placement.now));
    assert(layout_new(&placement, &layout) == ERROR_NONE);
    layout_free(&layout);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct made m;
    make(&m, (struct slice){(const char *)data, size});
    check_pair(&m);
    check_entry(&m);
    check_stamp(&m);
    check_watch(&m);
    check_change(&m);
    check_current(&m);
    check_unstamped(&m);
    check_copy(&m);
    check_fields(&m);
    check_check(&m);
    check_placement(&m);
    for (unsigned i = 0; i < m.row.fields; i++)
        free(m.field[i]);
    return 0;
}
