// SPDX-License-Identifier: MIT
#include "store/row.h"

#include "store/key.h"

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

enum error row_pair(const struct row *row, struct pair *pair)
{
    uint64_t dead = 0;
    *pair = (struct pair){0};
    if ((row->fields != 6 && row->fields != 8) || !read_key(row, 0, &pair->key) ||
        !read_type(row, 3, &pair->type) || !read_number(row, 4, &pair->version) ||
        !read_number(row, 5, &pair->expires))
        return ERROR_MALFORMED;
    if (row->fields == 8 && (!read_number(row, 6, &pair->created) || !read_number(row, 7, &dead)))
        return ERROR_MALFORMED;
    pair->value = field(row, 1);
    pair->dead = dead != 0;
    pair->whole = row->field[1] != NULL || pair->expires == 1;
    pair->size = pair->value.len;
    if (!row->field[2])
        return pair->whole ? ERROR_NONE : ERROR_MALFORMED;
    if (!read_number(row, 2, &pair->size) || (pair->whole && pair->size != pair->value.len))
        return ERROR_MALFORMED;
    return ERROR_NONE;
}

enum error row_entry(const struct row *row, struct pair *pair)
{
    uint64_t dead;
    *pair = (struct pair){0};
    if (row->fields != 4 || !read_key(row, 0, &pair->key) || !read_type(row, 1, &pair->type) ||
        !read_number(row, 2, &pair->version) || !read_number(row, 3, &dead))
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

enum error row_watch(const struct row *row, struct watch *watch)
{
    uint64_t number[9];
    if (row->fields != 9)
        return ERROR_MALFORMED;
    for (unsigned i = 0; i < 9; i++)
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
                            .now_us = number[8]};
    watch->kind = number[0] == WATCH_ITSELF   ? WATCH_ITSELF
                  : number[0] == WATCH_CURSOR ? WATCH_CURSOR
                                              : WATCH_DIVERT;
    *(watch->kind == WATCH_CURSOR ? &watch->marked : &watch->version) = number[7];
    return ERROR_NONE;
}

enum error row_change(const struct row *row, struct change *change)
{
    uint64_t op;
    *change = (struct change){0};
    if (row->fields != 9 || !read_number(row, 0, &change->seq) || !read_number(row, 1, &op) ||
        !read_number(row, 2, &change->version) || op > 255)
        return ERROR_MALFORMED;
    change->op = (unsigned)op;
    change->key = field(row, 3);
    if (change->key.len > KEY_MAX || (op & 127 && !change->key.len))
        return ERROR_MALFORMED;
    if (row->field[8] && !read_number(row, 8, &change->removed))
        return ERROR_MALFORMED;
    change->there = row->field[4] != NULL;
    if (!change->there)
        return ERROR_NONE;
    struct pair *pair = &change->pair;
    if (!read_number(row, 4, &pair->version) || !read_number(row, 5, &pair->expires) ||
        !read_type(row, 6, &pair->type))
        return ERROR_MALFORMED;
    pair->key = change->key;
    pair->value = field(row, 7);
    pair->whole = row->field[7] != NULL;
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
    pair->whole = row->field[1] != NULL || pair->expires == 1;
    pair->size = pair->value.len;
    if (row->field[2] && !read_number(row, 2, &pair->size))
        return ERROR_MALFORMED;
    return ERROR_NONE;
}
