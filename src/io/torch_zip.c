/* SPDX-License-Identifier: Apache-2.0 */
#include "io/torch_zip.h"

#include "io/pickle.h"
#include "status.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

enum {
    MAX_CONFIG = 1 << 16, /* of JSON text */
    MAX_ENTRY_NAME = 1 << 10,
    SKIP = 1 << 14,
    GATHER_BYTES = 32 << 20 /* what a view that is not contiguous may span, if it spans more than its own size */
};

static const char zip_magic[] = "PK\3\4";
/* Protocol 2 and the number 0x1950a86a20f9469cfc6c, with which files from before the zip form begin. */
static const unsigned char legacy_magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8};

struct record {
    const char *name;
    const struct ldar_view *view;
    zip_uint64_t entry; /* of its storage */
    size_t count, span; /* elements, and those of the storage from its first to its last */
    int contiguous;
};

struct ldar_torch {
    char *path;
    zip_t *zip;
    char *prefix; /* the folder in the archive, with its slash */
    struct ldar_pickle *pickle;
    char *config;
    struct record *record;
    size_t records;

    /* The storage that is being read, front to back. */
    zip_file_t *open;
    zip_uint64_t open_entry, open_position;
};

/* The file's first bytes; zeros where there are none. Never waits, as opening a pipe would. */
static void read_head(const char *path, unsigned char head[sizeof legacy_magic])
{
    memset(head, 0, sizeof legacy_magic);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file >= 0) {
        if (read(file, head, sizeof legacy_magic) < 0) {
            head[0] = 0;
        }
        close(file);
    }
}

static int is_legacy(const char *path)
{
    unsigned char head[sizeof legacy_magic];
    read_head(path, head);
    return memcmp(head, legacy_magic, sizeof legacy_magic) == 0;
}

int ldar_torch_looks_like(const char *path)
{
    unsigned char head[sizeof legacy_magic];
    read_head(path, head);
    return memcmp(head, zip_magic, sizeof zip_magic - 1) == 0 || memcmp(head, legacy_magic, sizeof legacy_magic) == 0;
}

static enum ldar_status fail(const struct ldar_torch *torch, const char *what, struct ldar_error *error)
{
    return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: %s", torch->path, what);
}

static enum ldar_status fail_record(const struct ldar_torch *torch, const char *name, const char *what,
                                    struct ldar_error *error)
{
    return ldar_fail(error, LDAR_ERROR_TENSOR, "%s: tensor '%s' %s", torch->path, name, what);
}

/* ---- the archive ---- */

static enum ldar_status open_archive(struct ldar_torch *torch, struct ldar_error *error)
{
    int code;
    torch->zip = zip_open(torch->path, ZIP_RDONLY, &code);
    if (torch->zip) {
        return LDAR_OK;
    }
    if (is_legacy(torch->path)) {
        return ldar_fail(error, LDAR_ERROR_FORMAT,
                         "%s: a checkpoint of PyTorch before 1.6, without zip: load and save it with a newer PyTorch",
                         torch->path);
    }
    zip_error_t fault;
    zip_error_init_with_code(&fault, code);
    enum ldar_status status = LDAR_ERROR_FORMAT;
    if (code == ZIP_ER_MEMORY) {
        status = LDAR_ERROR_MEMORY;
    } else if (code == ZIP_ER_OPEN || code == ZIP_ER_READ || code == ZIP_ER_NOENT) {
        status = LDAR_ERROR_IO;
    }
    ldar_fail(error, status, "%s: no zip archive that can be read, or truncated: %s", torch->path,
              zip_error_strerror(&fault));
    zip_error_fini(&fault);
    return status;
}

/* The folder of data.pkl, which is all that distinguishes a checkpoint from other archives. */
static enum ldar_status find_prefix(struct ldar_torch *torch, zip_uint64_t *pickle, struct ldar_error *error)
{
    static const char wanted[] = "data.pkl";
    const zip_int64_t entries = zip_get_num_entries(torch->zip, 0);
    for (zip_int64_t i = 0; i < entries; i++) {
        const char *name = zip_get_name(torch->zip, (zip_uint64_t)i, 0);
        const char *slash = name ? strchr(name, '/') : NULL;
        if (slash && strcmp(slash + 1, wanted) == 0) {
            size_t length = (size_t)(slash + 1 - name);
            torch->prefix = malloc(length + 1);
            if (!torch->prefix) {
                return ldar_fail_memory(error, length, "a file's name");
            }
            memcpy(torch->prefix, name, length);
            torch->prefix[length] = '\0';
            *pickle = (zip_uint64_t)i;
            return LDAR_OK;
        }
    }
    return fail(torch, "a zip archive without data.pkl, so no checkpoint of torch.save", error);
}

