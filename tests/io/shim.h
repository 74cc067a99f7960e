/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_IO_SHIM_H
#define LDAR_TESTS_IO_SHIM_H

#include <stddef.h>
#include <stdint.h>

/*
 * Stands between the library and the system: the program is linked with --wrap for each of shim_calls in
 * CMakeLists.txt. Calls of the test's own objects pass through it too.
 */

/* After `left` calls of the system, or allocations, the next one fails, or all that follow when `lasting`. */
void shim_fail_call(long left, int lasting, int reason);
void shim_fail_allocation(long left, int lasting);
/* Ends it. Returns whether it came to a failure. */
int shim_hit(void);

/* The disk takes so many more bytes, then it is full; SIZE_MAX: any number. */
void shim_disk(size_t bytes);

/* With 1, every second write is interrupted, and the others take 1000 bytes at most, as reads do. */
void shim_disturb(int on);

/* With 0, fsync does nothing: for folders that no crash threatens. */
void shim_sync(int on);

/* Allocated blocks. */
long shim_blocks(void);

/* What changes files, as it is done. Names are the last parts of paths. */
enum shim_kind { SHIM_CREATE, SHIM_WRITE, SHIM_SYNC, SHIM_SYNC_FOLDER, SHIM_RENAME, SHIM_REMOVE };
struct shim_event {
    enum shim_kind kind;
    uint64_t inode;       /* of the file; distinct while it is open */
    const char *name;     /* created, removed, or renamed from */
    const char *new_name; /* renamed to */
    uint64_t offset;
    const void *data;
    size_t bytes;
};
/* NULL: nobody watches. */
void shim_watch(void (*watcher)(const struct shim_event *event));

#endif
