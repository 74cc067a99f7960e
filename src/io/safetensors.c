/* SPDX-License-Identifier: Apache-2.0 */
#include "io/safetensors.h"

#include "io/hash.h"
#include "io/json.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(sizeof(size_t) == 8, "offsets of files are kept in size_t");

enum {
    DEFAULT_HEADER = 16 << 20,
    FORMAT_HEADER = 100000000, /* MAX_HEADER_SIZE of the format's own implementation */
    MAX_ENTRIES = 65536,       /* tensors, and keys of the metadata */
    MAX_NAME = 256,
    PREFIX = 8 /* bytes of the header's length */
};
static const size_t max_dimension = (size_t)1 << 40;

/* Offsets count from the end of the header; texts are offsets into the pool. 88 bytes for at least 50 of header. */
struct entry {
    size_t begin, bytes, shape[LDAR_MAX_RANK];
    uint32_t name;
    uint8_t type, rank;
};

struct pair {
    uint32_t key, value;
};

/* A name, in order of hashes first: comparing long names that differ at their ends costs more than all the rest. */
struct named {
    const char *name;
    uint32_t hash, index;
};

struct ldar_tensors {
    char *path;
    int descriptor; /* -1: memory of the caller */
    const unsigned char *file;
    size_t file_bytes, data_begin;
    char *pool; /* names and metadata: together never longer than the header */
    size_t pool_used, pool_bytes;
    struct entry *entry;
    struct named *by_name;
    size_t entries, entry_capacity;
    struct pair *metadata;
    size_t pairs, pair_capacity;
};

/* ---- types ---- */

static const struct {
    const char *name;
    size_t bytes;
} types[] = {
    [LDAR_TENSOR_BOOL] = {"BOOL", 1},       [LDAR_TENSOR_U8] = {"U8", 1},           [LDAR_TENSOR_I8] = {"I8", 1},
    [LDAR_TENSOR_U16] = {"U16", 2},         [LDAR_TENSOR_I16] = {"I16", 2},         [LDAR_TENSOR_U32] = {"U32", 4},
    [LDAR_TENSOR_I32] = {"I32", 4},         [LDAR_TENSOR_U64] = {"U64", 8},         [LDAR_TENSOR_I64] = {"I64", 8},
    [LDAR_TENSOR_F8_E4M3] = {"F8_E4M3", 1}, [LDAR_TENSOR_F8_E5M2] = {"F8_E5M2", 1}, [LDAR_TENSOR_F16] = {"F16", 2},
    [LDAR_TENSOR_BF16] = {"BF16", 2},       [LDAR_TENSOR_F32] = {"F32", 4},         [LDAR_TENSOR_F64] = {"F64", 8},
};
enum { TYPES = sizeof types / sizeof *types };

const char *ldar_tensor_type_name(enum ldar_tensor_type type)
{
    return (unsigned)type < TYPES ? types[type].name : NULL;
}

size_t ldar_tensor_type_bytes(enum ldar_tensor_type type)
{
    return (unsigned)type < TYPES ? types[type].bytes : 0;
}

/* ---- the header ---- */

/* A header while it is read. */
struct reader {
    struct ldar_tensors *tensors;
    struct ldar_json json;
    struct ldar_error *error;
};

static enum ldar_status fail_header(const struct reader *reader)
{
    return ldar_fail(reader->error, LDAR_ERROR_FORMAT, "%s: header byte %zu: %s", reader->tensors->path,
                     (size_t)(reader->json.at - reader->json.begin), reader->json.fault);
}

static enum ldar_status fail_entry(const struct reader *reader, const struct entry *entry, const char *what)
{
    return ldar_fail(reader->error, LDAR_ERROR_FORMAT, "%s: tensor '%s': %s", reader->tensors->path,
                     reader->tensors->pool + entry->name, what);
}

/* Room for one more element; arrays double, so that untouched room costs no memory. */
static void *grow(void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    size_t doubled = *capacity ? 2 * *capacity : 64;
    void *larger = realloc(array, doubled * size);
    if (larger) {
        *capacity = doubled;
    }
    return larger;
}

