// SPDX-License-Identifier: MIT
#include "store/query.h"

#include "store/key.h"

// The partition's clock gives versions and decides what has expired.
#define NOW_US "TIMESTAMPDIFF(MICROSECOND,'1970-01-01',UTC_TIMESTAMP(6))"
#define NOW_MS NOW_US " DIV 1000"
#define ALIVE  ALIVE_OF("")
// The time of a row's effective version; see version_effective. The session's time zone is UTC. `t`
// is the table with a dot, or empty.
#define TOUCHED_US_OF(t) "TIMESTAMPDIFF(MICROSECOND,'1970-01-01'," t "touched)"
#define EFFECTIVE_US_OF(t)                                                                         \
    "GREATEST(" TOUCHED_US_OF(t) ",IF((" t "version>>10)<" TOUCHED_US_OF(t) "+86400000000,(" t     \
                                                                            "version>>10)+1,0))"
#define EFFECTIVE   "IF(touched IS NULL,version," EFFECTIVE_US_OF("") "<<10)"
#define ALIVE_OF(t) "(" t "ends=0 OR " t "ends>" NOW_MS ")"
#define CREATED     "IF(touched IS NULL OR created,created," EFFECTIVE ")" // as stamping makes it
#define RETURNING   " RETURNING k,version,created,expires"
// Rows in the order of their keys: the optimizer need not look at the other indexes.
#define IN_ORDER   "FROM pairs FORCE INDEX(PRIMARY)WHERE "
#define NO_VERSION "18446744073709551615"

// What a block does first.
#define ROLL_BACK "DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK;RESIGNAL;END;"

typedef unsigned long long number; // for printf

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

static void append_escaped(struct bytes *sql, struct slice s)
{
    char *to = bytes_room(sql, 2 * s.len);
    if (!to)
        return;
    char *begin = to;
    for (size_t i = 0; i < s.len; i++) {
        char letter = escape_of(s.data[i]);
        if (letter)
            *to++ = '\\';
        *to++ = letter ? letter : s.data[i];
    }
    sql->len += (size_t)(to - begin);
}

void query_quote(struct bytes *sql, struct slice s)
{
    if (!bytes_room(sql, 2 * s.len + 2))
        return;
    bytes_append_char(sql, '\'');
    append_escaped(sql, s);
    bytes_append_char(sql, '\'');
}

void query_session(struct bytes *sql, unsigned timeout_ms)
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
                 "in_predicate_conversion_threshold=0,wait_timeout=31536000,time_zone='+00:00',"
                 "@sherd_version=1<<60,@sherd_seq=1<<60,@sherd_newer=0," // of these types
                 "innodb_lock_wait_timeout=%u,max_statement_time=%u.%03u",
                 lock_wait, statement / 1000, statement % 1000);
}

