// SPDX-License-Identifier: MIT
// After every step the list must be a ring in both directions that holds the expected elements.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/list.h"

struct element {
    char name;
    struct list link;
};

enum {
    ELEMENTS = 6,
};

struct fixture {
    struct list head;
    struct list other;
    struct element element[ELEMENTS]; // 'a' to 'f'
};

static void fixture_init(struct fixture *f)
{
    list_init(&f->head);
    list_init(&f->other);
    for (size_t i = 0; i < ELEMENTS; i++) {
        f->element[i].name = (char)('a' + i);
        list_init(&f->element[i].link);
    }
}

// check holds that `head` contains the elements named in `names`, in that order.
static void check(const struct list *head, const char *names)
{
    const struct list *link = head;
    size_t count = strlen(names);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(link->next->prev, link);
        link = link->next;
        assert_ptr_not_equal(link, head);
        assert_int_equal(CONTAINER_OF(link, const struct element, link)->name, names[i]);
    }
    assert_ptr_equal(link->next, head);
    assert_ptr_equal(head->prev, link);
    assert_int_equal(list_empty(head), count == 0);
    assert_ptr_equal(list_first(head), count ? head->next : NULL);
}

static struct list *link_of(struct fixture *f, char name)
{
    return &f->element[name - 'a'].link;
}

static void fill(struct fixture *f, struct list *head, const char *names)
{
    for (; *names; names++)
        list_append(head, link_of(f, *names));
}

static void list_append__adds_at_the_end(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    check(&f.head, "");
    list_append(&f.head, link_of(&f, 'a'));
    check(&f.head, "a");
    list_append(&f.head, link_of(&f, 'b'));
    check(&f.head, "ab");
    list_append(&f.head, link_of(&f, 'c'));
    check(&f.head, "abc");
}

static void list_prepend__adds_at_the_front(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    list_prepend(&f.head, link_of(&f, 'a'));
    check(&f.head, "a");
    list_prepend(&f.head, link_of(&f, 'b'));
    check(&f.head, "ba");
    list_append(&f.head, link_of(&f, 'c'));
    check(&f.head, "bac");
}

static void list_remove__takes_any_and_leaves_it_unlinked(void **state)
{
    (void)state;
    static const struct {
        const char *order;
        const char *left[4];
    } cases[] = {
        {"abcd", {"bcd", "cd", "d", ""}},
        {"dcba", {"abc", "ab", "a", ""}},
        {"bdac", {"acd", "ac", "c", ""}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        fixture_init(&f);
        fill(&f, &f.head, "abcd");
        for (size_t step = 0; step < 4; step++) {
            struct list *link = link_of(&f, cases[i].order[step]);
            list_remove(link);
            check(&f.head, cases[i].left[step]);
            check(link, "");
        }
    }
}

static void list_remove__is_harmless_on_an_unlinked_link(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fill(&f, &f.head, "ab");
    list_remove(link_of(&f, 'c'));
    list_remove(link_of(&f, 'a'));
    list_remove(link_of(&f, 'a'));
    check(&f.head, "b");
    list_append(&f.head, link_of(&f, 'a'));
    check(&f.head, "ba");
}

static void list_shift__yields_in_order_and_then_null(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fill(&f, &f.head, "abc");
    static const char *const left[] = {"bc", "c", ""};
    for (size_t i = 0; i < 3; i++) {
        struct list *link = list_shift(&f.head);
        assert_ptr_equal(link, &f.element[i].link);
        check(link, "");
        check(&f.head, left[i]);
    }
    assert_null(list_shift(&f.head));
    check(&f.head, "");
}

static void list_splice__moves_all_and_leaves_the_other_empty(void **state)
{
    (void)state;
    static const struct {
        const char *to;
        const char *from;
        const char *both;
    } cases[] = {
        {"", "", ""},         {"a", "", "a"},   {"", "a", "a"},           {"ab", "", "ab"},
        {"", "abc", "abc"},   {"a", "b", "ab"}, {"abc", "def", "abcdef"}, {"a", "bcd", "abcd"},
        {"abc", "d", "abcd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        fixture_init(&f);
        fill(&f, &f.head, cases[i].to);
        fill(&f, &f.other, cases[i].from);
        list_splice(&f.head, &f.other);
        check(&f.head, cases[i].both);
        check(&f.other, "");
        list_splice(&f.other, &f.head); // and back
        check(&f.other, cases[i].both);
        check(&f.head, "");
    }
}

static void list_splice__gives_lists_that_work_on(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    fill(&f, &f.head, "ab");
    fill(&f, &f.other, "cd");
    list_splice(&f.head, &f.other);
    list_remove(link_of(&f, 'c'));
    check(&f.head, "abd");
    list_append(&f.other, link_of(&f, 'c'));
    check(&f.other, "c");
    list_append(&f.head, link_of(&f, 'e'));
    check(&f.head, "abde");
    check(&f.other, "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_append__adds_at_the_end),
        cmocka_unit_test(list_prepend__adds_at_the_front),
        cmocka_unit_test(list_remove__takes_any_and_leaves_it_unlinked),
        cmocka_unit_test(list_remove__is_harmless_on_an_unlinked_link),
        cmocka_unit_test(list_shift__yields_in_order_and_then_null),
        cmocka_unit_test(list_splice__moves_all_and_leaves_the_other_empty),
        cmocka_unit_test(list_splice__gives_lists_that_work_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