/* A string of the header, kept in the pool. */
static int read_text(struct reader *reader, uint32_t *text, size_t *length)
{
    struct ldar_tensors *tensors = reader->tensors;
    if (!ldar_json_string(&reader->json, tensors->pool + tensors->pool_used, tensors->pool_bytes - tensors->pool_used,
                          length)) {
        return 0;
    }
    *text = (uint32_t)tensors->pool_used;
    tensors->pool_used += *length + 1;
    return 1;
}

static int read_type(struct reader *reader, struct entry *entry)
{
    char name[16];
    size_t length;
    if (!ldar_json_string(&reader->json, name, sizeof name, &length)) {
        return 0;
    }
    for (size_t i = 0; i < TYPES; i++) {
        if (strcmp(name, types[i].name) == 0) {
            entry->type = (uint8_t)i;
            return 1;
        }
    }
    return ldar_json_fail(&reader->json, "unknown dtype");
}

/* [n, n, ...]; at most `most` integers, *count are there. */
static int read_integers(struct reader *reader, size_t *integers, size_t most, size_t *count)
{
    struct ldar_json *json = &reader->json;
    *count = 0;
    if (!ldar_json_take(json, '[')) {
        return 0;
    }
    if (ldar_json_try(json, ']')) {
        return 1;
    }
    do {
        uint64_t value;
        if (*count == most) {
            return ldar_json_fail(json, "too many numbers in a list");
        }
        if (!ldar_json_integer(json, &value)) {
            return 0;
        }
        integers[(*count)++] = (size_t)value;
    } while (ldar_json_try(json, ','));
    return ldar_json_take(json, ']');
}

static int read_offsets(struct reader *reader, struct entry *entry)
{
    size_t offsets[2], count;
    if (!read_integers(reader, offsets, 2, &count)) {
        return 0;
    }
    if (count != 2 || offsets[0] > offsets[1]) {
        return ldar_json_fail(&reader->json, "data_offsets must be two numbers, begin and end");
    }
    entry->begin = offsets[0];
    entry->bytes = offsets[1] - offsets[0];
    return 1;
}

/* {"dtype": ..., "shape": ..., "data_offsets": ...} in any order, each once. */
static int read_fields(struct reader *reader, struct entry *entry)
{
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4, ALL = 7 };
    struct ldar_json *json = &reader->json;
    unsigned seen = 0;
    if (!ldar_json_take(json, '{')) {
        return 0;
    }
    do {
        char key[16];
        size_t length, rank = 0;
        if (!ldar_json_string(json, key, sizeof key, &length) || !ldar_json_take(json, ':')) {
            return 0;
        }
        unsigned field = strcmp(key, "dtype") == 0          ? DTYPE
                         : strcmp(key, "shape") == 0        ? SHAPE
                         : strcmp(key, "data_offsets") == 0 ? OFFSETS
                                                            : 0;
        if (field == 0 || (seen & field)) {
            return ldar_json_fail(json, "a tensor has dtype, shape and data_offsets, each once, and nothing else");
        }
        seen |= field;
        if (field == DTYPE   ? !read_type(reader, entry)
            : field == SHAPE ? !read_integers(reader, entry->shape, LDAR_MAX_RANK, &rank)
                             : !read_offsets(reader, entry)) {
            return 0;
        }
        if (field == SHAPE) {
            entry->rank = (uint8_t)rank;
        }
    } while (ldar_json_try(json, ','));
    if (!ldar_json_take(json, '}')) {
        return 0;
    }
    return seen == ALL ? 1 : ldar_json_fail(json, "a tensor lacks dtype, shape or data_offsets");
}

static size_t entry_count(const struct entry *entry)
{
    size_t count = 1;
    for (size_t i = 0; i < entry->rank; i++) {
        count *= entry->shape[i];
    }
    return count;
}

