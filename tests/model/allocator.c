/* SPDX-License-Identifier: Apache-2.0 */
#include "allocator.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **block, size_t alignment, size_t size);
void __real_free(void *block);
void *__real_mmap(void *address, size_t size, int protection, int flags, int descriptor, off_t offset);
int __real_munmap(void *address, size_t size);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **block, size_t alignment, size_t size);
void __wrap_free(void *block);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int descriptor, off_t offset);
int __wrap_munmap(void *address, size_t size);

enum { MOST_BLOCKS = 1 << 14 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    void *block;
    size_t size;
} held[MOST_BLOCKS];
static size_t blocks, bytes, peak, countdown;
static int failed;

void allocator_fail(size_t nth)
{
    countdown = nth;
    failed = 0;
}

int allocator_failed(void)
{
    return failed;
}

size_t allocator_blocks(void)
{
    return blocks;
}

size_t allocator_bytes(void)
{
    return bytes;
}

size_t allocator_peak(void)
{
    return peak;
}

void allocator_watch(void)
{
    peak = bytes;
}

static int must_fail(void)
{
    pthread_mutex_lock(&lock);
    int now = countdown > 0 && --countdown == 0;
    failed |= now;
    pthread_mutex_unlock(&lock);
    if (now) {
        errno = ENOMEM;
    }
    return now;
}

static void *enter(void *block, size_t size)
{
    if (!block) {
        return NULL;
    }
    pthread_mutex_lock(&lock);
    if (blocks == MOST_BLOCKS) {
        abort();
    }
    held[blocks].block = block;
    held[blocks++].size = size;
    bytes += size;
    peak = bytes > peak ? bytes : peak;
    pthread_mutex_unlock(&lock);
    return block;
}

/* Blocks that a shared library handed over (strdup, getline) were never entered. */
static void leave(void *block)
{
    pthread_mutex_lock(&lock);
    for (size_t i = blocks; i > 0; i--) {
        if (held[i - 1].block == block) {
            bytes -= held[i - 1].size;
            held[i - 1] = held[--blocks];
            break;
        }
    }
    pthread_mutex_unlock(&lock);
}

void *__wrap_malloc(size_t size)
{
    return must_fail() ? NULL : enter(__real_malloc(size), size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : enter(__real_calloc(count, size), count * size);
}

void *__wrap_realloc(void *block, size_t size)
{
    if (must_fail()) {
        return NULL;
    }
    leave(block);
    return enter(__real_realloc(block, size), size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return must_fail() ? NULL : enter(__real_aligned_alloc(alignment, size), size);
}

int __wrap_posix_memalign(void **block, size_t alignment, size_t size)
{
    if (must_fail()) {
        return ENOMEM;
    }
    int status = __real_posix_memalign(block, alignment, size);
    if (status == 0) {
        enter(*block, size);
    }
    return status;
}

void __wrap_free(void *block)
{
    leave(block);
    __real_free(block);
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int descriptor, off_t offset)
{
    if (must_fail()) {
        return MAP_FAILED;
    }
    void *block = __real_mmap(address, size, protection, flags, descriptor, offset);
    if (block != MAP_FAILED) {
        enter(block, size);
    }
    return block;
}

int __wrap_munmap(void *address, size_t size)
{
    leave(address);
    return __real_munmap(address, size);
}
