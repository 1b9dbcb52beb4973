// SPDX-License-Identifier: MIT
#include "store/query.h"

#include "store/key.h"

// The partition's clock decides what has expired, the same clock that gives versions.
#define NOW_US "TIMESTAMPDIFF(MICROSECOND,'1970-01-01',UTC_TIMESTAMP(6))"
#define NOW_MS NOW_US " DIV 1000"
#define ALIVE  "(expires=0 OR expires>" NOW_MS ")"
#define UPSERT                                                                                     \
    " ON DUPLICATE KEY UPDATE v=VALUES(v),type=VALUES(type),expires=VALUES(expires)" RETURNING
#define RETURNING " RETURNING k,version,created,expires"

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
    // Limits that a DBA sets for people at a prompt would cut what is read here.
    //
    // The server gives up first, so that the client learns that nothing was written: on a lock
    // after half of the time (in whole seconds, at least one), on anything after three quarters.
    unsigned lock_wait = timeout_ms / 2000 ? timeout_ms / 2000 : 1;
    unsigned statement = timeout_ms / 4 * 3;
    bytes_format(sql,
                 "SET NAMES binary,SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',"
                 "sql_select_limit=18446744073709551615,sql_big_selects=1,sql_safe_updates=0,"
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
             "+(SELECT COUNT(*) FROM (SELECT seq,version,op,k FROM changes LIMIT 0) AS c)"
             "+(SELECT COUNT(*) FROM (SELECT k,version FROM removed LIMIT 0) AS r)"
             "+(SELECT COUNT(*) FROM (SELECT target,writer,version FROM diverts LIMIT 0) AS d)"
             "+(SELECT COUNT(*) FROM (SELECT source,pass,high,gaps,marked,frontier"
             " FROM cursors LIMIT 0) AS u)"
             "+(SELECT COUNT(*) FROM (SELECT one,id,seeded,ring,pass,floor,token,verified,"
             "trimmed FROM sherd_partition LIMIT 0) AS s)," NOW_US);
}

static void append_value_fields(struct bytes *sql, bool large)
{
    if (large) // testing each value's length would cost a tenth of the statement
        bytes_append_text(sql, "SELECT k,v,NULL");
    else
        bytes_format(sql, "SELECT k,IF(LENGTH(v)<=%d,v,NULL),LENGTH(v)", QUERY_LARGE);
}

static void append_keys(struct bytes *sql, struct operation *const *operations, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i && slice_equal(operations[i]->key, operations[i - 1]->key))
            continue;
        bytes_append_char(sql, i ? ',' : '(');
        query_quote(sql, operations[i]->key);
    }
    bytes_append_char(sql, ')');
}

void query_select(struct bytes *sql, struct operation *const *operations, size_t count, bool large)
{
    append_value_fields(sql, large);
    bytes_append_text(sql, ",type,version,expires FROM pairs WHERE k IN");
    append_keys(sql, operations, count);
    bytes_append_text(sql, "AND" ALIVE);
}

// A row that SQL removed is only in `removed`; where pairs has one too, that was written later.
void query_look(struct bytes *sql, struct operation *const *operations, size_t count, bool large)
{
    append_value_fields(sql, large);
    bytes_append_text(sql, ",type,version,expires,created,NOT" ALIVE " FROM pairs WHERE k IN");
    append_keys(sql, operations, count);
    bytes_append_text(sql, " UNION ALL SELECT k,NULL,0,'',version,1,version,1 FROM removed"
                           " WHERE NOT EXISTS(SELECT 1 FROM pairs WHERE pairs.k=removed.k)"
                           " AND k IN");
    append_keys(sql, operations, count);
}

void query_enter(struct bytes *sql, const struct session *session, int64_t floor_us,
                 int64_t ceiling_us)
{
    bytes_format(sql, "SET @sherd_apply=%d,@sherd_divert=%u,@sherd_floor=%lld,@sherd_ceiling=%lld",
                 session->apply, session->divert, session->raised ? (long long)floor_us : 0,
                 (long long)ceiling_us);
}

