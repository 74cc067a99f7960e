/* SPDX-License-Identifier: Apache-2.0 */
#include "io/convert.h"
#include "io/hash.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/torch_zip.h"
#include "model/config.h"
#include "model/head.h"
#include "model/model.h"
#include "status.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONE SIZE_MAX

/* Where a model's tensors come from: one of the two files is not NULL. */
struct source {
    const char *path;
    ldar_tensors *tensors;
    struct ldar_torch *torch;
    int foreign; /* not of our making: wrapped names and other types of numbers are welcome */
    struct ldar_error *error;
};

/* What a tensor of the source is to the model. */
struct match {
    size_t parameter; /* NONE: nothing, and rightly so */
    int copy;         /* the "bwd" twin of a shared projection */
    char xxh64[17];   /* the hash that the metadata gives for its data, or "" */
};

/* A model while it is filled. */
struct filling {
    const struct source *source;
    ldar_model *model;
    struct match *match; /* (tensors of the source) */
    size_t *primary;     /* (parameters) the tensor that each is taken from */
};

static size_t source_count(const struct source *source)
{
    return source->torch ? ldar_torch_count(source->torch) : ldar_tensors_count(source->tensors);
}

static struct ldar_tensor source_at(const struct source *source, size_t index)
{
    return source->torch ? ldar_torch_at(source->torch, index) : ldar_tensors_at(source->tensors, index);
}

static enum ldar_status fail_tensor(const struct source *source, const char *name, const char *what)
{
    return ldar_fail(source->error, LDAR_ERROR_TENSOR, "%s: tensor '%s' %s", source->path, name, what);
}

/* ---- the head ---- */

/* What wrappers of PyTorch put before the names of what they wrap. */
static const char *without_wrappers(const char *name)
{
    static const char *const wrappers[] = {"module.", "_orig_mod."};
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        size_t length = strlen(wrappers[i]);
        if (strncmp(name, wrappers[i], length) == 0) {
            return without_wrappers(name + length);
        }
    }
    return name;
}

/* The tensor of that name, or the count of them. */
static size_t find_tensor(const struct source *source, const char *name)
{
    size_t i = 0;
    while (i < source_count(source)) {
        const char *found = source_at(source, i).name;
        if (strcmp(source->foreign ? without_wrappers(found) : found, name) == 0) {
            break;
        }
        i++;
    }
    return i;
}

/* A stranger's head without names: outputs are numbered, a single one is a value. */
static enum ldar_status number_outputs(const struct source *source, size_t outputs, struct ldar_head *head,
                                       void **names)
{
    const size_t room = sizeof "65536";
    head->kind = outputs > 1 ? LDAR_HEAD_CLASSES : LDAR_HEAD_VALUE;
    head->outputs = outputs;
    if (outputs == 0 || outputs > LDAR_MAX_OUTPUTS) {
        return fail_tensor(source, "classifier.weight", "has no output or more than 65536");
    }
    const char **list = *names = malloc(outputs * (sizeof *list + room));
    if (!list) {
        return ldar_fail_memory(source->error, outputs * room, "the names of a head");
    }
    head->names = list;
    for (size_t i = 0; i < outputs; i++) {
        char *name = (char *)(list + outputs) + i * room;
        snprintf(name, room, "%zu", i);
        list[i] = outputs > 1 ? name : "value";
    }
    return LDAR_OK;
}

/* How many means of `width` the weight is for; 1 where it is for no whole number of them, which its shape will tell. */
static size_t parts_of(const struct ldar_tensor *weight, size_t width)
{
    const size_t parts = weight->rank == 2 && weight->shape[1] % width == 0 ? weight->shape[1] / width : 0;
    return parts > 0 && parts <= LDAR_MAX_PARTS ? parts : 1;
}