void query_check(struct bytes *sql)
{
    bytes_append_text(
        sql, "SELECT (SELECT MAX(version) FROM sherd_schema),sherd_triggers(),"
             "@@GLOBAL.innodb_flush_log_at_trx_commit,@@GLOBAL.max_allowed_packet,"
             "@@GLOBAL.read_only,@@character_set_client='binary',"
             "@@GLOBAL.log_bin AND @@GLOBAL.binlog_format='STATEMENT',"
             "(SELECT COUNT(*) FROM (SELECT k,v,type,version,created,expires,seq,hash,touched,ends"
             " FROM pairs LIMIT 0) AS p)"
             "+(SELECT COUNT(*) FROM (SELECT seq,op,version,ks FROM changes LIMIT 0) AS c)"
             "+(SELECT COUNT(*) FROM (SELECT k,version FROM removed LIMIT 0) AS r)"
             "+(SELECT COUNT(*) FROM (SELECT target,writer,version FROM diverts LIMIT 0) AS d)"
             "+(SELECT COUNT(*) FROM (SELECT source,pass,high,gaps,marked,frontier"
             " FROM cursors LIMIT 0) AS u)"
             "+(SELECT COUNT(*) FROM (SELECT one,id,seeded,ring,pass,floor,token,verified,"
             "trimmed FROM sherd_partition LIMIT 0) AS s)"
             "+(SELECT COUNT(*) FROM (SELECT one,store,epoch,phase,members,replicas,other_members,"
             "other_replicas,gone,since FROM placement LIMIT 0) AS l)"
             "+(SELECT COUNT(*) FROM (SELECT id,host,pid,version,epoch,reaches,seen"
             " FROM servers LIMIT 0) AS v)," NOW_US);
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

void query_select(struct bytes *sql, struct operation *const *operations, size_t count, bool large,
                  bool alive)
{
    append_value_fields(sql, large);
    bytes_append_text(sql, ",type,version,touched,ends FROM pairs WHERE k IN");
    append_keys(sql, operations, count);
    if (alive)
        bytes_append_text(sql, "AND" ALIVE);
}

// A row that SQL removed is only in `removed`; where pairs has one too, that was written later.
void query_look(struct bytes *sql, struct operation *const *operations, size_t count, bool large)
{
    append_value_fields(sql, large);
    bytes_append_text(sql, ",type,version,touched,expires," CREATED ",NOT" ALIVE
                           " FROM pairs WHERE k IN");
    append_keys(sql, operations, count);
    bytes_append_text(sql, " UNION ALL SELECT k,NULL,NULL,'',version,NULL,0,version,1 FROM removed"
                           " WHERE NOT EXISTS(SELECT 1 FROM pairs WHERE pairs.k=removed.k)"
                           " AND k IN");
    append_keys(sql, operations, count);
}

// ---------------------------------------------------------------- writing

// A batch is one statement. Its first row calls the function that writes the log entry; the others
// use what that has left in the session. Rows are evaluated one after the other, in their order.
#define INTO_PAIRS "INSERT INTO pairs(k,v,type,version,created,expires,seq,touched)"

void query_entry_key(struct bytes *entry, struct slice key, bool tombstone)
{
    bytes_append_number(entry, key.len);
    bytes_append_char(entry, tombstone ? '-' : '=');
    append_escaped(entry, key);
}

static void append_entry(struct bytes *sql, struct operation *const *operations, size_t count)
{
    bytes_append_char(sql, '\'');
    for (size_t i = 0; i < count; i++)
        query_entry_key(sql, operations[i]->key,
                        operations[i]->kind == OPERATION_DELETE || operations[i]->stamp.tombstone);
    bytes_append_char(sql, '\'');
}

// append_begin appends the call that begins a batch; its value is the batch's version.
static void append_begin(struct bytes *sql, struct operation *const *operations, size_t count,
                         const struct query_terms *terms)
{
    bytes_append_text(sql, "@sherd_version:=sherd_log(");
    append_entry(sql, operations, count);
    bytes_append_char(sql, ',');
    bytes_append_number(sql, terms->id);
    bytes_append_char(sql, ',');
    bytes_append_number(sql, (number)terms->least_us);
    bytes_append_char(sql, ',');
    bytes_append_number(sql, (number)terms->most_us);
    bytes_append_char(sql, ',');
    bytes_append_number(sql, terms->epoch);
    bytes_append_char(sql, ')');
}

// append_version appends the version and the creation of row `i`.
static void append_version(struct bytes *sql, struct operation *const *operations, size_t count,
                           const struct query_terms *terms, size_t i)
{
    if (i == 0 && terms->divert)
        bytes_format(sql, "sherd_diverted(%u,", terms->divert);
    if (i == 0)
        append_begin(sql, operations, count, terms);
    else
        bytes_append_text(sql, "@sherd_version");
    bytes_append_text(sql, i == 0 && terms->divert ? "),@sherd_version" : ",@sherd_version");
}

static void append_expires(struct bytes *sql, const struct operation *operation)
{
    if (operation->kind == OPERATION_DELETE || operation->ttl_ms == 0) {
        bytes_append_char(sql, '0');
    } else {
        bytes_append_text(sql, NOW_MS "+");
        bytes_append_number(sql, operation->ttl_ms);
    }
}

// append_content appends value and type.
static void append_content(struct bytes *sql, const struct operation *operation)
{
    if (operation->kind == OPERATION_DELETE) {
        bytes_append_text(sql, "NULL,''");
    } else {
        query_quote(sql, operation->value);
        bytes_append_char(sql, ',');
        query_quote(sql, operation->type);
    }
}

// append_fields appends what a write sets beside the key.
static void append_fields(struct bytes *sql, struct operation *const *operations, size_t count,
                          const struct query_terms *terms, size_t i)
{
    append_content(sql, operations[i]);
    bytes_append_char(sql, ',');
    append_version(sql, operations, count, terms, i);
    bytes_append_char(sql, ',');
    append_expires(sql, operations[i]);
    bytes_append_text(sql, ",@sherd_seq,NULL");
}

static void append_values(struct bytes *sql, struct operation *const *operations, size_t count,
                          const struct query_terms *terms)
{
    bytes_append_text(sql, INTO_PAIRS "VALUES");
    for (size_t i = 0; i < count; i++) {
        bytes_append_text(sql, i ? ",(" : "(");
        query_quote(sql, operations[i]->key);
        bytes_append_char(sql, ',');
        append_fields(sql, operations, count, terms, i);
        bytes_append_char(sql, ')');
    }
}

// append_update appends what becomes of a row that is there. Assignments are made from left to
// right and see each other; `ends` is computed when all are made.
static void append_update(struct bytes *sql, const struct query_terms *terms)
{
    bytes_append_text(sql, " ON DUPLICATE KEY UPDATE version=");
    if (terms->divert)
        bytes_format(sql, "sherd_diverted(%u,", terms->divert);
    bytes_append_text(
        sql,
        "GREATEST(VALUES(version),(IF(pairs.touched IS NULL,pairs.version>>10," EFFECTIVE_US_OF(
            "pairs.") ")+1)<<10|");
    bytes_append_number(sql, terms->id);
    bytes_append_text(sql, terms->divert ? "))" : ")");
    bytes_append_text(sql, ",created=IF(" ALIVE_OF(
                               "pairs.") ",pairs.created,pairs.version),"
                                         "v=VALUES(v),type=VALUES(type),expires=VALUES(expires),"
                                         "seq=VALUES(seq),touched=NULL" RETURNING);
}

void query_upsert(struct bytes *sql, struct operation *const *operations, size_t count,
                  const struct query_terms *terms)
{
    append_values(sql, operations, count, terms);
    append_update(sql, terms);
}

void query_insert(struct bytes *sql, const struct operation *operation,
                  const struct query_terms *terms)
{
    struct operation *one = (struct operation *)operation;
    append_values(sql, &one, 1, terms);
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
    if (p->must_match) { // no row has version 0: an empty list matches none
        bytes_append_text(sql, " AND " EFFECTIVE " IN(0");
        if (p->count)
            bytes_append_char(sql, ',');
        append_versions(sql, p);
        bytes_append_char(sql, ')');
    }
    if (p->must_be_absent)
        bytes_append_text(sql, " AND NOT " ALIVE);
    if (p->must_differ && p->count) {
        bytes_append_text(sql, " AND NOT(" ALIVE " AND " EFFECTIVE " IN(");
        append_versions(sql, p);
        bytes_append_text(sql, "))");
    }
    if (p->below) {
        bytes_append_text(sql, " AND " EFFECTIVE "<");
        bytes_append_number(sql, p->below);
    }
}

// Reading the row FOR UPDATE and writing it is one statement, hence atomic; UPDATE could say the
// same, but has no RETURNING.
void query_replace(struct bytes *sql, const struct operation *operation,
                   const struct query_terms *terms)
{
    struct operation *one = (struct operation *)operation;
    bytes_append_text(sql, INTO_PAIRS "SELECT k,");
    append_fields(sql, &one, 1, terms, 0);
    bytes_append_text(sql, " FROM pairs AS old WHERE k=sherd_here(");
    query_quote(sql, operation->key);
    bytes_append_char(sql, ',');
    bytes_append_number(sql, terms->epoch);
    bytes_append_char(sql, ')');
    append_precondition(sql, operation->precondition);
    bytes_append_text(sql, " FOR UPDATE");
    append_update(sql, terms);
}

void query_without_waiting(struct bytes *sql)
{
    bytes_append_text(sql, "SET STATEMENT innodb_lock_wait_timeout=0 FOR ");
}

// ---------------------------------------------------------------- applying

#define NEWER                                                                                      \
    "(VALUES(version)>" EFFECTIVE " OR VALUES(version)=" EFFECTIVE " AND"                          \
    "(VALUES(v) IS NULL AND v IS NOT NULL OR VALUES(v)>v))"
#define IF_NEWER(column) "," column "=IF(@sherd_newer,VALUES(" column ")," column ")"
#define APPLY                                                                                      \
    " ON DUPLICATE KEY UPDATE seq=IF(@sherd_newer:=" NEWER ",VALUES(seq),seq)" IF_NEWER("type")    \
        IF_NEWER("created") IF_NEWER("expires") IF_NEWER("v") IF_NEWER("version")                  \
            IF_NEWER("touched")

static void append_applied(struct bytes *sql, struct slice key, struct slice value,
                           struct slice type, const struct stamp *stamp)
{
    bytes_append_char(sql, '(');
    query_quote(sql, key);
    bytes_append_char(sql, ',');
    if (stamp->tombstone)
        bytes_append_text(sql, "NULL");
    else
        query_quote(sql, value);
    bytes_append_char(sql, ',');
    query_quote(sql, type);
    bytes_format(sql, ",%llu,%llu,%llu,", (number)stamp->version, (number)stamp->created,
                 (number)stamp->expires);
}

static void append_begin_applied(struct bytes *sql, struct operation *const *operations,
                                 size_t count)
{
    uint64_t oldest = UINT64_MAX, newest = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t version = operations[i]->stamp.version;
        oldest = version < oldest ? version : oldest;
        newest = version > newest ? version : newest;
    }
    bytes_append_text(sql, "@sherd_seq:=sherd_log_applied(");
    append_entry(sql, operations, count);
    bytes_format(sql, ",%llu,%llu)", (number)oldest, (number)newest);
}

