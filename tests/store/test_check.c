// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/check.h"
#include "store/query.h"

enum {
    NEEDED = 16 * 1024 * 1024,
};

static struct check good(void)
{
    return (struct check){
        .schema_version = QUERY_SCHEMA_VERSION,
        .triggers = QUERY_TRIGGERS,
        .flush_at_commit = 1,
        .max_packet = NEEDED,
        .binary = 1,
    };
}

// expect holds that the problem of `check` names all of `parts`; without parts, that there is none.
static void expect(struct check check, const char *const *parts)
{
    struct bytes why = {0};
    check_problem(&check, NEEDED, &why);
    assert_false(bytes_failed(&why));
    if (!parts)
        assert_int_equal(why.len, 0);
    for (; parts && *parts; parts++)
        if (why.len == 0 || !memmem(why.data, why.len, *parts, strlen(*parts)))
            fail_msg("\"%.*s\" does not say \"%s\"", (int)why.len, why.data ? why.data : "",
                     *parts);
    bytes_fini(&why);
}

#define EXPECT(check, ...) expect((check), (const char *const[]){__VA_ARGS__, NULL})

static void check_problem__is_silent_about_what_works(void **state)
{
    (void)state;
    struct check check = good();
    expect(check, NULL);
    check.max_packet = UINT64_MAX;
    expect(check, NULL);
    check.read_only = 1; // reads are served
    expect(check, NULL);
    check = good();
    check.flush_at_commit = 2; // works, and is told elsewhere
    expect(check, NULL);
}

static void check_problem__names_the_schema(void **state)
{
    (void)state;
    struct check check = good();
    check.schema_version = 0;
    EXPECT(check, "schema version is 0", "database_definition.sql");
    check.schema_version = QUERY_SCHEMA_VERSION + 1;
    EXPECT(check, "schema version is 5", "needs 4");
}

// Older schemas had five. None but that may be gone, and none may be there under another name.
static void check_problem__names_the_trigger(void **state)
{
    (void)state;
    struct check check = good();
    assert_int_equal(QUERY_TRIGGERS, 1);
    check.triggers = QUERY_TRIGGERS - 1;
    EXPECT(check, "the trigger pairs_after_delete is not there", "database_definition.sql");
    check.triggers = QUERY_TRIGGERS + 1;
    EXPECT(check, "pairs_after_delete", "database_definition.sql");
}

static void check_problem__names_both_sides_of_the_packet(void **state)
{
    (void)state;
    struct check check = good();
    check.max_packet = NEEDED - 1;
    EXPECT(check, "max_allowed_packet is 16777215", "max_value needs 16777216");
}

static void check_problem__wants_binary_and_no_statement_log(void **state)
{
    (void)state;
    struct check check = good();
    check.binary = 0;
    EXPECT(check, "binary", "skip-character-set-client-handshake");
    check = good();
    check.statement_log = 1;
    EXPECT(check, "binlog_format", "MIXED or ROW");
}

static void check_problem__tells_one_thing_at_a_time(void **state)
{
    (void)state;
    struct bytes why = {0};
    struct check nothing = {0};
    check_problem(&nothing, NEEDED, &why);
    assert_non_null(memmem(why.data, why.len, "schema", 6));
    assert_null(memmem(why.data, why.len, "max_allowed_packet", 18));
    bytes_fini(&why);
}

static void check_code_is_final__parts_what_is_wrong_from_what_is_away(void **state)
{
    (void)state;
    // Account, database, table, column, function and definer; then a client without the plugin.
    static const unsigned final[] = {1044, 1045, 1049, 1054, 1142, 1143, 1146,
                                     1193, 1251, 1305, 1370, 1449, 1698, 2059};
    // Too many connections, shutdown, no route, gone, lost, disk full, locked, killed.
    static const unsigned passing[] = {0,    1040, 1053, 1129, 1203, 1021, 1205, 1317,
                                       1927, 2002, 2003, 2006, 2013, 2026, 9999, 4294967295};
    for (size_t i = 0; i < sizeof final / sizeof final[0]; i++)
        assert_true(check_code_is_final(final[i]));
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++)
        assert_false(check_code_is_final(passing[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_problem__is_silent_about_what_works),
        cmocka_unit_test(check_problem__names_the_schema),
        cmocka_unit_test(check_problem__names_the_trigger),
        cmocka_unit_test(check_problem__names_both_sides_of_the_packet),
        cmocka_unit_test(check_problem__wants_binary_and_no_statement_log),
        cmocka_unit_test(check_problem__tells_one_thing_at_a_time),
        cmocka_unit_test(check_code_is_final__parts_what_is_wrong_from_what_is_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