/* Stored or deflated entries only. On failure *bytes is unset. */
static enum ldar_status entry_bytes(const struct ldar_torch *torch, zip_uint64_t entry, zip_uint64_t *bytes,
                                    struct ldar_error *error)
{
    zip_stat_t state;
    const zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD;
    if (zip_stat_index(torch->zip, entry, 0, &state) != 0 || (state.valid & needed) != needed) {
        return fail(torch, "an archive whose entries cannot be read", error);
    }
    if (state.comp_method != ZIP_CM_STORE && state.comp_method != ZIP_CM_DEFLATE) {
        return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: entry %s is compressed by method %d, not stored or deflated",
                         torch->path, zip_get_name(torch->zip, entry, 0), (int)state.comp_method);
    }
    *bytes = state.size;
    return LDAR_OK;
}

static enum ldar_status check_byte_order(const struct ldar_torch *torch, struct ldar_error *error)
{
    char name[MAX_ENTRY_NAME], order[8] = "";
    if (snprintf(name, sizeof name, "%sbyteorder", torch->prefix) >= (int)sizeof name) {
        return LDAR_OK;
    }
    zip_file_t *file = zip_fopen(torch->zip, name, 0);
    if (!file) {
        return LDAR_OK; /* older files have none and are little-endian */
    }
    zip_fread(file, order, sizeof order - 1);
    zip_fclose(file);
    return strcmp(order, "big") == 0
               ? fail(torch, "written on a big-endian machine: load and save it on another one", error)
               : LDAR_OK;
}

static size_t read_entry(void *file, void *out, size_t bytes)
{
    zip_int64_t got = zip_fread(file, out, bytes);
    return got < 0 ? SIZE_MAX : (size_t)got;
}

static enum ldar_status read_pickle(struct ldar_torch *torch, zip_uint64_t entry, struct ldar_error *error)
{
    zip_uint64_t bytes;
    enum ldar_status status = entry_bytes(torch, entry, &bytes, error);
    if (status) {
        return status;
    }
    zip_file_t *file = zip_fopen_index(torch->zip, entry, 0);
    if (!file) {
        return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: data.pkl: %s", torch->path, zip_strerror(torch->zip));
    }
    const struct ldar_pickle_input input = {read_entry, file};
    status = ldar_pickle_read(torch->path, &input, &torch->pickle, error);
    zip_fclose(file);
    return status;
}

/* ---- tensors ---- */

/* The extents of a view, and whether it lies row by row without gaps. Returns 0 when it does not fit its storage. */
static int measure(const struct ldar_view *view, struct record *record)
{
    size_t count = 1, span = 1, end;
    record->contiguous = 1;
    for (size_t i = view->rank; i-- > 0;) {
        const size_t extent = view->shape[i];
        size_t reach;
        record->contiguous &= extent == 1 || view->stride[i] == count;
        if (__builtin_mul_overflow(count, extent, &count)) {
            return 0;
        }
        if (extent > 0
            && (__builtin_mul_overflow(extent - 1, view->stride[i], &reach)
                || __builtin_add_overflow(span, reach, &span))) {
            return 0;
        }
    }
    record->count = count;
    record->span = count > 0 ? span : 0;
    record->contiguous |= count == 0;
    return !__builtin_add_overflow(view->offset, record->span, &end) && end <= view->storage->count;
}

static enum ldar_status locate(const struct ldar_torch *torch, struct record *record, struct ldar_error *error)
{
    const struct ldar_storage *storage = record->view->storage;
    char name[MAX_ENTRY_NAME];
    size_t expected;
    zip_uint64_t bytes;
    if (storage->type < 0) {
        return fail_record(torch, record->name, "is complex, which no weight is", error);
    }
    if (__builtin_mul_overflow(storage->count, storage->element_bytes, &expected) || !measure(record->view, record)) {
        return fail_record(torch, record->name, "reaches beyond its storage", error);
    }
    zip_int64_t entry = -1;
    if (snprintf(name, sizeof name, "%sdata/%s", torch->prefix, storage->key) < (int)sizeof name) {
        entry = zip_name_locate(torch->zip, name, 0);
    }
    if (entry < 0) {
        return fail_record(torch, record->name, "has no storage in the archive", error);
    }
    record->entry = (zip_uint64_t)entry;
    enum ldar_status status = entry_bytes(torch, record->entry, &bytes, error);
    if (!status && bytes != expected) {
        status = fail_record(torch, record->name, "has a storage of another size than the pickle says", error);
    }
    return status;
}

static int compare_records(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    if (x->entry != y->entry) {
        return x->entry < y->entry ? -1 : 1;
    }
    return (x->view->offset > y->view->offset) - (x->view->offset < y->view->offset);
}

