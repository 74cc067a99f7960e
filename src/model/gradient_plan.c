/* SPDX-License-Identifier: Apache-2.0 */
#include "model/gradient_plan.h"

struct planner {
    size_t micro_batches, rank, ranks;
    struct ldar_plan_step *steps;
    struct ldar_plan plan;
    size_t live;
    enum ldar_plan_kind last;
};

static size_t first_of(const struct planner *p, size_t rank)
{
    return rank * p->micro_batches / p->ranks;
}

/* The last rank whose first micro-batch is not beyond this one: ranks without any come before it. */
static size_t owner_of(const struct planner *p, size_t micro_batch)
{
    return ((micro_batch + 1) * p->ranks - 1) / p->micro_batches;
}

static void emit(struct planner *p, enum ldar_plan_kind kind, size_t rank)
{
    if (p->steps)
        p->steps[p->plan.steps] = (struct ldar_plan_step){.kind = kind, .rank = rank};
    p->plan.steps++;
    if (kind == LDAR_PLAN_LEAF) {
        p->live++;
        p->plan.departures += p->last == LDAR_PLAN_SEND;
    }
    if (kind == LDAR_PLAN_ADD)
        p->live--;
    if (p->live > p->plan.held)
        p->plan.held = p->live;
    p->last = kind;
}

static size_t largest_power_below(size_t n)
{
    size_t power = 1;
    while (power < n - power)
        power *= 2;
    return power;
}

/* The steps of the node over micro-batches `first` .. `first` + `count` - 1. */
static void visit(struct planner *p, size_t first, size_t count)
{
    if (first >= p->plan.first + p->plan.leaves || first + count <= p->plan.first)
        return;
    if (count == 1) {
        emit(p, LDAR_PLAN_LEAF, p->rank);
        return;
    }
    const size_t left = largest_power_below(count);
    const size_t owner = owner_of(p, first), other = owner_of(p, first + left);
    visit(p, first, left);
    visit(p, first + left, count - left);
    if (owner == p->rank && other == p->rank)
        emit(p, LDAR_PLAN_ADD, p->rank);
    else if (owner == p->rank)
        emit(p, LDAR_PLAN_RECEIVE, other);
    else if (other == p->rank)
        emit(p, LDAR_PLAN_SEND, owner);
}

struct ldar_plan ldar_plan_make(size_t micro_batches, size_t rank, size_t ranks, struct ldar_plan_step *steps)
{
    struct planner p = {.micro_batches = micro_batches, .rank = rank, .ranks = ranks, .steps = steps};
    p.plan.held = 1;
    p.plan.first = first_of(&p, rank);
    p.plan.leaves = first_of(&p, rank + 1) - p.plan.first;
    p.plan.root = owner_of(&p, 0);
    if (p.plan.leaves)
        visit(&p, 0, micro_batches);
    return p.plan;
}
