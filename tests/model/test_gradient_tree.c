/* SPDX-License-Identifier: Apache-2.0 */
/* The sum over micro-batches: its bits are those of the tree that the header describes, and its memory is bounded. */
#include "allocator.h"
#include "kit/random.h"
#include "model/gradient_plan.h"
#include "model/gradient_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 40 };

/* Number i of the gradient of micro-batch m: of either sign and many magnitudes, so that no two orders agree. */
static float number(size_t m, size_t i)
{
    struct random random = random_start(m * 1000003 + i);
    const float magnitude = (float)random_uniform(&random, -1, 1);
    return magnitude * (float)(UINT64_C(1) << random_below(&random, 20));
}

/* The definition: the node over `count` micro-batches from `first` on. */
static float node(size_t first, size_t count, size_t i)
{
    if (count == 1)
        return number(first, i);
    size_t left = 1;
    while (2 * left < count)
        left *= 2;
    return node(first, left, i) + node(first + left, count - left, i);
}

/* Writes a leaf and tells of it in pieces of random length, from either end inwards. */
static void compute(struct ldar_gradient_tree *tree, struct random *random, size_t m, size_t floats)
{
    float *leaf = ldar_gradient_tree_leaf(tree);
    assert_non_null(leaf);
    size_t low = 0, high = floats;
    while (low < high) {
        const size_t piece = 1 + random_below(random, high - low), first = m % 2 ? low : high - piece;
        for (size_t i = first; i < first + piece; i++) {
            assert_true(leaf[i] == 0);
            leaf[i] += number(m, i);
        }
        ldar_gradient_tree_ready(tree, first, piece);
        low += m % 2 ? piece : 0;
        high -= m % 2 ? 0 : piece;
    }
}

static void step(struct ldar_gradient_tree *tree, struct random *random, size_t micro_batches, size_t floats)
{
    size_t first, count;
    float *sum;
    assert_int_equal(ldar_gradient_tree_begin(tree, micro_batches, &first, &count, NULL), LDAR_OK);
    assert_int_equal(first, 0);
    assert_int_equal(count, micro_batches);
    for (size_t m = 0; m < micro_batches; m++)
        compute(tree, random, m, floats);
    assert_int_equal(ldar_gradient_tree_finish(tree, &sum, NULL), LDAR_OK);
    for (size_t i = 0; i < floats; i++) {
        const float expected = node(0, micro_batches, i);
        if (memcmp(&sum[i], &expected, sizeof expected))
            fail_msg("%zu micro-batches, number %zu of %zu: %a, not %a", micro_batches, i, floats, (double)sum[i],
                     (double)expected);
    }
}

static void test_bits(void **state)
{
    static const size_t sizes[] = {1, 15, 16, 67, 4095, 4096, 9001};
    (void)state;
    struct random random = random_start(random_seed());
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct ldar_gradient_tree *tree;
        assert_int_equal(ldar_gradient_tree_create(sizes[s], NULL, &tree, NULL), LDAR_OK);
        for (size_t micro_batches = 1; micro_batches <= MOST; micro_batches += sizes[s] > 100 ? 3 : 1)
            step(tree, &random, micro_batches, sizes[s]);
        step(tree, &random, 3, sizes[s]);
        ldar_gradient_tree_destroy(tree);
    }
}

