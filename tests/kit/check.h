/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_KIT_CHECK_H
#define LDAR_TESTS_KIT_CHECK_H

#include <stddef.h>

/*
 * Checks that count failures and go on. The kernel harness is built on these and not on cmocka, so that it needs
 * nothing but libc and runs cross-compiled under an emulator.
 */
enum { CHECK_SKIP = 77 };

#if defined(__GNUC__)
#define CHECK_FORMAT __attribute__((format(printf, 1, 2)))
#else
#define CHECK_FORMAT
#endif

/* Names the test that runs from here on. */
CHECK_FORMAT void check_test(const char *format, ...);

/* Says in one line what is run next; printed with every failure, and when the process dies on a guard page. */
CHECK_FORMAT void check_case(const char *format, ...);

/* Counts a failure; the first few of a test are printed with test, case and seed. */
CHECK_FORMAT void check_fail(const char *format, ...);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            check_fail("%s:%d: %s", __FILE__, __LINE__, #condition);                                                   \
        }                                                                                                              \
    } while (0)

/* Failures of the test named last, and of the whole process. */
size_t check_failures(void);
size_t check_total(void);

/* The current test and case as one line, for a signal handler. */
const char *check_where(void);

#endif