static enum ldar_status check_size(const struct reader *reader, const struct entry *entry)
{
    size_t bytes = types[entry->type].bytes;
    for (size_t i = 0; i < entry->rank; i++) {
        if (entry->shape[i] > max_dimension || __builtin_mul_overflow(bytes, entry->shape[i], &bytes)) {
            return fail_entry(reader, entry, "its shape is too large");
        }
    }
    if (bytes != entry->bytes) {
        return fail_entry(reader, entry, "its shape and dtype do not fit its data_offsets");
    }
    return LDAR_OK;
}

static enum ldar_status read_entry(struct reader *reader, uint32_t name, size_t length)
{
    struct ldar_tensors *tensors = reader->tensors;
    struct entry *array = tensors->entries == MAX_ENTRIES
                              ? NULL
                              : grow(tensors->entry, tensors->entries, &tensors->entry_capacity, sizeof *array);
    if (!array) {
        return tensors->entries == MAX_ENTRIES
                   ? ldar_fail(reader->error, LDAR_ERROR_FORMAT, "%s: more than %d tensors", tensors->path, MAX_ENTRIES)
                   : ldar_fail_memory(reader->error, 2 * tensors->entries * sizeof *array, "the list of tensors");
    }
    tensors->entry = array;
    struct entry *entry = &array[tensors->entries++];
    *entry = (struct entry){.name = name};
    if (length < 1 || length > MAX_NAME) {
        ldar_json_fail(&reader->json, "a tensor's name must have 1 to 256 bytes");
        return fail_header(reader);
    }
    for (const char *c = tensors->pool + name; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            ldar_json_fail(&reader->json, "a control character in a tensor's name");
            return fail_header(reader);
        }
    }
    return read_fields(reader, entry) ? check_size(reader, entry) : fail_header(reader);
}

/* {"key": "text", ...} */
static enum ldar_status read_metadata(struct reader *reader)
{
    struct ldar_tensors *tensors = reader->tensors;
    struct ldar_json *json = &reader->json;
    if (!ldar_json_take(json, '{')) {
        return fail_header(reader);
    }
    if (ldar_json_try(json, '}')) {
        return LDAR_OK;
    }
    do {
        struct pair *array = grow(tensors->metadata, tensors->pairs, &tensors->pair_capacity, sizeof *array);
        if (!array) {
            return ldar_fail_memory(reader->error, 2 * tensors->pairs * sizeof *array, "metadata");
        }
        tensors->metadata = array;
        struct pair *pair = &array[tensors->pairs++];
        size_t length;
        if (tensors->pairs > MAX_ENTRIES) {
            ldar_json_fail(json, "too many keys in the metadata");
        }
        if (json->fault || !read_text(reader, &pair->key, &length) || !ldar_json_take(json, ':')
            || !read_text(reader, &pair->value, &length)) {
            return fail_header(reader);
        }
    } while (ldar_json_try(json, ','));
    return ldar_json_take(json, '}') ? LDAR_OK : fail_header(reader);
}

static enum ldar_status read_header(struct reader *reader)
{
    struct ldar_json *json = &reader->json;
    int metadata_seen = 0;
    if (json->at == json->end || *json->at != '{') {
        ldar_json_fail(json, "a header must begin with '{'");
        return fail_header(reader);
    }
    json->at++;
    if (!ldar_json_try(json, '}')) {
        do {
            uint32_t name;
            size_t length;
            if (!read_text(reader, &name, &length) || !ldar_json_take(json, ':')) {
                return fail_header(reader);
            }
            const int is_metadata = strcmp(reader->tensors->pool + name, "__metadata__") == 0;
            if (is_metadata && metadata_seen++) {
                ldar_json_fail(json, "__metadata__ occurs twice");
                return fail_header(reader);
            }
            enum ldar_status status = is_metadata ? read_metadata(reader) : read_entry(reader, name, length);
            if (status) {
                return status;
            }
        } while (ldar_json_try(json, ','));
        if (!ldar_json_take(json, '}')) {
            return fail_header(reader);
        }
    }
    for (; json->at < json->end; json->at++) {
        if (*json->at != ' ') {
            ldar_json_fail(json, "something other than spaces after the header");
            return fail_header(reader);
        }
    }
    return LDAR_OK;
}

/* ---- what holds between entries ---- */