/* All but the numbers of the head that the source holds; kind 0: none. The names are the caller's to free. */
static enum ldar_status read_head(const struct source *source, const struct ldar_config *config, struct ldar_head *head,
                                  void **names)
{
    const char *classes = source->tensors ? ldar_tensors_metadata(source->tensors, "classes") : NULL;
    const char *target = source->tensors ? ldar_tensors_metadata(source->tensors, "target") : NULL;
    const size_t index = find_tensor(source, "classifier.weight");
    *names = NULL;
    if (classes && target) {
        return ldar_fail(source->error, LDAR_ERROR_FORMAT,
                         "%s: its metadata holds classes and a target: a head has one", source->path);
    }
    const int there = index < source_count(source);
    const struct ldar_tensor weight = there ? source_at(source, index) : (struct ldar_tensor){0};
    *head = (struct ldar_head){.parts = parts_of(&weight, config->stage[0].width)};
    if (!classes && !target) {
        if (!there) {
            return LDAR_OK;
        }
        return source->foreign
                   ? number_outputs(source, weight.rank > 0 ? weight.shape[0] : 0, head, names)
                   : fail_tensor(source, weight.name, "is there, but the metadata names no classes and no target");
    }
    enum ldar_status status = ldar_head_parse(source->path, classes ? LDAR_HEAD_CLASSES : LDAR_HEAD_VALUE,
                                              classes ? classes : target, head, names, source->error);
    if (!status && there && weight.rank == 2 && weight.shape[0] != head->outputs) {
        status = ldar_fail(source->error, LDAR_ERROR_TENSOR,
                           "%s: its metadata names %zu outputs, but tensor '%s' has %zu rows", source->path,
                           head->outputs, weight.name, weight.shape[0]);
    }
    return status;
}

/* ---- the set of names, shapes and types ---- */

struct named {
    const char *name;
    size_t parameter;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static size_t find(const struct named *names, size_t count, const char *name)
{
    const struct named key = {name, 0};
    const struct named *found = bsearch(&key, names, count, sizeof *names, compare_names);
    return found ? found->parameter : NONE;
}

/* The parameter whose "bwd" twin bears this name. */
static size_t find_twin(const struct filling *filling, const struct named *names, const char *name)
{
    char twin[LDAR_PARAMETER_NAME];
    const char *side = strstr(name, ".bwd.");
    if (!side || strlen(name) >= sizeof twin) {
        return NONE;
    }
    strcpy(twin, name);
    memcpy(twin + (side - name), ".fwd.", 5);
    size_t parameter = find(names, filling->model->table.count, twin);
    return parameter != NONE && filling->model->table.entry[parameter].shared ? parameter : NONE;
}

/* A tied head is the embeddings: a file may still hold one, which nothing reads. */
static int is_tied_head(const struct filling *filling, const struct ldar_tensor *tensor, const char *name)
{
    const struct ldar_config *config = &filling->model->parameters.config;
    return config->tie_embeddings && strcmp(name, "lm_head.weight") == 0 && tensor->rank == 2
           && tensor->shape[0] == LDAR_SYMBOLS && tensor->shape[1] == config->stage[0].width;
}

static enum ldar_status check_form(const struct source *source, const struct ldar_parameter *parameter,
                                   const struct ldar_tensor *tensor)
{
    if (tensor->rank != parameter->rank
        || memcmp(tensor->shape, parameter->shape, parameter->rank * sizeof *tensor->shape) != 0) {
        char shapes[2][64];
        for (int side = 0; side < 2; side++) {
            const size_t *shape = side ? parameter->shape : tensor->shape;
            size_t rank = side ? parameter->rank : tensor->rank;
            ldar_shape_text(shape, rank, shapes[side], sizeof shapes[side]);
        }
        return ldar_fail(source->error, LDAR_ERROR_TENSOR,
                         "%s: tensor '%s' has shape (%s), but the configuration makes it (%s)", source->path,
                         tensor->name, shapes[0], shapes[1]);
    }
    const int ours = tensor->type == LDAR_TENSOR_F32 || tensor->type == LDAR_TENSOR_BF16;
    if (!ours && !(source->foreign && ldar_converts(tensor->type))) {
        return ldar_fail(source->error, LDAR_ERROR_TENSOR, "%s: tensor '%s' has type %s, not F32 or BF16%s",
                         source->path, tensor->name, ldar_tensor_type_name(tensor->type),
                         source->foreign ? ", nor F16 or F64" : "; F16 and F64 are for `ldar convert`");
    }
    return LDAR_OK;
}

static enum ldar_status match_one(struct filling *filling, const struct named *names, size_t index)
{
    const struct source *source = filling->source;
    const struct ldar_tensor tensor = source_at(source, index);
    const char *name = source->foreign ? without_wrappers(tensor.name) : tensor.name;
    struct match *match = &filling->match[index];
    match->parameter = find(names, filling->model->table.count, name);
    match->copy = match->parameter == NONE;
    if (match->copy) {
        match->parameter = find_twin(filling, names, name);
    }
    if (match->parameter == NONE) {
        return is_tied_head(filling, &tensor, name)
                   ? LDAR_OK
                   : fail_tensor(source, tensor.name, "has no place in a model of this configuration");
    }
    if (!match->copy) {
        if (filling->primary[match->parameter] != NONE) {
            return fail_tensor(source, tensor.name, "occurs twice");
        }
        filling->primary[match->parameter] = index;
    }
    return check_form(source, &filling->model->table.entry[match->parameter], &tensor);
}

static enum ldar_status match_all(struct filling *filling)
{
    const struct ldar_parameter_table *table = &filling->model->table;
    const size_t tensors = source_count(filling->source);
    struct named *names = malloc(table->count * sizeof *names);
    if (!names) {
        return ldar_fail_memory(filling->source->error, table->count * sizeof *names, "the list of parameters");
    }
    for (size_t i = 0; i < table->count; i++) {
        names[i] = (struct named){table->entry[i].name, i};
        filling->primary[i] = NONE;
    }
    qsort(names, table->count, sizeof *names, compare_names);
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; !status && i < tensors; i++) {
        status = match_one(filling, names, i);
    }
    for (size_t i = 0; !status && i < table->count; i++) {
        if (filling->primary[i] == NONE) {
            status = fail_tensor(filling->source, table->entry[i].name, "is missing");
        }
    }
    free(names);
    return status;
}

