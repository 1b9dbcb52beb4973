// SPDX-License-Identifier: MIT
#include "store/row.h"

#include <time.h>

#include "store/key.h"
#include "store/version.h"

static struct slice field(const struct row *row, unsigned i)
{
    return (struct slice){row->field[i], row->field[i] ? row->length[i] : 0};
}

static bool read_number(const struct row *row, unsigned i, uint64_t *number)
{
    unsigned long long n;
    if (!row->field[i] || slice_number(field(row, i), UINT64_MAX, &n))
        return false;
    *number = n;
    return true;
}

static bool read_key(const struct row *row, unsigned i, struct slice *key)
{
    *key = field(row, i);
    return key_valid(*key);
}

static bool read_type(const struct row *row, unsigned i, struct slice *type)
{
    *type = field(row, i);
    return row->field[i] && type->len <= TYPE_MAX;
}

static bool read_digits(const char *text, size_t count, int *number)
{
    *number = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *number = *number * 10 + text[i] - '0';
    }
    return true;
}

// read_time reads a TIMESTAMP(6) of a session in UTC, `2026-11-28 04:50:27.123456`.
static bool read_time(struct slice text, uint64_t *unix_us)
{
    static const char shape[] = "0000-00-00 00:00:00.000000";
    struct tm tm = {0};
    int us;
    if (text.len != sizeof shape - 1)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (shape[i] != '0' && text.data[i] != shape[i])
            return false;
    const char *at = text.data;
    if (!read_digits(at, 4, &tm.tm_year) || !read_digits(at + 5, 2, &tm.tm_mon) ||
        !read_digits(at + 8, 2, &tm.tm_mday) || !read_digits(at + 11, 2, &tm.tm_hour) ||
        !read_digits(at + 14, 2, &tm.tm_min) || !read_digits(at + 17, 2, &tm.tm_sec) ||
        !read_digits(at + 20, 6, &us))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    time_t seconds = timegm(&tm);
    if (seconds < 0)
        return false;
    *unix_us = (uint64_t)seconds * 1000000 + (uint64_t)us;
    return true;
}

// read_version reads version and touched, fields i and i + 1.
static bool read_version(const struct row *row, unsigned i, uint64_t *version)
{
    uint64_t touched_us;
    if (!read_number(row, i, version))
        return false;
    if (!row->field[i + 1])
        return true;
    if (!read_time(field(row, i + 1), &touched_us))
        return false;
    *version = version_effective(*version, touched_us);
    return true;
}

enum error row_pair(const struct row *row, struct pair *pair)
{
    uint64_t dead = 0;
    *pair = (struct pair){0};
    if ((row->fields != 7 && row->fields != 9) || !read_key(row, 0, &pair->key) ||
        !read_type(row, 3, &pair->type) || !read_version(row, 4, &pair->version) ||
        !read_number(row, 6, &pair->expires))
        return ERROR_MALFORMED;
    if (row->fields == 9 && (!read_number(row, 7, &pair->created) || !read_number(row, 8, &dead)))
        return ERROR_MALFORMED;
    pair->value = field(row, 1);
    pair->dead = dead != 0;
    pair->tombstone = !row->field[1] && !row->field[2];
    pair->whole = row->field[1] || pair->tombstone;
    pair->size = pair->value.len;
    if (!row->field[2])
        return ERROR_NONE;
    if (!read_number(row, 2, &pair->size) || (pair->whole && pair->size != pair->value.len))
        return ERROR_MALFORMED;
    return ERROR_NONE;
}

enum error row_entry(const struct row *row, struct pair *pair)
{
    uint64_t dead;
    *pair = (struct pair){0};
    if (row->fields != 5 || !read_key(row, 0, &pair->key) || !read_type(row, 1, &pair->type) ||
        !read_version(row, 2, &pair->version) || !read_number(row, 4, &dead))
        return ERROR_MALFORMED;
    pair->dead = dead != 0;
    return ERROR_NONE;
}

enum error row_stamp(const struct row *row, struct slice *key, struct stamp *stamp)
{
    if (row->fields != 4 || !read_key(row, 0, key) || !read_number(row, 1, &stamp->version) ||
        !read_number(row, 2, &stamp->created) || !read_number(row, 3, &stamp->expires))
        return ERROR_MALFORMED;
    return ERROR_NONE;
}

enum { WATCH_FIELDS = 11 };

enum error row_watch(const struct row *row, struct watch *watch)
{
    uint64_t number[WATCH_FIELDS];
    if (row->fields != WATCH_FIELDS)
        return ERROR_MALFORMED;
    for (unsigned i = 0; i < WATCH_FIELDS; i++)
        if (!read_number(row, i, &number[i]))
            return ERROR_MALFORMED;
    if (number[0] > WATCH_DIVERT || number[1] > UINT16_MAX)
        return ERROR_MALFORMED;
    *watch = (struct watch){.id = (unsigned)number[1],
                            .seeded = number[2] != 0,
                            .has_pairs = number[3] != 0,
                            .ring = (uint32_t)number[4],
                            .pass = number[5],
                            .floor = number[6],
                            .now_us = number[8],
                            .epoch = number[9],
                            .store = (uint32_t)number[10]};
    watch->kind = number[0] == WATCH_ITSELF   ? WATCH_ITSELF
                  : number[0] == WATCH_CURSOR ? WATCH_CURSOR
                                              : WATCH_DIVERT;
    *(watch->kind == WATCH_CURSOR ? &watch->marked : &watch->version) = number[7];
    return ERROR_NONE;
}

