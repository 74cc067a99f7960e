/* SPDX-License-Identifier: Apache-2.0 */
#include "model/gradient_tree.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/gradient_exchange.h"
#include "model/gradient_plan.h"
#include "status.h"

enum {
    LINE = 64,
    BLOCK = 4096, /* numbers that pass through several additions at once: 16 KiB a side stay in the nearest cache */
};

struct ldar_gradient_tree {
    size_t floats;
    struct ldar_peers *peers;
    struct ldar_exchange *exchange; /* NULL: there is one rank */
    size_t micro_batches;           /* that the plan is for; 0: there is none */
    struct ldar_plan plan;
    struct ldar_plan_step *steps;
    size_t at;   /* the step after the current leaf */
    size_t told; /* numbers of the current leaf that are final */
    int broken;  /* a leaf was left before all of it was final */
    /* The stack of the plan, then gradients to spare: (held) of which the first `allocated` exist. */
    float **gradients;
    size_t depth, allocated;
};

static size_t gradient_bytes(size_t floats)
{
    size_t bytes;
    if (__builtin_mul_overflow(floats, sizeof(float), &bytes) || bytes > SIZE_MAX - LINE)
        return SIZE_MAX;
    return (bytes + LINE) / LINE * LINE;
}

static struct ldar_plan plan_of(const struct ldar_peers *peers, size_t micro_batches, struct ldar_plan_step *steps)
{
    return ldar_plan_make(micro_batches, ldar_peers_rank(peers), ldar_peers_ranks(peers), steps);
}

size_t ldar_gradient_tree_bytes(size_t floats, const struct ldar_peers *peers, size_t micro_batches)
{
    const struct ldar_plan plan = plan_of(peers, micro_batches, NULL);
    const size_t exchange = ldar_peers_ranks(peers) > 1 ? ldar_exchange_bytes(floats, peers, &plan) : 0;
    const size_t own = sizeof(struct ldar_gradient_tree) + (plan.steps + 1) * sizeof(struct ldar_plan_step);
    size_t bytes;
    if (__builtin_mul_overflow(gradient_bytes(floats), plan.held, &bytes)
        || __builtin_add_overflow(bytes, plan.held * sizeof(float *), &bytes)
        || __builtin_add_overflow(bytes, own + exchange, &bytes))
        return SIZE_MAX;
    return bytes;
}

enum ldar_status ldar_gradient_tree_create(size_t floats, struct ldar_peers *peers, struct ldar_gradient_tree **out,
                                           struct ldar_error *error)
{
    *out = NULL;
    if (!floats || gradient_bytes(floats) > SIZE_MAX / 2)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "gradients of %zu numbers", floats);
    struct ldar_gradient_tree *tree = calloc(1, sizeof *tree);
    if (!tree)
        return ldar_fail_memory(error, sizeof *tree, "gradients");
    tree->floats = floats;
    tree->peers = peers;
    if (ldar_peers_ranks(peers) > 1) {
        const enum ldar_status status = ldar_exchange_create(floats, peers, &tree->exchange, error);
        if (status != LDAR_OK) {
            free(tree);
            return status;
        }
    }
    *out = tree;
    return LDAR_OK;
}

/* Keeps no more than `count` gradients. */
static void shrink(struct ldar_gradient_tree *tree, size_t count)
{
    while (tree->allocated > count)
        free(tree->gradients[--tree->allocated]);
}

/* After the exchange has let go of them. */
static void take_back(struct ldar_gradient_tree *tree)
{
    float *gradient;
    while (tree->exchange && (gradient = ldar_exchange_take_back(tree->exchange)))
        tree->gradients[tree->allocated++] = gradient;
}

void ldar_gradient_tree_destroy(struct ldar_gradient_tree *tree)
{
    if (!tree)
        return;
    ldar_exchange_destroy(tree->exchange);
    shrink(tree, 0);
    free(tree->gradients);
    free(tree->steps);
    free(tree);
}

/* Steps and stack for the plan of `micro_batches`; the gradients that are there are kept as far as they fit. */
static enum ldar_status reserve(struct ldar_gradient_tree *tree, size_t micro_batches, struct ldar_error *error)
{
    const struct ldar_plan plan = plan_of(tree->peers, micro_batches, NULL);
    if (plan.steps > SIZE_MAX / sizeof *tree->steps - 1)
        return ldar_fail_memory(error, SIZE_MAX, "the sum of gradients");
    shrink(tree, plan.held);
    free(tree->steps);
    tree->steps = malloc((plan.steps + 1) * sizeof *tree->steps);
    float **gradients = realloc(tree->gradients, plan.held * sizeof *gradients);
    if (gradients)
        tree->gradients = gradients;
    if (!gradients || !tree->steps)
        return ldar_fail_memory(error, plan.steps * sizeof *tree->steps, "the sum of gradients");
    tree->plan = plan_of(tree->peers, micro_batches, tree->steps);
    tree->micro_batches = micro_batches;
    return LDAR_OK;
}

