// SPDX-License-Identifier: MIT
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/target.h"

#define DECODES(text, plain) check_decodes(SLICE(text), SLICE(plain))

static void check_decodes(struct slice text, struct slice plain)
{
    char out[600];
    size_t len = 0;
    assert_int_equal(target_decode(text, out, sizeof out, &len), ERROR_NONE);
    assert_true(slice_equal((struct slice){out, len}, plain));
}

static void check_split(const char *target, const char *path, const char *query)
{
    struct slice p, q;
    target_split(slice_of(target), &p, &q);
    assert_true(slice_equal(p, slice_of(path)));
    assert_int_equal(q.data != NULL, query != NULL);
    if (query)
        assert_true(slice_equal(q, slice_of(query)));
}

static void target_split__cuts_at_the_first_question_mark(void **state)
{
    (void)state;
    check_split("/", "/", NULL);
    check_split("/a/b", "/a/b", NULL);
    check_split("/a?", "/a", "");
    check_split("/a?b=c", "/a", "b=c");
    check_split("/a?b?c", "/a", "b?c");
    check_split("/a%3Fb", "/a%3Fb", NULL);
    check_split("/a/../b//", "/a/../b//", NULL);
    check_split("*", "*", NULL);
}

static void target_split__makes_an_empty_path_the_root(void **state)
{
    (void)state;
    check_split("", "/", NULL);
    check_split("?a", "/", "a");
    struct slice path, query;
    target_split((struct slice){NULL, 0}, &path, &query);
    assert_true(slice_equal(path, SLICE("/")));
    assert_null(query.data);
}

static void target_decode__decodes_once(void **state)
{
    (void)state;
    DECODES("", "");
    DECODES("abc", "abc");
    DECODES("%41%5a%5A", "AZZ");
    DECODES("a%20b", "a b");
    DECODES("a+b", "a+b");
    DECODES("%2B", "+");
    DECODES("%2525", "%25");
    DECODES("%252F", "%2F");
    DECODES("a/b%2Fc", "a/b/c");
    DECODES("%00", "\0");
    DECODES("%ff%FF", "\xff\xff");
    DECODES("\x80\xff", "\x80\xff");
    DECODES(".././/%2e%2e", ".././/..");
}

static void target_decode__refuses_half_an_escape(void **state)
{
    (void)state;
    static const char *const bad[] = {"%",    "%4",  "a%",  "a%4", "%zz",  "%4z",   "%z4", "%%",
                                      "%%41", "% 4", "%4 ", "%-1", "%+1",  "%0x",   "%:0", "%@0",
                                      "%G0",  "%/0", "%`0", "%g0", "%41%", "%u0041"};
    char out[100];
    size_t len = 99;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(target_decode(slice_of(bad[i]), out, sizeof out, &len), ERROR_MALFORMED);
    // Cut by the length, though the digits follow in memory.
    assert_int_equal(target_decode((struct slice){"%41", 2}, out, sizeof out, &len),
                     ERROR_MALFORMED);
    assert_int_equal(len, 99);
}

static void target_decode__bounds_what_it_writes(void **state)
{
    (void)state;
    char out[4] = {'w', 'x', 'y', 'z'};
    size_t len = 99;
    assert_int_equal(target_decode(SLICE("abcd"), out, 3, &len), ERROR_TOO_LARGE);
    assert_int_equal(len, 99);
    assert_int_equal(out[3], 'z');
    assert_int_equal(target_decode(SLICE("%41%42%43"), out, 3, &len), ERROR_NONE);
    assert_int_equal(len, 3);
    assert_int_equal(target_decode(SLICE("a"), out, 0, &len), ERROR_TOO_LARGE);
    assert_int_equal(target_decode(SLICE(""), out, 0, &len), ERROR_NONE);
    assert_int_equal(len, 0);
    assert_int_equal(target_decode(SLICE("abcd%"), out, 3, &len), ERROR_MALFORMED);
}

static void check_encodes(void (*encode)(struct bytes *, struct slice), struct slice plain,
                          struct slice text)
{
    struct bytes out = {0};
    bytes_append_text(&out, "<");
    encode(&out, plain);
    assert_false(bytes_failed(&out));
    assert_true(out.len == text.len + 1 && memcmp(out.data + 1, text.data, text.len) == 0);
    bytes_fini(&out);
}