static void append_applied_row(struct bytes *sql, const struct operation *operation)
{
    bytes_append_char(sql, '(');
    query_quote(sql, operation->key);
    if (operation->stamp.expires == 1) {
        bytes_append_text(sql, ",NULL");
    } else {
        bytes_append_char(sql, ',');
        query_quote(sql, operation->value);
    }
    bytes_append_char(sql, ',');
    query_quote(sql, operation->type);
    bytes_format(sql, ",%llu,%llu,%llu)", (unsigned long long)operation->stamp.version,
                 (unsigned long long)operation->stamp.created,
                 (unsigned long long)operation->stamp.expires);
}

// Assignments are made from left to right and see each other: what NEWER reads comes last.
#define NEWER                                                                                      \
    "(VALUES(version)>version OR VALUES(version)=version AND"                                      \
    "(VALUES(v) IS NULL AND v IS NOT NULL OR VALUES(v)>v))"
#define IF_NEWER(column) column "=IF(" NEWER ",VALUES(" column ")," column ")"
#define APPLY                                                                                      \
    " ON DUPLICATE KEY UPDATE " IF_NEWER("type") "," IF_NEWER("created") "," IF_NEWER(             \
        "expires") "," IF_NEWER("v") ",version=GREATEST(version,VALUES(version))"

void query_apply(struct bytes *sql, struct operation *const *operations, size_t count)
{
    bytes_append_text(sql, "INSERT INTO pairs(k,v,type,version,created,expires)VALUES");
    for (size_t i = 0; i < count; i++) {
        if (i)
            bytes_append_char(sql, ',');
        append_applied_row(sql, operations[i]);
    }
    bytes_append_text(sql, APPLY RETURNING);
}

void query_watch(struct bytes *sql)
{
    bytes_append_text(
        sql, "SELECT 0,IFNULL(id,0),IFNULL(seeded,0),EXISTS(SELECT 1 FROM pairs),IFNULL(ring,0),"
             "IFNULL(pass,0),IFNULL(floor,0),0," NOW_US
             " FROM(SELECT 1)AS one_row LEFT JOIN sherd_partition ON one=1"
             " UNION ALL SELECT 1,source,0,0,0,pass,0,marked,0 FROM cursors"
             " UNION ALL SELECT 2,target,0,0,0,0,0,MAX(version),0 FROM diverts GROUP BY target");
}