void query_apply(struct bytes *sql, struct operation *const *operations, size_t count)
{
    bytes_append_text(sql, INTO_PAIRS "VALUES");
    for (size_t i = 0; i < count; i++) {
        const struct operation *operation = operations[i];
        if (i)
            bytes_append_char(sql, ',');
        append_applied(sql, operation->key, operation->value, operation->type, &operation->stamp);
        if (i)
            bytes_append_text(sql, "@sherd_seq");
        else
            append_begin_applied(sql, operations, count);
        bytes_append_text(sql, ",NULL)");
    }
    bytes_append_text(sql, APPLY " RETURNING k,sherd_applied(k," EFFECTIVE "),created,expires");
}

void query_applied_row(struct bytes *rows, const struct pair *pair)
{
    const struct stamp stamp = {.version = pair->version,
                                .created = pair->created,
                                .expires = pair->expires,
                                .tombstone = pair->tombstone};
    append_applied(rows, pair->key, pair->value, pair->type, &stamp);
    bytes_append_text(rows, "@sherd_seq,NULL)");
}

// Whether SQL removed one of the rows is asked when they are locked: a DELETE may have made the
// INSERT wait.
void query_applying(struct bytes *sql, struct slice rows, struct slice entry, uint64_t newest)
{
    bytes_append_text(sql, "SET @sherd_seq=sherd_log_applied(");
    if (entry.len == 0) {
        bytes_append_text(sql, "NULL");
    } else {
        bytes_append_char(sql, '\'');
        bytes_append_slice(sql, entry);
        bytes_append_char(sql, '\'');
    }
    bytes_format(sql, "," NO_VERSION ",%llu);" INTO_PAIRS "VALUES", (number)newest);
    bytes_append_slice(sql, rows);
    bytes_append_text(
        sql,
        APPLY ";IF EXISTS(SELECT 1 FROM removed JOIN pairs USING(k)"
              " WHERE seq=@sherd_seq AND touched IS NULL AND pairs.version<=removed.version)THEN"
              " SIGNAL SQLSTATE'45000'SET MYSQL_ERRNO=30003,"
              "MESSAGE_TEXT='SQL removed the row later';END IF;");
}

