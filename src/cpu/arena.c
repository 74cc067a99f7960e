/* SPDX-License-Identifier: Apache-2.0 */
#include "arena.h"

#include "pages.h"

#include <assert.h>
#include <stdint.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define LDAR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LDAR_ASAN 1
#endif
#endif

#ifdef LDAR_ASAN
#include <sanitizer/asan_interface.h>
enum { RED_ZONE = 64 };
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
enum { RED_ZONE = 0 };
#endif

enum { LINE = 64 };

size_t ldar_arena_bytes(size_t count)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, sizeof(float), &bytes) || bytes > SIZE_MAX / 2)
        return SIZE_MAX;
    return (bytes + LINE - 1) / LINE * LINE + RED_ZONE;
}

int ldar_arena_map(struct ldar_arena *arena, size_t size)
{
    void *base =
        mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return 0;
    ldar_pages_advise(base, size);
    *arena = (struct ldar_arena){.base = base, .size = size};
    ASAN_POISON_MEMORY_REGION(base, size);
    return 1;
}

void ldar_arena_unmap(struct ldar_arena *arena)
{
    if (!arena->base)
        return;
    ASAN_UNPOISON_MEMORY_REGION(arena->base, arena->size);
    munmap(arena->base, arena->size ? arena->size : 1);
    *arena = (struct ldar_arena){0};
}

float *ldar_arena_take(struct ldar_arena *arena, size_t count)
{
    char *at = arena->base + arena->used;
    arena->used += ldar_arena_bytes(count);
    assert(arena->used <= arena->size);
    ASAN_UNPOISON_MEMORY_REGION(at, count * sizeof(float));
    return (float *)(void *)at;
}

void ldar_arena_release(void *array, size_t bytes)
{
    enum { PAGE = 1 << 16 }; /* the largest page of the systems that we know */
    const uintptr_t first = ((uintptr_t)array + PAGE - 1) / PAGE * PAGE, end = ((uintptr_t)array + bytes) / PAGE * PAGE;
    if (first < end)
        madvise((void *)first, end - first, MADV_DONTNEED);
}