/* The tensors of a state_dict, in order of place. */
static enum ldar_status list_tensors(struct ldar_torch *torch, const struct ldar_value *dict, struct ldar_error *error)
{
    const size_t pairs = dict->items.count / 2;
    torch->record = calloc(pairs + 1, sizeof *torch->record);
    if (!torch->record) {
        return ldar_fail_memory(error, pairs * sizeof *torch->record, "the list of tensors");
    }
    for (size_t i = 0; i < pairs; i++) {
        const struct ldar_value *name = dict->items.item[2 * i], *value = dict->items.item[2 * i + 1];
        if (name->kind != LDAR_PICKLE_STRING || value->kind != LDAR_PICKLE_TENSOR) {
            return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: its model holds '%.200s', which is no tensor", torch->path,
                             name->kind == LDAR_PICKLE_STRING ? name->string : "?");
        }
        struct record *record = &torch->record[torch->records++];
        record->name = name->string;
        record->view = value->view;
        enum ldar_status status = locate(torch, record, error);
        if (status) {
            return status;
        }
    }
    qsort(torch->record, torch->records, sizeof *torch->record, compare_records);
    return LDAR_OK;
}

static enum ldar_status keep_config(struct ldar_torch *torch, const struct ldar_value *config, struct ldar_error *error)
{
    if (!config || config->kind == LDAR_PICKLE_NONE) {
        return LDAR_OK;
    }
    if (config->kind != LDAR_PICKLE_DICT) {
        return fail(torch, "its config is no dictionary", error);
    }
    torch->config = malloc(MAX_CONFIG);
    if (!torch->config) {
        return ldar_fail_memory(error, MAX_CONFIG, "a configuration");
    }
    return ldar_pickle_json(config, torch->config, MAX_CONFIG) < MAX_CONFIG
               ? LDAR_OK
               : fail(torch, "its config is larger than any configuration", error);
}

static enum ldar_status read_contents(struct ldar_torch *torch, struct ldar_error *error)
{
    const struct ldar_value *root = ldar_pickle_root(torch->pickle);
    if (root->kind != LDAR_PICKLE_DICT) {
        return fail(torch, "it holds no dictionary, neither of \"model\" and \"config\" nor of tensors", error);
    }
    const struct ldar_value *model = ldar_pickle_get(root, "model");
    if (!model) {
        return list_tensors(torch, root, error);
    }
    if (model->kind != LDAR_PICKLE_DICT) {
        return fail(torch, "its model is no dictionary of tensors", error);
    }
    enum ldar_status status = keep_config(torch, ldar_pickle_get(root, "config"), error);
    return status ? status : list_tensors(torch, model, error);
}

enum ldar_status ldar_torch_open(const char *path, struct ldar_torch **out, struct ldar_error *error)
{
    *out = NULL;
    struct ldar_torch *torch = calloc(1, sizeof *torch);
    char *copy = malloc(strlen(path) + 1);
    if (!torch || !copy) {
        free(torch);
        free(copy);
        return ldar_fail_memory(error, sizeof *torch, "a checkpoint");
    }
    torch->path = strcpy(copy, path);
    zip_uint64_t pickle = 0;
    enum ldar_status status = open_archive(torch, error);
    if (!status) {
        status = find_prefix(torch, &pickle, error);
    }
    if (!status) {
        status = check_byte_order(torch, error);
    }
    if (!status) {
        status = read_pickle(torch, pickle, error);
    }
    if (!status) {
        status = read_contents(torch, error);
    }
    if (status) {
        ldar_torch_close(torch);
        return status;
    }
    *out = torch;
    return LDAR_OK;
}

void ldar_torch_close(struct ldar_torch *torch)
{
    if (!torch) {
        return;
    }
    if (torch->open) {
        zip_fclose(torch->open);
    }
    if (torch->zip) {
        zip_discard(torch->zip);
    }
    ldar_pickle_free(torch->pickle);
    free(torch->record);
    free(torch->config);
    free(torch->prefix);
    free(torch->path);
    free(torch);
}

size_t ldar_torch_count(const struct ldar_torch *torch)
{
    return torch->records;
}

struct ldar_tensor ldar_torch_at(const struct ldar_torch *torch, size_t index)
{
    const struct record *record = &torch->record[index];
    const struct ldar_view *view = record->view;
    struct ldar_tensor tensor = {
        .name = record->name,
        .type = (enum ldar_tensor_type)view->storage->type,
        .rank = view->rank,
        .count = record->count,
        .bytes = record->count * view->storage->element_bytes,
    };
    memcpy(tensor.shape, view->shape, sizeof tensor.shape);
    return tensor;
}