static struct named make_named(const char *name, size_t index)
{
    struct ldar_xxh64 hash;
    ldar_xxh64_begin(&hash);
    ldar_xxh64_add(&hash, name, strlen(name));
    return (struct named){name, (uint32_t)ldar_xxh64_end(&hash), (uint32_t)index};
}

static int compare_names(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    return x->hash != y->hash ? (x->hash > y->hash) - (x->hash < y->hash) : strcmp(x->name, y->name);
}

static enum ldar_status find_duplicates(struct named *names, size_t count, const struct reader *reader,
                                        const char *what)
{
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(names[i - 1].name, names[i].name) == 0) {
            return ldar_fail(reader->error, LDAR_ERROR_FORMAT, "%s: %s '%s' occurs twice", reader->tensors->path, what,
                             names[i].name);
        }
    }
    return LDAR_OK;
}

static enum ldar_status check_metadata(const struct reader *reader)
{
    const struct ldar_tensors *tensors = reader->tensors;
    struct named *keys = malloc(tensors->pairs * sizeof *keys + 1);
    if (!keys) {
        return ldar_fail_memory(reader->error, tensors->pairs * sizeof *keys, "metadata");
    }
    for (size_t i = 0; i < tensors->pairs; i++) {
        keys[i] = make_named(tensors->pool + tensors->metadata[i].key, i);
    }
    enum ldar_status status = find_duplicates(keys, tensors->pairs, reader, "metadata key");
    free(keys);
    return status;
}

static enum ldar_status index_names(const struct reader *reader)
{
    struct ldar_tensors *tensors = reader->tensors;
    tensors->by_name = malloc(tensors->entries * sizeof *tensors->by_name + 1);
    if (!tensors->by_name) {
        return ldar_fail_memory(reader->error, tensors->entries * sizeof *tensors->by_name, "the list of tensors");
    }
    for (size_t i = 0; i < tensors->entries; i++) {
        tensors->by_name[i] = make_named(tensors->pool + tensors->entry[i].name, i);
    }
    return find_duplicates(tensors->by_name, tensors->entries, reader, "tensor");
}

struct extent {
    size_t begin;
    const struct entry *entry;
};

/* By place; an empty tensor before the one that begins where it stands. */
static int compare_extents(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    return (x->entry->bytes > y->entry->bytes) - (x->entry->bytes < y->entry->bytes);
}

/* In order of place, each tensor begins where the one before ends, and the last one ends with the file. */
static enum ldar_status check_layout(const struct reader *reader)
{
    const struct ldar_tensors *tensors = reader->tensors;
    const size_t data_bytes = tensors->file_bytes - tensors->data_begin;
    struct extent *extents = malloc(tensors->entries * sizeof *extents + 1);
    if (!extents) {
        return ldar_fail_memory(reader->error, tensors->entries * sizeof *extents, "the list of tensors");
    }
    for (size_t i = 0; i < tensors->entries; i++) {
        extents[i] = (struct extent){tensors->entry[i].begin, &tensors->entry[i]};
    }
    qsort(extents, tensors->entries, sizeof *extents, compare_extents);
    enum ldar_status status = LDAR_OK;
    size_t end = 0;
    for (size_t i = 0; !status && i < tensors->entries; i++) {
        if (extents[i].begin != end) {
            status = fail_entry(reader, extents[i].entry, "its data leaves a hole or overlaps another tensor's");
        } else if (extents[i].entry->bytes > data_bytes - end) {
            status = fail_entry(reader, extents[i].entry, "its data ends behind the end of the file: is it truncated?");
        }
        end += extents[i].entry->bytes;
    }
    if (!status && end != data_bytes) {
        status = ldar_fail(reader->error, LDAR_ERROR_FORMAT, "%s: %zu bytes at its end belong to no tensor",
                           tensors->path, data_bytes - end);
    }
    free(extents);
    return status;
}

