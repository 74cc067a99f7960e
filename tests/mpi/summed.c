/* SPDX-License-Identifier: Apache-2.0 */
#include "summed.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Number i of the gradient of micro-batch m: of either sign and many magnitudes, so that no two orders agree. */
static float number(size_t m, size_t i)
{
    struct random random = random_start(m * 1000003 + i);
    const float sign = random_bits(&random) & 1 ? 1 : -1;
    return sign * (float)(random_bits(&random) >> random_below(&random, 40));
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

static void rest(struct random *random, unsigned most)
{
    const struct timespec time = {.tv_nsec = most ? (long)random_below(random, most) * 1000 : 0};
    if (time.tv_nsec)
        nanosleep(&time, NULL);
}

/* Cuts the gradient into up to eight pieces and tells of them in random order. */
static void compute(struct ldar_gradient_tree *tree, float *leaf, size_t m, const struct summed *summed,
                    struct random *random)
{
    enum { PIECES = 8 };
    size_t cut[PIECES + 1] = {0}, order[PIECES];
    for (size_t p = 0; p < PIECES; p++) {
        cut[p + 1] = p + 1 == PIECES ? summed->floats : cut[p] + random_below(random, summed->floats - cut[p] + 1);
        const size_t place = random_below(random, p + 1);
        order[p] = order[place];
        order[place] = p;
    }
    for (size_t p = 0; p < PIECES; p++) {
        const size_t first = cut[order[p]], end = cut[order[p] + 1];
        for (size_t i = first; i < end; i++)
            leaf[i] += number(m, i);
        rest(random, summed->pause);
        if (end > first)
            ldar_gradient_tree_ready(tree, first, end - first);
    }
}

const char *summed_step(struct ldar_gradient_tree *tree, const struct summed *summed, struct random *random)
{
    static _Thread_local char text[1200];
    struct ldar_error error;
    size_t first, count;
    float *sum;
    if (ldar_gradient_tree_begin(tree, summed->micro_batches, &first, &count, &error))
        return memcpy(text, error.message, sizeof error.message);
    for (size_t m = first; m < first + count; m++) {
        float *leaf = ldar_gradient_tree_leaf(tree);
        if (!leaf)
            return "no leaf";
        compute(tree, leaf, m, summed, random);
    }
    if (ldar_gradient_tree_finish(tree, &sum, &error))
        return memcpy(text, error.message, sizeof error.message);
    for (size_t i = 0; i < summed->floats; i++) {
        const float expected = node(0, summed->micro_batches, i);
        if (memcmp(&sum[i], &expected, sizeof expected)) {
            snprintf(text, sizeof text, "%zu micro-batches, number %zu of %zu: %a, not %a", summed->micro_batches, i,
                     summed->floats, (double)sum[i], (double)expected);
            return text;
        }
    }
    return NULL;
}