static void append_key_list(struct bytes *sql, const struct slice *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bytes_append_char(sql, i ? ',' : '(');
        query_quote(sql, keys[i]);
    }
    bytes_append_char(sql, ')');
}

// ---------------------------------------------------------------- rows that SQL wrote

void query_unstamped(struct bytes *sql, struct slice touched, struct slice key, unsigned limit)
{
    bytes_append_text(sql, "SELECT touched,k,v IS NULL FROM pairs FORCE INDEX(touched)WHERE ");
    if (touched.len == 0) {
        bytes_append_text(sql, "touched IS NOT NULL");
    } else {
        bytes_append_text(sql, "(touched>");
        query_quote(sql, touched);
        bytes_append_text(sql, " OR touched=");
        query_quote(sql, touched);
        bytes_append_text(sql, " AND k>");
        query_quote(sql, key);
        bytes_append_char(sql, ')');
    }
    bytes_format(sql, " ORDER BY touched,k LIMIT %u FOR UPDATE SKIP LOCKED", limit);
}

// Above the version in `removed`, if the key is there. A transaction that was open for so long that
// tombstones of its time may be gone comes as if it were of the floor's time.
#define GIVEN                                                                                      \
    "GREATEST(" EFFECTIVE_US_OF("pairs.") ",IFNULL((SELECT floor>>10 FROM sherd_partition),0),"    \
                                          "IFNULL((SELECT(removed.version>>10)+1 FROM removed "    \
                                          "WHERE removed.k=pairs.k),0))<<10"