void query_claim(struct bytes *sql, unsigned id, uint32_t ring)
{
    bytes_format(sql, "INSERT IGNORE INTO sherd_partition(id,seeded,ring)VALUES(%u,1,%u)", id,
                 ring);
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

static void append_page_bounds(struct bytes *sql, const struct query_page *page)
{
    bytes_append_text(sql, page->inclusive ? "k>=" : "k>");
    query_quote(sql, page->from);
    if (page->end.len) {
        bytes_append_text(sql, " AND k<");
        query_quote(sql, page->end);
    }
    bytes_format(sql, " ORDER BY k LIMIT %u", page->limit);
}

void query_page(struct bytes *sql, const struct query_page *page)
{
    if (page->dead)
        bytes_append_text(sql, "(SELECT k,type,version,NOT" ALIVE " FROM pairs WHERE ");
    else
        bytes_append_text(sql, "SELECT k,type,version,0 FROM pairs WHERE " ALIVE " AND ");
    append_page_bounds(sql, page);
    if (page->dead) {
        bytes_append_text(sql, ")UNION ALL(SELECT k,'',version,1 FROM removed"
                               " WHERE NOT EXISTS(SELECT 1 FROM pairs WHERE pairs.k=removed.k)"
                               " AND ");
        append_page_bounds(sql, page);
        bytes_format(sql, ")ORDER BY k LIMIT %u", page->limit);
    }
}

// ---------------------------------------------------------------- sync

#define FENCE                                                                                      \
    "IF(SELECT COUNT(*)FROM sherd_partition WHERE token=%llu LOCK IN SHARE MODE)=0 THEN"           \
    " SIGNAL SQLSTATE'45000'SET MYSQL_ERRNO=%d,MESSAGE_TEXT='a newer sync took over';END IF;"
#define ROLL_BACK "DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK;RESIGNAL;END;"

typedef unsigned long long number; // for printf

void query_sync_session(struct bytes *sql)
{
    bytes_append_text(sql, "SET SESSION innodb_lock_wait_timeout=1,idle_transaction_timeout=10,"
                           "@sherd_apply=2,@sherd_divert=0,@sherd_floor=0,@sherd_ceiling=NULL");
}

void query_sync_lock(struct bytes *sql, const char *database)
{
    bytes_append_text(sql, "SELECT GET_LOCK(CONCAT('sherd_sync:',");
    query_quote(sql, slice_of(database));
    bytes_append_text(sql, "),1)"); // a second: that of a sync that just ended may still be there
}

void query_own(struct bytes *sql, unsigned id, uint64_t token)
{
    bytes_format(sql,
                 "INSERT INTO sherd_partition(id,token)VALUES(%u,%llu)"
                 " ON DUPLICATE KEY UPDATE token=VALUES(token)",
                 id, (number)token);
}

void query_guard(struct bytes *sql, uint64_t token, unsigned apply)
{
    bytes_format(sql, "BEGIN NOT ATOMIC " ROLL_BACK "SET @sherd_apply=%u;START TRANSACTION;" FENCE,
                 apply, (number)token, QUERY_FENCED);
}

void query_commit(struct bytes *sql)
{
    bytes_append_text(sql, "COMMIT;END");
}

void query_set_id(struct bytes *sql, unsigned id)
{
    bytes_format(sql,
                 "UPDATE sherd_partition SET id=%u,seeded=0,ring=0,pass=0,verified=0;"
                 "DELETE FROM cursors;DELETE FROM diverts;",
                 id);
}

void query_set_doubted(struct bytes *sql, uint64_t floor)
{
    bytes_format(sql,
                 "UPDATE sherd_partition SET seeded=0,floor=GREATEST(floor,%llu);"
                 "DELETE FROM cursors;",
                 (number)floor);
}

void query_set_seeded(struct bytes *sql, uint64_t pass, uint32_t ring, uint64_t floor)
{
    bytes_format(sql,
                 "UPDATE sherd_partition SET seeded=1,pass=%llu,ring=%u,floor=GREATEST(floor,"
                 "%llu);",
                 (number)pass, ring, (number)floor);
}

void query_set_pass(struct bytes *sql, uint64_t pass)
{
    bytes_format(sql, "UPDATE sherd_partition SET pass=%llu;", (number)pass);
}

void query_set_cursor_pass(struct bytes *sql, unsigned source, uint64_t pass)
{
    bytes_format(sql, "UPDATE cursors SET pass=%llu WHERE source=%u;", (number)pass, source);
}

void query_set_floor(struct bytes *sql, uint64_t floor)
{
    bytes_format(sql, "UPDATE sherd_partition SET floor=GREATEST(floor,%llu);", (number)floor);
}

void query_set_verified(struct bytes *sql, unsigned slot)
{
    bytes_format(sql, "UPDATE sherd_partition SET verified=%u;", slot);
}

void query_set_cursor(struct bytes *sql, const struct query_cursor *c)
{
    bytes_format(sql,
                 "INSERT INTO cursors(source,pass,high,marked,frontier,gaps)"
                 "VALUES(%u,%llu,%llu,%llu,%llu,",
                 c->source, (number)c->pass, (number)c->high, (number)c->marked,
                 (number)c->frontier);
    query_quote(sql, c->gaps);
    bytes_append_text(sql, ")ON DUPLICATE KEY UPDATE pass=VALUES(pass),high=VALUES(high),"
                           "marked=VALUES(marked),frontier=VALUES(frontier),gaps=VALUES(gaps);");
}

void query_clear_divert(struct bytes *sql, uint64_t target, uint64_t writer, uint64_t version)
{
    bytes_format(sql, "DELETE FROM diverts WHERE target=%llu AND writer=%llu AND version=%llu;",
                 (number)target, (number)writer, (number)version);
}

void query_itself(struct bytes *sql)
{
    bytes_append_text(sql, "SELECT one IS NOT NULL,IFNULL(id,0),IFNULL(seeded,0),IFNULL(ring,0),"
                           "IFNULL(pass,0),IFNULL(floor,0),IFNULL(verified,0)," NOW_US
                           " FROM(SELECT 1)AS one_row LEFT JOIN sherd_partition ON one=1");
}

void query_cursors(struct bytes *sql)
{
    bytes_append_text(sql, "SELECT source,pass,high,marked,frontier,gaps FROM cursors");
}

void query_diverts(struct bytes *sql)
{
    bytes_append_text(sql, "SELECT target,writer,version FROM diverts");
}

void query_mark(struct bytes *sql, uint64_t token)
{
    bytes_format(sql,
                 "INSERT INTO changes(version,op,k)SELECT 0,0,'' FROM sherd_partition"
                 " WHERE token=%llu RETURNING seq," NOW_MS,
                 (number)token);
}

void query_last(struct bytes *sql)
{
    bytes_append_text(sql, "SELECT IFNULL(MAX(seq),0)," NOW_MS " FROM changes");
}

#define CHANGES "SELECT seq,op,IF(op BETWEEN 1 AND 127,k,'')FROM changes WHERE "

void query_changes(struct bytes *sql, uint64_t after, uint64_t to, unsigned limit)
{
    bytes_format(sql, CHANGES "seq>%llu AND seq<=%llu", (number)after, (number)to);
    query_limit(sql, limit);
}

void query_missing(struct bytes *sql, uint64_t after)
{
    bytes_format(sql, CHANGES "seq>%llu AND(FALSE", (number)after);
}

void query_or_between(struct bytes *sql, uint64_t from, uint64_t to)
{
    bytes_format(sql, " OR seq BETWEEN %llu AND %llu", (number)from, (number)to);
}

void query_limit(struct bytes *sql, unsigned limit)
{
    bytes_format(sql, " ORDER BY seq LIMIT %u", limit);
}

// append_log appends what tells of the log itself.
static void append_log(struct bytes *sql, uint64_t at)
{
    bytes_format(sql,
                 "SELECT IFNULL((SELECT trimmed FROM sherd_partition),0),IFNULL(MAX(seq),0)," NOW_US
                 ",IFNULL((SELECT version FROM changes WHERE seq=%llu),18446744073709551615)",
                 (number)at);
}

void query_log_ends(struct bytes *sql, uint64_t at, uint64_t version)
{
    append_log(sql, at);
    bytes_append_text(sql, ",IFNULL(MIN(seq),0),");
    if (version == 0)
        bytes_append_char(sql, '0');
    else
        bytes_format(sql, "(SELECT IFNULL(MIN(seq),0)FROM changes WHERE version>=%llu)",
                     (number)version);
    bytes_append_text(sql, ",IFNULL((SELECT version FROM changes ORDER BY seq DESC LIMIT 1),0)"
                           " FROM changes");
}

void query_log_gaps(struct bytes *sql, uint64_t from, uint64_t to)
{
    bytes_format(sql,
                 "SELECT prior+1,seq-1 FROM(SELECT seq,IFNULL(LAG(seq)OVER(ORDER BY seq),%llu)"
                 "AS prior FROM changes WHERE seq BETWEEN %llu AND %llu)AS steps"
                 " WHERE seq>prior+1 ORDER BY seq",
                 (number)from - 1, (number)from, (number)to);
}

void query_feed(struct bytes *sql, uint64_t after, uint64_t to, bool values)
{
    append_log(sql, after);
    bytes_append_text(sql, ",NULL,0,'',NULL,NULL FROM changes UNION ALL"
                           " SELECT c.seq,c.op,c.version,c.k,p.version,p.expires,p.type,");
    if (values)
        bytes_format(sql, "IF(LENGTH(p.v)<=%d,p.v,NULL)", QUERY_LARGE);
    else
        bytes_append_text(sql, "NULL");
    bytes_format(sql, ",d.version FROM(SELECT seq,op,version,k FROM changes WHERE seq>%llu",
                 (number)after);
    if (to)
        bytes_format(sql, " AND seq<=%llu", (number)to);
}

void query_feed_end(struct bytes *sql)
{
    bytes_append_text(sql, ")AS c LEFT JOIN pairs AS p ON p.k=c.k AND c.k<>''"
                           " LEFT JOIN removed AS d ON d.k=c.k AND c.k<>''");
}

void query_holes(struct bytes *sql, uint64_t mark, unsigned lookback)
{
    bytes_format(sql,
                 "SELECT IF(prior=0 AND seq>%u,seq-%u,prior+1),seq-1"
                 " FROM(SELECT seq,IFNULL(LAG(seq)OVER(ORDER BY seq),0)AS prior FROM changes"
                 " WHERE seq<=%llu)AS steps WHERE seq>prior+1 ORDER BY seq",
                 lookback, lookback, (number)mark);
}

// It waits for nobody: what is locked now will be filled by the next pass.
#define FILL                                                                                       \
    "SET STATEMENT innodb_lock_wait_timeout=0 FOR INSERT IGNORE INTO changes(seq,version,op,k)"    \
    "VALUES"

static void append_fillers(struct bytes *sql, bool first, uint64_t from, uint64_t to)
{
    if (first)
        bytes_append_text(sql, FILL);
    for (uint64_t seq = from; seq <= to; seq++)
        bytes_format(sql, "%s(%llu,0,0,'')", first && seq == from ? "" : ",", (number)seq);
}

void query_feed_fill(struct bytes *sql, uint64_t from, uint64_t to)
{
    append_fillers(sql, sql->len == 0, from, to);
}

void query_fill(struct bytes *sql, uint64_t from, uint64_t to)
{
    append_fillers(sql, true, from, to);
    bytes_append_char(sql, ';');
}

static void append_key_list(struct bytes *sql, const struct slice *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bytes_append_char(sql, i ? ',' : '(');
        query_quote(sql, keys[i]);
    }
    bytes_append_char(sql, ')');
}

