/* SPDX-License-Identifier: Apache-2.0 */
#include "io/checkpoint_file.h"

#include "io/convert.h"
#include "io/hash.h"
#include "io/json.h"
#include "io/text.h"
#include "status.h"

#include <ldar/file.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A piece is hashed, examined and written while it lies in the second-level cache. */
enum { PIECE = 1 << 16, MAX_NAME = 256, ALIGNMENT = 64 };

const char ldar_checkpoint_opening[] = "{\"__metadata__\":{\"header\":\"";
_Static_assert(sizeof ldar_checkpoint_opening == LDAR_CHECKPOINT_OPENING + 1, "its length is part of the format");

void ldar_checkpoint_header_hash(const unsigned char *header, size_t bytes, char text[LDAR_HASH_DIGITS + 1])
{
    enum { BEGIN = LDAR_HEADER_PREFIX + LDAR_CHECKPOINT_OPENING, END = BEGIN + LDAR_HASH_DIGITS };
    struct ldar_xxh64 hash;
    ldar_xxh64_begin(&hash);
    ldar_xxh64_add(&hash, header, BEGIN);
    ldar_xxh64_add(&hash, "0000000000000000", LDAR_HASH_DIGITS);
    ldar_xxh64_add(&hash, header + END, bytes - END);
    ldar_xxh64_text(&hash, text);
}

size_t ldar_checkpoint_name(const struct ldar_checkpoint_tensor *tensor, char *name, size_t capacity)
{
    struct ldar_text text = {name, capacity, 0};
    if (tensor->group) {
        ldar_text_add(&text, "%s.", tensor->group);
    }
    ldar_text_add(&text, "%s", tensor->name);
    return text.length;
}

/* ---- drafts ---- */

static enum ldar_status fail_argument(const char *what, struct ldar_error *error)
{
    return ldar_fail(error, LDAR_ERROR_ARGUMENT, "checkpoint: %s", what);
}

/* Counts and names, and what the numbers' bytes come to. */
static enum ldar_status take_tensors(struct ldar_checkpoint_draft *draft, const struct ldar_checkpoint_tensor *tensors,
                                     size_t count, size_t *data_bytes, struct ldar_error *error)
{
    char *name = draft->names;
    *data_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        size_t elements = 1, bytes;
        if (tensors[i].rank > LDAR_MAX_RANK) {
            return fail_argument("a tensor of more than 8 dimensions", error);
        }
        for (size_t k = 0; k < tensors[i].rank; k++) {
            if (__builtin_mul_overflow(elements, tensors[i].shape[k], &elements)) {
                return fail_argument("a tensor that is too large", error);
            }
        }
        if (__builtin_mul_overflow(elements, sizeof(float), &bytes)
            || __builtin_add_overflow(*data_bytes, bytes, data_bytes)) {
            return fail_argument("tensors that are too large", error);
        }
        const size_t length = ldar_checkpoint_name(&tensors[i], name, MAX_NAME + 1);
        if (length > MAX_NAME) {
            return fail_argument("a name of more than 256 bytes", error);
        }
        draft->array[i] = (struct ldar_checkpoint_array){name, tensors[i].data, elements};
        name += length + 1;
    }
    return LDAR_OK;
}

/* A header as text, without length in front and padding. Returns where in it the arrays' hashes stand. */
static size_t add_header(const struct ldar_checkpoint_draft *draft, const char *config, const char *state,
                         const struct ldar_checkpoint_tensor *tensors, struct ldar_text *text)
{
    ldar_text_add(text, "%s%016d\",\"format\":\"ldarnet checkpoint\",\"version\":\"%d\"", ldar_checkpoint_opening, 0,
                  LDAR_CHECKPOINT_VERSION);
    ldar_text_add(text, ",\"generation\":\"%llu\",\"step\":\"%llu\",\"bytes\":\"%020zu\",\"config\":",
                  (unsigned long long)draft->generation, (unsigned long long)draft->step, draft->file_bytes);
    ldar_text_add_json(text, config);
    ldar_text_add(text, ",\"state\":");
    ldar_text_add_json(text, state);
    ldar_text_add(text, ",\"xxh64\":\"");
    const size_t hashes_at = text->length;
    for (size_t i = 0; i < draft->arrays; i++) {
        ldar_text_add(text, "%016d", 0);
    }
    ldar_text_add(text, "\"}");
    size_t offset = 0;
    for (size_t i = 0; i < draft->arrays; i++) {
        const size_t end = offset + draft->array[i].count * sizeof(float);
        ldar_text_add(text, ",");
        ldar_text_add_json(text, draft->array[i].name);
        ldar_text_add(text, ":{\"dtype\":\"F32\",\"shape\":[");
        for (size_t k = 0; k < tensors[i].rank; k++) {
            ldar_text_add(text, k ? ",%zu" : "%zu", tensors[i].shape[k]);
        }
        ldar_text_add(text, "],\"data_offsets\":[%zu,%zu]}", offset, end);
        offset = end;
    }
    ldar_text_add(text, "}");
    return hashes_at;
}