/* ---- values ---- */

/* The type that the parameter has in memory when its tensor is of `type`. */
static enum ldar_dtype memory_dtype(const struct ldar_parameter *parameter, enum ldar_tensor_type type)
{
    return parameter->narrow && parameter->matrix && type == LDAR_TENSOR_BF16 ? LDAR_BF16 : LDAR_F32;
}

/* 1 when the mapped file can be used in place. */
static int is_view(const struct ldar_parameter *parameter, const struct ldar_tensor *tensor)
{
    enum ldar_dtype dtype = memory_dtype(parameter, tensor->type);
    return tensor->data && (dtype == LDAR_BF16 || tensor->type == LDAR_TENSOR_F32)
           && (uintptr_t)tensor->data % ldar_tensor_type_bytes(tensor->type) == 0;
}

/* Bytes looked at together: what takes time is to bring them in from memory, so each check finds them in L1. */
enum { BLOCK = 16 << 10 };

/* Compares a mapped tensor with its hash, if it has one; when `finite` is not NULL it is a view, whose values count. */
static enum ldar_status check_data(const struct filling *filling, size_t index, int *finite)
{
    const struct ldar_tensor tensor = source_at(filling->source, index);
    const char *expected = filling->match[index].xxh64, *data = tensor.data;
    const enum ldar_dtype dtype = tensor.type == LDAR_TENSOR_BF16 ? LDAR_BF16 : LDAR_F32;
    struct ldar_xxh64 hash;
    char found[sizeof filling->match->xxh64];
    ldar_xxh64_begin(&hash);
    for (size_t at = 0; at < tensor.bytes; at += BLOCK) {
        const size_t bytes = tensor.bytes - at < BLOCK ? tensor.bytes - at : BLOCK;
        if (*expected) {
            ldar_xxh64_add(&hash, data + at, bytes);
        }
        if (finite) {
            *finite &= ldar_all_finite(data + at, dtype, bytes / ldar_tensor_type_bytes(tensor.type));
        }
    }
    ldar_xxh64_text(&hash, found);
    return !*expected || strcmp(found, expected) == 0
               ? LDAR_OK
               : fail_tensor(filling->source, tensor.name,
                             "does not have the hash that the metadata gives: the file is damaged");
}

