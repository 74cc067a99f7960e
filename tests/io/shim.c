/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is asked for ---- */

struct fault {
    long left; /* negative: none */
    int lasting, hit, reason;
};
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* a thread of the library may write meanwhile */
static struct fault call_fault = {-1, 0, 0, 0}, allocation_fault = {-1, 0, 0, 0};
static size_t disk_left = SIZE_MAX;
static int disturbing, disturbances, syncing = 1;
static long blocks;
static void (*watch)(const struct shim_event *event);

static int fails(struct fault *fault)
{
    pthread_mutex_lock(&mutex);
    const int failing = fault->left == 0;
    if (failing) {
        fault->hit = 1;
        fault->left = fault->lasting ? 0 : -1;
        errno = fault->reason;
    } else if (fault->left > 0) {
        fault->left--;
    }
    pthread_mutex_unlock(&mutex);
    return failing;
}

void shim_fail_call(long left, int lasting, int reason)
{
    call_fault = (struct fault){left, lasting, 0, reason};
}

void shim_fail_allocation(long left, int lasting)
{
    allocation_fault = (struct fault){left, lasting, 0, ENOMEM};
}

int shim_hit(void)
{
    const int hit = call_fault.hit || allocation_fault.hit;
    call_fault = allocation_fault = (struct fault){-1, 0, 0, 0};
    return hit;
}

void shim_disk(size_t bytes)
{
    disk_left = bytes;
}

void shim_disturb(int on)
{
    disturbing = on;
}

void shim_sync(int on)
{
    syncing = on;
}

long shim_blocks(void)
{
    pthread_mutex_lock(&mutex);
    const long count = blocks;
    pthread_mutex_unlock(&mutex);
    return count;
}

void shim_watch(void (*watcher)(const struct shim_event *event))
{
    watch = watcher;
}

static uint64_t inode_of(int descriptor)
{
    struct stat state;
    return fstat(descriptor, &state) == 0 ? state.st_ino : 0;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- allocation ---- */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
void __real_free(void *block);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
void __wrap_free(void *block);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);

static void *count(void *block, long change)
{
    pthread_mutex_lock(&mutex);
    blocks += block ? change : 0;
    pthread_mutex_unlock(&mutex);
    return block;
}

void *__wrap_malloc(size_t bytes)
{
    return fails(&allocation_fault) ? NULL : count(__real_malloc(bytes), 1);
}

void *__wrap_calloc(size_t number, size_t bytes)
{
    return fails(&allocation_fault) ? NULL : count(__real_calloc(number, bytes), 1);
}

void *__wrap_realloc(void *block, size_t bytes)
{
    return fails(&allocation_fault) ? NULL : count(__real_realloc(block, bytes), block == NULL);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return fails(&allocation_fault) ? NULL : count(__real_aligned_alloc(alignment, bytes), 1);
}

void __wrap_free(void *block)
{
    count(block, -1);
    __real_free(block);
}

/* ---- the system ---- */

int __real_open64(const char *path, int flags, ...);
int __real_openat64(int folder, const char *path, int flags, ...);
ssize_t __real_read(int file, void *data, size_t bytes);
ssize_t __real_pread64(int file, void *data, size_t bytes, off_t offset);
ssize_t __real_write(int file, const void *data, size_t bytes);
ssize_t __real_pwrite64(int file, const void *data, size_t bytes, off_t offset);
int __real_fsync(int file);
int __real_close(int file);
int __real_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __real_unlink(const char *path);
int __real_unlinkat(int folder, const char *path, int flags);
int __real_mkdir(const char *path, mode_t mode);
int __real_flock(int file, int operation);
void *__real_mmap64(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_openat64(int folder, const char *path, int flags, ...);
ssize_t __wrap_read(int file, void *data, size_t bytes);
ssize_t __wrap_pread64(int file, void *data, size_t bytes, off_t offset);
ssize_t __wrap_write(int file, const void *data, size_t bytes);
ssize_t __wrap_pwrite64(int file, const void *data, size_t bytes, off_t offset);
int __wrap_fsync(int file);
int __wrap_close(int file);
int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __wrap_unlink(const char *path);
int __wrap_unlinkat(int folder, const char *path, int flags);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_flock(int file, int operation);
void *__wrap_mmap64(void *address, size_t bytes, int protection, int flags, int file, off_t offset);

static mode_t mode_of(int flags, va_list arguments)
{
    return flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
}

int __wrap_open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return fails(&call_fault) ? -1 : __real_open64(path, flags, mode);
}

