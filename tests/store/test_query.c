// SPDX-License-Identifier: MIT
// The texts are compared whole: every change of a statement has to be seen here.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "store/query.h"

#define NOW_US      "TIMESTAMPDIFF(MICROSECOND,'1970-01-01',UTC_TIMESTAMP(6))"
#define NOW         NOW_US " DIV 1000"
#define ALIVE_OF(t) "(" t "ends=0 OR " t "ends>" NOW ")"
#define ALIVE       ALIVE_OF("")
#define TOUCHED(t)  "TIMESTAMPDIFF(MICROSECOND,'1970-01-01'," t "touched)"
#define UNSTAMPED_US(t)                                                                            \
    "GREATEST(" TOUCHED(t) ",IF((" t "version>>10)<" TOUCHED(t) "+86400000000,(" t                 \
                                                                "version>>10)+1,0))"
#define EFFECTIVE "IF(touched IS NULL,version," UNSTAMPED_US("") "<<10)"
#define CREATED   "IF(touched IS NULL OR created,created," EFFECTIVE ")"
#define READ      "SELECT k,IF(LENGTH(v)<=65536,v,NULL),LENGTH(v),type,version,touched,ends FROM pairs"
#define INTO      "INSERT INTO pairs(k,v,type,version,created,expires,seq,touched)"
#define RETURNING " RETURNING k,version,created,expires"
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
    query_session(&sql, 2000);
    EXPECT(&sql, "SET NAMES binary,SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',"
                 "sql_select_limit=18446744073709551615,sql_big_selects=1,sql_safe_updates=0,"
                 "autocommit=1,completion_type=0,tx_isolation='READ-COMMITTED',"
                 "in_predicate_conversion_threshold=0,wait_timeout=31536000,time_zone='+00:00',"
                 "@sherd_version=1<<60,@sherd_seq=1<<60,@sherd_newer=0,"
                 "innodb_lock_wait_timeout=1,max_statement_time=1.500");
}

