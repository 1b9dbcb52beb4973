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
    *pair = (struct pair){0};
    if (row->fields != 6 || !read_key(row, 0, &pair->key) || !read_type(row, 3, &pair->type) ||
        !read_number(row, 4, &pair->version) || !read_number(row, 5, &pair->expires))
        return ERROR_MALFORMED;
    pair->value = field(row, 1);
    pair->whole = row->field[1] != NULL;
    pair->size = pair->value.len;
    if (!row->field[2])
        return pair->whole ? ERROR_NONE : ERROR_MALFORMED;
    if (!read_number(row, 2, &pair->size) || (pair->whole && pair->size != pair->value.len))
        return ERROR_MALFORMED;
    return ERROR_NONE;
}

enum error row_entry(const struct row *row, struct pair *pair)
{
    *pair = (struct pair){0};
    if (row->fields != 3 || !read_key(row, 0, &pair->key) || !read_type(row, 1, &pair->type) ||
        !read_number(row, 2, &pair->version))
        return ERROR_MALFORMED;
    return ERROR_NONE;
}

enum error row_stamp(const struct row *row, struct stamp *stamp)
{
    if (row->fields != 3 || !read_key(row, 0, &stamp->key) ||
        !read_number(row, 1, &stamp->version) || !read_number(row, 2, &stamp->created))
        return ERROR_MALFORMED;
    return ERROR_NONE;
}

enum error row_check(const struct row *row, struct check *check)
{
    if (row->fields != 8 || !read_number(row, 1, &check->triggers) ||
        !read_number(row, 2, &check->flush_at_commit) || !read_number(row, 3, &check->max_packet) ||
        !read_number(row, 4, &check->read_only) || !read_number(row, 5, &check->binary) ||
        !read_number(row, 6, &check->statement_log))
        return ERROR_MALFORMED;
    if (!read_number(row, 0, &check->schema_version))
        check->schema_version = 0; // an empty sherd_schema
    return ERROR_NONE;
}
