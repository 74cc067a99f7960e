/* SPDX-License-Identifier: Apache-2.0 */
#include "shuffle.h"

#include <ldar/model.h>

#include <stdbool.h>

enum { LETTERS = 4, SHORTEST = 4 }; /* shorter runs have one order only */

/* A sequence as a walk: each dinucleotide is an edge from its first letter to its second. */
struct walk {
    uint64_t edges[LETTERS][LETTERS];
    uint64_t leaving[LETTERS]; /* their sums */
    bool reserved[LETTERS];    /* one more edge leaves here, and is taken last */
    uint8_t exit[LETTERS];     /* where it leads */
};

/* Where a random one of the edges that leave a letter leads; there is one at least. */
static uint8_t draw_edge(const struct walk *walk, uint8_t from, struct draws *draws)
{
    uint64_t place = draws_below(draws, walk->leaving[from]);
    uint8_t to = 0;
    while (place >= walk->edges[from][to]) {
        place -= walk->edges[from][to++];
    }
    return to;
}

static void take_edge(struct walk *walk, uint8_t from, uint8_t to)
{
    --walk->edges[from][to];
    --walk->leaving[from];
}

/*
 * The edges by which the letters are left for the last time form a tree that leads to the last letter. Each tree is
 * drawn as often as there are edges to make it of (Wilson, STOC 1996: random walks with their loops taken out). The
 * road not taken: drawing edges until they form a tree, which takes for ever where the only edge out of a run of As is
 * one in thousands.
 */
static void reserve_exits(struct walk *walk, uint8_t last, struct draws *draws)
{
    bool reached[LETTERS] = {false};
    reached[last] = true;
    for (uint8_t from = 0; from < LETTERS; ++from) {
        if (walk->leaving[from] == 0) {
            continue;
        }
        for (uint8_t at = from; !reached[at]; at = walk->exit[at]) {
            walk->exit[at] = draw_edge(walk, at, draws);
        }
        for (uint8_t at = from; !reached[at]; at = walk->exit[at]) {
            reached[at] = walk->reserved[at] = true;
        }
    }
    for (uint8_t from = 0; from < LETTERS; ++from) {
        if (walk->reserved[from]) {
            take_edge(walk, from, walk->exit[from]);
        }
    }
}

static void shuffle_run(uint8_t *run, size_t count, struct draws *draws)
{
    struct walk walk = {0};
    if (count < SHORTEST) {
        return;
    }
    for (size_t i = 1; i < count; ++i) {
        ++walk.edges[run[i - 1]][run[i]];
        ++walk.leaving[run[i - 1]];
    }
    reserve_exits(&walk, run[count - 1], draws);
    for (size_t i = 1; i < count; ++i) {
        const uint8_t from = run[i - 1];
        if (walk.leaving[from] == 0) {
            run[i] = walk.exit[from];
            continue;
        }
        run[i] = draw_edge(&walk, from, draws);
        take_edge(&walk, from, run[i]);
    }
}

void shuffle_dinucleotides(uint8_t *ids, size_t count, struct draws *draws)
{
    for (size_t begin = 0; begin < count;) {
        size_t end = begin;
        while (end < count && ids[end] <= LDAR_T) {
            ++end;
        }
        shuffle_run(ids + begin, end - begin, draws);
        begin = end > begin ? end : begin + 1;
    }
}
