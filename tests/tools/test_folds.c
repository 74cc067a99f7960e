/* SPDX-License-Identifier: Apache-2.0 */
#include "folds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <zlib.h>

#include <cmocka.h>

/* scikit-learn's KFold(10, shuffle=True, random_state=42) of 11 rows. */
static void test_eleven(void **state)
{
    (void)state;
    static const uint32_t expected[] = {0, 4, 3, 8, 6, 0, 9, 7, 5, 1, 2};
    uint32_t fold_of[11];
    assert_true(folds_split(11, FOLDS_PUBLISHED, FOLDS_PUBLISHED_SEED, fold_of));
    assert_memory_equal(fold_of, expected, sizeof expected);
}

/* CRC-32 of a byte per row, its fold, as KFold gives it with random_state 42. */
static void test_hashes(void **state)
{
    (void)state;
    static const struct {
        size_t count, folds;
        unsigned long hash;
    } splits[] = {{11, 10, 0x8acdcb92},
                  {100, 10, 0x17549944},
                  {14965, 10, 0xaa40c9da},
                  {14965, 3, 0x805ea90f},
                  {1000, 7, 0x7b10f0e1}};
    for (size_t i = 0; i < sizeof splits / sizeof *splits; ++i) {
        const size_t count = splits[i].count;
        uint32_t *fold_of = calloc(count, sizeof *fold_of);
        unsigned char *bytes = malloc(count);
        assert_non_null(fold_of);
        assert_non_null(bytes);
        assert_true(folds_split(count, splits[i].folds, FOLDS_PUBLISHED_SEED, fold_of));
        for (size_t j = 0; j < count; ++j) {
            assert_true(fold_of[j] < splits[i].folds);
            bytes[j] = (unsigned char)fold_of[j];
        }
        assert_int_equal(crc32(0, bytes, (unsigned)count), splits[i].hash);
        free(fold_of);
        free(bytes);
    }
}

/* As many folds as rows, and two of two. */
static void test_least(void **state)
{
    (void)state;
    uint32_t fold_of[5], seen = 0;
    assert_true(folds_split(5, 5, 1, fold_of));
    for (size_t i = 0; i < 5; ++i) {
        seen |= 1u << fold_of[i];
    }
    assert_int_equal(seen, 31);
    assert_true(folds_split(2, 2, 1, fold_of));
    assert_int_equal(fold_of[0] + fold_of[1], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eleven),
        cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_least),
    };
    return cmocka_run_group_tests_name("tools.folds", tests, NULL, NULL);
}