static enum ldar_status make_header(struct ldar_checkpoint_draft *draft, const char *config, const char *state,
                                    const struct ldar_checkpoint_tensor *tensors, size_t data_bytes,
                                    struct ldar_error *error)
{
    struct ldar_text text = {NULL, 0, 0};
    add_header(draft, config, state, tensors, &text);
    const size_t used = LDAR_HEADER_PREFIX + text.length;
    if (text.length > LDAR_CHECKPOINT_HEADER - ALIGNMENT) {
        return fail_argument("config, state and names of more than 16 MiB", error);
    }
    draft->header_bytes = (used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (__builtin_add_overflow(draft->header_bytes, data_bytes, &draft->file_bytes)) {
        return fail_argument("tensors that are too large", error);
    }
    draft->header = malloc(draft->header_bytes + 1);
    if (!draft->header) {
        return ldar_fail_memory(error, draft->header_bytes, "a checkpoint's header");
    }
    text = (struct ldar_text){(char *)draft->header + LDAR_HEADER_PREFIX, text.length + 1, 0};
    draft->hashes_at = LDAR_HEADER_PREFIX + add_header(draft, config, state, tensors, &text);
    memset(draft->header + used, ' ', draft->header_bytes - used);
    for (int i = 0; i < LDAR_HEADER_PREFIX; i++) {
        draft->header[i] = (unsigned char)((draft->header_bytes - LDAR_HEADER_PREFIX) >> 8 * i);
    }
    const char *begin = (const char *)draft->header + LDAR_HEADER_PREFIX;
    struct ldar_json json = {begin, begin, begin + text.length, NULL};
    return ldar_json_skip(&json) ? LDAR_OK : fail_argument("names, config or state are no UTF-8 text", error);
}

static int is_json(const char *text)
{
    struct ldar_json json = {text, text, text + strlen(text), NULL};
    return ldar_json_skip(&json) && json.at == json.end;
}

static enum ldar_status make(struct ldar_checkpoint_draft *draft, const char *config, const char *state,
                             const struct ldar_checkpoint_tensor *tensors, size_t count, struct ldar_error *error)
{
    if (!is_json(config) || !is_json(state)) {
        return fail_argument("config and state must be JSON texts", error);
    }
    size_t names = 1, data_bytes;
    for (size_t i = 0; i < count; i++) {
        names += ldar_checkpoint_name(&tensors[i], NULL, 0) + 1;
    }
    draft->arrays = count;
    draft->array = malloc(count * sizeof *draft->array + 1);
    draft->names = malloc(names);
    if (!draft->array || !draft->names) {
        return ldar_fail_memory(error, count * sizeof *draft->array + names, "a checkpoint's list of tensors");
    }
    enum ldar_status status = take_tensors(draft, tensors, count, &data_bytes, error);
    return status ? status : make_header(draft, config, state, tensors, data_bytes, error);
}

enum ldar_status ldar_checkpoint_draft_make(struct ldar_checkpoint_draft *draft, uint64_t generation, uint64_t step,
                                            const char *config, const char *state,
                                            const struct ldar_checkpoint_tensor *tensors, size_t count,
                                            struct ldar_error *error)
{
    *draft = (struct ldar_checkpoint_draft){.generation = generation, .step = step};
    enum ldar_status status = make(draft, config, state, tensors, count, error);
    if (status) {
        ldar_checkpoint_draft_release(draft);
    }
    return status;
}

/*
 * Plain pages: asked for huge ones, Linux may compact memory first, which took 3 s for 1.3 GB where plain page faults
 * took half a second.
 */
int ldar_checkpoint_draft_copy(struct ldar_checkpoint_draft *draft)
{
    float *at = malloc(draft->file_bytes - draft->header_bytes + 1);
    if (!at) {
        return 0;
    }
    draft->copy = at;
    for (size_t i = 0; i < draft->arrays; i++) {
        struct ldar_checkpoint_array *array = &draft->array[i];
        if (array->count > 0) {
            memcpy(at, array->data, array->count * sizeof *at);
        }
        array->data = at;
        at += array->count;
    }
    return 1;
}

void ldar_checkpoint_draft_release(struct ldar_checkpoint_draft *draft)
{
    free(draft->copy);
    free(draft->names);
    free(draft->array);
    free(draft->header);
    *draft = (struct ldar_checkpoint_draft){0};
}

/* ---- writing ---- */

static enum ldar_status write_array(struct ldar_checkpoint_draft *draft, size_t index, ldar_file *file,
                                    const char *path, struct ldar_error *error)
{
    const struct ldar_checkpoint_array *array = &draft->array[index];
    struct ldar_xxh64 hash;
    char text[LDAR_HASH_DIGITS + 1];
    ldar_xxh64_begin(&hash);
    for (size_t i = 0; i < array->count; i += PIECE) {
        const size_t count = array->count - i < PIECE ? array->count - i : PIECE;
        if (!ldar_all_finite(array->data + i, LDAR_F32, count)) {
            return ldar_fail(error, LDAR_ERROR_TENSOR, "%s: not saved: tensor '%s' holds an infinity or NaN", path,
                             array->name);
        }
        ldar_xxh64_add(&hash, array->data + i, count * sizeof(float));
        enum ldar_status status = ldar_file_write(file, array->data + i, count * sizeof(float), error);
        if (status) {
            return status;
        }
    }
    ldar_xxh64_text(&hash, text);
    memcpy(draft->header + draft->hashes_at + LDAR_HASH_DIGITS * index, text, LDAR_HASH_DIGITS);
    return LDAR_OK;
}

static enum ldar_status write_all(struct ldar_checkpoint_draft *draft, ldar_file *file, const char *path,
                                  struct ldar_error *error)
{
    enum ldar_status status = ldar_file_write(file, draft->header, draft->header_bytes, error);
    for (size_t i = 0; !status && i < draft->arrays; i++) {
        status = write_array(draft, i, file, path, error);
    }
    if (status) {
        return status;
    }
    ldar_checkpoint_header_hash(draft->header, draft->header_bytes, draft->hash);
    memcpy(draft->header + LDAR_HEADER_PREFIX + LDAR_CHECKPOINT_OPENING, draft->hash, LDAR_HASH_DIGITS);
    return ldar_file_rewrite(file, 0, draft->header, draft->header_bytes, error);
}

/* The header as a later load will see it. */
static enum ldar_status read_back(const struct ldar_checkpoint_draft *draft, const ldar_file *file, const char *path,
                                  struct ldar_error *error)
{
    struct ldar_checkpoint_file *back;
    enum ldar_status status = ldar_checkpoint_file_open(ldar_file_temporary(file), &back, error);
    if (status) {
        return status;
    }
    if (strcmp(back->hash, draft->hash) != 0 || back->bytes != draft->file_bytes) {
        status = ldar_fail(error, LDAR_ERROR_IO, "%s: what was written does not read back", path);
    }
    ldar_checkpoint_file_close(back);
    return status;
}

enum ldar_status ldar_checkpoint_draft_write(struct ldar_checkpoint_draft *draft, const char *path,
                                             struct ldar_error *error)
{
    ldar_file *file;
    enum ldar_status status = ldar_file_create(path, &file, error);
    if (status) {
        return status;
    }
    status = write_all(draft, file, path, error);
    if (!status) {
        status = read_back(draft, file, path, error);
    }
    if (status) {
        ldar_file_abandon(file);
        return status;
    }
    return ldar_file_commit(file, error);
}