enum error row_placement(const struct row *row, struct placement *p)
{
    uint64_t replicas, other_replicas;
    *p = (struct placement){0};
    if (row->fields != 8 || field(row, 0).len != PLACEMENT_STORE_LEN ||
        !read_number(row, 1, &p->epoch) || p->epoch == 0 ||
        placement_parse_phase(field(row, 2), &p->phase) || members_parse(field(row, 3), &p->now) ||
        !read_number(row, 4, &replicas) || members_parse(field(row, 5), &p->other) ||
        !read_number(row, 6, &other_replicas) || gone_parse(field(row, 7), p->gone))
        return ERROR_MALFORMED;
    bool changes = p->phase == PLACEMENT_ANNOUNCED || p->phase == PLACEMENT_MOVING;
    if (!members_any(&p->now) || changes != members_any(&p->other) ||
        replicas > CONF_PARTITIONS_MAX || other_replicas > CONF_PARTITIONS_MAX)
        return ERROR_MALFORMED;
    memcpy(p->store, row->field[0], PLACEMENT_STORE_LEN);
    p->now.replicas = (unsigned)replicas;
    p->other.replicas = (unsigned)other_replicas;
    return ERROR_NONE;
}

enum error row_change(const struct row *row, struct change *change)
{
    uint64_t op, none;
    *change = (struct change){0};
    if (row->fields != 5 || !read_number(row, 0, &change->seq) || !read_number(row, 1, &op) ||
        !read_number(row, 2, &change->version) || !read_number(row, 3, &none) || op > 255 ||
        !row->field[4])
        return ERROR_MALFORMED;
    change->op = (unsigned)op;
    change->keys = field(row, 4);
    return ERROR_NONE;
}

bool row_entry_key(struct slice *keys, struct slice *key, bool *tombstone, bool *malformed)
{
    size_t digits = 0, len = 0;
    *malformed = false;
    if (keys->len == 0)
        return false;
    for (; digits < keys->len && keys->data[digits] >= '0' && keys->data[digits] <= '9'; digits++)
        if (len <= KEY_MAX)
            len = len * 10 + (size_t)(keys->data[digits] - '0');
    *malformed = digits == 0 || len == 0 || len > KEY_MAX || keys->len - digits < 1 + len ||
                 (keys->data[digits] != '=' && keys->data[digits] != '-');
    if (*malformed)
        return false;
    *tombstone = keys->data[digits] == '-';
    *key = (struct slice){keys->data + digits + 1, len};
    *keys = (struct slice){key->data + len, keys->len - digits - 1 - len};
    return true;
}

enum error row_current(const struct row *row, struct current *current)
{
    *current = (struct current){0};
    struct pair *pair = &current->pair;
    if (row->fields != 6 || !read_key(row, 0, &pair->key) || !read_number(row, 1, &current->seq) ||
        !read_number(row, 2, &pair->version) || !read_number(row, 3, &pair->expires) ||
        !read_type(row, 4, &pair->type))
        return ERROR_MALFORMED;
    pair->value = field(row, 5);
    pair->whole = row->field[5] != NULL;
    return ERROR_NONE;
}

enum error row_unstamped(const struct row *row, struct slice *touched, struct slice *key,
                         bool *tombstone)
{
    uint64_t time, dead;
    if (row->fields != 3 || !row->field[0] || !read_time(field(row, 0), &time) ||
        !read_key(row, 1, key) || !read_number(row, 2, &dead))
        return ERROR_MALFORMED;
    *touched = field(row, 0);
    *tombstone = dead != 0;
    return ERROR_NONE;
}

enum error row_check(const struct row *row, struct check *check)
{
    if (row->fields != 9 || !read_number(row, 1, &check->triggers) ||
        !read_number(row, 2, &check->flush_at_commit) || !read_number(row, 3, &check->max_packet) ||
        !read_number(row, 4, &check->read_only) || !read_number(row, 5, &check->binary) ||
        !read_number(row, 6, &check->statement_log) || !read_number(row, 8, &check->now_us))
        return ERROR_MALFORMED;
    if (!read_number(row, 0, &check->schema_version))
        check->schema_version = 0; // an empty sherd_schema
    return ERROR_NONE;
}

// ---------------------------------------------------------------- sync

enum error row_numbers(const struct row *row, unsigned first, unsigned count, uint64_t *numbers)
{
    if (row->fields < first + count)
        return ERROR_MALFORMED;
    for (unsigned i = 0; i < count; i++) {
        numbers[i] = 0;
        if (row->field[first + i] && !read_number(row, first + i, &numbers[i]))
            return ERROR_MALFORMED;
    }
    return ERROR_NONE;
}

struct slice row_bytes(const struct row *row, unsigned i)
{
    return i < row->fields ? field(row, i) : (struct slice){0};
}

enum error row_key(const struct row *row, unsigned i, struct slice *key)
{
    return i < row->fields && read_key(row, i, key) ? ERROR_NONE : ERROR_MALFORMED;
}

enum error row_copy(const struct row *row, struct pair *pair)
{
    *pair = (struct pair){0};
    if (row->fields != 7 || !read_key(row, 0, &pair->key) || !read_type(row, 3, &pair->type) ||
        !read_number(row, 4, &pair->version) || !read_number(row, 5, &pair->created) ||
        !read_number(row, 6, &pair->expires))
        return ERROR_MALFORMED;
    pair->value = field(row, 1);
    pair->tombstone = !row->field[1] && !row->field[2];
    pair->whole = row->field[1] || pair->tombstone;
    pair->size = pair->value.len;
    if (row->field[2] && !read_number(row, 2, &pair->size))
        return ERROR_MALFORMED;
    return ERROR_NONE;
}