void query_versions(struct bytes *sql, const struct slice *keys, size_t count)
{
    bytes_append_text(sql, "SELECT k,version FROM pairs WHERE k IN");
    append_key_list(sql, keys, count);
}

void query_rows(struct bytes *sql, const struct slice *keys, size_t count, bool large)
{
    append_value_fields(sql, large);
    bytes_append_text(sql, ",type,version,created,expires FROM pairs WHERE k IN");
    append_key_list(sql, keys, count);
    bytes_append_text(sql, "ORDER BY k");
}

void query_rows_after(struct bytes *sql, struct slice after, struct slice to, unsigned limit)
{
    append_value_fields(sql, false);
    bytes_append_text(sql, ",type,version,created,expires FROM pairs WHERE k>");
    query_quote(sql, after);
    if (to.len) {
        bytes_append_text(sql, " AND k<=");
        query_quote(sql, to);
    }
    bytes_format(sql, " ORDER BY k LIMIT %u", limit);
}

void query_no_pairs(struct bytes *sql)
{
    bytes_append_text(sql, "SELECT NOT EXISTS(SELECT 1 FROM pairs)");
}

void query_removed(struct bytes *sql, const struct slice *keys, size_t count)
{
    bytes_append_text(sql, "SELECT COUNT(*)FROM removed WHERE k IN");
    append_key_list(sql, keys, count);
}

