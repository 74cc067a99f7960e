/* SPDX-License-Identifier: Apache-2.0 */
/* The published rate of each step, and the published masks. */
#include <ldar/train.h>

#include "kit/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the schedule ---- */

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-12))
        fail_msg("%.17g is not %.17g", value, expected);
}

/* 100 steps: 10 up, 70 level, 20 down. By hand: s = 0.95 / (1 - 1 / sqrt 20) = 1 + 1 / sqrt 20; t = 4: 1 - s / 2. */
static void test_published(void **state)
{
    const double s = 1.22360679774997897;
    (void)state;
    assert_near(ldar_schedule(0, 100, 10, 20), 0.1);
    assert_near(ldar_schedule(4, 100, 10, 20), 0.5);
    assert_near(ldar_schedule(9, 100, 10, 20), 1);
    assert_near(ldar_schedule(10, 100, 10, 20), 1);
    assert_near(ldar_schedule(79, 100, 10, 20), 1);
    assert_near(ldar_schedule(80, 100, 10, 20), 1);
    assert_near(ldar_schedule(81, 100, 10, 20), 1 - s * (1 - 0.70710678118654752));
    assert_near(ldar_schedule(83, 100, 10, 20), 1 - s / 2);
    assert_near(ldar_schedule(99, 100, 10, 20), 0.05);
}