/* Never more than was stated, in steps that grow and in steps that shrink; and no more than a binary counter needs. */
static void test_memory(void **state)
{
    enum { FLOATS = 10000 };
    (void)state;
    struct random random = random_start(random_seed());
    const size_t before = allocator_bytes();
    struct ldar_gradient_tree *tree;
    assert_int_equal(ldar_gradient_tree_create(FLOATS, NULL, &tree, NULL), LDAR_OK);
    for (size_t n = 1; n <= 2 * MOST; n++) {
        const size_t micro_batches = n <= MOST ? n : 2 * MOST + 1 - n;
        size_t digits = 0;
        for (size_t power = 1; power <= micro_batches; power *= 2)
            digits++;
        const size_t stated = ldar_gradient_tree_bytes(FLOATS, NULL, micro_batches);
        assert_true(stated < digits * (FLOATS * sizeof(float) + 200) + 32 * micro_batches + 200);
        size_t first, count;
        assert_int_equal(ldar_gradient_tree_begin(tree, micro_batches, &first, &count, NULL), LDAR_OK);
        allocator_watch();
        step(tree, &random, micro_batches, FLOATS);
        if (allocator_peak() - before > stated)
            fail_msg("%zu micro-batches: %zu bytes stated, %zu taken", micro_batches, stated,
                     allocator_peak() - before);
    }
    ldar_gradient_tree_destroy(tree);
    assert_int_equal(allocator_bytes(), before);
}

/* Whatever request fails, the call says so, and the next step is right. */
static void test_failures(void **state)
{
    enum { FLOATS = 100, MICRO_BATCHES = 9 };
    (void)state;
    struct random random = random_start(random_seed());
    const size_t before = allocator_bytes();
    int failed = 1;
    for (size_t nth = 1; failed; nth++) {
        struct ldar_gradient_tree *tree = NULL;
        size_t first, count;
        allocator_fail(nth);
        enum ldar_status status = ldar_gradient_tree_create(FLOATS, NULL, &tree, NULL);
        if (status == LDAR_OK)
            status = ldar_gradient_tree_begin(tree, MICRO_BATCHES, &first, &count, NULL);
        for (size_t m = 0; m < MICRO_BATCHES && status == LDAR_OK; m++) {
            if (!ldar_gradient_tree_leaf(tree))
                status = LDAR_ERROR_MEMORY;
            else
                ldar_gradient_tree_ready(tree, 0, FLOATS);
        }
        failed = allocator_failed();
        assert_int_equal(status, failed ? LDAR_ERROR_MEMORY : LDAR_OK);
        allocator_fail(0);
        if (tree)
            step(tree, &random, MICRO_BATCHES, FLOATS);
        ldar_gradient_tree_destroy(tree);
        assert_int_equal(allocator_bytes(), before);
    }
}

/* A leaf that was not told of whole, or that is missing, makes no sum. */
static void test_incomplete(void **state)
{
    enum { FLOATS = 10 };
    (void)state;
    struct ldar_gradient_tree *tree;
    size_t first, count;
    float *sum;
    assert_int_equal(ldar_gradient_tree_create(FLOATS, NULL, &tree, NULL), LDAR_OK);
    assert_int_equal(ldar_gradient_tree_begin(tree, 0, &first, &count, NULL), LDAR_ERROR_ARGUMENT);
    for (size_t told = 0; told < 4; told++) {
        assert_int_equal(ldar_gradient_tree_begin(tree, 2, &first, &count, NULL), LDAR_OK);
        assert_non_null(ldar_gradient_tree_leaf(tree));
        ldar_gradient_tree_ready(tree, 0, told == 1 ? FLOATS - 1 : FLOATS);
        if (told) {
            assert_non_null(ldar_gradient_tree_leaf(tree));
            ldar_gradient_tree_ready(tree, 0, told == 2 ? FLOATS - 1 : FLOATS);
            assert_null(ldar_gradient_tree_leaf(tree));
        }
        assert_int_equal(ldar_gradient_tree_finish(tree, &sum, NULL), told == 3 ? LDAR_OK : LDAR_ERROR_INTERNAL);
    }
    ldar_gradient_tree_destroy(tree);
    ldar_gradient_tree_destroy(NULL);
}

/* A place on a rank's stack, as a text of what was added up: its bits are decided by the brackets alone. */
enum { TEXT = 8 * MOST };
struct machine {
    struct ldar_plan plan;
    struct ldar_plan_step steps[4 * MOST];
    size_t at, leaf, depth, sent, held;
    char stack[8][TEXT];
};

