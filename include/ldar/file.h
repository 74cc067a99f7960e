/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_FILE_H
#define LDAR_FILE_H

#include <ldar/status.h>

#include <stddef.h>
#include <stdint.h>

LDAR_BEGIN_DECLS

/*
 * Files that exist whole or not at all. What is written goes to a temporary
 * name in the same folder, "NAME.tmp.<process>.<n>"; commit syncs it to the
 * disk, gives it its name and syncs the folder. Until then, whatever bore the
 * name before is untouched. A symbolic link is followed: what it points to is
 * replaced. Where the path names a device or a pipe, which cannot be replaced,
 * it is written directly.
 *
 * One thread at a time uses a file.
 */
typedef struct ldar_file ldar_file;

/* On failure *file is NULL. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_file_create(const char *path, ldar_file **file, struct ldar_error *error);

/* Appends; buffered, so that small pieces are cheap. After a failure only ldar_file_abandon makes sense. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_file_write(ldar_file *file, const void *data, size_t bytes,
                                                        struct ldar_error *error);

/* Writes over what is already there, [offset, offset + bytes): for a header that is known last. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_file_rewrite(ldar_file *file, uint64_t offset, const void *data,
                                                          size_t bytes, struct ldar_error *error);

/* Bytes appended so far. */
LDAR_API uint64_t ldar_file_length(const ldar_file *file);

/*
 * The temporary name, valid as long as the file, for a library that insists on opening its output itself. Nothing may
 * then be written by the functions above.
 */
LDAR_API const char *ldar_file_temporary(const ldar_file *file);

/*
 * Brings what was written to the disk, where it still bears the temporary name: what may fail for want of room fails
 * here. So several files can be committed together, once all of them are synced.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_file_sync(ldar_file *file, struct ldar_error *error);

/* Both end the life of `file`, whatever they return. After a failed commit nothing bears the temporary name. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_file_commit(ldar_file *file, struct ldar_error *error);
/* Removes the temporary file. Does nothing for NULL. */
LDAR_API void ldar_file_abandon(ldar_file *file);

LDAR_END_DECLS

#endif