void query_removed_any(struct bytes *sql)
{
    bytes_append_text(sql, "SELECT COUNT(*)FROM(SELECT 1 FROM removed LIMIT 500)AS some");
}

void query_apply_head(struct bytes *sql)
{
    bytes_append_text(sql, "INSERT INTO pairs(k,v,type,version,created,expires)VALUES");
}

void query_apply_row(struct bytes *sql, const struct pair *pair, bool tombstone)
{
    bytes_append_char(sql, '(');
    query_quote(sql, pair->key);
    bytes_append_char(sql, ',');
    if (tombstone)
        bytes_append_text(sql, "NULL");
    else
        query_quote(sql, pair->value);
    bytes_append_char(sql, ',');
    query_quote(sql, pair->type);
    bytes_format(sql, ",%llu,%llu,%llu)", (number)pair->version, (number)pair->created,
                 (number)pair->expires);
}

void query_apply_tail(struct bytes *sql)
{
    bytes_append_text(sql, APPLY ";");
}

// The note in `removed` goes first: a trigger refuses rows that are older than it. A row that is
// there with a version below that of the removal (REPLACE inserts before it deletes; or the version
// of its forerunner lay in the future) is given the next one, not the present time: it must not
// overtake what was written elsewhere since. Removals that still lie in the future stay for later.
#define MATERIALISE                                                                                \
    "DECLARE at_end INT DEFAULT 0;DECLARE key_ VARBINARY(512);"                                    \
    "DECLARE removal,present BIGINT UNSIGNED;"                                                     \
    "DECLARE page CURSOR FOR SELECT k,version FROM removed"                                        \
    " WHERE version>>10<" NOW_US "+4000000 ORDER BY k LIMIT 500;"