static void bracket(size_t first, size_t count, char *text)
{
    if (count == 1) {
        snprintf(text, TEXT, "%zu", first);
        return;
    }
    size_t left = 1;
    while (2 * left < count)
        left *= 2;
    char a[TEXT], b[TEXT];
    bracket(first, left, a);
    bracket(first + left, count - left, b);
    assert_true(snprintf(text, TEXT, "(%s+%s)", a, b) < TEXT);
}

static void join(char *to, const char *from)
{
    char both[TEXT];
    assert_true(snprintf(both, TEXT, "(%s+%s)", to, from) < TEXT);
    memcpy(to, both, TEXT);
}

/* Goes on until the rank must receive; returns whether it did anything. A SEND waits in the sender to be taken. */
static int go_on(struct machine *machines, size_t rank)
{
    struct machine *m = &machines[rank];
    int moved = 0;
    for (; m->at < m->plan.steps; m->at++, moved = 1) {
        const struct ldar_plan_step *step = &m->steps[m->at];
        if (step->kind == LDAR_PLAN_LEAF) {
            snprintf(m->stack[m->depth++], TEXT, "%zu", m->leaf++);
        } else if (step->kind == LDAR_PLAN_ADD) {
            join(m->stack[m->depth - 2], m->stack[m->depth - 1]);
            m->depth--;
        } else if (step->kind == LDAR_PLAN_SEND) {
            return moved;
        } else {
            struct machine *other = &machines[step->rank];
            const struct ldar_plan_step *send = &other->steps[other->at];
            if (other->at == other->plan.steps || send->kind != LDAR_PLAN_SEND || send->rank != rank)
                return moved;
            join(m->stack[m->depth - 1], other->stack[--other->depth]);
            assert_int_equal(other->depth, 0);
            other->at++;
            other->sent++;
        }
        if (m->depth + m->sent > m->held)
            m->held = m->depth + m->sent;
    }
    return moved;
}

/* All ranks' plans together make the sum, whatever their number, and no rank holds more than its plan says. */
static void test_plans(void **state)
{
    static struct machine machines[8];
    (void)state;
    for (size_t ranks = 1; ranks <= 8; ranks++)
        for (size_t micro_batches = 1; micro_batches <= MOST; micro_batches++) {
            size_t next = 0;
            for (size_t r = 0; r < ranks; r++) {
                struct machine *m = &machines[r];
                memset(m, 0, sizeof *m);
                m->plan = ldar_plan_make(micro_batches, r, ranks, NULL);
                assert_true(m->plan.steps <= sizeof m->steps / sizeof *m->steps);
                m->plan = ldar_plan_make(micro_batches, r, ranks, m->steps);
                assert_int_equal(m->plan.first, r * micro_batches / ranks);
                assert_int_equal(m->plan.first, next);
                next += m->plan.leaves;
                m->leaf = m->plan.first;
            }
            assert_int_equal(next, micro_batches);
            for (int moved = 1; moved;) {
                moved = 0;
                for (size_t r = 0; r < ranks; r++)
                    moved |= go_on(machines, r);
            }
            for (size_t r = 0; r < ranks; r++) {
                assert_int_equal(machines[r].at, machines[r].plan.steps);
                assert_int_equal(machines[r].depth, r == machines[r].plan.root);
                assert_true(machines[r].held <= machines[r].plan.held);
                assert_true(machines[r].plan.held <= machines[r].held + !machines[r].plan.leaves);
            }
            char expected[TEXT];
            bracket(0, micro_batches, expected);
            assert_string_equal(machines[machines[0].plan.root].stack[0], expected);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),     cmocka_unit_test(test_plans),      cmocka_unit_test(test_memory),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_incomplete),
    };
    return cmocka_run_group_tests_name("model.gradient-tree", tests, NULL, NULL);
}