// An UPDATE of one table makes its assignments from left to right; one with a JOIN computes them
// all from the row as it was.
#define STAMPED(given)                                                                             \
    " SET pairs.version=" GIVEN ",created=IF(created,created," given "),seq=@sherd_seq,"           \
    "touched=NULL WHERE touched IS NOT NULL AND k IN"

static void append_stamps(struct bytes *sql, unsigned id, const struct slice *keys,
                          const bool *tombstones, size_t count)
{
    bytes_append_text(sql, "sherd_log('");
    for (size_t i = 0; i < count; i++)
        query_entry_key(sql, keys[i], tombstones[i]);
    bytes_format(sql, "',%u,0," NO_VERSION ",NULL)", id);
}

void query_stamp(struct bytes *sql, unsigned id, const struct slice *keys, const bool *tombstones,
                 size_t count)
{
    bytes_append_text(sql, "UPDATE pairs FORCE INDEX(PRIMARY)JOIN(SELECT ");
    append_stamps(sql, id, keys, tombstones, count);
    bytes_append_text(sql, "AS given)AS entry" STAMPED(GIVEN));
    append_key_list(sql, keys, count);
}

void query_stamp_block(struct bytes *sql, unsigned id, const struct slice *keys,
                       const bool *tombstones, size_t count)
{
    bytes_append_text(sql, "BEGIN NOT ATOMIC " ROLL_BACK "START TRANSACTION;SET @sherd_version=");
    append_stamps(sql, id, keys, tombstones, count);
    bytes_append_text(sql, ";UPDATE pairs" STAMPED("pairs.version"));
    append_key_list(sql, keys, count);
    bytes_append_text(sql, ";COMMIT;END");
}

void query_bury(struct bytes *sql, unsigned id, struct slice after, unsigned most)
{
    bytes_format(sql, "SELECT sherd_bury(%u,", id);
    query_quote(sql, after);
    bytes_format(sql, ",%u)", most);
}

void query_unburied(struct bytes *sql, struct slice after, unsigned limit)
{
    bytes_append_text(sql, "SELECT k FROM removed WHERE k>");
    query_quote(sql, after);
    bytes_format(sql, " ORDER BY k LIMIT %u", limit);
}

// ---------------------------------------------------------------- how a partition is

void query_watch(struct bytes *sql)
{
    bytes_append_text(
        sql, "SELECT 0,IFNULL(id,0),IFNULL(seeded,0),EXISTS(SELECT 1 FROM pairs),IFNULL(ring,0),"
             "IFNULL(pass,0),IFNULL(floor,0),0," NOW_US ",IFNULL(epoch,0),IFNULL(CRC32(store),0)"
             " FROM(SELECT 1 AS one)AS one_row LEFT JOIN sherd_partition USING(one)"
             " LEFT JOIN placement USING(one)"
             " UNION ALL SELECT 1,source,0,0,0,pass,0,marked,0,0,0 FROM cursors"
             " UNION ALL SELECT 2,target,0,0,0,0,0,MAX(version),0,0,0 FROM diverts GROUP BY"
             " target");
}

// ---------------------------------------------------------------- the placement

void query_placement(struct bytes *sql)
{
    bytes_append_text(sql, "SELECT store,epoch,phase,members,replicas,other_members,"
                           "other_replicas,gone FROM placement");
}

static void append_placement(struct bytes *sql, const char *how, const struct placement *p)
{
    bytes_format(sql,
                 "%s INTO placement(store,phase,members,replicas,other_members,other_replicas,"
                 "gone,since,epoch)VALUES(",
                 how);
    query_quote(sql, slice_of(p->store));
    bytes_format(sql, ",'%s','", placement_phase_text(p->phase));
    members_format(&p->now, sql);
    bytes_format(sql, "',%u,'", p->now.replicas);
    members_format(&p->other, sql);
    bytes_format(sql, "',%u,'", p->other.replicas);
    gone_format(p->gone, sql);
    bytes_format(sql, "'," NOW_MS ",%llu)", (number)p->epoch);
}

#define IF_LATER(column)                                                                           \
    column "=IF(placement.store=VALUES(store)AND placement.epoch<VALUES(epoch),VALUES(" column     \
           ")," column "),"

