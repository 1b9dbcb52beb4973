// SPDX-License-Identifier: MIT
// The texts are compared whole: every change of a statement has to be seen here.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/query.h"

#define NOW_US "TIMESTAMPDIFF(MICROSECOND,'1970-01-01',UTC_TIMESTAMP(6))"
#define NOW    NOW_US " DIV 1000"
#define ALIVE  "(expires=0 OR expires>" NOW ")"
#define UPDATE                                                                                     \
    " ON DUPLICATE KEY UPDATE v=VALUES(v),type=VALUES(type),expires=VALUES(expires)"               \
    " RETURNING k,version,created,expires"
#define READ      "SELECT k,IF(LENGTH(v)<=65536,v,NULL),LENGTH(v),type,version,expires FROM pairs"
#define WRITE     "INSERT INTO pairs(k,v,type,expires)"
#define QUOTE_MAX (2 * 512 + 3)

static void expect_text(struct bytes *sql, struct slice expected)
{
    assert_false(bytes_failed(sql));
    if (!slice_equal(bytes_slice(sql), expected))
        fail_msg("expected: %.*s\n     got: %.*s", (int)expected.len, expected.data, (int)sql->len,
                 sql->data ? sql->data : "");
    bytes_fini(sql);
}

#define EXPECT(sql, text) expect_text((sql), SLICE(text))

// ---------------------------------------------------------------- quoting

// unquote reads a literal as the server does with backslash escapes on and character set binary:
// returns what it says and, in *used, where it ends.
static size_t unquote(struct slice literal, char *out, size_t *used)
{
    size_t len = 0, i = 1;
    assert_true(literal.len >= 2 && literal.data[0] == '\'');
    for (; i < literal.len && literal.data[i] != '\''; i++) {
        char c = literal.data[i];
        if (c == '\\') {
            assert_true(++i < literal.len);
            switch (literal.data[i]) {
            case '0':
                c = '\0';
                break;
            case 'b':
                c = '\b';
                break;
            case 'n':
                c = '\n';
                break;
            case 'r':
                c = '\r';
                break;
            case 't':
                c = '\t';
                break;
            case 'Z':
                c = '\x1a';
                break;
            default: // \% and \_ keep the backslash, which would then be two bytes
                assert_true(literal.data[i] != '%' && literal.data[i] != '_');
                c = literal.data[i];
            }
        }
        out[len++] = c;
    }
    *used = i + 1;
    return len;
}

// check_quote holds that the literal says `s` and ends where it ends.
static void check_quote(struct slice s)
{
    struct bytes sql = {0};
    char out[QUOTE_MAX];
    size_t used;
    query_quote(&sql, s);
    assert_false(bytes_failed(&sql));
    assert_null(sql.len ? memchr(sql.data, '\0', sql.len) : NULL);
    size_t len = unquote(bytes_slice(&sql), out, &used);
    assert_int_equal(used, sql.len);
    assert_true(slice_equal((struct slice){out, len}, s));
    bytes_fini(&sql);
}

static void query_quote__says_every_byte(void **state)
{
    (void)state;
    static const char escaped[] = "\0\n\r\x1a\\'\"", letters[] = "0nrZ\\'\"";
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        struct bytes sql = {0};
        const char *at = memchr(escaped, c, sizeof escaped - 1);
        char expected[4] = {'\'', byte, '\'', 0};
        if (at)
            memcpy(expected, (char[]){'\'', '\\', letters[at - escaped], '\''}, 4);
        query_quote(&sql, (struct slice){&byte, 1});
        expect_text(&sql, (struct slice){expected, at ? 4 : 3});
        check_quote((struct slice){&byte, 1});
    }
}

static void query_quote__says_every_two_bytes(void **state)
{
    (void)state;
    for (int first = 0; first < 256; first++)
        for (int second = 0; second < 256; second++)
            check_quote((struct slice){(char[]){(char)first, (char)second}, 2});
}

