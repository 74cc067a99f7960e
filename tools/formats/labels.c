/* SPDX-License-Identifier: Apache-2.0 */
#include "labels.h"

#include "number.h"

#include <stdlib.h>
#include <string.h>

/* Where in `order` the name is or would be. */
static size_t find_place(const struct label_set *set, const char *name)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(set->names[set->order[middle]], name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool label_set_find(const struct label_set *set, const char *name, uint32_t *index)
{
    const size_t place = find_place(set, name);
    if (place == set->count || strcmp(set->names[set->order[place]], name) != 0) {
        return false;
    }
    *index = set->order[place];
    return true;
}

static bool reserve(struct label_set *set)
{
    if (set->count < set->capacity) {
        return true;
    }
    const size_t capacity = set->capacity ? 2 * set->capacity : 16;
    char **names = capacity > UINT32_MAX ? NULL : realloc(set->names, capacity * sizeof *names);
    set->names = names ? names : set->names;
    uint32_t *order = names ? realloc(set->order, capacity * sizeof *order) : NULL;
    if (!order) {
        return false;
    }
    set->order = order;
    set->capacity = capacity;
    return true;
}

bool label_set_add(struct label_set *set, const char *name)
{
    char *copy = reserve(set) ? strdup(name) : NULL;
    if (!copy) {
        return false;
    }
    const size_t place = find_place(set, name);
    memmove(set->order + place + 1, set->order + place, (set->count - place) * sizeof *set->order);
    set->order[place] = (uint32_t)set->count;
    set->names[set->count++] = copy;
    return true;
}

/* ---- the order ---- */

struct ranked {
    char *name;
    uint32_t index;
    bool negative;
    uint64_t number;
};

/* Digits, perhaps after a minus. */
static bool parse_whole(const char *name, struct ranked *ranked)
{
    ranked->negative = *name == '-';
    name += ranked->negative;
    const bool whole = parse_number(name, strlen(name), &ranked->number);
    ranked->negative = ranked->negative && ranked->number > 0;
    return whole;
}

static int compare_bytes(const void *left, const void *right)
{
    return strcmp(((const struct ranked *)left)->name, ((const struct ranked *)right)->name);
}

/* 1 and 01 are two names of one number. */
static int compare_numbers(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    if (a->negative != b->negative) {
        return a->negative ? -1 : 1;
    }
    if (a->number != b->number) {
        return (a->number < b->number) != a->negative ? -1 : 1;
    }
    return compare_bytes(left, right);
}

bool label_set_sort(struct label_set *set, uint32_t **moved)
{
    struct ranked *ranked = malloc((set->count + 1) * sizeof *ranked);
    *moved = malloc((set->count + 1) * sizeof **moved);
    if (!ranked || !*moved) {
        free(ranked);
        free(*moved);
        *moved = NULL;
        return false;
    }
    bool whole = true;
    for (size_t i = 0; i < set->count; ++i) {
        ranked[i] = (struct ranked){.name = set->names[i], .index = (uint32_t)i};
        whole = parse_whole(set->names[i], &ranked[i]) && whole;
    }
    qsort(ranked, set->count, sizeof *ranked, whole ? compare_numbers : compare_bytes);
    for (size_t i = 0; i < set->count; ++i) {
        (*moved)[ranked[i].index] = (uint32_t)i;
        set->names[i] = ranked[i].name;
    }
    for (size_t i = 0; i < set->count; ++i) {
        set->order[i] = (*moved)[set->order[i]];
    }
    free(ranked);
    return true;
}

void label_set_free(struct label_set *set)
{
    for (size_t i = 0; i < set->count; ++i) {
        free(set->names[i]);
    }
    free(set->names);
    free(set->order);
    *set = (struct label_set){0};
}
