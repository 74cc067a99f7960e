/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include "random.h"

#include <stdarg.h>
#include <stdio.h>

enum { PRINTED = 8 };

static char test_name[128], case_name[512], where[768];
static size_t failures, total;

static void remember(void)
{
    snprintf(where, sizeof where, "%s: %s", test_name, case_name);
}

void check_test(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(test_name, sizeof test_name, format, arguments);
    va_end(arguments);
    case_name[0] = 0;
    failures = 0;
    remember();
}

void check_case(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(case_name, sizeof case_name, format, arguments);
    va_end(arguments);
    remember();
}

void check_fail(const char *format, ...)
{
    failures++;
    total++;
    if (failures > PRINTED) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "FAIL %s: ", where);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (LDAR_TEST_SEED=%llu)%s\n", (unsigned long long)random_seed(),
            failures == PRINTED ? "; further failures of this test are only counted" : "");
    va_end(arguments);
}

size_t check_failures(void)
{
    return failures;
}

size_t check_total(void)
{
    return total;
}

const char *check_where(void)
{
    return where;
}