static void query_quote__keeps_injections_inside_the_literal(void **state)
{
    (void)state;
    static const struct slice attempts[] = {
        {"' OR 1=1 -- ", sizeof "' OR 1=1 -- " - 1},
        {"'; DROP TABLE pairs; -- ", sizeof "'; DROP TABLE pairs; -- " - 1},
        {"\\' OR 1=1 -- ", sizeof "\\' OR 1=1 -- " - 1},
        {"\\\\' OR 1=1 -- ", sizeof "\\\\' OR 1=1 -- " - 1},
        {"\\", sizeof "\\" - 1},
        {"\\\\\\", sizeof "\\\\\\" - 1},
        {"''", sizeof "''" - 1},
        {"\0' OR 1=1 -- ", sizeof "\0' OR 1=1 -- " - 1},
        {"\xbf' OR 1=1 -- ",
         sizeof "\xbf' OR 1=1 -- " - 1}, // GBK swallows the backslash as a second byte
        {"\xbf\\' OR 1=1 -- ", sizeof "\xbf\\' OR 1=1 -- " - 1},
        {"\x95\\", sizeof "\x95\\" - 1}, // Shift-JIS
        {"\xe0\x80'", sizeof "\xe0\x80'" - 1},
        {"*/ ' /*", sizeof "*/ ' /*" - 1},
        {"\n--\n'", sizeof "\n--\n'" - 1},
        {"%_\\%\\_", sizeof "%_\\%\\_" - 1},
    };
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++)
        check_quote(attempts[i]);
}

static void query_quote__takes_the_longest_key_of_quotes(void **state)
{
    (void)state;
    static char key[512];
    memset(key, '\'', sizeof key);
    check_quote((struct slice){key, sizeof key});
    check_quote((struct slice){NULL, 0});
}

static void query_quote__fails_rather_than_cuts(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_quote(&sql, (struct slice){"x", SIZE_MAX / 4});
    assert_true(bytes_failed(&sql));
    assert_int_equal(sql.len, 0);
    bytes_fini(&sql);
}

// ---------------------------------------------------------------- session

static void query_session__prepares_all_that_the_texts_rely_on(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_session(&sql, 7, 2000);
    EXPECT(&sql, "SET NAMES binary,SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',"
                 "sql_select_limit=18446744073709551615,sql_big_selects=1,sql_safe_updates=0,"
                 "autocommit=1,completion_type=0,tx_isolation='READ-COMMITTED',"
                 "in_predicate_conversion_threshold=0,wait_timeout=31536000,"
                 "innodb_lock_wait_timeout=1,max_statement_time=1.500,@sherd_node=7");
}