static enum ldar_status parse(struct ldar_tensors *tensors, size_t max_header, struct ldar_error *error)
{
    uint64_t header = 0;
    if (max_header == 0) {
        max_header = DEFAULT_HEADER;
    } else if (max_header > FORMAT_HEADER) {
        max_header = FORMAT_HEADER;
    }
    if (tensors->file_bytes < PREFIX + 2) {
        return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: %zu bytes are no safetensors file", tensors->path,
                         tensors->file_bytes);
    }
    for (int i = PREFIX; i-- > 0;) {
        header = header << 8 | tensors->file[i];
    }
    if (header < 2 || header > tensors->file_bytes - PREFIX) {
        return ldar_fail(error, LDAR_ERROR_FORMAT,
                         "%s: no safetensors file, or truncated: a header of %llu bytes in a file of %zu",
                         tensors->path, (unsigned long long)header, tensors->file_bytes);
    }
    if (header > max_header) {
        return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: a header of %llu bytes is more than %zu", tensors->path,
                         (unsigned long long)header, max_header);
    }
    const char *text = (const char *)tensors->file + PREFIX;
    struct reader reader = {tensors, {text, text, text + header, NULL}, error};
    tensors->data_begin = PREFIX + (size_t)header;
    tensors->pool_bytes = (size_t)header;
    tensors->pool = malloc(tensors->pool_bytes);
    if (!tensors->pool) {
        return ldar_fail_memory(error, tensors->pool_bytes, "a header");
    }
    enum ldar_status status = read_header(&reader);
    if (!status) {
        status = check_layout(&reader);
    }
    if (!status) {
        status = check_metadata(&reader);
    }
    if (!status) {
        status = index_names(&reader);
    }
    return status;
}

/* ---- files ---- */

static enum ldar_status fail_system(const char *path, const char *what, struct ldar_error *error)
{
    return ldar_fail(error, LDAR_ERROR_IO, "%s: cannot %s: %s", path, what, strerror(errno));
}

