/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/file.h>

#include "io/convert.h"
#include "io/hash.h"
#include "io/text.h"
#include "model/head.h"
#include "model/model.h"
#include "status.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 16, ALIGNMENT = 64 };

/* A model file while it is written. */
struct writer {
    const ldar_model *model;
    enum ldar_dtype dtype;
    const char *path;
    ldar_file *file;
    char *header; /* (header_bytes + 1) */
    size_t header_bytes;
    char *outputs;    /* the text of the head's names, or NULL */
    char (*hash)[17]; /* (parameters) of each tensor; zeros until all are known */
    struct ldar_sha256 sha256;
    char sha256_text[65];
    union {
        float wide[CHUNK];
        uint16_t narrow[CHUNK];
    } chunk;
    struct ldar_error *error;
};

static enum ldar_dtype stored_dtype(const struct writer *writer, const struct ldar_parameter *parameter)
{
    return parameter->narrow ? writer->dtype : LDAR_F32;
}

static size_t element_bytes(enum ldar_dtype dtype)
{
    return dtype == LDAR_BF16 ? sizeof(uint16_t) : sizeof(float);
}

/* ---- the header ---- */

/* A pair of a JSON object that is itself a JSON string. */
static void add_hash(struct ldar_text *text, const char *name, const char *hash)
{
    ldar_text_add(text, "\\\"%s\\\":\\\"%s\\\"", name, hash);
}

static void add_metadata(const struct writer *writer, size_t file_bytes, struct ldar_text *text)
{
    const struct ldar_parameter_table *table = &writer->model->table;
    const char *key = ldar_head_key(writer->model->parameters.classifier.kind);
    char config[4096], config_hash[17], sha256_hash[17], outputs_hash[17];
    ldar_config_format(&writer->model->parameters.config, config, sizeof config);
    ldar_xxh64_of(config, strlen(config), config_hash);
    ldar_xxh64_of(writer->sha256_text, strlen(writer->sha256_text), sha256_hash);
    ldar_text_add(text, "\"__metadata__\":{\"format\":\"ldarnet\",\"config\":");
    ldar_text_add_json(text, config);
    if (writer->outputs) {
        ldar_text_add(text, ",\"%s\":", key);
        ldar_text_add_json(text, writer->outputs);
    }
    ldar_text_add(text, ",\"bytes\":\"%020zu\",\"sha256\":\"%s\",\"xxh64\":\"{", file_bytes, writer->sha256_text);
    add_hash(text, "config", config_hash);
    ldar_text_add(text, ",");
    add_hash(text, "sha256", sha256_hash);
    if (writer->outputs) {
        ldar_xxh64_of(writer->outputs, strlen(writer->outputs), outputs_hash);
        ldar_text_add(text, ",");
        add_hash(text, key, outputs_hash);
    }
    for (size_t i = 0; i < table->count; i++) {
        ldar_text_add(text, ",");
        add_hash(text, table->entry[i].name, writer->hash[i]);
    }
    ldar_text_add(text, "}\"}");
}

/* The header without its padding, for a file of that many bytes; its length does not depend on them or on the hashes.
 * Returns the bytes of all tensors. */
static size_t add_header(const struct writer *writer, size_t file_bytes, struct ldar_text *text)
{
    const struct ldar_parameter_table *table = &writer->model->table;
    size_t offset = 0;
    ldar_text_add(text, "{");
    add_metadata(writer, file_bytes, text);
    for (size_t i = 0; i < table->count; i++) {
        const struct ldar_parameter *parameter = &table->entry[i];
        const enum ldar_dtype dtype = stored_dtype(writer, parameter);
        const size_t end = offset + parameter->count * element_bytes(dtype);
        char shape[64];
        ldar_shape_text(parameter->shape, parameter->rank, shape, sizeof shape);
        ldar_text_add(text, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", parameter->name,
                      dtype == LDAR_BF16 ? "BF16" : "F32", shape, offset, end);
        offset = end;
    }
    ldar_text_add(text, "}");
    return offset;
}