static void query_session__lets_the_server_give_up_first(void **state)
{
    (void)state;
    static const struct {
        unsigned timeout_ms;
        const char *part;
    } cases[] = {
        {100, "innodb_lock_wait_timeout=1,max_statement_time=0.075,"},
        {1000, "innodb_lock_wait_timeout=1,max_statement_time=0.750,"},
        {3999, "innodb_lock_wait_timeout=1,max_statement_time=2.997,"},
        {4000, "innodb_lock_wait_timeout=2,max_statement_time=3.000,"},
        {60000, "innodb_lock_wait_timeout=30,max_statement_time=45.000,"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes sql = {0};
        query_session(&sql, 1, cases[i].timeout_ms);
        if (!memmem(sql.data, sql.len, cases[i].part, strlen(cases[i].part)))
            fail_msg("%.*s", (int)sql.len, sql.data);
        bytes_fini(&sql);
    }
}

// ---------------------------------------------------------------- reads

static struct operation read_of(const char *key)
{
    return (struct operation){.kind = OPERATION_GET, .key = slice_of(key)};
}

static void query_select__names_each_key(void **state)
{
    (void)state;
    struct operation a = read_of("a"), b = read_of("b'");
    struct bytes sql = {0};
    query_select(&sql, (struct operation *[]){&a}, 1, false);
    EXPECT(&sql, READ " WHERE k IN('a')AND" ALIVE);
    query_select(&sql, (struct operation *[]){&a, &b}, 2, false);
    EXPECT(&sql, READ " WHERE k IN('a','b\\'')AND" ALIVE);
}

static void query_select__names_repeated_keys_once(void **state)
{
    (void)state;
    struct operation a = read_of("a"), a2 = read_of("a"), ab = read_of("ab"), b = read_of("b"),
                     b2 = read_of("b"), b3 = read_of("b");
    struct bytes sql = {0};
    query_select(&sql, (struct operation *[]){&a, &a2, &ab, &b, &b2, &b3}, 6, false);
    EXPECT(&sql, READ " WHERE k IN('a','ab','b')AND" ALIVE);
    query_select(&sql, (struct operation *[]){&a, &a2}, 2, false);
    EXPECT(&sql, READ " WHERE k IN('a')AND" ALIVE);
}

static void query_select__fetches_large_values_only_if_asked(void **state)
{
    (void)state;
    struct operation a = read_of("a");
    struct bytes sql = {0};
    query_select(&sql, (struct operation *[]){&a}, 1, true);
    EXPECT(&sql, "SELECT k,v,NULL,type,version,expires FROM pairs WHERE k IN('a')AND" ALIVE);
}

static void query_page__reads_from_after_a_key(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_page(&sql, &(struct query_page){.limit = 100});
    EXPECT(&sql,
           "SELECT k,type,version,0 FROM pairs WHERE " ALIVE " AND k>'' ORDER BY k LIMIT 100");
    query_page(&sql, &(struct query_page){
                         .from = SLICE("a'"), .inclusive = true, .end = SLICE("a("), .limit = 1});
    EXPECT(&sql, "SELECT k,type,version,0 FROM pairs WHERE " ALIVE
                 " AND k>='a\\'' AND k<'a(' ORDER BY k LIMIT 1");
    query_page(&sql, &(struct query_page){.from = SLICE("\0"), .limit = 4294967295});
    EXPECT(&sql, "SELECT k,type,version,0 FROM pairs WHERE " ALIVE
                 " AND k>'\\0' ORDER BY k LIMIT 4294967295");
}

static void query_page__with_dead_shows_tombstones_and_removed_rows(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_page(&sql, &(struct query_page){
                         .from = SLICE("a"), .end = SLICE("b"), .limit = 9, .dead = true});
    EXPECT(&sql, "(SELECT k,type,version,NOT" ALIVE
                 " FROM pairs WHERE k>'a' AND k<'b' ORDER BY k LIMIT 9)UNION ALL"
                 "(SELECT k,'',version,1 FROM removed"
                 " WHERE NOT EXISTS(SELECT 1 FROM pairs WHERE pairs.k=removed.k)"
                 " AND k>'a' AND k<'b' ORDER BY k LIMIT 9)ORDER BY k LIMIT 9");
}

static void query_look__reads_rows_whatever_they_are(void **state)
{
    (void)state;
    struct operation a = read_of("a"), a2 = read_of("a"), b = read_of("b'");
    struct bytes sql = {0};
    query_look(&sql, (struct operation *[]){&a, &a2, &b}, 3, false);
    EXPECT(&sql, "SELECT k,IF(LENGTH(v)<=65536,v,NULL),LENGTH(v),type,version,expires,created,"
                 "NOT" ALIVE " FROM pairs WHERE k IN('a','b\\'') UNION ALL"
                 " SELECT k,NULL,0,'',version,1,version,1 FROM removed"
                 " WHERE NOT EXISTS(SELECT 1 FROM pairs WHERE pairs.k=removed.k)"
                 " AND k IN('a','b\\'')");
    query_look(&sql, (struct operation *[]){&a}, 1, true);
    EXPECT(&sql, "SELECT k,v,NULL,type,version,expires,created,NOT" ALIVE
                 " FROM pairs WHERE k IN('a') UNION ALL"
                 " SELECT k,NULL,0,'',version,1,version,1 FROM removed"
                 " WHERE NOT EXISTS(SELECT 1 FROM pairs WHERE pairs.k=removed.k) AND k IN('a')");
}

static void query_enter__tells_the_triggers_what_follows(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_enter(&sql, &(struct session){0}, 5, 6); // not raised: the floor does not count
    EXPECT(&sql, "SET @sherd_apply=0,@sherd_divert=0,@sherd_floor=0,@sherd_ceiling=6");
    query_enter(&sql, &(struct session){.apply = true}, 5, 6);
    EXPECT(&sql, "SET @sherd_apply=1,@sherd_divert=0,@sherd_floor=0,@sherd_ceiling=6");
    query_enter(&sql, &(struct session){.divert = 1000, .raised = true}, INT64_MAX, INT64_MAX);
    EXPECT(&sql, "SET @sherd_apply=0,@sherd_divert=1000,@sherd_floor=9223372036854775807,"
                 "@sherd_ceiling=9223372036854775807");
}

static void query_watch__asks_for_all_that_outlook_needs(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_watch(&sql);
    EXPECT(&sql, "SELECT 0,IFNULL(id,0),IFNULL(seeded,0),EXISTS(SELECT 1 FROM pairs),"
                 "IFNULL(ring,0),IFNULL(pass,0),IFNULL(floor,0),0," NOW_US
                 " FROM(SELECT 1)AS one_row LEFT JOIN sherd_partition ON one=1"
                 " UNION ALL SELECT 1,source,0,0,0,pass,0,marked,0 FROM cursors"
                 " UNION ALL SELECT 2,target,0,0,0,0,0,MAX(version),0 FROM diverts"
                 " GROUP BY target");
}

static void query_claim__changes_no_partition_that_knows_itself(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_claim(&sql, 3, UINT32_MAX);
    EXPECT(&sql, "INSERT IGNORE INTO sherd_partition(id,seeded,ring)VALUES(3,1,4294967295)");
}

// ---------------------------------------------------------------- writes

static struct operation put_of(const char *key, const char *value)
{
    return (struct operation){.kind = OPERATION_PUT,
                              .key = slice_of(key),
                              .value = slice_of(value),
                              .type = SLICE("text/plain")};
}

static struct operation delete_of(const char *key)
{
    // What a DELETE has beside its key must not reach the statement.
    return (struct operation){.kind = OPERATION_DELETE,
                              .key = slice_of(key),
                              .value = SLICE("never"),
                              .type = SLICE("never/never"),
                              .ttl_ms = 5};
}

static void query_upsert__writes_pairs_and_tombstones(void **state)
{
    (void)state;
    struct operation a = put_of("a", "1"), b = delete_of("b"), c = put_of("c", "");
    struct bytes sql = {0};
    query_upsert(&sql, (struct operation *[]){&a}, 1);
    EXPECT(&sql, WRITE "VALUES('a','1','text/plain',0)" UPDATE);
    query_upsert(&sql, (struct operation *[]){&b}, 1);
    EXPECT(&sql, WRITE "VALUES('b',NULL,'',1)" UPDATE);
    query_upsert(&sql, (struct operation *[]){&a, &b, &c}, 3);
    EXPECT(&sql,
           WRITE "VALUES('a','1','text/plain',0),('b',NULL,'',1),('c','','text/plain',0)" UPDATE);
}

static void query_upsert__quotes_key_value_and_type(void **state)
{
    (void)state;
    struct operation a = {.kind = OPERATION_PUT,
                          .key = SLICE("'\0"),
                          .value = SLICE("\\'\n"),
                          .type = SLICE("x/y;a=\"'\"")};
    struct bytes sql = {0};
    query_upsert(&sql, (struct operation *[]){&a}, 1);
    EXPECT(&sql, WRITE "VALUES('\\'\\0','\\\\\\'\\n','x/y;a=\\\"\\'\\\"',0)" UPDATE);
}

static void query_upsert__expires_by_the_partition_s_clock(void **state)
{
    (void)state;
    struct operation a = put_of("a", "1");
    struct bytes sql = {0};
    a.ttl_ms = 1;
    query_upsert(&sql, (struct operation *[]){&a}, 1);
    EXPECT(&sql, WRITE "VALUES('a','1','text/plain'," NOW "+1)" UPDATE);
    a.ttl_ms = UINT64_MAX;
    query_upsert(&sql, (struct operation *[]){&a}, 1);
    EXPECT(&sql, WRITE "VALUES('a','1','text/plain'," NOW "+18446744073709551615)" UPDATE);
}

static void query_insert__writes_one_and_updates_none(void **state)
{
    (void)state;
    struct operation a = put_of("a", "1"), b = delete_of("b");
    struct bytes sql = {0};
    query_insert(&sql, &a);
    EXPECT(&sql, WRITE "VALUES('a','1','text/plain',0) RETURNING k,version,created,expires");
    query_insert(&sql, &b);
    EXPECT(&sql, WRITE "VALUES('b',NULL,'',1) RETURNING k,version,created,expires");
}

#define NEWER                                                                                      \
    "(VALUES(version)>version OR VALUES(version)=version AND"                                      \
    "(VALUES(v) IS NULL AND v IS NOT NULL OR VALUES(v)>v))"
#define APPLY                                                                                      \
    " ON DUPLICATE KEY UPDATE type=IF(" NEWER ",VALUES(type),type)"                                \
    ",created=IF(" NEWER ",VALUES(created),created)"                                               \
    ",expires=IF(" NEWER ",VALUES(expires),expires)"                                               \
    ",v=IF(" NEWER ",VALUES(v),v),version=GREATEST(version,VALUES(version))"                       \
    " RETURNING k,version,created,expires"

static void query_apply__brings_rows_as_they_are(void **state)
{
    (void)state;
    struct operation a = put_of("a'", "1\n"), b = delete_of("b");
    struct bytes sql = {0};
    a.kind = b.kind = OPERATION_APPLY;
    a.stamp = (struct stamp){UINT64_MAX, 2, 3};
    b.stamp = (struct stamp){5, 5, 1}; // of a tombstone no value is written, whatever it says
    query_apply(&sql, (struct operation *[]){&a}, 1);
    EXPECT(&sql, "INSERT INTO pairs(k,v,type,version,created,expires)VALUES"
                 "('a\\'','1\\n','text/plain',18446744073709551615,2,3)" APPLY);
    query_apply(&sql, (struct operation *[]){&a, &b}, 2);
    EXPECT(&sql, "INSERT INTO pairs(k,v,type,version,created,expires)VALUES"
                 "('a\\'','1\\n','text/plain',18446744073709551615,2,3),"
                 "('b',NULL,'never/never',5,5,1)" APPLY);
}

// expect_where holds what query_replace makes of a precondition.
static void expect_where(const struct precondition *precondition, struct slice where)
{
    struct operation a = put_of("a'", "1");
    struct bytes sql = {0}, expected = {0};
    a.precondition = precondition;
    query_replace(&sql, &a);
    bytes_append_text(&expected, WRITE "SELECT k,'1','text/plain',0 FROM pairs WHERE k='a\\''");
    bytes_append_slice(&expected, where);
    bytes_append_text(&expected, " FOR UPDATE" UPDATE);
    expect_text(&sql, bytes_slice(&expected));
    bytes_fini(&expected);
}

#define EXPECT_WHERE(where, ...) expect_where(&(struct precondition){__VA_ARGS__}, SLICE(where))

static void query_replace__says_each_precondition(void **state)
{
    (void)state;
    // If-Match: *
    EXPECT_WHERE(" AND " ALIVE, .must_exist = true);
    // If-Match: "5", "18446744073709551615"
    EXPECT_WHERE(" AND " ALIVE " AND version IN(0,5,18446744073709551615)", .must_exist = true,
                 .must_match = true, .version = {5, UINT64_MAX}, .count = 2);
    // If-None-Match: *
    EXPECT_WHERE(" AND NOT " ALIVE, .must_be_absent = true);
    // If-None-Match: "5", "6"
    EXPECT_WHERE(" AND NOT(" ALIVE " AND version IN(5,6))", .must_differ = true, .version = {5, 6},
                 .count = 2);
    // If-Unmodified-Since
    EXPECT_WHERE(" AND " ALIVE " AND version<1024000000", .must_exist = true, .below = 1024000000);
}

static void query_replace__matches_nothing_when_no_tag_could_be_a_version(void **state)
{
    (void)state;
    // If-Match: "not-a-version"
    EXPECT_WHERE(" AND " ALIVE " AND version IN(0)", .must_exist = true, .must_match = true);
    // If-None-Match: "not-a-version": differs from all
    EXPECT_WHERE("", .must_differ = true);
}

static void query_replace__takes_sixteen_versions(void **state)
{
    (void)state;
    struct precondition p = {
        .must_exist = true, .must_match = true, .count = PRECONDITION_VERSIONS};
    for (unsigned i = 0; i < PRECONDITION_VERSIONS; i++)
        p.version[i] = i + 1;
    expect_where(&p,
                 SLICE(" AND " ALIVE " AND version IN(0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16)"));
}

static void query_replace__makes_a_tombstone(void **state)
{
    (void)state;
    struct operation a = delete_of("a");
    struct bytes sql = {0};
    a.precondition = &(struct precondition){.must_exist = true};
    query_replace(&sql, &a);
    EXPECT(&sql, WRITE "SELECT k,NULL,'',1 FROM pairs WHERE k='a' AND " ALIVE " FOR UPDATE" UPDATE);
}

static void query_without_waiting__begins_a_statement(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_without_waiting(&sql);
    EXPECT(&sql, "SET STATEMENT innodb_lock_wait_timeout=0 FOR ");
}

static void query_check__asks_for_the_nine_fields_of_row_check(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_check(&sql);
    EXPECT(&sql, "SELECT (SELECT MAX(version) FROM sherd_schema),sherd_triggers(),"
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

#define LOG_SAYS                                                                                   \
    "SELECT IFNULL((SELECT trimmed FROM sherd_partition),0),IFNULL(MAX(seq),0)," NOW_US            \
    ",IFNULL((SELECT version FROM changes WHERE seq=7),18446744073709551615)"

static void query_log_ends__asks_what_a_log_says_of_itself(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_log_ends(&sql, 7, 0);
    EXPECT(&sql, LOG_SAYS ",IFNULL(MIN(seq),0),0,IFNULL((SELECT version FROM changes ORDER BY seq "
                          "DESC LIMIT 1),0) FROM changes");
    query_log_ends(&sql, 7, 1025);
    EXPECT(&sql, LOG_SAYS ",IFNULL(MIN(seq),0),(SELECT IFNULL(MIN(seq),0)FROM changes WHERE "
                          "version>=1025),IFNULL((SELECT version FROM changes ORDER BY seq "
                          "DESC LIMIT 1),0) FROM changes");
}

static void query_log_gaps__asks_for_what_is_missing(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_log_gaps(&sql, 5, 90);
    EXPECT(&sql,
           "SELECT prior+1,seq-1 FROM(SELECT seq,IFNULL(LAG(seq)OVER(ORDER BY seq),4)AS prior "
           "FROM changes WHERE seq BETWEEN 5 AND 90)AS steps WHERE seq>prior+1 ORDER BY seq");
}

static void query_feed__asks_for_entries_and_their_rows(void **state)
{
    static const char begin[] =
        LOG_SAYS ",NULL,0,'',NULL,NULL FROM changes UNION ALL SELECT c.seq,c.op,"
                 "c.version,c.k,p.version,p.expires,p.type,";
    (void)state;
    struct bytes sql = {0}, expected = {0};
    query_feed(&sql, 7, 0, false);
    query_limit(&sql, 200);
    query_feed_end(&sql);
    bytes_append_text(&expected, begin);
    bytes_append_text(
        &expected, "NULL,d.version FROM(SELECT seq,op,version,k FROM changes WHERE seq>7 ORDER BY "
                   "seq LIMIT 200)AS c LEFT JOIN pairs AS p ON p.k=c.k AND c.k<>''"
                   " LEFT JOIN removed AS d ON d.k=c.k AND c.k<>''");
    expect_text(&sql, bytes_slice(&expected));
    bytes_clear(&expected);
    query_feed(&sql, 7, 30, true);
    query_or_between(&sql, 3, 4);
    query_limit(&sql, 5);
    query_feed_end(&sql);
    bytes_append_text(&expected, begin);
    bytes_append_text(&expected,
                      "IF(LENGTH(p.v)<=65536,p.v,NULL),d.version FROM(SELECT seq,op,version,k FROM "
                      "changes WHERE seq>7 AND seq<=30 OR seq BETWEEN 3 AND 4 ORDER BY seq "
                      "LIMIT 5)AS c LEFT JOIN pairs AS p ON p.k=c.k AND c.k<>''"
                      " LEFT JOIN removed AS d ON d.k=c.k AND c.k<>''");
    expect_text(&sql, bytes_slice(&expected));
    bytes_fini(&expected);
}

// ---------------------------------------------------------------- of sync

#define FILL                                                                                       \
    "SET STATEMENT innodb_lock_wait_timeout=0 FOR INSERT IGNORE INTO changes(seq,version,op,k)"    \
    "VALUES"

static void query_fill__writes_a_filler_for_each_number(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_fill(&sql, 5, 7);
    EXPECT(&sql, FILL "(5,0,0,''),(6,0,0,''),(7,0,0,'');");
    query_feed_fill(&sql, 5, 5); // several gaps make one statement
    query_feed_fill(&sql, 8, 9);
    EXPECT(&sql, FILL "(5,0,0,''),(8,0,0,''),(9,0,0,'')");
}

#define ROWS_OF(value, len)                                                                        \
    "SELECT k," value "," len ",type,version,created,expires FROM pairs WHERE "
#define ROWS ROWS_OF("IF(LENGTH(v)<=65536,v,NULL)", "LENGTH(v)")

static void query_rows__names_each_key(void **state)
{
    (void)state;
    static const struct slice keys[] = {{"a'", 2}, {"b", 1}};
    struct bytes sql = {0};
    query_versions(&sql, keys, 2);
    EXPECT(&sql, "SELECT k,version FROM pairs WHERE k IN('a\\'','b')");
    query_rows(&sql, keys, 2, false);
    EXPECT(&sql, ROWS "k IN('a\\'','b')ORDER BY k");
    query_rows(&sql, keys, 1, true);
    EXPECT(&sql, ROWS_OF("v", "NULL") "k IN('a\\'')ORDER BY k");
}

static void query_rows_after__reads_on_to_the_end_or_a_key(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_rows_after(&sql, SLICE("a'"), (struct slice){0}, 9);
    EXPECT(&sql, ROWS "k>'a\\'' ORDER BY k LIMIT 9");
    query_rows_after(&sql, SLICE("a"), SLICE("b'"), 9);
    EXPECT(&sql, ROWS "k>'a' AND k<='b\\'' ORDER BY k LIMIT 9");
}

static void query_apply_row__writes_pairs_and_tombstones(void **state)
{
    (void)state;
    const struct pair pair = {.key = SLICE("k'"),
                              .value = SLICE("v'"),
                              .type = SLICE("t'"),
                              .version = 3,
                              .created = 2,
                              .expires = 1};
    struct bytes sql = {0};
    query_apply_row(&sql, &pair, false);
    EXPECT(&sql, "('k\\'','v\\'','t\\'',3,2,1)");
    query_apply_row(&sql, &pair, true);
    EXPECT(&sql, "('k\\'',NULL,'t\\'',3,2,1)");
}

#define DEAD   "(version<2048000 AND(expires=1 OR expires>1 AND expires<2))"
#define DIGEST "CRC32(k)*CRC32(CONCAT(version,k))"
#define SLOTS                                                                                      \
    " FROM pairs FORCE INDEX(by_slot_version_expires)WHERE slot BETWEEN 3 AND 9 GROUP BY slot"

static void query_digest__leaves_out_what_is_long_dead(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_digest(&sql, 3, 9, 0);
    EXPECT(&sql, "SELECT slot,COUNT(*),BIT_XOR(" DIGEST "),0" SLOTS);
    query_digest(&sql, 3, 9, 2000 << 10);
    EXPECT(&sql, "SELECT slot,SUM(NOT " DEAD "),BIT_XOR(IF(" DEAD ",CAST(0 AS UNSIGNED)," DIGEST
                 ")),SUM(" DEAD ")" SLOTS);
}

static void query_list__names_the_slots(void **state)
{
    (void)state;
    static const uint16_t slots[] = {4, 9};
    struct bytes sql = {0};
    query_list(&sql, slots, 2, 2000 << 10);
    EXPECT(&sql, "SELECT k,version FROM pairs FORCE INDEX(by_slot_version_expires)"
                 "WHERE slot IN(4,9)AND NOT " DEAD);
}

static void query_purge__takes_only_what_is_long_dead(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_purge(&sql, 3, 9, 2000 << 10, 100);
    EXPECT(&sql, "DELETE FROM pairs WHERE slot BETWEEN 3 AND 9 AND " DEAD " LIMIT 100;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_quote__says_every_byte),
        cmocka_unit_test(query_quote__says_every_two_bytes),
        cmocka_unit_test(query_quote__keeps_injections_inside_the_literal),
        cmocka_unit_test(query_quote__takes_the_longest_key_of_quotes),
        cmocka_unit_test(query_quote__fails_rather_than_cuts),
        cmocka_unit_test(query_session__prepares_all_that_the_texts_rely_on),
        cmocka_unit_test(query_session__lets_the_server_give_up_first),
        cmocka_unit_test(query_select__names_each_key),
        cmocka_unit_test(query_select__names_repeated_keys_once),
        cmocka_unit_test(query_select__fetches_large_values_only_if_asked),
        cmocka_unit_test(query_page__reads_from_after_a_key),
        cmocka_unit_test(query_page__with_dead_shows_tombstones_and_removed_rows),
        cmocka_unit_test(query_look__reads_rows_whatever_they_are),
        cmocka_unit_test(query_enter__tells_the_triggers_what_follows),
        cmocka_unit_test(query_watch__asks_for_all_that_outlook_needs),
        cmocka_unit_test(query_claim__changes_no_partition_that_knows_itself),
        cmocka_unit_test(query_upsert__writes_pairs_and_tombstones),
        cmocka_unit_test(query_upsert__quotes_key_value_and_type),
        cmocka_unit_test(query_upsert__expires_by_the_partition_s_clock),
        cmocka_unit_test(query_insert__writes_one_and_updates_none),
        cmocka_unit_test(query_apply__brings_rows_as_they_are),
        cmocka_unit_test(query_replace__says_each_precondition),
        cmocka_unit_test(query_replace__matches_nothing_when_no_tag_could_be_a_version),
        cmocka_unit_test(query_replace__takes_sixteen_versions),
        cmocka_unit_test(query_replace__makes_a_tombstone),
        cmocka_unit_test(query_without_waiting__begins_a_statement),
        cmocka_unit_test(query_check__asks_for_the_nine_fields_of_row_check),
        cmocka_unit_test(query_log_ends__asks_what_a_log_says_of_itself),
        cmocka_unit_test(query_log_gaps__asks_for_what_is_missing),
        cmocka_unit_test(query_feed__asks_for_entries_and_their_rows),
        cmocka_unit_test(query_fill__writes_a_filler_for_each_number),
        cmocka_unit_test(query_rows__names_each_key),
        cmocka_unit_test(query_rows_after__reads_on_to_the_end_or_a_key),
        cmocka_unit_test(query_apply_row__writes_pairs_and_tombstones),
        cmocka_unit_test(query_digest__leaves_out_what_is_long_dead),
        cmocka_unit_test(query_list__names_the_slots),
        cmocka_unit_test(query_purge__takes_only_what_is_long_dead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
