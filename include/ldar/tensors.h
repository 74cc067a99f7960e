/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TENSORS_H
#define LDAR_TENSORS_H

#include <ldar/status.h>

#include <stddef.h>

LDAR_BEGIN_DECLS

/*
 * Safetensors files: named arrays and a map of texts. The file is mapped
 * read-only and must not be truncated while it is open. What is promised of a
 * file that opened: names are distinct, valid UTF-8, 1 to 256 bytes without
 * control characters; rank <= 8; each array's bytes lie within the file and
 * belong to it alone; together they cover the file from header to end.
 *
 * An open file is immutable and may be shared by any number of threads.
 */
typedef struct ldar_tensors ldar_tensors;

enum ldar_tensor_type {
    LDAR_TENSOR_BOOL = 0,
    LDAR_TENSOR_U8 = 1,
    LDAR_TENSOR_I8 = 2,
    LDAR_TENSOR_U16 = 3,
    LDAR_TENSOR_I16 = 4,
    LDAR_TENSOR_U32 = 5,
    LDAR_TENSOR_I32 = 6,
    LDAR_TENSOR_U64 = 7,
    LDAR_TENSOR_I64 = 8,
    LDAR_TENSOR_F8_E4M3 = 9,
    LDAR_TENSOR_F8_E5M2 = 10,
    LDAR_TENSOR_F16 = 11,
    LDAR_TENSOR_BF16 = 12,
    LDAR_TENSOR_F32 = 13,
    LDAR_TENSOR_F64 = 14
};

/* "BOOL", "U8", ... as in the files; NULL for a number that names none. */
LDAR_API const char *ldar_tensor_type_name(enum ldar_tensor_type type);
/* Bytes of an element; 0 for a number that names no type. */
LDAR_API size_t ldar_tensor_type_bytes(enum ldar_tensor_type type);

enum { LDAR_MAX_RANK = 8 };

struct ldar_tensor {
    const char *name; /* valid as long as the file is open, as is data */
    enum ldar_tensor_type type;
    size_t rank, shape[LDAR_MAX_RANK];
    size_t count;     /* elements: the product of shape, 1 for rank 0 */
    const void *data; /* row-major, little-endian, of any alignment */
    size_t bytes;
};

/*
 * Opens a file. A header longer than `max_header` bytes is refused; 0: 16 MiB. The format's own limit is 100000000.
 * On failure *tensors is NULL.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_tensors_open(const char *path, size_t max_header, ldar_tensors **tensors,
                                                          struct ldar_error *error);

/* Does nothing for NULL. */
LDAR_API void ldar_tensors_close(ldar_tensors *tensors);

/* Arrays are numbered as they stand in the header. */
LDAR_API size_t ldar_tensors_count(const ldar_tensors *tensors);
LDAR_API struct ldar_tensor ldar_tensors_at(const ldar_tensors *tensors, size_t index); /* index < count */

/* The index of the array of that name, or the count when there is none. */
LDAR_API size_t ldar_tensors_find(const ldar_tensors *tensors, const char *name);

/* The text of a key of the file's metadata, valid as long as the file is open, or NULL. */
LDAR_API const char *ldar_tensors_metadata(const ldar_tensors *tensors, const char *key);

LDAR_END_DECLS

#endif