int __wrap_openat64(int folder, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    const int file = fails(&call_fault) ? -1 : __real_openat64(folder, path, flags, mode);
    if (file >= 0 && watch && (flags & O_CREAT)) {
        watch(&(struct shim_event){.kind = SHIM_CREATE, .inode = inode_of(file), .name = path});
    }
    return file;
}

/* An interruption: 1. Else *bytes may have become fewer. */
static int disturb(size_t *bytes)
{
    if (disturbing && disturbances++ % 2) {
        errno = EINTR;
        return 1;
    }
    *bytes = disturbing && *bytes > 1000 ? 1000 : *bytes;
    return 0;
}

ssize_t __wrap_read(int file, void *data, size_t bytes)
{
    return fails(&call_fault) || disturb(&bytes) ? -1 : __real_read(file, data, bytes);
}

ssize_t __wrap_pread64(int file, void *data, size_t bytes, off_t offset)
{
    return fails(&call_fault) || disturb(&bytes) ? -1 : __real_pread64(file, data, bytes, offset);
}

/* Before a write: what is left of the disk bounds it. 1: it fails. */
static int refuse(size_t *bytes, int new_bytes)
{
    if (fails(&call_fault) || disturb(bytes)) {
        return 1;
    }
    if (new_bytes && disk_left != SIZE_MAX) {
        if (disk_left == 0 && *bytes > 0) {
            errno = ENOSPC;
            return 1;
        }
        *bytes = *bytes < disk_left ? *bytes : disk_left;
        disk_left -= *bytes;
    }
    return 0;
}

static ssize_t tell(int file, off_t offset, const void *data, ssize_t written)
{
    if (watch && written > 0) {
        watch(&(struct shim_event){.kind = SHIM_WRITE,
                                   .inode = inode_of(file),
                                   .offset = (uint64_t)offset,
                                   .data = data,
                                   .bytes = (size_t)written});
    }
    return written;
}

ssize_t __wrap_write(int file, const void *data, size_t bytes)
{
    if (refuse(&bytes, 1)) {
        return -1;
    }
    const off_t offset = watch ? lseek(file, 0, SEEK_CUR) : 0;
    return tell(file, offset, data, __real_write(file, data, bytes));
}

ssize_t __wrap_pwrite64(int file, const void *data, size_t bytes, off_t offset)
{
    return refuse(&bytes, 0) ? -1 : tell(file, offset, data, __real_pwrite64(file, data, bytes, offset));
}

int __wrap_fsync(int file)
{
    struct stat state;
    const int result = fails(&call_fault) ? -1 : syncing ? __real_fsync(file) : 0;
    if (result == 0 && watch && fstat(file, &state) == 0) {
        watch(
            &(struct shim_event){.kind = S_ISDIR(state.st_mode) ? SHIM_SYNC_FOLDER : SHIM_SYNC, .inode = state.st_ino});
    }
    return result;
}

/* A close that fails has closed all the same, as on Linux; what was only read loses nothing by it. */
int __wrap_close(int file)
{
    const int written = (fcntl(file, F_GETFL) & O_ACCMODE) == O_WRONLY;
    const int result = __real_close(file);
    return written && fails(&call_fault) ? -1 : result;
}

int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    const int result = fails(&call_fault) ? -1 : __real_renameat(from_folder, from, to_folder, to);
    if (result == 0 && watch) {
        watch(&(struct shim_event){.kind = SHIM_RENAME, .name = last_part(from), .new_name = last_part(to)});
    }
    return result;
}

static int removed(const char *path, int result)
{
    if (result == 0 && watch) {
        watch(&(struct shim_event){.kind = SHIM_REMOVE, .name = last_part(path)});
    }
    return result;
}

/* Removal never fails on demand: what cannot be removed is no loss, and is removed when the folder is next opened. */
int __wrap_unlink(const char *path)
{
    return removed(path, __real_unlink(path));
}

int __wrap_unlinkat(int folder, const char *path, int flags)
{
    return removed(path, __real_unlinkat(folder, path, flags));
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return fails(&call_fault) ? -1 : __real_mkdir(path, mode);
}

int __wrap_flock(int file, int operation)
{
    return fails(&call_fault) ? -1 : __real_flock(file, operation);
}

void *__wrap_mmap64(void *address, size_t bytes, int protection, int flags, int file, off_t offset)
{
    return fails(&call_fault) ? MAP_FAILED : __real_mmap64(address, bytes, protection, flags, file, offset);
}
