/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_IO_PICKLE_H
#define LDAR_IO_PICKLE_H

#include <ldar/tensors.h>

#include <stdint.h>

/*
 * A restricted reader of pickles, protocol 2, as torch.save writes them. It knows a fixed list of opcodes and of
 * globals and refuses all others by name. Nothing is ever called: a global is a number here, and what Python would make
 * by calling it is made by this code or kept as an object without contents. Memory, stack, marks and memo are bounded.
 */
enum ldar_pickle_kind {
    LDAR_PICKLE_NONE,
    LDAR_PICKLE_BOOL,
    LDAR_PICKLE_INTEGER,
    LDAR_PICKLE_FLOAT,
    LDAR_PICKLE_STRING,
    LDAR_PICKLE_TUPLE,
    LDAR_PICKLE_LIST,
    LDAR_PICKLE_DICT,
    LDAR_PICKLE_GLOBAL,
    LDAR_PICKLE_STORAGE,
    LDAR_PICKLE_TENSOR,
    LDAR_PICKLE_OBJECT /* legal, of no interest: a set, a device, a namespace */
};

/* A block of numbers of the checkpoint. */
struct ldar_storage {
    const char *key; /* its entry in the archive */
    int type;        /* enum ldar_tensor_type, or -1: complex, which no weight is */
    size_t element_bytes, count;
};

/* A view of a storage; offset and strides in elements, not yet compared with its size. */
struct ldar_view {
    const struct ldar_storage *storage;
    size_t offset, rank, shape[LDAR_MAX_RANK], stride[LDAR_MAX_RANK];
};

struct ldar_value {
    enum ldar_pickle_kind kind;
    union {
        int64_t integer; /* INTEGER, BOOL */
        double number;
        const char *string; /* ends in NUL and holds no other */
        struct {
            struct ldar_value **item; /* of a DICT key, value, key, value, ... */
            size_t count, capacity;
        } items; /* TUPLE, LIST, DICT */
        const struct ldar_global *global;
        struct ldar_storage *storage;
        struct ldar_view *view;
    };
};

/* Where the bytes come from. */
struct ldar_pickle_input {
    /* Up to `bytes` bytes to out; returns how many, 0 at the end, SIZE_MAX when reading fails. */
    size_t (*read)(void *handle, void *out, size_t bytes);
    void *handle;
};

struct ldar_pickle; /* owns all values of one pickle */

/* Reads up to the STOP opcode. Messages begin with `where`. On failure *pickle is NULL. */
enum ldar_status ldar_pickle_read(const char *where, const struct ldar_pickle_input *input, struct ldar_pickle **pickle,
                                  struct ldar_error *error);
void ldar_pickle_free(struct ldar_pickle *pickle); /* does nothing for NULL */

const struct ldar_value *ldar_pickle_root(const struct ldar_pickle *pickle);

/* The value of a string key, or NULL when there is none or `dict` is no DICT. */
const struct ldar_value *ldar_pickle_get(const struct ldar_value *dict, const char *key);

/*
 * The value as JSON text, with what JSON does not know (tensors, objects, numbers that are not finite) as null and keys
 * that are no strings left out. Returns the length as snprintf does; at least `capacity` too when nested too deeply.
 */
size_t ldar_pickle_json(const struct ldar_value *value, char *text, size_t capacity);

#endif