/* Length of the header, padded so that the tensors begin on a cache line; and room for it. */
static enum ldar_status measure_header(struct writer *writer, size_t *file_bytes)
{
    struct ldar_text text = {NULL, 0, 0};
    const size_t data_bytes = add_header(writer, 0, &text);
    const size_t begin = (sizeof(uint64_t) + text.length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    writer->header_bytes = begin;
    writer->header = malloc(begin + 1);
    *file_bytes = begin + data_bytes;
    return writer->header ? LDAR_OK : ldar_fail_memory(writer->error, begin + 1, "the header of a model file");
}

static void make_header(struct writer *writer, size_t file_bytes)
{
    const uint64_t length = writer->header_bytes - sizeof length;
    struct ldar_text text = {writer->header + sizeof length, length + 1, 0};
    add_header(writer, file_bytes, &text);
    memset(text.out + text.length, ' ', length - text.length);
    for (size_t i = 0; i < sizeof length; i++) {
        writer->header[i] = (char)(length >> 8 * i);
    }
}

/* ---- the tensors ---- */

/* Elements [begin, begin + count) of the parameter, as they are stored. */
static const void *stored_chunk(struct writer *writer, const struct ldar_parameter *parameter, size_t begin,
                                size_t count)
{
    enum ldar_dtype from;
    const char *data = ldar_parameter_data(parameter, &from);
    data += begin * element_bytes(from);
    if (from == stored_dtype(writer, parameter)) {
        return data;
    }
    if (from == LDAR_F32) {
        ldar_convert_to_bf16(writer->chunk.narrow, (const float *)data, count);
    } else {
        ldar_convert_to_f32(writer->chunk.wide, data, LDAR_TENSOR_BF16, count);
    }
    return &writer->chunk;
}

static enum ldar_status write_parameter(struct writer *writer, size_t index)
{
    const struct ldar_parameter *parameter = &writer->model->table.entry[index];
    const enum ldar_dtype dtype = stored_dtype(writer, parameter);
    struct ldar_xxh64 hash;
    ldar_xxh64_begin(&hash);
    for (size_t begin = 0; begin < parameter->count; begin += CHUNK) {
        const size_t rest = parameter->count - begin, count = rest < CHUNK ? rest : CHUNK;
        const size_t bytes = count * element_bytes(dtype);
        const void *data = stored_chunk(writer, parameter, begin, count);
        if (!ldar_all_finite(data, dtype, count)) {
            return ldar_fail(writer->error, LDAR_ERROR_TENSOR, "%s: tensor '%s' holds what is not finite as %s",
                             writer->path, parameter->name, ldar_dtype_name(dtype));
        }
        ldar_xxh64_add(&hash, data, bytes);
        ldar_sha256_add(&writer->sha256, data, bytes);
        enum ldar_status status = ldar_file_write(writer->file, data, bytes, writer->error);
        if (status) {
            return status;
        }
    }
    ldar_xxh64_text(&hash, writer->hash[index]);
    return LDAR_OK;
}

/* The hashes stand before what they are made of: the header is written with zeros first and once more at the end. */
static enum ldar_status write_model(struct writer *writer)
{
    size_t file_bytes;
    enum ldar_status status = measure_header(writer, &file_bytes);
    if (!status) {
        make_header(writer, file_bytes);
        status = ldar_file_write(writer->file, writer->header, writer->header_bytes, writer->error);
    }
    for (size_t i = 0; !status && i < writer->model->table.count; i++) {
        status = write_parameter(writer, i);
    }
    if (!status) {
        ldar_sha256_end(&writer->sha256, writer->sha256_text);
        make_header(writer, file_bytes);
        status = ldar_file_rewrite(writer->file, 0, writer->header, writer->header_bytes, writer->error);
    }
    return status;
}

enum ldar_status ldar_model_save(const ldar_model *model, enum ldar_dtype dtype, const char *path,
                                 struct ldar_error *error)
{
    if (dtype != LDAR_F32 && dtype != LDAR_BF16) {
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "%s: a model is stored as f32 or bf16, not as type %d", path,
                         (int)dtype);
    }
    const struct ldar_head *head = ldar_model_head(model);
    struct writer *writer = calloc(1, sizeof *writer);
    char(*hash)[17] = calloc(model->table.count, sizeof *hash);
    char *outputs = head ? ldar_head_format(head) : NULL;
    if (!writer || !hash || (head && !outputs)) {
        free(writer);
        free(hash);
        free(outputs);
        return ldar_fail_memory(error, sizeof *writer, "writing a model");
    }
    *writer =
        (struct writer){.model = model, .dtype = dtype, .path = path, .outputs = outputs, .hash = hash, .error = error};
    for (size_t i = 0; i < model->table.count; i++) {
        memset(hash[i], '0', sizeof hash[i] - 1);
    }
    memset(writer->sha256_text, '0', sizeof writer->sha256_text - 1);
    ldar_sha256_begin(&writer->sha256);
    enum ldar_status status = ldar_file_create(path, &writer->file, error);
    if (!status) {
        status = write_model(writer);
    }
    if (status) {
        ldar_file_abandon(writer->file);
    } else {
        status = ldar_file_commit(writer->file, error);
    }
    free(writer->header);
    free(outputs);
    free(hash);
    free(writer);
    return status;
}