#define MATERIALISE_EACH                                                                           \
    "each_row:LOOP FETCH page INTO key_,removal;"                                                  \
    "IF at_end THEN LEAVE each_row;END IF;"                                                        \
    "SET @sherd_seen=@sherd_seen+1;"                                                               \
    "DELETE FROM removed WHERE k=key_ AND version=removal;"                                        \
    "IF ROW_COUNT()=0 THEN ITERATE each_row;END IF;"                                               \
    "INSERT INTO pairs(k,v,type,version,created,expires)VALUES(key_,NULL,'',removal,removal,1)"    \
    " ON DUPLICATE KEY UPDATE k=pairs.k;"                                                          \
    "IF ROW_COUNT()=1 THEN SET @sherd_made=@sherd_made+1;ELSE "                                    \
    "SET present=((removal>>10)+1)<<10|@sherd_node;"                                               \
    "UPDATE pairs SET version=present WHERE k=key_ AND version<=removal;"                          \
    "IF ROW_COUNT()=1 THEN INSERT INTO changes(version,op,k)VALUES(present,1,key_);"               \
    "SET @sherd_made=@sherd_made+1;END IF;END IF;END LOOP;CLOSE page;"

void query_materialise(struct bytes *sql, uint64_t token)
{
    bytes_format(sql,
                 "BEGIN NOT ATOMIC " MATERIALISE ROLL_BACK
                 "DECLARE CONTINUE HANDLER FOR NOT FOUND SET at_end=1;"
                 "SET @sherd_apply=2,@sherd_floor=0,@sherd_seen=0,@sherd_made=0;"
                 "START TRANSACTION;" FENCE "OPEN page;",
                 (number)token, QUERY_FENCED);
    bytes_append_text(sql, MATERIALISE_EACH "COMMIT;END");
}

void query_materialised(struct bytes *sql)
{
    bytes_append_text(sql, "SELECT @sherd_seen,@sherd_made");
}

