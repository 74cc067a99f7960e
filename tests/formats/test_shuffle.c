/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/shuffle.h"

#include <ldar/model.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SYMBOLS = LDAR_N + 1 };

static void count_pairs(const uint8_t *ids, size_t count, size_t pairs[SYMBOLS][SYMBOLS])
{
    memset(pairs, 0, SYMBOLS * SYMBOLS * sizeof pairs[0][0]);
    for (size_t i = 1; i < count; ++i) {
        ++pairs[ids[i - 1]][ids[i]];
    }
}

/* The counts of pairs are those of before, and all that is no A, C, G or T is where it was, with its neighbours. */
static void check_shuffle(const uint8_t *before, size_t count, uint64_t index)
{
    uint8_t *after = malloc(count + 1);
    size_t pairs[2][SYMBOLS][SYMBOLS];
    struct draws draws = draws_begin(7, index, 0);
    assert_non_null(after);
    memcpy(after, before, count);
    shuffle_dinucleotides(after, count, &draws);
    count_pairs(before, count, pairs[0]);
    count_pairs(after, count, pairs[1]);
    assert_memory_equal(pairs[0], pairs[1], sizeof pairs[0]);
    for (size_t i = 0; i < count; ++i) {
        const int edge = i == 0 || i + 1 == count || before[i - 1] > LDAR_T || before[i + 1] > LDAR_T;
        if (before[i] > LDAR_T || edge) {
            assert_int_equal(after[i], before[i]);
        }
    }
    free(after);
}

/* Sequences of every length up to a few tiles, of few and of all letters, with and without N. */
static void test_counts(void **state)
{
    (void)state;
    enum { MOST = 600 };
    static const char *const kinds[] = {"A", "AC", "ACG", "ACGT", "AAAAAAAAAAAAC", "ACGTN", "AAANCCCN", "N"};
    uint8_t ids[MOST];
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; ++k) {
        for (size_t count = 0; count <= MOST; count += count < 40 ? 1 : 113) {
            struct draws draws = draws_begin(1, k, count);
            for (size_t i = 0; i < count; ++i) {
                const char letter = kinds[k][draws_below(&draws, strlen(kinds[k]))];
                assert_int_equal(ldar_encode(&letter, 1, &ids[i], NULL), 1);
            }
            check_shuffle(ids, count, count);
        }
    }
}

/* The only way out of each letter is one in thousands: trees are found all the same. */
static void test_rare_exits(void **state)
{
    (void)state;
    enum { RUN = 5000 };
    uint8_t *ids = malloc((size_t)4 * RUN);
    assert_non_null(ids);
    for (size_t i = 0; i < (size_t)4 * RUN; ++i) {
        ids[i] = (uint8_t)(i / RUN);
    }
    for (uint64_t index = 0; index < 20; ++index) {
        check_shuffle(ids, (size_t)4 * RUN, index);
    }
    free(ids);
}

/* ---- uniformity ---- */

enum { WORD = 10, WORDS = 1 << 2 * WORD };

static size_t number_of(const uint8_t *ids)
{
    size_t number = 0;
    for (size_t i = 0; i < WORD; ++i) {
        number = number << 2 | ids[i];
    }
    return number;
}

/* Which words have the counts and the first letter of `text`: their numbers in `orders`, the rest 0. */
static size_t find_orders(const uint8_t *text, unsigned *orders)
{
    size_t wanted[SYMBOLS][SYMBOLS], pairs[SYMBOLS][SYMBOLS], found = 0;
    uint8_t ids[WORD];
    count_pairs(text, WORD, wanted);
    for (size_t number = 0; number < WORDS; ++number) {
        for (size_t i = 0; i < WORD; ++i) {
            ids[i] = number >> 2 * (WORD - 1 - i) & 3;
        }
        count_pairs(ids, WORD, pairs);
        orders[number] = 0;
        if (ids[0] == text[0] && memcmp(pairs, wanted, sizeof pairs) == 0) {
            orders[number] = (unsigned)++found;
        }
    }
    return found;
}

static void check_uniform(const char *letters, unsigned *orders)
{
    enum { PER_ORDER = 400 };
    uint8_t text[WORD], ids[WORD];
    assert_int_equal(ldar_encode(letters, WORD, text, NULL), WORD);
    const size_t count = find_orders(text, orders);
    unsigned *seen = calloc(count, sizeof *seen);
    double chi = 0;
    assert_non_null(seen);
    assert_true(count > 1);
    for (uint64_t i = 0; i < (uint64_t)PER_ORDER * count; ++i) {
        struct draws draws = draws_begin(1, i, 5);
        memcpy(ids, text, WORD);
        shuffle_dinucleotides(ids, WORD, &draws);
        assert_int_not_equal(orders[number_of(ids)], 0);
        ++seen[orders[number_of(ids)] - 1];
    }
    for (size_t i = 0; i < count; ++i) {
        chi += pow((double)seen[i] - PER_ORDER, 2) / PER_ORDER;
    }
    /* Mean and deviation of chi-square with count - 1 degrees of freedom. */
    print_message("%s: %zu orders, chi-square %.1f\n", letters, count, chi);
    assert_true(chi < (double)(count - 1) + 4 * sqrt(2 * (double)(count - 1)));
    free(seen);
}

/* Of all words with the same counts and first letter each comes as often; words of few letters, and of all. */
static void test_uniform(void **state)
{
    (void)state;
    static const char *const words[] = {"AACAACACCA", "ACGTACGATC", "ACAGATACTA",
                                        "AAAACAGTTA", "ACCGGTTAAC", "TGTGCAATGC"};
    unsigned *orders = malloc(WORDS * sizeof *orders);
    assert_non_null(orders);
    for (size_t i = 0; i < sizeof words / sizeof *words; ++i) {
        check_uniform(words[i], orders);
    }
    free(orders);
}

/* Each of its three arguments changes what is drawn; nothing else does. */
static void test_draws(void **state)
{
    (void)state;
    struct draws a = draws_begin(1, 2, 3), same = draws_begin(1, 2, 3);
    struct draws others[] = {draws_begin(2, 2, 3), draws_begin(1, 3, 3), draws_begin(1, 2, 2), draws_begin(2, 1, 3)};
    const uint64_t first = draws_below(&a, UINT64_MAX);
    assert_true(first == draws_below(&same, UINT64_MAX));
    for (size_t i = 0; i < sizeof others / sizeof *others; ++i) {
        assert_true(first != draws_below(&others[i], UINT64_MAX));
    }
    size_t seen[3] = {0};
    for (size_t i = 0; i < 30000; ++i) {
        ++seen[draws_below(&a, 3)];
    }
    for (size_t i = 0; i < 3; ++i) {
        assert_in_range(seen[i], 9700, 10300);
    }
    assert_int_equal(draws_below(&a, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_rare_exits),
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_draws),
    };
    return cmocka_run_group_tests_name("formats.shuffle", tests, folder_make, folder_remove);
}