/* All values of tensor `index`, as `dtype`, to out. */
static enum ldar_status fetch(const struct source *source, size_t index, enum ldar_dtype dtype, void *out)
{
    const struct ldar_tensor tensor = source_at(source, index);
    const int as_stored = dtype == LDAR_BF16 || tensor.type == LDAR_TENSOR_F32;
    if (tensor.data) {
        if (as_stored) {
            memcpy(out, tensor.data, tensor.bytes);
        } else {
            ldar_convert_to_f32(out, tensor.data, tensor.type, tensor.count);
        }
        return LDAR_OK;
    }
    if (as_stored) {
        return ldar_torch_read(source->torch, index, out, source->error);
    }
    void *stored = malloc(tensor.bytes + 1);
    if (!stored) {
        return ldar_fail_memory(source->error, tensor.bytes, tensor.name);
    }
    enum ldar_status status = ldar_torch_read(source->torch, index, stored, source->error);
    if (!status) {
        ldar_convert_to_f32(out, stored, tensor.type, tensor.count);
    }
    free(stored);
    return status;
}

static enum ldar_status fill_one(struct filling *filling, size_t index, char **room)
{
    const struct ldar_parameter *parameter = &filling->model->table.entry[filling->match[index].parameter];
    const struct ldar_tensor tensor = source_at(filling->source, index);
    const enum ldar_dtype dtype = memory_dtype(parameter, tensor.type);
    const int view = is_view(parameter, &tensor);
    const void *data = tensor.data;
    int finite = 1;
    enum ldar_status status = tensor.data ? check_data(filling, index, view ? &finite : NULL) : LDAR_OK;
    if (!status && !view) {
        status = fetch(filling->source, index, dtype, *room);
        if (!status) {
            finite = ldar_all_finite(*room, dtype, tensor.count);
        }
        data = *room;
        *room += ldar_model_room(tensor.count, dtype);
    }
    if (status) {
        return status;
    }
    ldar_parameter_attach(parameter, data, dtype);
    return finite ? LDAR_OK : fail_tensor(filling->source, tensor.name, "holds an infinity or NaN");
}

/* The twin must hold the same bits. */
static enum ldar_status check_copy(const struct filling *filling, size_t index)
{
    const struct source *source = filling->source;
    const size_t parameter = filling->match[index].parameter, primary = filling->primary[parameter];
    const struct ldar_tensor tensor = source_at(source, index), twin = source_at(source, primary);
    enum ldar_dtype dtype;
    const void *data = ldar_parameter_data(&filling->model->table.entry[parameter], &dtype);
    enum ldar_status status = tensor.data ? check_data(filling, index, NULL) : LDAR_OK;
    if (status) {
        return status;
    }
    int equal = tensor.type == twin.type;
    if (equal && tensor.data) {
        equal = memcmp(tensor.data, twin.data, tensor.bytes) == 0;
    } else if (equal && !ldar_torch_same(source->torch, index, primary)) {
        size_t bytes = ldar_model_room(tensor.count, dtype);
        void *values = malloc(bytes);
        if (!values) {
            return ldar_fail_memory(source->error, bytes, tensor.name);
        }
        status = fetch(source, index, dtype, values);
        equal = !status && memcmp(values, data, tensor.count * (dtype == LDAR_BF16 ? 2 : 4)) == 0;
        free(values);
        if (status) {
            return status;
        }
    }
    return equal ? LDAR_OK
                 : fail_tensor(source, tensor.name, "differs from its twin in fwd, and the two must be equal");
}