enum ldar_status ldar_gradient_tree_begin(struct ldar_gradient_tree *tree, size_t micro_batches, size_t *first,
                                          size_t *count, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (!micro_batches)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "a step without micro-batches");
    if (tree->exchange && ldar_exchange_busy(tree->exchange))
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "the step before was left unfinished; other ranks wait for it");
    take_back(tree);
    tree->depth = tree->at = tree->told = 0;
    tree->broken = 0;
    if (tree->micro_batches != micro_batches) {
        tree->micro_batches = 0;
        tree->plan = (struct ldar_plan){0};
        status = reserve(tree, micro_batches, error);
    }
    if (status == LDAR_OK && tree->exchange)
        status = ldar_exchange_begin(tree->exchange, &tree->plan, tree->steps, error);
    *first = tree->plan.first;
    *count = tree->plan.leaves;
    return status;
}

/* Additions that follow the current leaf. */
static size_t additions(const struct ldar_gradient_tree *tree)
{
    size_t end = tree->at;
    while (end < tree->plan.steps && tree->steps[end].kind == LDAR_PLAN_ADD)
        end++;
    return end - tree->at;
}

static int is_step(const struct ldar_gradient_tree *tree, size_t at, enum ldar_plan_kind kind)
{
    return at < tree->plan.steps && tree->steps[at].kind == kind;
}

/* Leaves the current leaf behind: what was added to the gradient below is to spare, what was sent is the exchange's. */
static void settle(struct ldar_gradient_tree *tree)
{
    if (!tree->at)
        return;
    const size_t adds = additions(tree);
    tree->broken |= tree->told != tree->floats;
    tree->depth -= adds;
    tree->at += adds;
    if (is_step(tree, tree->at, LDAR_PLAN_SEND) && is_step(tree, tree->at + 1, LDAR_PLAN_LEAF)) {
        ldar_exchange_give(tree->exchange, tree->at++, tree->gradients[0]);
        tree->gradients[0] = tree->gradients[--tree->allocated];
        tree->depth = 0;
    }
}

/* Pushes a gradient: one to spare, or a new one. */
static float *push(struct ldar_gradient_tree *tree)
{
    if (tree->depth == tree->allocated)
        take_back(tree);
    if (tree->depth == tree->allocated) {
        tree->gradients[tree->depth] = aligned_alloc(LINE, gradient_bytes(tree->floats));
        if (!tree->gradients[tree->depth])
            return NULL;
        tree->allocated++;
    }
    return tree->gradients[tree->depth++];
}

float *ldar_gradient_tree_leaf(struct ldar_gradient_tree *tree)
{
    settle(tree);
    if (!is_step(tree, tree->at, LDAR_PLAN_LEAF))
        return NULL;
    float *leaf = push(tree);
    if (!leaf)
        return NULL;
    tree->at++;
    tree->told = 0;
    return memset(leaf, 0, gradient_bytes(tree->floats));
}

static void add(float *restrict to, const float *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

void ldar_gradient_tree_ready(struct ldar_gradient_tree *tree, size_t first, size_t count)
{
    const size_t adds = additions(tree), end = first + count, next = tree->at + adds;
    tree->told += count;
    for (size_t i = first; i < end && adds; i += BLOCK) {
        const size_t block = end - i < BLOCK ? end - i : BLOCK;
        float **top = tree->gradients + tree->depth - 1;
        for (size_t level = 0; level < adds; level++, top--)
            add(top[-1] + i, top[0] + i, block);
    }
    if (tree->exchange && !is_step(tree, next, LDAR_PLAN_LEAF))
        ldar_exchange_tell(tree->exchange, next, tree->gradients, tree->depth - adds, first, count);
}

enum ldar_status ldar_gradient_tree_finish(struct ldar_gradient_tree *tree, float **sum, struct ldar_error *error)
{
    *sum = NULL;
    settle(tree);
    tree->told = tree->floats;
    size_t rest = tree->at;
    while (rest < tree->plan.steps && tree->steps[rest].kind != LDAR_PLAN_LEAF)
        rest++;
    if (tree->broken || !tree->micro_batches || rest != tree->plan.steps)
        return ldar_fail(error, LDAR_ERROR_INTERNAL, "a sum over micro-batches that were not all computed");
    if (!tree->plan.leaves && !push(tree))
        return ldar_fail_memory(error, gradient_bytes(tree->floats), "gradients");
    if (tree->exchange) {
        const enum ldar_status status = ldar_exchange_finish(tree->exchange, tree->gradients[0], error);
        if (status != LDAR_OK)
            return status;
    }
    *sum = tree->gradients[0];
    return LDAR_OK;
}
