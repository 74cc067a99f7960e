/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_IO_CHECKPOINT_FOLDER_H
#define LDAR_IO_CHECKPOINT_FOLDER_H

#include "io/checkpoint_file.h"

/* A generation that lies in the folder. */
struct ldar_generation {
    uint64_t generation, step;
    size_t bytes;
    char hash[LDAR_HASH_DIGITS + 1]; /* of its header */
};

/* "<folder>/<name>" in memory of its own, or NULL with the error filled. */
char *ldar_checkpoint_path(const char *folder, const char *name, struct ldar_error *error);
/* "checkpoint-<step>.safetensors" */
enum { LDAR_CHECKPOINT_NAME = 64 };
void ldar_checkpoint_file_name(uint64_t step, char name[LDAR_CHECKPOINT_NAME]);

/* Makes the folder where it is missing, durably. */
enum ldar_status ldar_checkpoint_folder_make(const char *folder, struct ldar_error *error);
/* What is in the folder is durable from here on. */
enum ldar_status ldar_checkpoint_folder_sync(const char *folder, struct ldar_error *error);

/*
 * The lock is on a file that is never removed: to remove it would let two writers hold locks on two files of one name.
 * It ends with its descriptor, hence with the process.
 */
enum ldar_status ldar_checkpoint_lock(const char *folder, int *descriptor, struct ldar_error *error);
/* An error when the folder no longer holds the file that is locked: it was removed, and another writer may be there. */
enum ldar_status ldar_checkpoint_lock_check(const char *folder, int descriptor, struct ldar_error *error);

/*
 * The steps of the checkpoints in the folder, in no order; free(*steps). With `clean`, temporary files of checkpoints
 * and manifests are removed: the lock must be held, which proves that their writers are gone.
 */
enum ldar_status ldar_checkpoint_list(const char *folder, int clean, uint64_t **steps, size_t *count,
                                      struct ldar_error *error);

/*
 * The manifest is for a person to read. It tells a load that a generation has vanished, and a writer which numbers were
 * given to generations that cannot be read just now. None is found by it.
 */
enum ldar_status ldar_manifest_write(const char *folder, const struct ldar_generation *generation, size_t count,
                                     struct ldar_error *error);
/*
 * Generation and step of the newest that it names; generation 0 where there is no manifest. LDAR_ERROR_FORMAT: it is
 * damaged.
 */
enum ldar_status ldar_manifest_read(const char *folder, struct ldar_generation *newest, struct ldar_error *error);

#endif