static enum ldar_status fill_all(struct filling *filling)
{
    const struct ldar_parameter_table *table = &filling->model->table;
    const size_t tensors = source_count(filling->source);
    size_t bytes = 0;
    for (size_t i = 0; i < table->count; i++) {
        const struct ldar_tensor tensor = source_at(filling->source, filling->primary[i]);
        if (!is_view(&table->entry[i], &tensor)) {
            bytes += ldar_model_room(tensor.count, memory_dtype(&table->entry[i], tensor.type));
        }
    }
    enum ldar_status status = ldar_model_reserve(filling->model, bytes, filling->source->error);
    char *room = filling->model->block;
    for (size_t i = 0; !status && i < tensors; i++) {
        if (filling->match[i].parameter != NONE && !filling->match[i].copy) {
            status = fill_one(filling, i, &room);
        }
    }
    for (size_t i = 0; !status && i < tensors; i++) {
        if (filling->match[i].parameter == NONE) { /* nothing reads it, but a damaged file is not to be trusted */
            status = filling->source->tensors ? check_data(filling, i, NULL) : LDAR_OK;
        } else if (filling->match[i].copy) {
            status = check_copy(filling, i);
        }
    }
    return status;
}

/* ---- what the metadata promises ---- */

/*
 * Three texts, all or none: "bytes" of the whole file; "sha256" of all tensors' data, which names the model and is not
 * recomputed here; "xxh64", a JSON object as text that gives the XXH64 of each tensor and of the texts of "config",
 * "sha256" and the head's "classes" or "target", so that no flipped bit goes unnoticed.
 */
struct promise {
    const char *bytes, *sha256, *xxh64;
};

static const char *const hashed_texts[] = {"config", "sha256", "classes", "target"};
enum { HASHED_TEXTS = sizeof hashed_texts / sizeof *hashed_texts };

static size_t count_texts(const struct source *source)
{
    size_t count = 0;
    for (size_t i = 0; i < HASHED_TEXTS; i++) {
        count += ldar_tensors_metadata(source->tensors, hashed_texts[i]) != NULL;
    }
    return count;
}

static enum ldar_status fail_promise(const struct source *source, const char *what)
{
    return ldar_fail(source->error, LDAR_ERROR_FORMAT, "%s: its metadata is damaged: %s", source->path, what);
}

/* Takes one hash of the list: that of a tensor is for later, that of a text is compared. */
static enum ldar_status take_hash(struct filling *filling, const char *name, const char *hash)
{
    const struct source *source = filling->source;
    const size_t index = ldar_tensors_find(source->tensors, name);
    char found[sizeof filling->match->xxh64];
    if (index < ldar_tensors_count(source->tensors)) {
        if (strlen(hash) + 1 != sizeof found || filling->match[index].xxh64[0]) {
            return fail_promise(source, "a hash is malformed or stands twice");
        }
        strcpy(filling->match[index].xxh64, hash);
        return LDAR_OK;
    }
    for (size_t i = 0; i < HASHED_TEXTS; i++) {
        const char *text = ldar_tensors_metadata(source->tensors, hashed_texts[i]);
        if (text && strcmp(name, hashed_texts[i]) == 0) {
            ldar_xxh64_of(text, strlen(text), found);
            return strcmp(found, hash) == 0 ? LDAR_OK : fail_promise(source, "a text does not have its hash");
        }
    }
    return fail_promise(source, "a hash of something that is not there");
}

static enum ldar_status take_hashes(struct filling *filling, const char *text)
{
    struct ldar_json json = {text, text, text + strlen(text), NULL};
    const struct source *source = filling->source;
    size_t hashes = 0;
    ldar_json_take(&json, '{');
    do {
        char name[LDAR_PARAMETER_NAME], hash[32];
        size_t length;
        if (!ldar_json_string(&json, name, sizeof name, &length) || !ldar_json_take(&json, ':')
            || !ldar_json_string(&json, hash, sizeof hash, &length)) {
            break;
        }
        enum ldar_status status = take_hash(filling, name, hash);
        if (status) {
            return status;
        }
        hashes++;
    } while (ldar_json_try(&json, ','));
    if (!ldar_json_take(&json, '}') || hashes != ldar_tensors_count(source->tensors) + count_texts(source)) {
        return fail_promise(source, "its list of hashes is malformed");
    }
    return LDAR_OK;
}