static enum ldar_status map(struct ldar_tensors *tensors, struct ldar_error *error)
{
    struct stat state;
    do {
        tensors->descriptor = open(tensors->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (tensors->descriptor < 0 && errno == EINTR);
    if (tensors->descriptor < 0) {
        return fail_system(tensors->path, "open", error);
    }
    if (fstat(tensors->descriptor, &state) != 0) {
        return fail_system(tensors->path, "read", error);
    }
    if (!S_ISREG(state.st_mode)) {
        return ldar_fail(error, LDAR_ERROR_IO, "%s: no regular file, and others cannot be mapped", tensors->path);
    }
    if (state.st_size < PREFIX + 2) {
        return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: %lld bytes are no safetensors file", tensors->path,
                         (long long)state.st_size);
    }
    void *file = mmap(NULL, (size_t)state.st_size, PROT_READ, MAP_PRIVATE, tensors->descriptor, 0);
    if (file == MAP_FAILED) {
        return fail_system(tensors->path, "map", error);
    }
    tensors->file = file;
    tensors->file_bytes = (size_t)state.st_size;
    return ldar_tensors_recheck(tensors, error);
}

void ldar_tensors_release_range(const ldar_tensors *tensors, const void *data, size_t bytes)
{
    /* Of anonymous memory this would drop the contents; a mapping that nobody writes to only has to be read again. */
    const uintptr_t file = (uintptr_t)tensors->file, begin = (uintptr_t)data;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (tensors->descriptor < 0 || begin < file || begin - file > tensors->file_bytes
        || bytes > tensors->file_bytes - (begin - file)) {
        return;
    }
    /* The last page of the mapping is whole, although the file may end within it. */
    const size_t last = begin + bytes == file + tensors->file_bytes ? page - 1 : 0;
    const uintptr_t from = (begin + page - 1) / page * page, to = (begin + bytes + last) / page * page;
    if (from < to) {
        madvise((void *)from, to - from, MADV_DONTNEED);
    }
}

void ldar_tensors_release_pages(const ldar_tensors *tensors)
{
    ldar_tensors_release_range(tensors, tensors->file, tensors->file_bytes);
}

enum ldar_status ldar_tensors_recheck(const ldar_tensors *tensors, struct ldar_error *error)
{
    struct stat state;
    if (tensors->descriptor < 0) {
        return LDAR_OK;
    }
    if (fstat(tensors->descriptor, &state) != 0) {
        return fail_system(tensors->path, "read", error);
    }
    if ((size_t)state.st_size != tensors->file_bytes) {
        return ldar_fail(error, LDAR_ERROR_IO, "%s: its size has changed while it was read", tensors->path);
    }
    return LDAR_OK;
}

static struct ldar_tensors *allocate(const char *path, struct ldar_error *error)
{
    struct ldar_tensors *tensors = calloc(1, sizeof *tensors);
    char *copy = malloc(strlen(path) + 1);
    if (!tensors || !copy) {
        free(tensors);
        free(copy);
        ldar_fail_memory(error, sizeof *tensors, "a file");
        return NULL;
    }
    tensors->path = strcpy(copy, path);
    tensors->descriptor = -1;
    return tensors;
}

enum ldar_status ldar_tensors_open(const char *path, size_t max_header, ldar_tensors **out, struct ldar_error *error)
{
    *out = NULL;
    struct ldar_tensors *tensors = allocate(path, error);
    if (!tensors) {
        return LDAR_ERROR_MEMORY;
    }
    enum ldar_status status = map(tensors, error);
    if (!status) {
        status = parse(tensors, max_header, error);
    }
    if (status) {
        ldar_tensors_close(tensors);
        return status;
    }
    *out = tensors;
    return LDAR_OK;
}

enum ldar_status ldar_tensors_open_memory(const char *name, const void *data, size_t bytes, size_t max_header,
                                          ldar_tensors **out, struct ldar_error *error)
{
    *out = NULL;
    struct ldar_tensors *tensors = allocate(name, error);
    if (!tensors) {
        return LDAR_ERROR_MEMORY;
    }
    tensors->file = data;
    tensors->file_bytes = bytes;
    enum ldar_status status = parse(tensors, max_header, error);
    if (status) {
        ldar_tensors_close(tensors);
        return status;
    }
    *out = tensors;
    return LDAR_OK;
}

void ldar_tensors_close(ldar_tensors *tensors)
{
    if (!tensors) {
        return;
    }
    if (tensors->descriptor >= 0) {
        if (tensors->file) {
            munmap((void *)(uintptr_t)tensors->file, tensors->file_bytes);
        }
        close(tensors->descriptor);
    }
    free(tensors->by_name);
    free(tensors->entry);
    free(tensors->metadata);
    free(tensors->pool);
    free(tensors->path);
    free(tensors);
}

const char *ldar_tensors_path(const ldar_tensors *tensors)
{
    return tensors->path;
}

size_t ldar_tensors_file_bytes(const ldar_tensors *tensors)
{
    return tensors->file_bytes;
}

size_t ldar_tensors_count(const ldar_tensors *tensors)
{
    return tensors->entries;
}

struct ldar_tensor ldar_tensors_at(const ldar_tensors *tensors, size_t index)
{
    const struct entry *entry = &tensors->entry[index];
    struct ldar_tensor tensor = {
        .name = tensors->pool + entry->name,
        .type = (enum ldar_tensor_type)entry->type,
        .rank = entry->rank,
        .count = entry_count(entry),
        .data = tensors->file + tensors->data_begin + entry->begin,
        .bytes = entry->bytes,
    };
    memcpy(tensor.shape, entry->shape, sizeof tensor.shape);
    return tensor;
}

size_t ldar_tensors_find(const ldar_tensors *tensors, const char *name)
{
    const struct named key = make_named(name, 0);
    const struct named *found =
        bsearch(&key, tensors->by_name, tensors->entries, sizeof *tensors->by_name, compare_names);
    return found ? found->index : tensors->entries;
}

const char *ldar_tensors_metadata(const ldar_tensors *tensors, const char *key)
{
    for (size_t i = 0; i < tensors->pairs; i++) {
        if (strcmp(tensors->pool + tensors->metadata[i].key, key) == 0) {
            return tensors->pool + tensors->metadata[i].value;
        }
    }
    return NULL;
}