void query_place(struct bytes *sql, const struct placement *placement)
{
    append_placement(sql, "INSERT", placement);
    bytes_append_text(sql, " ON DUPLICATE KEY UPDATE " IF_LATER("phase") IF_LATER("members")
                               IF_LATER("replicas") IF_LATER("other_members")
                                   IF_LATER("other_replicas") IF_LATER("gone")
                                       IF_LATER("since") "epoch=IF(placement.store=VALUES(store),"
                                                         "GREATEST(epoch,VALUES(epoch)),epoch)");
}

void query_place_first(struct bytes *sql, const struct placement *placement)
{
    append_placement(sql, "INSERT IGNORE", placement);
}

void query_report(struct bytes *sql, const struct query_server *server)
{
    bytes_format(sql, "REPLACE INTO servers(id,host,pid,version,epoch,reaches,seen)VALUES(%llu,",
                 (number)server->id);
    query_quote(sql, server->host);
    bytes_format(sql, ",%u,", server->pid);
    query_quote(sql, server->version);
    bytes_format(sql, ",%llu,", (number)server->epoch);
    query_quote(sql, server->reaches);
    bytes_append_text(sql, "," NOW_MS ")");
}

void query_report_end(struct bytes *sql, uint64_t id)
{
    bytes_format(sql, "DELETE FROM servers WHERE id=%llu OR seen<" NOW_MS "-86400000", (number)id);
}

void query_servers(struct bytes *sql, unsigned seconds)
{
    bytes_format(sql, "SELECT id,host,pid,epoch,reaches FROM servers WHERE seen>" NOW_MS "-%u000",
                 seconds);
}

