/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_IO_CHECKPOINT_FILE_H
#define LDAR_IO_CHECKPOINT_FILE_H

#include <ldar/checkpoint.h>

/*
 * One checkpoint as a file: safetensors with a header that begins
 *
 *   {"__metadata__":{"header":"<XXH64>","format":"ldarnet checkpoint","version":"1", ...
 *
 * The hash is that of the whole header, its length in front included, with zeros where the hash itself stands. Every
 * version of the format begins so: what has been damaged is told from what is merely newer, and no damaged byte ever
 * reaches the parser. The arrays' hashes stand in the header.
 */
enum { LDAR_CHECKPOINT_VERSION = 1, LDAR_HASH_DIGITS = 16 };

/* ---- writing ---- */

/* A checkpoint that is ready to be written. The names are its own, the numbers the caller's or, after a copy, too. */
struct ldar_checkpoint_draft {
    unsigned char *header; /* (header_bytes) from the length in front to the padding; hashes are zeros */
    size_t header_bytes, file_bytes;
    size_t hashes_at; /* where in the header the arrays' hashes stand */
    struct ldar_checkpoint_array {
        const char *name;
        const float *data;
        size_t count;
    } * array;
    size_t arrays;
    char *names;
    float *copy;
    uint64_t generation, step;
    char hash[LDAR_HASH_DIGITS + 1]; /* of the header, once written */
};

/* On failure *draft is empty. */
enum ldar_status ldar_checkpoint_draft_make(struct ldar_checkpoint_draft *draft, uint64_t generation, uint64_t step,
                                            const char *config, const char *state,
                                            const struct ldar_checkpoint_tensor *tensors, size_t count,
                                            struct ldar_error *error);
/* 1 when the numbers are now the draft's own; 0 when there is no memory for that. */
int ldar_checkpoint_draft_copy(struct ldar_checkpoint_draft *draft);
/* Under a temporary name until it is durable. */
enum ldar_status ldar_checkpoint_draft_write(struct ldar_checkpoint_draft *draft, const char *path,
                                             struct ldar_error *error);
/* Does nothing for an empty draft; leaves it empty. */
void ldar_checkpoint_draft_release(struct ldar_checkpoint_draft *draft);

/* ---- reading ---- */

/* A checkpoint whose header is whole. */
struct ldar_checkpoint_file {
    int descriptor;
    char *path;
    unsigned char *room; /* (bytes) address space of the file's size, of which the header alone is read */
    size_t bytes, header_bytes;
    ldar_tensors *tensors;
    uint64_t generation, step;
    const char *config, *state, *hashes; /* valid as long as it is open */
    char hash[LDAR_HASH_DIGITS + 1];     /* of the header */
};

/*
 * LDAR_ERROR_UNSUPPORTED: whole, but of a version that is newer. LDAR_ERROR_MEMORY: nothing is known of it. Else it is
 * damaged or cannot be read. On failure *file is NULL.
 */
enum ldar_status ldar_checkpoint_file_open(const char *path, struct ldar_checkpoint_file **file,
                                           struct ldar_error *error);
/*
 * Checks every array, and fills the tensors unless they are NULL. LDAR_ERROR_TENSOR: they are not those of the file.
 * LDAR_ERROR_MEMORY: nothing is known. Else the file is damaged or cannot be read.
 */
enum ldar_status ldar_checkpoint_file_read(const struct ldar_checkpoint_file *file,
                                           const struct ldar_checkpoint_tensor *tensors, size_t count,
                                           struct ldar_error *error);
/* Lets go of the file itself; the texts stay. */
void ldar_checkpoint_file_detach(struct ldar_checkpoint_file *file);
/* Does nothing for NULL. */
void ldar_checkpoint_file_close(struct ldar_checkpoint_file *file);

/* ---- what both need ---- */

/* The beginning of every header, after the length in front and up to the hash's digits. */
extern const char ldar_checkpoint_opening[];
enum { LDAR_CHECKPOINT_OPENING = 27, LDAR_HEADER_PREFIX = 8, LDAR_CHECKPOINT_HEADER = 16 << 20 };

/* The hash of a header (bytes, the length in front included), as if its own digits were zeros. */
void ldar_checkpoint_header_hash(const unsigned char *header, size_t bytes, char hash[LDAR_HASH_DIGITS + 1]);

/* GROUP.NAME, or NAME where the group is NULL; returns its length, which may be beyond the capacity. */
size_t ldar_checkpoint_name(const struct ldar_checkpoint_tensor *tensor, char *name, size_t capacity);

#endif