static void query_session__lets_the_server_give_up_first(void **state)
{
    (void)state;
    static const struct {
        unsigned timeout_ms;
        const char *end;
    } cases[] = {
        {100, ",innodb_lock_wait_timeout=1,max_statement_time=0.075"},
        {1000, ",innodb_lock_wait_timeout=1,max_statement_time=0.750"},
        {3999, ",innodb_lock_wait_timeout=1,max_statement_time=2.997"},
        {4000, ",innodb_lock_wait_timeout=2,max_statement_time=3.000"},
        {60000, ",innodb_lock_wait_timeout=30,max_statement_time=45.000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes sql = {0};
        size_t len = strlen(cases[i].end);
        query_session(&sql, cases[i].timeout_ms);
        if (sql.len < len || memcmp(sql.data + sql.len - len, cases[i].end, len) != 0)
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
    query_select(&sql, (struct operation *[]){&a}, 1, false, false);
    EXPECT(&sql, READ " WHERE k IN('a')");
    query_select(&sql, (struct operation *[]){&a, &b}, 2, false, false);
    EXPECT(&sql, READ " WHERE k IN('a','b\\'')");
}

static void query_select__names_repeated_keys_once(void **state)
{
    (void)state;
    struct operation a = read_of("a"), a2 = read_of("a"), ab = read_of("ab"), b = read_of("b"),
                     b2 = read_of("b"), b3 = read_of("b");
    struct bytes sql = {0};
    query_select(&sql, (struct operation *[]){&a, &a2, &ab, &b, &b2, &b3}, 6, false, false);
    EXPECT(&sql, READ " WHERE k IN('a','ab','b')");
    query_select(&sql, (struct operation *[]){&a, &a2}, 2, false, false);
    EXPECT(&sql, READ " WHERE k IN('a')");
}

static void query_select__fetches_large_values_only_if_asked(void **state)
{
    (void)state;
    struct operation a = read_of("a");
    struct bytes sql = {0};
    query_select(&sql, (struct operation *[]){&a}, 1, true, false);
    EXPECT(&sql, "SELECT k,v,NULL,type,version,touched,ends FROM pairs WHERE k IN('a')");
}

static void query_select__leaves_out_what_is_dead_only_if_asked(void **state)
{
    (void)state;
    struct operation a = read_of("a"), b = read_of("b");
    struct bytes sql = {0};
    query_select(&sql, (struct operation *[]){&a, &b}, 2, false, true);
    EXPECT(&sql, READ " WHERE k IN('a','b')AND" ALIVE);
    query_select(&sql, (struct operation *[]){&a}, 1, true, true);
    EXPECT(&sql, "SELECT k,v,NULL,type,version,touched,ends FROM pairs WHERE k IN('a')AND" ALIVE);
}

static void query_page__reads_from_after_a_key(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_page(&sql, &(struct query_page){.limit = 100});
    EXPECT(&sql, "SELECT k,type,version,touched,0 FROM pairs FORCE INDEX(PRIMARY)WHERE " ALIVE
                 " AND k>'' ORDER BY k LIMIT 100");
    query_page(&sql, &(struct query_page){
                         .from = SLICE("a'"), .inclusive = true, .end = SLICE("a("), .limit = 1});
    EXPECT(&sql, "SELECT k,type,version,touched,0 FROM pairs FORCE INDEX(PRIMARY)WHERE " ALIVE
                 " AND k>='a\\'' AND k<'a(' ORDER BY k LIMIT 1");
    query_page(&sql, &(struct query_page){.from = SLICE("\0"), .limit = 4294967295});
    EXPECT(&sql, "SELECT k,type,version,touched,0 FROM pairs FORCE INDEX(PRIMARY)WHERE " ALIVE
                 " AND k>'\\0' ORDER BY k LIMIT 4294967295");
}

static void query_page__with_dead_shows_tombstones_and_removed_rows(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_page(&sql, &(struct query_page){
                         .from = SLICE("a"), .end = SLICE("b"), .limit = 9, .dead = true});
    EXPECT(&sql,
           "(SELECT k,type,version,touched,NOT" ALIVE
           " FROM pairs FORCE INDEX(PRIMARY)WHERE k>'a' AND k<'b' ORDER BY k LIMIT 9)UNION ALL"
           "(SELECT k,'',version,NULL,1 FROM removed"
           " WHERE NOT EXISTS(SELECT 1 FROM pairs WHERE pairs.k=removed.k)"
           " AND k>'a' AND k<'b' ORDER BY k LIMIT 9)ORDER BY k LIMIT 9");
}

#define LOOK ",type,version,touched,expires," CREATED ",NOT" ALIVE " FROM pairs WHERE k IN"
#define LOOK_REMOVED                                                                               \
    " UNION ALL SELECT k,NULL,NULL,'',version,NULL,0,version,1 FROM removed"                       \
    " WHERE NOT EXISTS(SELECT 1 FROM pairs WHERE pairs.k=removed.k) AND k IN"

static void query_look__reads_rows_whatever_they_are(void **state)
{
    (void)state;
    struct operation a = read_of("a"), a2 = read_of("a"), b = read_of("b'");
    struct bytes sql = {0};
    query_look(&sql, (struct operation *[]){&a, &a2, &b}, 3, false);
    EXPECT(&sql, "SELECT k,IF(LENGTH(v)<=65536,v,NULL),LENGTH(v)" LOOK "('a','b\\'')" LOOK_REMOVED
                 "('a','b\\'')");
    query_look(&sql, (struct operation *[]){&a}, 1, true);
    EXPECT(&sql, "SELECT k,v,NULL" LOOK "('a')" LOOK_REMOVED "('a')");
}

static void query_watch__asks_for_all_that_outlook_needs(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_watch(&sql);
    EXPECT(&sql, "SELECT 0,IFNULL(id,0),IFNULL(seeded,0),EXISTS(SELECT 1 FROM pairs),"
                 "IFNULL(ring,0),IFNULL(pass,0),IFNULL(floor,0),0," NOW_US
                 ",IFNULL(epoch,0),IFNULL(CRC32(store),0)"
                 " FROM(SELECT 1 AS one)AS one_row LEFT JOIN sherd_partition USING(one)"
                 " LEFT JOIN placement USING(one)"
                 " UNION ALL SELECT 1,source,0,0,0,pass,0,marked,0,0,0 FROM cursors"
                 " UNION ALL SELECT 2,target,0,0,0,0,0,MAX(version),0,0,0 FROM diverts"
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

#define RAISED(id)                                                                                 \
    "GREATEST(VALUES(version),(IF(pairs.touched IS NULL,pairs.version>>10," UNSTAMPED_US(          \
        "pairs.") ")+1)<<10|" id ")"
#define UPDATE_TO(version)                                                                         \
    " ON DUPLICATE KEY UPDATE version=" version ",created=IF(" ALIVE_OF(                           \
        "pairs.") ",pairs.created,pairs.version),v=VALUES(v),type=VALUES(type),"                   \
                  "expires=VALUES(expires),seq=VALUES(seq),touched=NULL" RETURNING
#define UPDATE UPDATE_TO(RAISED("7"))
// The first row of a batch writes its entry.
#define BEGIN(keys)    "@sherd_version:=sherd_log('" keys "',7,5,6,8),@sherd_version"
#define NEXT           "@sherd_version,@sherd_version"
#define ROW_END(until) "," until ",@sherd_seq,NULL)"

static const struct query_terms terms = {.id = 7, .least_us = 5, .most_us = 6, .epoch = 8};

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

static void query_entry_key__says_length_kind_and_key(void **state)
{
    (void)state;
    struct bytes entry = {0};
    query_entry_key(&entry, SLICE("hello"), false);
    query_entry_key(&entry, SLICE("bye"), true);
    EXPECT(&entry, "5=hello3-bye");
}

// The length is that of the key; the key itself goes into a literal.
static void query_entry_key__escapes_what_the_literal_would_end_at(void **state)
{
    (void)state;
    struct bytes entry = {0};
    query_entry_key(&entry, SLICE("\0\n\r\x1a\\'\"="), false);
    EXPECT(&entry, "8=\\0\\n\\r\\Z\\\\\\'\\\"=");
    query_entry_key(&entry, SLICE("'); DROP TABLE pairs; -- "), true);
    EXPECT(&entry, "25-\\'); DROP TABLE pairs; -- ");
}

// check_entry holds that keys of any bytes come back from the literal in which they are put.
static void check_entry(const struct slice *keys, size_t count)
{
    struct bytes sql = {0};
    static char out[8 * 512];
    size_t used, at = 0;
    bytes_append_char(&sql, '\'');
    for (size_t i = 0; i < count; i++)
        query_entry_key(&sql, keys[i], i % 2);
    bytes_append_char(&sql, '\'');
    assert_false(bytes_failed(&sql));
    size_t len = unquote(bytes_slice(&sql), out, &used);
    assert_int_equal(used, sql.len);
    for (size_t i = 0; i < count; i++) {
        char begin[8];
        int size = snprintf(begin, sizeof begin, "%zu%c", keys[i].len, i % 2 ? '-' : '=');
        assert_true(len - at >= (size_t)size && memcmp(out + at, begin, (size_t)size) == 0);
        at += (size_t)size;
        assert_true(len - at >= keys[i].len && !memcmp(out + at, keys[i].data, keys[i].len));
        at += keys[i].len;
    }
    assert_int_equal(at, len);
    bytes_fini(&sql);
}

static void query_entry_key__keeps_every_byte_of_every_key(void **state)
{
    (void)state;
    static char quotes[512], all[256];
    memset(quotes, '\'', sizeof quotes);
    for (size_t c = 0; c < 256; c++)
        all[c] = (char)c;
    for (size_t c = 0; c < 256; c++)
        check_entry((struct slice[]){{all + c, 1}, {all + 255 - c, 1}}, 2);
    check_entry((struct slice[]){{quotes, 512}, {all, 256}, {"3=abc", 5}, {"9-", 2}, {"\\", 1}}, 5);
}

static void query_upsert__writes_pairs_and_tombstones(void **state)
{
    (void)state;
    struct operation a = put_of("a", "1"), b = delete_of("b"), c = put_of("c", "");
    struct bytes sql = {0};
    query_upsert(&sql, (struct operation *[]){&a}, 1, &terms);
    EXPECT(&sql, INTO "VALUES('a','1','text/plain'," BEGIN("1=a") ROW_END("0") UPDATE);
    query_upsert(&sql, (struct operation *[]){&b}, 1, &terms);
    EXPECT(&sql, INTO "VALUES('b',NULL,''," BEGIN("1-b") ROW_END("0") UPDATE);
    query_upsert(&sql, (struct operation *[]){&a, &b, &c}, 3, &terms);
    EXPECT(&sql, INTO "VALUES('a','1','text/plain'," BEGIN("1=a1-b1=c")
                     ROW_END("0") ",('b',NULL,''," NEXT ROW_END(
                         "0") ",('c','','text/plain'," NEXT ROW_END("0") UPDATE);
}

static void query_upsert__quotes_key_value_and_type(void **state)
{
    (void)state;
    struct operation a = {.kind = OPERATION_PUT,
                          .key = SLICE("'\0"),
                          .value = SLICE("\\'\n"),
                          .type = SLICE("x/y;a=\"'\"")};
    struct bytes sql = {0};
    query_upsert(&sql, (struct operation *[]){&a}, 1, &terms);
    EXPECT(&sql, INTO "VALUES('\\'\\0','\\\\\\'\\n','x/y;a=\\\"\\'\\\"'," BEGIN("2=\\'\\0")
                     ROW_END("0") UPDATE);
}

static void query_upsert__expires_by_the_partition_s_clock(void **state)
{
    (void)state;
    struct operation a = put_of("a", "1");
    struct bytes sql = {0};
    a.ttl_ms = 1;
    query_upsert(&sql, (struct operation *[]){&a}, 1, &terms);
    EXPECT(&sql, INTO "VALUES('a','1','text/plain'," BEGIN("1=a") ROW_END(NOW "+1") UPDATE);
    a.ttl_ms = UINT64_MAX;
    query_upsert(&sql, (struct operation *[]){&a}, 1, &terms);
    EXPECT(&sql, INTO "VALUES('a','1','text/plain'," BEGIN("1=a")
                     ROW_END(NOW "+18446744073709551615") UPDATE);
}

static void query_upsert__passes_the_terms_on(void **state)
{
    (void)state;
    struct operation a = put_of("a", "1");
    struct bytes sql = {0};
    query_upsert(&sql, (struct operation *[]){&a}, 1,
                 &(struct query_terms){
                     .id = 1023, .least_us = 0, .most_us = INT64_MAX, .epoch = UINT64_MAX});
    EXPECT(&sql,
           INTO "VALUES('a','1','text/plain',"
                "@sherd_version:=sherd_log('1=a',1023,0,9223372036854775807,18446744073709551615),@"
                "sherd_version" ROW_END("0") UPDATE_TO(RAISED("1023")));
}

// Once a batch, and for each row that gets a version of its own.
static void query_upsert__records_for_whom_it_takes_the_rows(void **state)
{
    (void)state;
    struct operation a = put_of("a", "1"), b = delete_of("b");
    struct bytes sql = {0};
    const struct query_terms diverting = {
        .id = 7, .divert = 3, .least_us = 5, .most_us = 6, .epoch = 8};
    query_upsert(&sql, (struct operation *[]){&a, &b}, 2, &diverting);
    EXPECT(&sql, INTO
           "VALUES('a','1','text/plain',"
           "sherd_diverted(3,@sherd_version:=sherd_log('1=a1-b',7,5,6,8)),@sherd_version" ROW_END(
               "0") ",('b',NULL,''," NEXT ROW_END("0")
               UPDATE_TO("sherd_diverted(3," RAISED("7") ")"));
}

static void query_insert__writes_one_and_updates_none(void **state)
{
    (void)state;
    struct operation a = put_of("a", "1"), b = delete_of("b");
    struct bytes sql = {0};
    query_insert(&sql, &a, &terms);
    EXPECT(&sql, INTO "VALUES('a','1','text/plain'," BEGIN("1=a") ROW_END("0") RETURNING);
    query_insert(&sql, &b, &terms);
    EXPECT(&sql, INTO "VALUES('b',NULL,''," BEGIN("1-b") ROW_END("0") RETURNING);
    query_insert(&sql, &a, &(struct query_terms){7, 3, 5, 6, 8});
    EXPECT(&sql, INTO
           "VALUES('a','1','text/plain',"
           "sherd_diverted(3,@sherd_version:=sherd_log('1=a',7,5,6,8)),@sherd_version" ROW_END("0")
               RETURNING);
}

// expect_where holds what query_replace makes of a precondition.
static void expect_where(const struct precondition *precondition, struct slice where)
{
    struct operation a = put_of("a'", "1");
    struct bytes sql = {0}, expected = {0};
    a.precondition = precondition;
    query_replace(&sql, &a, &terms);
    bytes_append_text(
        &expected,
        INTO "SELECT k,'1','text/plain'," BEGIN(
            "2=a\\'") ",0,@sherd_seq,NULL FROM pairs AS old WHERE k=sherd_here('a\\'',8)");
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
    EXPECT_WHERE(" AND " ALIVE " AND " EFFECTIVE " IN(0,5,18446744073709551615)",
                 .must_exist = true, .must_match = true, .version = {5, UINT64_MAX}, .count = 2);
    // If-None-Match: *
    EXPECT_WHERE(" AND NOT " ALIVE, .must_be_absent = true);
    // If-None-Match: "5", "6"
    EXPECT_WHERE(" AND NOT(" ALIVE " AND " EFFECTIVE " IN(5,6))", .must_differ = true,
                 .version = {5, 6}, .count = 2);
    // If-Unmodified-Since
    EXPECT_WHERE(" AND " ALIVE " AND " EFFECTIVE "<1024000000", .must_exist = true,
                 .below = 1024000000);
}

static void query_replace__matches_nothing_when_no_tag_could_be_a_version(void **state)
{
    (void)state;
    // If-Match: "not-a-version"
    EXPECT_WHERE(" AND " ALIVE " AND " EFFECTIVE " IN(0)", .must_exist = true, .must_match = true);
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
    expect_where(
        &p, SLICE(" AND " ALIVE " AND " EFFECTIVE " IN(0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16)"));
}

static void query_replace__makes_a_tombstone(void **state)
{
    (void)state;
    struct operation a = delete_of("a");
    struct bytes sql = {0};
    a.precondition = &(struct precondition){.must_exist = true};
    query_replace(&sql, &a, &terms);
    EXPECT(&sql, INTO "SELECT k,NULL,''," BEGIN("1-a") ",0,@sherd_seq,NULL FROM pairs AS old"
                                                       " WHERE k=sherd_here('a',8) AND " ALIVE
                                                       " FOR UPDATE" UPDATE);
}

static void query_without_waiting__begins_a_statement(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_without_waiting(&sql);
    EXPECT(&sql, "SET STATEMENT innodb_lock_wait_timeout=0 FOR ");
}

// ---------------------------------------------------------------- applying

// What NEWER reads is assigned last; all but the first assignment see what that has found.
#define NEWER                                                                                      \
    "(VALUES(version)>" EFFECTIVE " OR VALUES(version)=" EFFECTIVE " AND"                          \
    "(VALUES(v) IS NULL AND v IS NOT NULL OR VALUES(v)>v))"
#define IF_NEWER(column) column "=IF(@sherd_newer,VALUES(" column ")," column ")"
#define APPLY                                                                                      \
    " ON DUPLICATE KEY UPDATE seq=IF(@sherd_newer:=" NEWER                                         \
    ",VALUES(seq),seq)," IF_NEWER("type") "," IF_NEWER("created") "," IF_NEWER(                    \
        "expires") "," IF_NEWER("v") "," IF_NEWER("version") "," IF_NEWER("touched")
#define APPLIED " RETURNING k,sherd_applied(k," EFFECTIVE "),created,expires"

static void query_apply__brings_rows_as_they_are(void **state)
{
    (void)state;
    struct operation a = put_of("a'", "1\n"), b = delete_of("b");
    struct bytes sql = {0};
    a.kind = b.kind = OPERATION_APPLY;
    a.stamp = (struct stamp){UINT64_MAX, 2, 3, false};
    b.stamp = (struct stamp){5, 4, 1, true}; // of a tombstone no value is written, whatever it says
    query_apply(&sql, (struct operation *[]){&a}, 1);
    EXPECT(&sql, INTO "VALUES('a\\'','1\\n','text/plain',18446744073709551615,2,3,"
                      "@sherd_seq:=sherd_log_applied('2=a\\'',18446744073709551615,"
                      "18446744073709551615),NULL)" APPLY APPLIED);
    query_apply(&sql, (struct operation *[]){&a, &b}, 2);
    EXPECT(&sql, INTO "VALUES('a\\'','1\\n','text/plain',18446744073709551615,2,3,"
                      "@sherd_seq:=sherd_log_applied('2=a\\'1-b',5,18446744073709551615),NULL),"
                      "('b',NULL,'never/never',5,4,1,@sherd_seq,NULL)" APPLY APPLIED);
}

static void query_applied_row__writes_pairs_and_tombstones(void **state)
{
    (void)state;
    struct pair pair = {.key = SLICE("k'"),
                        .value = SLICE("v'"),
                        .type = SLICE("t'"),
                        .version = 3,
                        .created = 2,
                        .expires = 1};
    struct bytes rows = {0};
    query_applied_row(&rows, &pair); // that it expired long ago makes no tombstone of it
    EXPECT(&rows, "('k\\'','v\\'','t\\'',3,2,1,@sherd_seq,NULL)");
    pair.tombstone = true;
    query_applied_row(&rows, &pair);
    EXPECT(&rows, "('k\\'',NULL,'t\\'',3,2,1,@sherd_seq,NULL)");
}

#define REMOVED_LATER                                                                              \
    ";IF EXISTS(SELECT 1 FROM removed JOIN pairs USING(k)"                                         \
    " WHERE seq=@sherd_seq AND touched IS NULL AND pairs.version<=removed.version)THEN"            \
    " SIGNAL SQLSTATE'45000'SET MYSQL_ERRNO=30003,MESSAGE_TEXT='SQL removed the row later';"       \
    "END IF;"

static void query_applying__logs_one_entry_for_all_rows(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_applying(&sql, SLICE("(1),(2)"), SLICE("1=a1-b"), UINT64_MAX);
    EXPECT(&sql, "SET @sherd_seq=sherd_log_applied('1=a1-b',18446744073709551615,"
                 "18446744073709551615);" INTO "VALUES(1),(2)" APPLY REMOVED_LATER);
}

static void query_applying__logs_nothing_without_an_entry(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_applying(&sql, SLICE("(1)"), (struct slice){0}, 9);
    EXPECT(&sql, "SET @sherd_seq=sherd_log_applied(NULL,18446744073709551615,9);" INTO
                 "VALUES(1)" APPLY REMOVED_LATER);
}

// ---------------------------------------------------------------- rows that SQL wrote

static void query_unstamped__goes_on_behind_a_row(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_unstamped(&sql, (struct slice){0}, (struct slice){0}, 500);
    EXPECT(&sql, "SELECT touched,k,v IS NULL FROM pairs FORCE INDEX(touched)WHERE "
                 "touched IS NOT NULL ORDER BY touched,k LIMIT 500 FOR UPDATE SKIP LOCKED");
    query_unstamped(&sql, SLICE("2026-11-28 04:50:27.123456"), SLICE("k'"), 9);
    EXPECT(&sql, "SELECT touched,k,v IS NULL FROM pairs FORCE INDEX(touched)WHERE "
                 "(touched>'2026-11-28 04:50:27.123456' OR touched='2026-11-28 04:50:27.123456'"
                 " AND k>'k\\'') ORDER BY touched,k LIMIT 9 FOR UPDATE SKIP LOCKED");
}

#define BLOCK                                                                                      \
    "BEGIN NOT ATOMIC DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK;RESIGNAL;END;"          \
    "START TRANSACTION;"

#define GIVEN                                                                                      \
    "GREATEST(" UNSTAMPED_US(                                                                      \
        "pairs.") ",IFNULL((SELECT floor>>10 FROM sherd_partition),0),IFNULL((SELECT"              \
                  "(removed.version>>10)+1 FROM removed WHERE removed.k=pairs.k),0))<<10"
#define STAMPED(created)                                                                           \
    " SET pairs.version=" GIVEN ",created=IF(created,created," created "),seq=@sherd_seq,"         \
    "touched=NULL WHERE touched IS NOT NULL AND k IN"
#define STAMPS "sherd_log('2=a\\'1-b',7,0,18446744073709551615,NULL)"

static const struct slice stamped_keys[] = {{"a'", 2}, {"b", 1}};
static const bool stamped_tombstones[] = {false, true};

// What an UPDATE with a JOIN assigns it computes from the row as it was.
static void query_stamp__gives_each_row_its_version(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_stamp(&sql, 7, stamped_keys, stamped_tombstones, 2);
    EXPECT(&sql, "UPDATE pairs FORCE INDEX(PRIMARY)JOIN(SELECT " STAMPS
                 "AS given)AS entry" STAMPED(GIVEN) "('a\\'','b')");
}

static void query_stamp_block__does_the_same_as_a_whole(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_stamp_block(&sql, 7, stamped_keys, stamped_tombstones, 2);
    EXPECT(&sql, BLOCK "SET @sherd_version=" STAMPS
                       ";UPDATE pairs" STAMPED("pairs.version") "('a\\'','b');COMMIT;END");
}

static void query_bury__tells_how_many_notes_went(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_bury(&sql, 1023, SLICE("a'"), 1);
    EXPECT(&sql, "SELECT sherd_bury(1023,'a\\'',1)");
    query_unburied(&sql, SLICE(""), 500);
    EXPECT(&sql, "SELECT k FROM removed WHERE k>'' ORDER BY k LIMIT 500");
}

// ---------------------------------------------------------------- the log

static void query_check__asks_for_the_nine_fields_of_row_check(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_check(&sql);
    EXPECT(&sql, "SELECT (SELECT MAX(version) FROM sherd_schema),sherd_triggers(),"
                 "@@GLOBAL.innodb_flush_log_at_trx_commit,@@GLOBAL.max_allowed_packet,"
                 "@@GLOBAL.read_only,@@character_set_client='binary',"
                 "@@GLOBAL.log_bin AND @@GLOBAL.binlog_format='STATEMENT',"
                 "(SELECT COUNT(*) FROM (SELECT k,v,type,version,created,expires,seq,hash,touched,"
                 "ends FROM pairs LIMIT 0) AS p)"
                 "+(SELECT COUNT(*) FROM (SELECT seq,op,version,ks FROM changes LIMIT 0) AS c)"
                 "+(SELECT COUNT(*) FROM (SELECT k,version FROM removed LIMIT 0) AS r)"
                 "+(SELECT COUNT(*) FROM (SELECT target,writer,version FROM diverts LIMIT 0) AS d)"
                 "+(SELECT COUNT(*) FROM (SELECT source,pass,high,gaps,marked,frontier"
                 " FROM cursors LIMIT 0) AS u)"
                 "+(SELECT COUNT(*) FROM (SELECT one,id,seeded,ring,pass,floor,token,verified,"
                 "trimmed FROM sherd_partition LIMIT 0) AS s)"
                 "+(SELECT COUNT(*) FROM (SELECT one,store,epoch,phase,members,replicas,"
                 "other_members,other_replicas,gone,since FROM placement LIMIT 0) AS l)"
                 "+(SELECT COUNT(*) FROM (SELECT id,host,pid,version,epoch,reaches,seen"
                 " FROM servers LIMIT 0) AS v)," NOW_US);
}

static const struct placement placement = {.store = "00000000-0000-4000-8000-000000000000",
                                           .epoch = 7,
                                           .phase = PLACEMENT_MOVING,
                                           .now = {.replicas = 2, .weight = {1, 0, 3}},
                                           .other = {.weight = {1, 1}},
                                           .gone = {[3] = true, [4] = true}};
#define PLACED                                                                                     \
    " INTO placement(store,phase,members,replicas,other_members,other_replicas,gone,since,epoch)"  \
    "VALUES('00000000-0000-4000-8000-000000000000','moving','1:1 3:3',2,'1:1 2:1',0,'4 5'," NOW    \
    ",7)"
#define LATER(column)                                                                              \
    column "=IF(placement.store=VALUES(store)AND placement.epoch<VALUES(epoch),VALUES(" column     \
           ")," column "),"

static void query_place__replaces_an_older_one_of_the_store(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_place(&sql, &placement);
    EXPECT(&sql, "INSERT" PLACED " ON DUPLICATE KEY UPDATE " LATER("phase") LATER("members")
                     LATER("replicas") LATER("other_members") LATER("other_replicas") LATER("gone")
                         LATER("since") "epoch=IF(placement.store=VALUES(store),"
                                        "GREATEST(epoch,VALUES(epoch)),epoch)");
    query_place_first(&sql, &placement);
    EXPECT(&sql, "INSERT IGNORE" PLACED);
    query_placement(&sql);
    EXPECT(&sql, "SELECT store,epoch,phase,members,replicas,other_members,other_replicas,gone"
                 " FROM placement");
}

static void query_report__quotes_what_a_host_may_be_called(void **state)
{
    (void)state;
    struct bytes sql = {0};
    const struct query_server server = {.id = 9,
                                        .host = SLICE("a'"),
                                        .pid = 4,
                                        .version = SLICE("1"),
                                        .epoch = 7,
                                        .reaches = SLICE("1 3")};
    query_report(&sql, &server);
    EXPECT(&sql, "REPLACE INTO servers(id,host,pid,version,epoch,reaches,seen)"
                 "VALUES(9,'a\\'',4,'1',7,'1 3'," NOW ")");
    query_report_end(&sql, 9);
    EXPECT(&sql, "DELETE FROM servers WHERE id=9 OR seen<" NOW "-86400000");
    query_servers(&sql, 30);
    EXPECT(&sql, "SELECT id,host,pid,epoch,reaches FROM servers WHERE seen>" NOW "-30000");
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

// What is to stamp or to bury now, told with each page.
#define UNSETTLED                                                                                  \
    "EXISTS(SELECT 1 FROM pairs WHERE touched IS NOT NULL)+"                                       \
    "2*EXISTS(SELECT 1 FROM removed WHERE version>>10<" NOW_US "+4000000)"
#define FEED                                                                                       \
    LOG_SAYS "," UNSETTLED " FROM changes UNION ALL"                                               \
             "(SELECT seq,op,version,0,ks FROM changes WHERE seq>7"

static void query_feed__asks_for_entries(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_feed(&sql, 7, 0);
    query_limit(&sql, 200);
    query_feed_end(&sql);
    EXPECT(&sql, FEED " ORDER BY seq LIMIT 200)");
    query_feed(&sql, 7, 30);
    query_or_between(&sql, 3, 4);
    query_limit(&sql, 5);
    query_feed_end(&sql);
    EXPECT(&sql, FEED " AND seq<=30 OR seq BETWEEN 3 AND 4 ORDER BY seq LIMIT 5)");
}

static void query_feed_rows__asks_which_entry_speaks_for_each_row(void **state)
{
    (void)state;
    static const struct slice keys[] = {{"a'", 2}, {"b", 1}};
    struct bytes sql = {0};
    query_feed_rows(&sql, keys, 2, false);
    EXPECT(&sql, "SELECT k,IF(touched IS NULL,seq,0),version,ends,type,NULL"
                 " FROM pairs WHERE k IN('a\\'','b') UNION ALL SELECT k,0,version,1,'',NULL"
                 " FROM removed WHERE k IN('a\\'','b')");
    query_feed_rows(&sql, keys, 1, true);
    EXPECT(&sql, "SELECT k,IF(touched IS NULL,seq,0),version,ends,type,"
                 "IF(LENGTH(v)<=65536,v,NULL) FROM pairs WHERE k IN('a\\'')"
                 " UNION ALL SELECT k,0,version,1,'',NULL FROM removed WHERE k IN('a\\'')");
}

#define CHANGES "SELECT seq,op,IF(op=1,ks,'')FROM changes WHERE "

static void query_changes__leaves_out_keys_of_echoes(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_changes(&sql, 7, 30, 9);
    EXPECT(&sql, CHANGES "seq>7 AND seq<=30 ORDER BY seq LIMIT 9");
    query_missing(&sql, 7);
    query_or_between(&sql, 3, 4);
    query_limit(&sql, 9);
    EXPECT(&sql, CHANGES "seq>7 AND(FALSE OR seq BETWEEN 3 AND 4 ORDER BY seq LIMIT 9");
}

static void query_mark__writes_nothing_without_the_token(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_mark(&sql, UINT64_MAX);
    EXPECT(&sql, "INSERT INTO changes(op,version,ks)SELECT 0,0,'' FROM sherd_partition"
                 " WHERE token=18446744073709551615 RETURNING seq," NOW);
    query_last(&sql);
    EXPECT(&sql, "SELECT IFNULL(MAX(seq),0)," NOW " FROM changes");
}

static void query_sweep__deletes_what_lies_in_slots(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_sweep(&sql, &(struct query_range){SLICE("a"), SLICE("b'")}, SLICE("01"), 9);
    EXPECT(&sql, "DELETE FROM removed WHERE k>'a' AND k<='b\\'' AND version<=(SELECT version FROM"
                 " pairs WHERE pairs.k=removed.k AND touched IS NULL)"
                 " AND SUBSTR('01',(CRC32(k)&16383)+1,1)='1';"
                 "DELETE FROM pairs WHERE k>'a' AND k<='b\\'' AND touched IS NULL AND"
                 "(seq<=9 OR NOT EXISTS(SELECT 1 FROM changes"
                 " WHERE changes.seq=pairs.seq AND op=1))"
                 " AND SUBSTR('01',(CRC32(k)&16383)+1,1)='1';");
}

static void query_log_head__and_query_trim_work_at_the_beginning(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_log_head(&sql, 9);
    EXPECT(&sql, "SELECT seq,version,op FROM changes ORDER BY seq LIMIT 9");
    query_trim(&sql, 7);
    EXPECT(&sql, "DELETE FROM changes WHERE seq<=7;"
                 "UPDATE sherd_partition SET trimmed=GREATEST(trimmed,7);");
}

static void query_waiting__counts_what_was_written_here(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_waiting(&sql, 1025, 9);
    EXPECT(&sql, "SELECT COUNT(*)FROM(SELECT 1 FROM changes WHERE op=1"
                 " AND version>=1025 LIMIT 9)AS some");
}

#define FILL                                                                                       \
    "SET STATEMENT innodb_lock_wait_timeout=0 FOR INSERT IGNORE INTO changes(seq,op,version,ks)"   \
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

// ---------------------------------------------------------------- of sync

static void query_sync_session__lets_nobody_hear_of_its_deletions(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_sync_session(&sql, 0);
    EXPECT(&sql, "SET SESSION innodb_lock_wait_timeout=1,idle_transaction_timeout=10,"
                 "@sherd_purges=1");
    query_sync_session(&sql, 20);
    EXPECT(&sql, "SET SESSION innodb_lock_wait_timeout=1,idle_transaction_timeout=10,"
                 "@sherd_purges=1,wait_timeout=20");
}

static void query_guard__begins_a_block_that_ends_for_an_older_sync(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_guard(&sql, 9);
    query_commit(&sql);
    EXPECT(&sql,
           BLOCK "IF(SELECT COUNT(*)FROM sherd_partition WHERE token=9 LOCK IN SHARE MODE)=0 THEN"
                 " SIGNAL SQLSTATE'45000'SET MYSQL_ERRNO=30010,"
                 "MESSAGE_TEXT='a newer sync took over';END IF;COMMIT;END");
}

static void query_set_verified__keeps_a_key(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_set_verified(&sql, SLICE("k'\0"));
    EXPECT(&sql, "UPDATE sherd_partition SET verified='k\\'\\0';");
    query_set_verified(&sql, (struct slice){0});
    EXPECT(&sql, "UPDATE sherd_partition SET verified='';");
    query_set_id(&sql, 3);
    EXPECT(&sql, "UPDATE sherd_partition SET id=3,seeded=0,ring=0,pass=0,verified='';"
                 "DELETE FROM cursors;DELETE FROM diverts;");
}

static void query_itself__asks_for_eight_fields(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_itself(&sql);
    EXPECT(&sql, "SELECT one IS NOT NULL,IFNULL(id,0),IFNULL(seeded,0),IFNULL(ring,0),"
                 "IFNULL(pass,0),IFNULL(floor,0)," NOW_US ",IFNULL(verified,'')"
                 " FROM(SELECT 1)AS one_row LEFT JOIN sherd_partition ON one=1");
}

#define ROWS_OF(value, len)                                                                        \
    "SELECT k," value "," len ",type," EFFECTIVE "," CREATED ",expires FROM pairs WHERE "
#define ROWS ROWS_OF("IF(LENGTH(v)<=65536,v,NULL)", "LENGTH(v)")

static void query_rows__names_each_key(void **state)
{
    (void)state;
    static const struct slice keys[] = {{"a'", 2}, {"b", 1}};
    struct bytes sql = {0};
    query_versions(&sql, keys, 2);
    EXPECT(&sql, "SELECT k," EFFECTIVE " FROM pairs WHERE k IN('a\\'','b')");
    query_rows(&sql, keys, 2, false);
    EXPECT(&sql, ROWS "k IN('a\\'','b')ORDER BY k");
    query_rows(&sql, keys, 1, true);
    EXPECT(&sql, ROWS_OF("v", "NULL") "k IN('a\\'')ORDER BY k");
    query_removed(&sql, keys, 2);
    EXPECT(&sql, "SELECT COUNT(*)FROM removed WHERE k IN('a\\'','b')");
}

static void query_rows_after__reads_on_to_the_end_or_a_key(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_rows_after(&sql, SLICE("a'"), (struct slice){0}, (struct slice){0}, 9);
    EXPECT(&sql, ROWS "k>'a\\'' ORDER BY k LIMIT 9");
    query_rows_after(&sql, SLICE("a"), SLICE("b'"), SLICE("01"), 9);
    EXPECT(&sql, ROWS "k>'a' AND k<='b\\'' AND SUBSTR('01',(hash&16383)+1,1)='1'"
                      " ORDER BY k LIMIT 9");
}

static void query_unsettled__counts_rows_and_notes(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_unsettled(&sql);
    EXPECT(&sql, "SELECT(SELECT COUNT(*)FROM(SELECT 1 FROM pairs WHERE touched IS NOT NULL"
                 " LIMIT 500)AS a),(SELECT COUNT(*)FROM(SELECT 1 FROM removed LIMIT 500)AS b)");
    query_no_pairs(&sql);
    EXPECT(&sql, "SELECT NOT EXISTS(SELECT 1 FROM pairs)");
}

// ---------------------------------------------------------------- comparing

static const struct query_range whole, part = {{"a'", 2}, {"b'", 2}};

#define PART         "k>'a\\'' AND k<='b\\''"
#define DIGEST       "BIT_XOR(CRC32(k)*CRC32(CONCAT(version,k))),SUM(hash<>CRC32(k))"
#define FROM_PRIMARY "FROM pairs FORCE INDEX(PRIMARY)WHERE "
// Of version 2048000, which is 2000 us or 2 ms.
#define DEAD "(ends BETWEEN 1 AND 2 AND version<2048000 AND touched IS NULL)"

static void query_border__counts_keys_of_a_range(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_border(&sql, &whole, 1);
    EXPECT(&sql, "SELECT k " FROM_PRIMARY "k>'' ORDER BY k LIMIT 0,1");
    query_border(&sql, &part, 4000);
    EXPECT(&sql, "SELECT k " FROM_PRIMARY PART " ORDER BY k LIMIT 3999,1");
    query_estimate(&sql);
    EXPECT(&sql,
           "SELECT IFNULL(table_rows,0),IFNULL(avg_row_length,0)FROM information_schema.tables"
           " WHERE table_schema=DATABASE()AND table_name='pairs'");
}

static void query_digest__leaves_out_what_is_long_dead(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_digest(&sql, &whole, (struct slice){0}, 0);
    EXPECT(&sql, "SELECT 0,COUNT(*)," DIGEST FROM_PRIMARY "k>'' AND version>0");
    query_digest(&sql, &part, (struct slice){0}, 2000 << 10);
    EXPECT(&sql, "SELECT 0,COUNT(*)," DIGEST FROM_PRIMARY PART " AND version>0 AND NOT" DEAD);
}

// Two bytes a slot, which may be any.
static void query_digest__parts_the_classes_of_the_slots(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_digest(&sql, &part, SLICE("\0\1\0'\0\\"), 2000 << 10);
    EXPECT(&sql,
           "SELECT CONV(HEX(SUBSTR('\\0\1\\0\\'\\0\\\\',(hash&16383)*2+1,2)),16,10)AS class"
           ",COUNT(*)," DIGEST FROM_PRIMARY PART " AND version>0 AND NOT" DEAD " GROUP BY class");
}

static void query_wrong__names_what_query_mend_corrects(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_wrong(&sql, &part, 9);
    EXPECT(&sql, "SELECT k " FROM_PRIMARY PART " AND hash<>CRC32(k) ORDER BY k LIMIT 9");
    query_mend(&sql, &whole);
    EXPECT(&sql, "UPDATE pairs SET hash=CRC32(k),touched=touched WHERE k>'' AND hash<>CRC32(k);");
}

static void query_list__names_the_rows_of_a_range(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_list(&sql, &whole, 0);
    EXPECT(&sql, "SELECT k,version " FROM_PRIMARY "k>'' AND version>0 ORDER BY k");
    query_list(&sql, &part, 2000 << 10);
    EXPECT(&sql, "SELECT k,version " FROM_PRIMARY PART " AND version>0 AND NOT" DEAD " ORDER BY k");
}

// Written before entry 77 of the log, or before a log that was emptied.
#define OLD    "(seq<=77 OR NOT EXISTS(SELECT 1 FROM changes WHERE changes.seq=pairs.seq AND op=1))"
#define PURGED DEAD " AND" OLD

static void query_purge__takes_only_what_is_long_dead(void **state)
{
    (void)state;
    struct bytes sql = {0};
    query_dead(&sql, 2000 << 10, 77);
    EXPECT(&sql, "SELECT COUNT(*)FROM pairs FORCE INDEX(ends)WHERE " PURGED);
    query_purge(&sql, 2000 << 10, 77, 100);
    EXPECT(&sql, "DELETE FROM pairs WHERE " PURGED " LIMIT 100;");
}

// A note may be older than the row that was there.
static void query_drop__takes_only_the_versions_it_names(void **state)
{
    (void)state;
    static const struct slice keys[] = {{"a'", 2}, {"b", 1}};
    static const uint64_t versions[] = {5, UINT64_MAX};
    struct bytes sql = {0};
    query_drop(&sql, keys, versions, 2, 77);
    EXPECT(&sql, "DELETE FROM pairs WHERE touched IS NULL AND" OLD " AND("
                 "k='a\\'' AND version=5 OR k='b' AND version=18446744073709551615);"
                 "DELETE FROM removed WHERE "
                 "k='a\\'' AND version<=5 OR k='b' AND version<=18446744073709551615;");
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
        cmocka_unit_test(query_select__leaves_out_what_is_dead_only_if_asked),
        cmocka_unit_test(query_page__reads_from_after_a_key),
        cmocka_unit_test(query_page__with_dead_shows_tombstones_and_removed_rows),
        cmocka_unit_test(query_look__reads_rows_whatever_they_are),
        cmocka_unit_test(query_watch__asks_for_all_that_outlook_needs),
        cmocka_unit_test(query_claim__changes_no_partition_that_knows_itself),
        cmocka_unit_test(query_entry_key__says_length_kind_and_key),
        cmocka_unit_test(query_entry_key__escapes_what_the_literal_would_end_at),
        cmocka_unit_test(query_entry_key__keeps_every_byte_of_every_key),
        cmocka_unit_test(query_upsert__writes_pairs_and_tombstones),
        cmocka_unit_test(query_upsert__quotes_key_value_and_type),
        cmocka_unit_test(query_upsert__expires_by_the_partition_s_clock),
        cmocka_unit_test(query_upsert__passes_the_terms_on),
        cmocka_unit_test(query_upsert__records_for_whom_it_takes_the_rows),
        cmocka_unit_test(query_insert__writes_one_and_updates_none),
        cmocka_unit_test(query_replace__says_each_precondition),
        cmocka_unit_test(query_replace__matches_nothing_when_no_tag_could_be_a_version),
        cmocka_unit_test(query_replace__takes_sixteen_versions),
        cmocka_unit_test(query_replace__makes_a_tombstone),
        cmocka_unit_test(query_without_waiting__begins_a_statement),
        cmocka_unit_test(query_apply__brings_rows_as_they_are),
        cmocka_unit_test(query_applied_row__writes_pairs_and_tombstones),
        cmocka_unit_test(query_applying__logs_one_entry_for_all_rows),
        cmocka_unit_test(query_applying__logs_nothing_without_an_entry),
        cmocka_unit_test(query_unstamped__goes_on_behind_a_row),
        cmocka_unit_test(query_stamp__gives_each_row_its_version),
        cmocka_unit_test(query_stamp_block__does_the_same_as_a_whole),
        cmocka_unit_test(query_bury__tells_how_many_notes_went),
        cmocka_unit_test(query_check__asks_for_the_nine_fields_of_row_check),
        cmocka_unit_test(query_place__replaces_an_older_one_of_the_store),
        cmocka_unit_test(query_report__quotes_what_a_host_may_be_called),
        cmocka_unit_test(query_log_ends__asks_what_a_log_says_of_itself),
        cmocka_unit_test(query_log_gaps__asks_for_what_is_missing),
        cmocka_unit_test(query_feed__asks_for_entries),
        cmocka_unit_test(query_feed_rows__asks_which_entry_speaks_for_each_row),
        cmocka_unit_test(query_changes__leaves_out_keys_of_echoes),
        cmocka_unit_test(query_mark__writes_nothing_without_the_token),
        cmocka_unit_test(query_sweep__deletes_what_lies_in_slots),
        cmocka_unit_test(query_log_head__and_query_trim_work_at_the_beginning),
        cmocka_unit_test(query_waiting__counts_what_was_written_here),
        cmocka_unit_test(query_fill__writes_a_filler_for_each_number),
        cmocka_unit_test(query_sync_session__lets_nobody_hear_of_its_deletions),
        cmocka_unit_test(query_guard__begins_a_block_that_ends_for_an_older_sync),
        cmocka_unit_test(query_set_verified__keeps_a_key),
        cmocka_unit_test(query_itself__asks_for_eight_fields),
        cmocka_unit_test(query_rows__names_each_key),
        cmocka_unit_test(query_rows_after__reads_on_to_the_end_or_a_key),
        cmocka_unit_test(query_unsettled__counts_rows_and_notes),
        cmocka_unit_test(query_border__counts_keys_of_a_range),
        cmocka_unit_test(query_digest__leaves_out_what_is_long_dead),
        cmocka_unit_test(query_digest__parts_the_classes_of_the_slots),
        cmocka_unit_test(query_wrong__names_what_query_mend_corrects),
        cmocka_unit_test(query_list__names_the_rows_of_a_range),
        cmocka_unit_test(query_purge__takes_only_what_is_long_dead),
        cmocka_unit_test(query_drop__takes_only_the_versions_it_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