/* What the metadata says of itself, without a look at the tensors; sha256 is empty where it says nothing. */
static enum ldar_status read_promise(const struct source *source, struct promise *promise, char sha256[65])
{
    promise->bytes = ldar_tensors_metadata(source->tensors, "bytes");
    promise->sha256 = ldar_tensors_metadata(source->tensors, "sha256");
    promise->xxh64 = ldar_tensors_metadata(source->tensors, "xxh64");
    sha256[0] = '\0';
    if (!promise->bytes && !promise->sha256 && !promise->xxh64) {
        return LDAR_OK;
    }
    if (!promise->bytes || !promise->sha256 || !promise->xxh64) {
        return fail_promise(source, "bytes, sha256 and xxh64 belong together");
    }
    if (strtoull(promise->bytes, NULL, 10) != ldar_tensors_file_bytes(source->tensors)) {
        return fail_promise(source, "it tells of a file of another length");
    }
    if (strlen(promise->sha256) != 64 || strspn(promise->sha256, "0123456789abcdef") != 64) {
        return fail_promise(source, "its sha256 is malformed");
    }
    strcpy(sha256, promise->sha256);
    return LDAR_OK;
}

/* ---- models from sources ---- */

static void filling_release(struct filling *filling)
{
    free(filling->match);
    free(filling->primary);
}

/* An empty model of the configuration, matched with the source. On failure nothing is left to release. */
static enum ldar_status filling_begin(struct filling *filling, const struct source *source,
                                      const struct ldar_config *config)
{
    struct ldar_head head;
    void *names;
    *filling = (struct filling){.source = source};
    enum ldar_status status = read_head(source, config, &head, &names);
    if (!status) {
        status = ldar_model_allocate(config, head.kind ? &head : NULL, &filling->model, source->error);
    }
    free(names);
    if (status) {
        return status;
    }
    const size_t tensors = source_count(source), parameters = filling->model->table.count;
    filling->match = calloc(tensors + 1, sizeof *filling->match);
    filling->primary = malloc(parameters * sizeof *filling->primary);
    status =
        filling->match && filling->primary
            ? match_all(filling)
            : ldar_fail_memory(source->error, (tensors + parameters) * sizeof *filling->match, "a list of tensors");
    if (status) {
        filling_release(filling);
        ldar_model_destroy(filling->model);
    }
    return status;
}

/* The model takes the source's mapping over when it succeeds. */
static enum ldar_status build(struct source *source, const struct ldar_config *config, ldar_model **out)
{
    struct filling filling;
    enum ldar_status status = filling_begin(&filling, source, config);
    if (status) {
        return status;
    }
    if (source->tensors) {
        struct promise promise;
        status = read_promise(source, &promise, filling.model->sha256);
        if (!status && promise.xxh64) {
            status = take_hashes(&filling, promise.xxh64);
        }
    }
    if (!status) {
        status = fill_all(&filling);
    }
    if (!status && source->tensors) {
        status = ldar_tensors_recheck(source->tensors, source->error);
    }
    filling_release(&filling);
    if (status) {
        ldar_model_destroy(filling.model);
        return status;
    }
    ldar_parameters_tie(&filling.model->parameters);
    filling.model->parameters.file = source->tensors;
    source->tensors = NULL;
    *out = filling.model;
    return LDAR_OK;
}

