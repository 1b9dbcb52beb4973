// SPDX-License-Identifier: MIT
#include "store/query.h"

#include "store/key.h"

// The partition's clock decides what has expired, the same clock that gives versions.
#define NOW_MS "TIMESTAMPDIFF(MICROSECOND,'1970-01-01',UTC_TIMESTAMP(6)) DIV 1000"
#define ALIVE  "(expires=0 OR expires>" NOW_MS ")"
#define UPSERT                                                                                     \
    " ON DUPLICATE KEY UPDATE v=VALUES(v),type=VALUES(type),expires=VALUES(expires)" RETURNING
#define RETURNING " RETURNING k,version,created"

// escape_of returns the letter that stands behind a backslash for `c`, 0 when c needs none: the
// list of mysql_real_escape_string. In character set binary every byte is a character.
static char escape_of(char c)
{
    switch (c) {
    case '\0':
        return '0';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\x1a':
        return 'Z';
    case '\\':
    case '\'':
    case '"':
        return c;
    default:
        return 0;
    }
}

void query_quote(struct bytes *sql, struct slice s)
{
    char *to = bytes_room(sql, 2 * s.len + 2);
    if (!to)
        return;
    char *begin = to;
    *to++ = '\'';
    for (size_t i = 0; i < s.len; i++) {
        char letter = escape_of(s.data[i]);
        if (letter) {
            *to++ = '\\';
            *to++ = letter;
        } else {
            *to++ = s.data[i];
        }
    }
    *to++ = '\'';
    sql->len += (size_t)(to - begin);
}

void query_session(struct bytes *sql, unsigned id, unsigned timeout_ms)
{
    // The server gives up first, so that the client learns that nothing was written: on a lock
    // after half of the time (in whole seconds, at least one), on anything after three quarters.
    unsigned lock_wait = timeout_ms / 2000 ? timeout_ms / 2000 : 1;
    unsigned statement = timeout_ms / 4 * 3;
    bytes_format(sql,
                 "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',"
                 "autocommit=1,completion_type=0,tx_isolation='READ-COMMITTED',"
                 "in_predicate_conversion_threshold=0,wait_timeout=31536000,"
                 "innodb_lock_wait_timeout=%u,max_statement_time=%u.%03u,@sherd_node=%u",
                 lock_wait, statement / 1000, statement % 1000, id);
}

void query_check(struct bytes *sql)
{
    bytes_append_text(
        sql, "SELECT (SELECT MAX(version) FROM sherd_schema),sherd_triggers(),"
             "@@GLOBAL.innodb_flush_log_at_trx_commit,@@GLOBAL.max_allowed_packet,"
             "@@GLOBAL.read_only,@@character_set_client='binary',"
             "@@GLOBAL.log_bin AND @@GLOBAL.binlog_format='STATEMENT',"
             "(SELECT COUNT(*) FROM (SELECT k,v,type,version,created,expires,slot"
             " FROM pairs LIMIT 0) AS p)"
             "+(SELECT COUNT(*) FROM (SELECT seq,version,op,k FROM changes LIMIT 0) AS c)");
}

void query_select(struct bytes *sql, struct operation *const *operations, size_t count, bool large)
{
    if (large) // testing each value's length would cost a tenth of the statement
        bytes_append_text(sql, "SELECT k,v,NULL");
    else
        bytes_format(sql, "SELECT k,IF(LENGTH(v)<=%d,v,NULL),LENGTH(v)", QUERY_LARGE);
    bytes_append_text(sql, ",type,version,expires FROM pairs WHERE k IN(");
    for (size_t i = 0; i < count; i++) {
        if (i && slice_equal(operations[i]->key, operations[i - 1]->key))
            continue;
        if (i)
            bytes_append_char(sql, ',');
        query_quote(sql, operations[i]->key);
    }
    bytes_append_text(sql, ")AND" ALIVE);
}