const char *ldar_torch_config(const struct ldar_torch *torch)
{
    return torch->config;
}

int ldar_torch_same(const struct ldar_torch *torch, size_t first, size_t second)
{
    const struct record *x = &torch->record[first], *y = &torch->record[second];
    return x->entry == y->entry && x->view->offset == y->view->offset && x->view->rank == y->view->rank
           && memcmp(x->view->shape, y->view->shape, sizeof x->view->shape) == 0
           && memcmp(x->view->stride, y->view->stride, sizeof x->view->stride) == 0;
}

/* ---- reading ---- */

static enum ldar_status read_exactly(struct ldar_torch *torch, void *out, size_t bytes, struct ldar_error *error)
{
    unsigned char *to = out;
    while (bytes > 0) {
        zip_int64_t got = zip_fread(torch->open, to, bytes);
        if (got <= 0) {
            return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: entry %s is damaged: %s", torch->path,
                             zip_get_name(torch->zip, torch->open_entry, 0),
                             got < 0 ? zip_file_strerror(torch->open) : "it ends too early");
        }
        to += got;
        bytes -= (size_t)got;
        torch->open_position += (zip_uint64_t)got;
    }
    return LDAR_OK;
}

/* A storage is read front to back: going back means to begin again. */
static enum ldar_status seek(struct ldar_torch *torch, zip_uint64_t entry, zip_uint64_t position,
                             struct ldar_error *error)
{
    if (!torch->open || torch->open_entry != entry || torch->open_position > position) {
        if (torch->open) {
            zip_fclose(torch->open);
        }
        torch->open = zip_fopen_index(torch->zip, entry, 0);
        torch->open_entry = entry;
        torch->open_position = 0;
        if (!torch->open) {
            return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: entry %s cannot be read: %s", torch->path,
                             zip_get_name(torch->zip, entry, 0), zip_strerror(torch->zip));
        }
    }
    while (torch->open_position < position) {
        unsigned char skipped[SKIP];
        zip_uint64_t rest = position - torch->open_position;
        enum ldar_status status = read_exactly(torch, skipped, rest < SKIP ? (size_t)rest : SKIP, error);
        if (status) {
            return status;
        }
    }
    return LDAR_OK;
}

/* At the end of an entry one more read makes libzip compare the checksum. */
static enum ldar_status check_end(struct ldar_torch *torch, const struct record *record, struct ldar_error *error)
{
    const struct ldar_storage *storage = record->view->storage;
    unsigned char none;
    if (torch->open_position == storage->count * storage->element_bytes && zip_fread(torch->open, &none, 1) != 0) {
        return fail_record(torch, record->name, "is damaged: the checksum of its storage is wrong", error);
    }
    return LDAR_OK;
}

/* The elements of a view from its storage's elements [offset, offset + span), row by row. */
static void gather(const struct record *record, const unsigned char *span, unsigned char *out)
{
    const struct ldar_view *view = record->view;
    const size_t bytes = view->storage->element_bytes;
    size_t at[LDAR_MAX_RANK] = {0}, from = 0;
    for (size_t i = 0; i < record->count; i++) {
        memcpy(out + i * bytes, span + from * bytes, bytes);
        for (size_t d = view->rank; d-- > 0;) {
            from += view->stride[d];
            if (++at[d] < view->shape[d]) {
                break;
            }
            from -= at[d] * view->stride[d];
            at[d] = 0;
        }
    }
}

static enum ldar_status read_gathered(struct ldar_torch *torch, const struct record *record, void *out,
                                      struct ldar_error *error)
{
    const size_t element = record->view->storage->element_bytes, bytes = record->span * element;
    if (bytes > GATHER_BYTES && record->span > record->count) {
        return fail_record(torch, record->name,
                           "is a sparse view of a large storage: save a contiguous copy of it with PyTorch", error);
    }
    unsigned char *span = malloc(bytes);
    if (!span) {
        return ldar_fail_memory(error, bytes, record->name);
    }
    enum ldar_status status = read_exactly(torch, span, bytes, error);
    if (!status) {
        gather(record, span, out);
    }
    free(span);
    return status;
}

enum ldar_status ldar_torch_read(struct ldar_torch *torch, size_t index, void *out, struct ldar_error *error)
{
    const struct record *record = &torch->record[index];
    const size_t element = record->view->storage->element_bytes;
    enum ldar_status status = seek(torch, record->entry, record->view->offset * element, error);
    if (!status) {
        status = record->contiguous ? read_exactly(torch, out, record->count * element, error)
                                    : read_gathered(torch, record, out, error);
    }
    return status ? status : check_end(torch, record, error);
}