void query_claim(struct bytes *sql, unsigned id, uint32_t ring)
{
    bytes_format(sql, "INSERT IGNORE INTO sherd_partition(id,seeded,ring)VALUES(%u,1,%u)", id,
                 ring);
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
        bytes_append_text(sql, "(SELECT k,type,version,touched,NOT" ALIVE " " IN_ORDER);
    else
        bytes_append_text(sql, "SELECT k,type,version,touched,0 " IN_ORDER ALIVE " AND ");
    append_page_bounds(sql, page);
    if (page->dead) {
        bytes_append_text(sql, ")UNION ALL(SELECT k,'',version,NULL,1 FROM removed"
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

void query_sync_session(struct bytes *sql, unsigned idle_s)
{
    bytes_append_text(sql, "SET SESSION innodb_lock_wait_timeout=1,idle_transaction_timeout=10,"
                           "@sherd_purges=1");
    if (idle_s)
        bytes_format(sql, ",wait_timeout=%u", idle_s);
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

void query_guard(struct bytes *sql, uint64_t token)
{
    bytes_format(sql, "BEGIN NOT ATOMIC " ROLL_BACK "START TRANSACTION;" FENCE, (number)token,
                 QUERY_FENCED);
}

void query_commit(struct bytes *sql)
{
    bytes_append_text(sql, "COMMIT;END");
}

void query_set_id(struct bytes *sql, unsigned id)
{
    bytes_format(sql,
                 "UPDATE sherd_partition SET id=%u,seeded=0,ring=0,pass=0,verified='';"
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

void query_set_verified(struct bytes *sql, struct slice key)
{
    bytes_append_text(sql, "UPDATE sherd_partition SET verified=");
    query_quote(sql, key);
    bytes_append_char(sql, ';');
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
                           "IFNULL(pass,0),IFNULL(floor,0)," NOW_US ",IFNULL(verified,'')"
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
                 "INSERT INTO changes(op,version,ks)SELECT 0,0,'' FROM sherd_partition"
                 " WHERE token=%llu RETURNING seq," NOW_MS,
                 (number)token);
}

void query_last(struct bytes *sql)
{
    bytes_append_text(sql, "SELECT IFNULL(MAX(seq),0)," NOW_MS " FROM changes");
}

#define CHANGES "SELECT seq,op,IF(op=1,ks,'')FROM changes WHERE "

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

// A row that SQL has locked or that lies in the future cannot be settled now.
#define UNSETTLED                                                                                  \
    "EXISTS(SELECT 1 FROM pairs WHERE touched IS NOT NULL)+"                                       \
    "2*EXISTS(SELECT 1 FROM removed WHERE version>>10<" NOW_US "+4000000)"

// No derived table: one with blobs lies on disk, which would take two thirds of a poll's time.
void query_feed(struct bytes *sql, uint64_t after, uint64_t to)
{
    append_log(sql, after);
    bytes_format(sql,
                 "," UNSETTLED " FROM changes UNION ALL"
                 "(SELECT seq,op,version,0,ks FROM changes WHERE seq>%llu",
                 (number)after);
    if (to)
        bytes_format(sql, " AND seq<=%llu", (number)to);
}

void query_feed_end(struct bytes *sql)
{
    bytes_append_char(sql, ')');
}

void query_feed_rows(struct bytes *sql, const struct slice *keys, size_t count, bool values)
{
    bytes_append_text(sql, "SELECT k,IF(touched IS NULL,seq,0),version,ends,type,");
    if (values)
        bytes_format(sql, "IF(LENGTH(v)<=%d,v,NULL)", QUERY_LARGE);
    else
        bytes_append_text(sql, "NULL");
    bytes_append_text(sql, " FROM pairs WHERE k IN");
    append_key_list(sql, keys, count);
    bytes_append_text(sql, " UNION ALL SELECT k,0,version,1,'',NULL FROM removed WHERE k IN");
    append_key_list(sql, keys, count);
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
    "SET STATEMENT innodb_lock_wait_timeout=0 FOR INSERT IGNORE INTO changes(seq,op,version,ks)"   \
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

void query_versions(struct bytes *sql, const struct slice *keys, size_t count)
{
    bytes_append_text(sql, "SELECT k," EFFECTIVE " FROM pairs WHERE k IN");
    append_key_list(sql, keys, count);
}

#define COPIED ",type," EFFECTIVE "," CREATED ",expires FROM pairs"

void query_rows(struct bytes *sql, const struct slice *keys, size_t count, bool large)
{
    append_value_fields(sql, large);
    bytes_append_text(sql, COPIED " WHERE k IN");
    append_key_list(sql, keys, count);
    bytes_append_text(sql, "ORDER BY k");
}

void query_rows_after(struct bytes *sql, struct slice after, struct slice to, struct slice slots,
                      unsigned limit)
{
    append_value_fields(sql, false);
    bytes_append_text(sql, COPIED " WHERE k>");
    query_quote(sql, after);
    if (to.len) {
        bytes_append_text(sql, " AND k<=");
        query_quote(sql, to);
    }
    if (slots.len) {
        bytes_append_text(sql, " AND SUBSTR(");
        query_quote(sql, slots);
        bytes_append_text(sql, ",(hash&16383)+1,1)='1'");
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

void query_unsettled(struct bytes *sql)
{
    bytes_append_text(sql,
                      "SELECT(SELECT COUNT(*)FROM(SELECT 1 FROM pairs WHERE touched IS NOT NULL"
                      " LIMIT 500)AS a),"
                      "(SELECT COUNT(*)FROM(SELECT 1 FROM removed LIMIT 500)AS b)");
}

// ---------------------------------------------------------------- comparing

static void append_range(struct bytes *sql, const struct query_range *range)
{
    bytes_append_text(sql, "k>");
    query_quote(sql, range->after);
    if (range->to.len) {
        bytes_append_text(sql, " AND k<=");
        query_quote(sql, range->to);
    }
}

void query_estimate(struct bytes *sql)
{
    bytes_append_text(sql, "SELECT IFNULL(table_rows,0),IFNULL(avg_row_length,0)"
                           "FROM information_schema.tables"
                           " WHERE table_schema=DATABASE()AND table_name='pairs'");
}

void query_border(struct bytes *sql, const struct query_range *range, unsigned step)
{
    bytes_append_text(sql, "SELECT k " IN_ORDER);
    append_range(sql, range);
    bytes_format(sql, " ORDER BY k LIMIT %u,1", step - 1);
}

// append_dead appends the condition of rows that were dead before `floor`: all partitions have seen
// them die.
static void append_dead(struct bytes *sql, uint64_t floor)
{
    bytes_format(sql, "(ends BETWEEN 1 AND %llu AND version<%llu AND touched IS NULL)",
                 (number)((floor >> 10) / 1000), (number)floor);
}

// append_compared appends the condition of rows that are compared. One that SQL inserted has no
// version before it is stamped.
static void append_compared(struct bytes *sql, const struct query_range *range, uint64_t floor)
{
    append_range(sql, range);
    bytes_append_text(sql, " AND version>0");
    if (floor) {
        bytes_append_text(sql, " AND NOT");
        append_dead(sql, floor);
    }
}

// The CRC of a row alone would not do: CRC is affine, so that swapped values cancel out.
void query_digest(struct bytes *sql, const struct query_range *range, struct slice classes,
                  uint64_t floor)
{
    bytes_append_text(sql, "SELECT ");
    if (classes.len) {
        bytes_append_text(sql, "CONV(HEX(SUBSTR(");
        query_quote(sql, classes);
        bytes_append_text(sql, ",(hash&16383)*2+1,2)),16,10)AS class");
    } else {
        bytes_append_char(sql, '0');
    }
    bytes_append_text(sql, ",COUNT(*),BIT_XOR(CRC32(k)*CRC32(CONCAT(version,k))),"
                           "SUM(hash<>CRC32(k))" IN_ORDER);
    append_compared(sql, range, floor);
    if (classes.len)
        bytes_append_text(sql, " GROUP BY class");
}

#define WRONG_HASH " AND hash<>CRC32(k)"

void query_wrong(struct bytes *sql, const struct query_range *range, unsigned limit)
{
    bytes_append_text(sql, "SELECT k " IN_ORDER);
    append_range(sql, range);
    bytes_format(sql, WRONG_HASH " ORDER BY k LIMIT %u", limit);
}

void query_mend(struct bytes *sql, const struct query_range *range)
{
    bytes_append_text(sql, "UPDATE pairs SET hash=CRC32(k),touched=touched WHERE ");
    append_range(sql, range);
    bytes_append_text(sql, WRONG_HASH ";");
}

void query_list(struct bytes *sql, const struct query_range *range, uint64_t floor)
{
    bytes_append_text(sql, "SELECT k,version " IN_ORDER);
    append_compared(sql, range, floor);
    bytes_append_text(sql, " ORDER BY k");
}

// append_old appends the condition of rows that were not written here behind entry `seq` of the
// log: this pass has brought them everywhere. A log that was emptied is behind its rows.
static void append_old(struct bytes *sql, uint64_t seq)
{
    bytes_format(sql,
                 "(seq<=%llu OR NOT EXISTS(SELECT 1 FROM changes"
                 " WHERE changes.seq=pairs.seq AND op=1))",
                 (number)seq);
}

static void append_purged(struct bytes *sql, uint64_t floor, uint64_t seq)
{
    append_dead(sql, floor);
    bytes_append_text(sql, " AND");
    append_old(sql, seq);
}

void query_dead(struct bytes *sql, uint64_t floor, uint64_t seq)
{
    bytes_append_text(sql, "SELECT COUNT(*)FROM pairs FORCE INDEX(ends)WHERE ");
    append_purged(sql, floor, seq);
}

void query_purge(struct bytes *sql, uint64_t floor, uint64_t seq, unsigned limit)
{
    bytes_append_text(sql, "DELETE FROM pairs WHERE ");
    append_purged(sql, floor, seq);
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
}

// What SQL removed before such a row was written must not be taken for its removal.
void query_drop(struct bytes *sql, const struct slice *keys, const uint64_t *versions, size_t count,
                uint64_t seq)
{
    bytes_append_text(sql, "DELETE FROM pairs WHERE touched IS NULL AND");
    append_old(sql, seq);
    bytes_append_text(sql, " AND(");
    append_rows(sql, "=", keys, versions, count);
    bytes_append_text(sql, ");DELETE FROM removed WHERE ");
    append_rows(sql, "<=", keys, versions, count);
    bytes_append_char(sql, ';');
}

// append_in_slots goes by the key, for its row's hash may be wrong.
static void append_in_slots(struct bytes *sql, struct slice slots)
{
    bytes_append_text(sql, " AND SUBSTR(");
    query_quote(sql, slots);
    bytes_append_text(sql, ",(CRC32(k)&16383)+1,1)='1';");
}

void query_sweep(struct bytes *sql, const struct query_range *range, struct slice slots,
                 uint64_t seq)
{
    bytes_append_text(sql, "DELETE FROM removed WHERE ");
    append_range(sql, range);
    bytes_append_text(sql, " AND version<=(SELECT version FROM pairs WHERE pairs.k=removed.k"
                           " AND touched IS NULL)");
    append_in_slots(sql, slots);
    bytes_append_text(sql, "DELETE FROM pairs WHERE ");
    append_range(sql, range);
    bytes_append_text(sql, " AND touched IS NULL AND");
    append_old(sql, seq);
    append_in_slots(sql, slots);
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
                 "SELECT COUNT(*)FROM(SELECT 1 FROM changes WHERE op=1"
                 " AND version>=%llu LIMIT %u)AS some",
                 (number)version, limit);
}
