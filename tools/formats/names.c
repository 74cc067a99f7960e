/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <stdlib.h>

/* FNV-1a over the bytes, and the last mixing steps of splitmix64, since FNV alone leaves the low bits weak. */
static uint64_t hash_name(const char *name, size_t length)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; ++i) {
        hash = (hash ^ (unsigned char)name[i]) * UINT64_C(0x100000001b3);
    }
    hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
    hash ^= hash >> 31;
    return hash ? hash : 1;
}

/* The slot that holds the hash or would take it. */
static uint64_t *find_slot(uint64_t *slots, size_t capacity, uint64_t hash)
{
    size_t i = (size_t)hash & (capacity - 1);
    while (slots[i] && slots[i] != hash) {
        i = (i + 1) & (capacity - 1);
    }
    return slots + i;
}

static bool grow(struct name_set *set)
{
    const size_t capacity = set->capacity ? 2 * set->capacity : 64;
    uint64_t *slots = capacity > SIZE_MAX / sizeof *slots / 2 ? NULL : calloc(capacity, sizeof *slots);
    if (!slots) {
        return false;
    }
    for (size_t i = 0; i < set->capacity; ++i) {
        if (set->slots[i]) {
            *find_slot(slots, capacity, set->slots[i]) = set->slots[i];
        }
    }
    free(set->slots);
    set->slots = slots;
    set->capacity = capacity;
    return true;
}

bool name_set_add(struct name_set *set, const char *name, size_t length, bool *added)
{
    if (set->count >= set->capacity / 3 * 2 && !grow(set)) {
        return false;
    }
    const uint64_t hash = hash_name(name, length);
    uint64_t *slot = find_slot(set->slots, set->capacity, hash);
    *added = *slot == 0;
    *slot = hash;
    set->count += *added;
    return true;
}

bool name_set_holds(const struct name_set *set, const char *name, size_t length)
{
    return set->capacity > 0 && *find_slot(set->slots, set->capacity, hash_name(name, length)) != 0;
}

void name_set_free(struct name_set *set)
{
    free(set->slots);
    *set = (struct name_set){0};
}
