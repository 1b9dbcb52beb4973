// SPDX-License-Identifier: MIT
// Sets of keys by prefix: what they cover, and what comes next.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "store/prefixes.h"

static struct prefixes made(const char *const *texts, size_t count)
{
    struct prefixes p = {0};
    for (size_t i = 0; i < count; i++)
        assert_int_equal(prefixes_add(&p, slice_of(texts[i])), ERROR_NONE);
    return p;
}

#define MADE(...)                                                                                  \
    made((const char *const[]){__VA_ARGS__},                                                       \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void expect(const struct prefixes *p, const char *expected)
{
    struct bytes text = {0};
    for (size_t i = 0; i < p->count; i++) {
        bytes_append_slice(&text, p->prefix[i]);
        bytes_append_char(&text, ' ');
    }
    bytes_append_char(&text, '\0');
    assert_string_equal(text.data, expected);
    bytes_fini(&text);
}

static void prefixes_add__keeps_the_order_and_only_what_adds(void **state)
{
    (void)state;
    struct prefixes p = MADE("b", "a/", "c", "a/1", "b", "bb");
    expect(&p, "a/ b c ");
    assert_int_equal(prefixes_add(&p, SLICE("a")), ERROR_NONE);
    expect(&p, "a b c ");
    assert_int_equal(prefixes_add(&p, SLICE("\xff")), ERROR_NONE);
    assert_int_equal(p.count, 4);
    assert_int_equal(prefixes_add(&p, SLICE("")), ERROR_NONE);
    expect(&p, " ");
    prefixes_fini(&p);
    assert_int_equal(p.count, 0);
}

static void prefixes_cover__what_begins_with_one(void **state)
{
    (void)state;
    struct prefixes none = {0}, all = MADE(""), some = MADE("a/", "b\xff", "c");
    static const char *const in[] = {"a/", "a/x", "b\xff", "b\xff\xff", "c", "cc"};
    static const char *const out[] = {"", "a", "a.", "a0", "b", "bb", "d", "\xff"};
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++)
        assert_true(prefixes_cover(&some, slice_of(in[i])));
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++) {
        assert_false(prefixes_cover(&some, slice_of(out[i])));
        assert_true(prefixes_cover(&all, slice_of(out[i])));
        assert_false(prefixes_cover(&none, slice_of(out[i])));
    }
    prefixes_fini(&all);
    prefixes_fini(&some);
}

static void prefixes_next__is_the_first_behind(void **state)
{
    (void)state;
    struct prefixes p = MADE("a/", "c");
    assert_true(slice_equal(prefixes_next(&p, SLICE("")), SLICE("a/")));
    assert_true(slice_equal(prefixes_next(&p, SLICE("a")), SLICE("a/")));
    assert_true(slice_equal(prefixes_next(&p, SLICE("b")), SLICE("c")));
    assert_null(prefixes_next(&p, SLICE("d")).data);
    prefixes_fini(&p);
    assert_null(prefixes_next(&p, SLICE("")).data);
}

// Against the definition, on random sets of short strings of three letters.
static void prefixes__do_what_a_search_does(void **state)
{
    (void)state;
    random_seed(7);
    for (int round = 0; round < 300; round++) {
        char texts[6][4];
        struct prefixes p = {0};
        for (int i = 0; i < 6; i++) {
            size_t len = random_below(4);
            for (size_t j = 0; j < len; j++)
                texts[i][j] = (char)('a' + random_below(3));
            texts[i][len] = 0;
            if (i > 0) // an empty one covers everything
                assert_int_equal(prefixes_add(&p, slice_of(len ? texts[i] : "b")), ERROR_NONE);
        }
        struct slice key = slice_of(texts[0]);
        bool covered = false;
        for (size_t i = 0; i < p.count; i++) {
            covered = covered || slice_starts(key, p.prefix[i]);
            assert_true(i == 0 || slice_compare(p.prefix[i - 1], p.prefix[i]) < 0);
            assert_true(i == 0 || !slice_starts(p.prefix[i], p.prefix[i - 1]));
        }
        assert_int_equal(prefixes_cover(&p, key), covered);
        prefixes_fini(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_add__keeps_the_order_and_only_what_adds),
        cmocka_unit_test(prefixes_cover__what_begins_with_one),
        cmocka_unit_test(prefixes_next__is_the_first_behind),
        cmocka_unit_test(prefixes__do_what_a_search_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