static void append_expires(struct bytes *sql, const struct operation *operation)
{
    if (operation->kind == OPERATION_DELETE) {
        bytes_append_char(sql, '1');
    } else if (operation->ttl_ms == 0) {
        bytes_append_char(sql, '0');
    } else {
        bytes_append_text(sql, NOW_MS "+");
        bytes_append_number(sql, operation->ttl_ms);
    }
}

// append_fields appends what a write sets beside the key: value, type, expiry.
static void append_fields(struct bytes *sql, const struct operation *operation)
{
    if (operation->kind == OPERATION_DELETE) {
        bytes_append_text(sql, "NULL,''");
    } else {
        query_quote(sql, operation->value);
        bytes_append_char(sql, ',');
        query_quote(sql, operation->type);
    }
    bytes_append_char(sql, ',');
    append_expires(sql, operation);
}

static void append_values(struct bytes *sql, struct operation *const *operations, size_t count)
{
    bytes_append_text(sql, "INSERT INTO pairs(k,v,type,expires)VALUES");
    for (size_t i = 0; i < count; i++) {
        bytes_append_text(sql, i ? ",(" : "(");
        query_quote(sql, operations[i]->key);
        bytes_append_char(sql, ',');
        append_fields(sql, operations[i]);
        bytes_append_char(sql, ')');
    }
}

void query_upsert(struct bytes *sql, struct operation *const *operations, size_t count)
{
    append_values(sql, operations, count);
    bytes_append_text(sql, UPSERT);
}

void query_insert(struct bytes *sql, const struct operation *operation)
{
    struct operation *one = (struct operation *)operation;
    append_values(sql, &one, 1);
    bytes_append_text(sql, RETURNING);
}

static void append_versions(struct bytes *sql, const struct precondition *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        if (i)
            bytes_append_char(sql, ',');
        bytes_append_number(sql, p->version[i]);
    }
}

static void append_precondition(struct bytes *sql, const struct precondition *p)
{
    if (p->must_exist)
        bytes_append_text(sql, " AND " ALIVE);
    if (p->must_match) {
        bytes_append_text(sql,
                          " AND version IN(0"); // no row has version 0: an empty list matches none
        if (p->count)
            bytes_append_char(sql, ',');
        append_versions(sql, p);
        bytes_append_char(sql, ')');
    }
    if (p->must_be_absent)
        bytes_append_text(sql, " AND NOT " ALIVE);
    if (p->must_differ && p->count) {
        bytes_append_text(sql, " AND NOT(" ALIVE " AND version IN(");
        append_versions(sql, p);
        bytes_append_text(sql, "))");
    }
    if (p->below) {
        bytes_append_text(sql, " AND version<");
        bytes_append_number(sql, p->below);
    }
}

// Reading the row FOR UPDATE and writing it is one statement, hence atomic; UPDATE could say the
// same, but has no RETURNING.
void query_replace(struct bytes *sql, const struct operation *operation)
{
    bytes_append_text(sql, "INSERT INTO pairs(k,v,type,expires)SELECT k,");
    append_fields(sql, operation);
    bytes_append_text(sql, " FROM pairs WHERE k=");
    query_quote(sql, operation->key);
    append_precondition(sql, operation->precondition);
    bytes_append_text(sql, " FOR UPDATE" UPSERT);
}

void query_without_waiting(struct bytes *sql)
{
    bytes_append_text(sql, "SET STATEMENT innodb_lock_wait_timeout=0 FOR ");
}

void query_page(struct bytes *sql, const struct query_page *page)
{
    bytes_append_text(sql, "SELECT k,type,version FROM pairs WHERE k>");
    if (page->inclusive)
        bytes_append_char(sql, '=');
    query_quote(sql, page->from);
    if (page->end.len) {
        bytes_append_text(sql, " AND k<");
        query_quote(sql, page->end);
    }
    bytes_format(sql, " AND " ALIVE " ORDER BY k LIMIT %u", page->limit);
}
