// SPDX-License-Identifier: MIT
// Every error has a text of its own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static void error_text__is_another_for_each(void **state)
{
    (void)state;
    for (int i = ERROR_NONE; i <= ERROR_MISCONFIGURED; i++)
        for (int j = i + 1; j <= ERROR_MISCONFIGURED + 1; j++)
            assert_string_not_equal(error_text((enum error)i), error_text((enum error)j));
    assert_string_equal(error_text((enum error)99), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_text__is_another_for_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