static void test_shape(void **state)
{
    static const uint64_t plans[][3] = {{1000, 100, 200}, {7, 0, 7}, {50, 50, 0}, {40, 30, 30}, {3, 1, 1}, {1, 1, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        const uint64_t steps = plans[i][0], warmup = plans[i][1], decay = plans[i][2];
        double before = 0;
        int falls = 0;
        for (uint64_t step = 0; step < steps; step++) {
            const double rate = ldar_schedule(step, steps, warmup, decay);
            assert_true(rate > 0 && rate <= 1);
            falls |= rate < before;
            assert_true(falls ? rate <= before : rate >= before);
            before = rate;
        }
        assert_near(before, decay > 0 ? 0.05 : 1);
    }
    for (uint64_t step = 0; step < 9; step++)
        assert_near(ldar_schedule(step, 9, 0, 0), 1);
}

/* Beyond the end, where no step is, the rate stays what it was last. */
static void test_beyond(void **state)
{
    (void)state;
    assert_near(ldar_schedule(100, 100, 10, 20), 0.05);
    assert_near(ldar_schedule(UINT64_MAX, 100, 10, 20), 0.05);
    assert_near(ldar_schedule(100, 100, 10, 0), 1);
    assert_near(ldar_schedule(0, 0, 0, 0), 1);
}

/* ---- masks ---- */

enum { COUNT = 200000 };

struct strand {
    uint8_t clean[COUNT], ids[COUNT], labels[COUNT];
};

static struct strand *strand_new(void **state)
{
    struct random random = random_start(random_seed());
    struct strand *strand = malloc(sizeof *strand);
    (void)state;
    assert_non_null(strand);
    for (size_t i = 0; i < COUNT; i++)
        strand->clean[i] = (uint8_t)random_below(&random, i % 10 == 0 ? LDAR_SYMBOLS : LDAR_N);
    return strand;
}

static void mask(struct strand *strand, double rate, uint64_t seed, uint64_t step, uint64_t sample)
{
    memcpy(strand->ids, strand->clean, COUNT);
    ldar_mask(strand->ids, strand->labels, COUNT, rate, seed, step, sample);
}

/* Within 5 standard errors of a binomial's mean. */
static void assert_rate(size_t hits, size_t trials, double rate)
{
    const double n = (double)trials;
    if (fabs((double)hits - rate * n) > 5 * sqrt(n * rate * (1 - rate)))
        fail_msg("%zu of %zu are not %g", hits, trials, rate);
}

static void test_rates(void **state)
{
    struct strand *strand = strand_new(state);
    size_t nucleotides = 0, labelled = 0, masked = 0, kept = 0, turned[4] = {0}, of[4] = {0};
    mask(strand, 0.15, 1, 2, 3);
    for (size_t i = 0; i < COUNT; i++) {
        const uint8_t clean = strand->clean[i], id = strand->ids[i], label = strand->labels[i];
        if (clean > LDAR_T || label == LDAR_UNLABELLED) {
            assert_int_equal(label, LDAR_UNLABELLED);
            assert_int_equal(id, clean);
            nucleotides += clean <= LDAR_T;
            continue;
        }
        assert_int_equal(label, clean);
        assert_true(id <= LDAR_T || id == LDAR_MASK);
        nucleotides++;
        labelled++;
        of[clean]++;
        masked += id == LDAR_MASK;
        kept += id == clean;
        if (id <= LDAR_T && id != clean)
            turned[id]++;
    }
    assert_rate(labelled, nucleotides, 0.15);
    assert_rate(masked, labelled, 0.8);
    assert_rate(kept, labelled, 0.1 + 0.1 / 4);
    for (size_t symbol = 0; symbol < 4; symbol++)
        assert_rate(turned[symbol], labelled - of[symbol], 0.1 / 4);
    free(strand);
}

/* Runs are continued and models compared across releases: the masks are part of the contract. */
static void test_known(void **state)
{
    static const char expected[] = "....*.........*.........A..........*....*...*...A....*....*.....";
    uint8_t ids[64], labels[64], seen[64];
    (void)state;
    for (uint8_t i = 0; i < sizeof ids; i++)
        ids[i] = i % 4;
    ldar_mask(ids, labels, sizeof ids, 0.15, 1, 2, 3);
    for (size_t i = 0; i < sizeof ids; i++)
        seen[i] = labels[i] == LDAR_UNLABELLED ? '.' : (uint8_t) "ACGTN*"[ids[i]];
    assert_memory_equal(seen, expected, sizeof seen);
}

static void test_extremes(void **state)
{
    struct strand *strand = strand_new(state);
    mask(strand, 0, 1, 2, 3);
    assert_memory_equal(strand->ids, strand->clean, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(strand->labels[i], LDAR_UNLABELLED);
    mask(strand, 1, 1, 2, 3);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(strand->labels[i], strand->clean[i] <= LDAR_T ? strand->clean[i] : LDAR_UNLABELLED);
    ldar_mask(strand->ids, strand->labels, 0, 0.15, 1, 2, 3);
    free(strand);
}

/* A position's choice knows nothing of how many follow, nor of its neighbours. */
static void test_position_alone(void **state)
{
    struct strand *strand = strand_new(state);
    uint8_t *ids = malloc(COUNT), *labels = malloc(COUNT);
    mask(strand, 0.15, 7, 8, 9);
    for (size_t count = 1; count < COUNT; count = 3 * count + 1) {
        memset(ids, LDAR_N, COUNT);
        memcpy(ids + count / 2, strand->clean + count / 2, count - count / 2);
        ldar_mask(ids, labels, count, 0.15, 7, 8, 9);
        assert_memory_equal(ids + count / 2, strand->ids + count / 2, count - count / 2);
        assert_memory_equal(labels + count / 2, strand->labels + count / 2, count - count / 2);
    }
    free(ids);
    free(labels);
    free(strand);
}

/* Any other seed, step or sample draws as if it knew nothing of these: common labels are as many as chance has them. */
static void test_independence(void **state)
{
    static const uint64_t others[][3] = {{6, 8, 9},
                                         {7, 9, 9},
                                         {7, 8, 10},
                                         {8, 7, 9},
                                         {7, 9, 8},
                                         {7, 8, 9 + (1ull << 32)},
                                         {7, 8 + (1ull << 32), 9},
                                         {7 + (1ull << 32), 8, 9},
                                         {0, 0, 0}};
    struct strand *strand = strand_new(state);
    uint8_t *labels = malloc(COUNT);
    mask(strand, 0.15, 7, 8, 9);
    memcpy(labels, strand->labels, COUNT);
    mask(strand, 0.15, 7, 8, 9);
    assert_memory_equal(labels, strand->labels, COUNT);
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        size_t both = 0, nucleotides = 0;
        mask(strand, 0.15, others[k][0], others[k][1], others[k][2]);
        for (size_t i = 0; i < COUNT; i++) {
            nucleotides += strand->clean[i] <= LDAR_T;
            both += labels[i] != LDAR_UNLABELLED && strand->labels[i] != LDAR_UNLABELLED;
        }
        assert_rate(both, nucleotides, 0.15 * 0.15);
    }
    free(labels);
    free(strand);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published),      cmocka_unit_test(test_shape),        cmocka_unit_test(test_beyond),
        cmocka_unit_test(test_rates),          cmocka_unit_test(test_known),        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_position_alone), cmocka_unit_test(test_independence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
