// SPDX-License-Identifier: MIT
#include "server/bulk_line.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>

// member_bytes reads `name` (a string) or `name_base64` into `to`: 1 there, 0 absent, -1 wrong.
static int member_bytes(const json_t *line, const char *name, struct bytes *to)
{
    char encoded_name[32];
    snprintf(encoded_name, sizeof encoded_name, "%s_base64", name);
    const json_t *plain = json_object_get(line, name);
    const json_t *encoded = json_object_get(line, encoded_name);
    const json_t *either = plain ? plain : encoded;
    if (!either)
        return 0;
    if ((plain && encoded) || !json_is_string(either))
        return -1;
    if (plain) {
        bytes_append(to, json_string_value(plain), json_string_length(plain));
        return 1;
    }
    size_t len = json_string_length(encoded), used;
    char *room = bytes_room(to, len / 4 * 3 + 3);
    if (!room ||
        sodium_base642bin((unsigned char *)room, len / 4 * 3 + 3, json_string_value(encoded), len,
                          NULL, &used, NULL, sodium_base64_VARIANT_ORIGINAL))
        return -1;
    to->len += used;
    return 1;
}

static const struct bulk_fault no_fault = {0, NULL};

static struct bulk_fault bad_line(const char *detail)
{
    return (struct bulk_fault){400, detail};
}

static struct bulk_fault parse_key(struct bulk_line *to, const json_t *line)
{
    struct bulk_fault fault = no_fault;
    struct bytes key = {0};
    if (member_bytes(line, "key", &key) != 1 || key.len == 0) {
        fault = bad_line("key (1 to 512 bytes) or key_base64 is needed");
    } else if (key.len > KEY_MAX) {
        fault = (struct bulk_fault){414, "a key has 1 to 512 bytes, this one has more"};
    } else {
        memcpy(to->key, key.data, key.len);
        to->key_len = key.len;
    }
    bytes_fini(&key);
    return fault;
}

static bool parse_type(struct bulk_line *to, const json_t *line)
{
    const json_t *type = json_object_get(line, "type");
    const char *text =
        json_object_get(line, "value") ? "text/plain; charset=utf-8" : "application/octet-stream";
    struct slice s = slice_of(text);
    if (type && !json_is_string(type))
        return false;
    if (type)
        s = (struct slice){json_string_value(type), json_string_length(type)};
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] < 0x20 || (unsigned char)s.data[i] >= 0x7f)
            return false;
    if (s.len == 0 || s.len > TYPE_MAX)
        return false;
    memcpy(to->type, s.data, s.len);
    to->operation.type = (struct slice){to->type, s.len};
    return true;
}

static bool parse_ttl(struct bulk_line *to, const json_t *line)
{
    const json_t *ttl = json_object_get(line, "ttl");
    if (!ttl)
        return true;
    json_int_t seconds = json_integer_value(ttl);
    if (!json_is_integer(ttl) || seconds < 1 || seconds > OPERATION_TTL_MAX)
        return false;
    to->operation.ttl_ms = (uint64_t)seconds * 1000;
    return true;
}

// text_of returns a JSON string, NULs and all; an empty slice for anything else.
static struct slice text_of(const json_t *value)
{
    return (struct slice){json_string_value(value), json_string_length(value)};
}

static bool parse_conditions(struct bulk_line *to, const json_t *line)
{
    const json_t *match = json_object_get(line, "if_match");
    const json_t *none = json_object_get(line, "if_none_match");
    struct precondition *p = &to->precondition;
    unsigned long long version;
    if (!match && !none)
        return true;
    if (match && none)
        return false;
    struct slice text = slice_of(
        json_is_string(match ? match : none) ? json_string_value(match ? match : none) : "");
    bool any = slice_equal(text, SLICE("*"));
    if (none && !any)
        return false;
    if (!any && slice_number(text, UINT64_MAX, &version))
        return false;
    p->must_be_absent = none != NULL;
    p->must_exist = match != NULL;
    p->must_match = match && !any;
    if (p->must_match)
        p->version[p->count++] = version;
    to->operation.precondition = p;
    return true;
}

static struct bulk_fault parse_put(struct bulk_line *to, const json_t *line)
{
    if (member_bytes(line, "value", &to->value) != 1)
        return bad_line("a put needs value (a string) or value_base64");
    if (!parse_type(to, line))
        return bad_line("type must be 1 to 128 printable ASCII characters");
    if (!parse_ttl(to, line))
        return bad_line("ttl must be a number of seconds, 1 to 3153600000");
    to->operation.kind = OPERATION_PUT;
    to->operation.value = bytes_slice(&to->value);
    return no_fault;
}

static bool only_known_members(json_t *line)
{
    static const char *const known[] = {"op",   "key", "key_base64", "value",        "value_base64",
                                        "type", "ttl", "if_match",   "if_none_match"};
    const char *name;
    json_t *value;
    json_object_foreach(line, name, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            found = found || strcmp(name, known[i]) == 0;
        if (!found)
            return false;
    }
    return true;
}

static struct bulk_fault parse_line(struct bulk_line *to, json_t *line)
{
    struct slice op = text_of(json_object_get(line, "op"));
    if (!json_is_object(line))
        return bad_line("the line is not a JSON object");
    if (!only_known_members(line))
        return bad_line("the line has a member that is not known");
    struct bulk_fault fault = parse_key(to, line);
    if (fault.status)
        return fault;
    if (!parse_conditions(to, line))
        return bad_line(
            "if_match takes a version or *, if_none_match takes *, and only one of them");
    if (slice_equal(op, SLICE("put")))
        return parse_put(to, line);
    if (slice_equal(op, SLICE("delete")))
        to->operation.kind = OPERATION_DELETE;
    else if (slice_equal(op, SLICE("get")) && !to->operation.precondition)
        to->operation.kind = OPERATION_GET;
    else
        return bad_line("op is put, get or delete, and get takes no condition");
    return no_fault;
}

struct bulk_fault bulk_line_parse(struct slice text, struct bulk_line *to)
{
    json_error_t error;
    to->operation = (struct operation){0};
    to->precondition = (struct precondition){0};
    to->key_len = 0;
    bytes_clear(&to->value);
    json_t *line = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    struct bulk_fault fault = line ? parse_line(to, line) : bad_line("the line is not JSON");
    json_decref(line);
    to->operation.key = (struct slice){to->key, to->key_len};
    return fault;
}