// append_dead appends the condition of rows that were dead before `floor`: all partitions have seen
// them die.
static void append_dead(struct bytes *sql, uint64_t floor)
{
    bytes_format(sql, "(version<%llu AND(expires=1 OR expires>1 AND expires<%llu))", (number)floor,
                 (number)((floor >> 10) / 1000));
}

// The CRC of a row alone would not do: CRC is affine, so that swapped values cancel out.
void query_digest(struct bytes *sql, unsigned first, unsigned last, uint64_t floor)
{
    static const char digest[] = "CRC32(k)*CRC32(CONCAT(version,k))";
    if (floor == 0) {
        bytes_format(sql, "SELECT slot,COUNT(*),BIT_XOR(%s),0", digest);
    } else {
        bytes_append_text(sql, "SELECT slot,SUM(NOT ");
        append_dead(sql, floor);
        bytes_append_text(sql, "),BIT_XOR(IF(");
        append_dead(sql, floor);
        // A plain 0 would make it a DECIMAL, and BIT_XOR take all that is over 2^63 for the same.
        bytes_format(sql, ",CAST(0 AS UNSIGNED),%s)),SUM(", digest);
        append_dead(sql, floor);
        bytes_append_char(sql, ')');
    }
    bytes_format(sql,
                 " FROM pairs FORCE INDEX(by_slot_version_expires)WHERE slot BETWEEN %u AND %u"
                 " GROUP BY slot",
                 first, last);
}

// Not sorted: sorting would read the rows themselves, by their row ids.
void query_list(struct bytes *sql, const uint16_t *slots, size_t count, uint64_t floor)
{
    bytes_append_text(sql, "SELECT k,version FROM pairs FORCE INDEX(by_slot_version_expires)"
                           "WHERE slot IN(");
    for (size_t i = 0; i < count; i++)
        bytes_format(sql, "%s%u", i ? "," : "", slots[i]);
    bytes_append_text(sql, ")AND NOT ");
    append_dead(sql, floor);
}

void query_purge(struct bytes *sql, unsigned first, unsigned last, uint64_t floor, unsigned limit)
{
    bytes_format(sql, "DELETE FROM pairs WHERE slot BETWEEN %u AND %u AND ", first, last);
    append_dead(sql, floor);
    bytes_format(sql, " LIMIT %u;", limit);
}

static void append_rows(struct bytes *sql, const char *compare, const struct slice *keys,
                        const uint64_t *versions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bytes_append_text(sql, i ? " OR k=" : "k=");
        query_quote(sql, keys[i]);
        bytes_format(sql, " AND version%s%llu", compare, (number)versions[i]);
    }
    bytes_append_char(sql, ';');
}

// What SQL removed before such a row was written must not be taken for its removal.
void query_drop(struct bytes *sql, const struct slice *keys, const uint64_t *versions, size_t count)
{
    bytes_append_text(sql, "DELETE FROM pairs WHERE ");
    append_rows(sql, "=", keys, versions, count);
    bytes_append_text(sql, "DELETE FROM removed WHERE ");
    append_rows(sql, "<=", keys, versions, count);
}

void query_log_head(struct bytes *sql, unsigned limit)
{
    bytes_format(sql, "SELECT seq,version,op FROM changes ORDER BY seq LIMIT %u", limit);
}

void query_trim(struct bytes *sql, uint64_t seq)
{
    bytes_format(sql,
                 "DELETE FROM changes WHERE seq<=%llu;"
                 "UPDATE sherd_partition SET trimmed=GREATEST(trimmed,%llu);",
                 (number)seq, (number)seq);
}

void query_waiting(struct bytes *sql, uint64_t version, unsigned limit)
{
    bytes_format(sql,
                 "SELECT COUNT(*)FROM(SELECT 1 FROM changes WHERE op BETWEEN 1 AND 127"
                 " AND version>=%llu LIMIT %u)AS some",
                 (number)version, limit);
}