/* A model file of ours: its format and its configuration. */
static enum ldar_status open_model(struct source *source, struct ldar_config *config)
{
    if (ldar_torch_looks_like(source->path)) {
        return ldar_fail(source->error, LDAR_ERROR_FORMAT,
                         "%s: a PyTorch checkpoint, no model file: make one of it with `ldar convert`", source->path);
    }
    enum ldar_status status = ldar_tensors_open(source->path, 0, &source->tensors, source->error);
    if (status) {
        return status;
    }
    const char *format = ldar_tensors_metadata(source->tensors, "format");
    const char *json = ldar_tensors_metadata(source->tensors, "config");
    if (!format || strcmp(format, "ldarnet") != 0 || !json) {
        return ldar_fail(source->error, LDAR_ERROR_FORMAT,
                         "%s: a safetensors file, but its metadata lacks format \"ldarnet\" or config: make a model of "
                         "it with `ldar convert`",
                         source->path);
    }
    return ldar_config_parse_at(source->path, json, strlen(json), config, source->error);
}

enum ldar_status ldar_model_load(const char *path, ldar_model **model, struct ldar_error *error)
{
    struct source source = {path, NULL, NULL, 0, error};
    struct ldar_config config;
    *model = NULL;
    enum ldar_status status = open_model(&source, &config);
    if (!status) {
        status = build(&source, &config, model);
    }
    ldar_tensors_close(source.tensors);
    return status;
}

enum ldar_status ldar_model_peek(const char *path, struct ldar_model_info *info, struct ldar_error *error)
{
    struct source source = {path, NULL, NULL, 0, error};
    struct filling filling;
    struct ldar_config config;
    enum ldar_status status = open_model(&source, &config);
    if (!status) {
        status = filling_begin(&filling, &source, &config);
    }
    if (!status) {
        *info = (struct ldar_model_info){.config = config,
                                         .parameters = ldar_parameter_total(&filling.model->table),
                                         .head = filling.model->parameters.classifier.kind,
                                         .outputs = filling.model->parameters.classifier.outputs,
                                         .parts = filling.model->parameters.classifier.parts};
        for (size_t i = 0; i < filling.model->table.count; i++) {
            const struct ldar_tensor tensor = source_at(&source, filling.primary[i]);
            if (memory_dtype(&filling.model->table.entry[i], tensor.type) == LDAR_BF16) {
                info->dtype = LDAR_BF16;
            }
        }
        struct promise promise;
        status = read_promise(&source, &promise, info->sha256);
        filling_release(&filling);
        ldar_model_destroy(filling.model);
    }
    ldar_tensors_close(source.tensors);
    return status;
}

/* The file's configuration or, where it holds none, the caller's. Two that differ are an error. */
static enum ldar_status settle_config(const struct source *source, const struct ldar_config *given,
                                      struct ldar_config *config)
{
    const char *json =
        source->torch ? ldar_torch_config(source->torch) : ldar_tensors_metadata(source->tensors, "config");
    if (!json && !given) {
        return ldar_fail(source->error, LDAR_ERROR_CONFIG,
                         "%s: it holds no configuration: give one (--config FILE.json or --preset)", source->path);
    }
    if (!json) {
        *config = *given;
        return ldar_config_check(config, "configuration", source->error);
    }
    enum ldar_status status = ldar_config_parse_at(source->path, json, strlen(json), config, source->error);
    if (!status && given && !ldar_config_equal(config, given)) {
        status = ldar_fail(source->error, LDAR_ERROR_CONFIG,
                           "%s: its configuration is not the one that was given: leave that out", source->path);
    }
    return status;
}

enum ldar_status ldar_model_import(const char *path, const struct ldar_config *given, ldar_model **model,
                                   struct ldar_error *error)
{
    struct source source = {path, NULL, NULL, 1, error};
    struct ldar_config config;
    *model = NULL;
    enum ldar_status status = ldar_torch_looks_like(path) ? ldar_torch_open(path, &source.torch, error)
                                                          : ldar_tensors_open(path, 0, &source.tensors, error);
    if (!status) {
        status = settle_config(&source, given, &config);
    }
    if (!status) {
        status = build(&source, &config, model);
    }
    ldar_tensors_close(source.tensors);
    ldar_torch_close(source.torch);
    return status;
}