static void target_encode__keeps_unreserved_characters_and_slash(void **state)
{
    (void)state;
    check_encodes(target_encode, SLICE(""), SLICE(""));
    check_encodes(target_encode, SLICE("azAZ09-._~/"), SLICE("azAZ09-._~/"));
    check_encodes(target_encode, SLICE("a b"), SLICE("a%20b"));
    check_encodes(target_encode, SLICE("\0\x1f\x7f\x80\xff"), SLICE("%00%1F%7F%80%FF"));
    check_encodes(target_encode, SLICE("%+&=?#:@"), SLICE("%25%2B%26%3D%3F%23%3A%40"));
    check_encodes(target_encode, SLICE("!$'()*,;[]"), SLICE("%21%24%27%28%29%2A%2C%3B%5B%5D"));
    check_encodes(target_encode, SLICE("\"<>\\^`{|}"), SLICE("%22%3C%3E%5C%5E%60%7B%7C%7D"));
}

static void target_encode_printable__escapes_what_does_not_print(void **state)
{
    (void)state;
    check_encodes(target_encode_printable, SLICE("a b\"<>/?#~ "), SLICE("a b\"<>/?#~ "));
    check_encodes(target_encode_printable, SLICE("100%"), SLICE("100%25"));
    check_encodes(target_encode_printable, SLICE("\n\r\t\0\x1b"), SLICE("%0A%0D%09%00%1B"));
    check_encodes(target_encode_printable, SLICE("\x7f\x80\xc3\xa4"), SLICE("%7F%80%C3%A4"));
}

static void target_encode__is_undone_by_decode(void **state)
{
    (void)state;
    char all[256];
    for (int c = 0; c < 256; c++)
        all[c] = (char)c;
    struct bytes out = {0};
    target_encode(&out, (struct slice){all, sizeof all});
    check_decodes(bytes_slice(&out), (struct slice){all, sizeof all});
    bytes_clear(&out);
    target_encode_printable(&out, (struct slice){all, sizeof all});
    check_decodes(bytes_slice(&out), (struct slice){all, sizeof all});
    bytes_fini(&out);
}

static void check_next(struct slice *query, const char *name, const char *value)
{
    struct slice n, v;
    assert_true(target_query_next(query, &n, &v));
    assert_true(slice_equal(n, slice_of(name)));
    assert_int_equal(v.data != NULL, value != NULL);
    if (value)
        assert_true(slice_equal(v, slice_of(value)));
}

static void target_query_next__walks_over_parameters(void **state)
{
    (void)state;
    struct slice query = SLICE("a=1&b=&c&=d&e=f=g&h%3D=%26+&&;i=j;k");
    struct slice name, value;
    check_next(&query, "a", "1");
    check_next(&query, "b", "");
    check_next(&query, "c", NULL);
    check_next(&query, "", "d");
    check_next(&query, "e", "f=g");
    check_next(&query, "h%3D", "%26+");
    check_next(&query, ";i", "j;k");
    assert_false(target_query_next(&query, &name, &value));
    assert_false(target_query_next(&query, &name, &value));
}

static void target_query_next__finds_nothing_in_nothing(void **state)
{
    (void)state;
    static const struct slice empty[] = {{NULL, 0}, {"", 0}, {"&", 1}, {"&&&", 3}};
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        struct slice query = empty[i], name, value;
        assert_false(target_query_next(&query, &name, &value));
    }
}

static void target_query_which__takes_each_name_once_with_a_value(void **state)
{
    (void)state;
    static const struct slice names[] = {{"a", 1}, {"bc", 2}};
    const struct slice value = SLICE("1"), empty = SLICE(""), none = {0};
    unsigned seen = 0;
    assert_int_equal(target_query_which(names, 2, SLICE("b"), value, &seen), 2);
    assert_int_equal(target_query_which(names, 2, SLICE("bc"), none, &seen), 2);
    assert_int_equal(seen, 0);
    assert_int_equal(target_query_which(names, 2, SLICE("bc"), empty, &seen), 1);
    assert_int_equal(target_query_which(names, 2, SLICE("bc"), value, &seen), 2);
    assert_int_equal(target_query_which(names, 2, SLICE("a"), value, &seen), 0);
    assert_int_equal(seen, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(target_split__cuts_at_the_first_question_mark),
        cmocka_unit_test(target_split__makes_an_empty_path_the_root),
        cmocka_unit_test(target_decode__decodes_once),
        cmocka_unit_test(target_decode__refuses_half_an_escape),
        cmocka_unit_test(target_decode__bounds_what_it_writes),
        cmocka_unit_test(target_encode__keeps_unreserved_characters_and_slash),
        cmocka_unit_test(target_encode_printable__escapes_what_does_not_print),
        cmocka_unit_test(target_encode__is_undone_by_decode),
        cmocka_unit_test(target_query_next__walks_over_parameters),
        cmocka_unit_test(target_query_next__finds_nothing_in_nothing),
        cmocka_unit_test(target_query_which__takes_each_name_once_with_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
