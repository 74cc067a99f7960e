/* SPDX-License-Identifier: Apache-2.0 */
#include "io/checkpoint_file.h"

#include "io/convert.h"
#include "io/hash.h"
#include "io/safetensors.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 16, MAX_NAME = 256 };

static enum ldar_status fail_system(const struct ldar_checkpoint_file *file, const char *what, struct ldar_error *error)
{
    return ldar_fail(error, LDAR_ERROR_IO, "%s: cannot %s: %s", file->path, what, strerror(errno));
}

static enum ldar_status fail_format(const struct ldar_checkpoint_file *file, const char *what, struct ldar_error *error)
{
    return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: %s", file->path, what);
}

/* read, not a mapping: a sector that the disk cannot give back is then an error and no signal. */
static enum ldar_status read_at(const struct ldar_checkpoint_file *file, void *out, size_t bytes, size_t offset,
                                struct ldar_error *error)
{
    unsigned char *at = out;
    while (bytes > 0) {
        const ssize_t got = pread(file->descriptor, at, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_system(file, "read", error);
        }
        if (got == 0) {
            return fail_format(file, "it ends too early", error);
        }
        at += got;
        offset += (size_t)got;
        bytes -= (size_t)got;
    }
    return LDAR_OK;
}

/* ---- the header ---- */

static enum ldar_status open_descriptor(struct ldar_checkpoint_file *file, struct ldar_error *error)
{
    struct stat state;
    do {
        file->descriptor = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (file->descriptor < 0 && errno == EINTR);
    if (file->descriptor < 0) {
        return fail_system(file, "open", error);
    }
    if (fstat(file->descriptor, &state) != 0) {
        return fail_system(file, "read", error);
    }
    if (!S_ISREG(state.st_mode)) {
        return fail_format(file, "no regular file", error);
    }
    file->bytes = (size_t)state.st_size;
    return file->bytes > LDAR_HEADER_PREFIX ? LDAR_OK : fail_format(file, "too short for a checkpoint", error);
}

/* Its bytes, at the begin of room that is as large as the file: so the parser may point at arrays that are not read. */
static enum ldar_status read_header(struct ldar_checkpoint_file *file, struct ldar_error *error)
{
    enum { LEAST = LDAR_CHECKPOINT_OPENING + LDAR_HASH_DIGITS };
    unsigned char prefix[LDAR_HEADER_PREFIX];
    enum ldar_status status = read_at(file, prefix, sizeof prefix, 0, error);
    if (status) {
        return status;
    }
    uint64_t length = 0;
    for (int i = LDAR_HEADER_PREFIX; i-- > 0;) {
        length = length << 8 | prefix[i];
    }
    if (length < LEAST || length > LDAR_CHECKPOINT_HEADER || length > file->bytes - LDAR_HEADER_PREFIX) {
        return fail_format(file, "no checkpoint, or damaged: its header has an impossible length", error);
    }
    void *room = mmap(NULL, file->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) {
        return ldar_fail_memory(error, file->bytes, "a checkpoint");
    }
    file->room = room;
    file->header_bytes = LDAR_HEADER_PREFIX + (size_t)length;
    return read_at(file, file->room, file->header_bytes, 0, error);
}

static enum ldar_status check_header(struct ldar_checkpoint_file *file, struct ldar_error *error)
{
    const unsigned char *text = file->room + LDAR_HEADER_PREFIX;
    if (memcmp(text, ldar_checkpoint_opening, LDAR_CHECKPOINT_OPENING) != 0) {
        return fail_format(file, "no checkpoint, or damaged: its header begins otherwise", error);
    }
    ldar_checkpoint_header_hash(file->room, file->header_bytes, file->hash);
    if (memcmp(text + LDAR_CHECKPOINT_OPENING, file->hash, LDAR_HASH_DIGITS) != 0) {
        return fail_format(file, "damaged: its header does not have its hash", error);
    }
    return LDAR_OK;
}

/* Decimal digits and nothing else. */
static int parse_number(const char *text, uint64_t *number)
{
    *number = 0;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9' || __builtin_mul_overflow(*number, 10, number)
            || __builtin_add_overflow(*number, (uint64_t)(*c - '0'), number)) {
            return 0;
        }
    }
    return *text != '\0';
}

static int read_number(const struct ldar_checkpoint_file *file, const char *key, uint64_t *number)
{
    const char *text = ldar_tensors_metadata(file->tensors, key);
    return text && parse_number(text, number);
}

static enum ldar_status read_metadata(struct ldar_checkpoint_file *file, struct ldar_error *error)
{
    const char *format = ldar_tensors_metadata(file->tensors, "format");
    uint64_t version, bytes;
    if (!format || strcmp(format, "ldarnet checkpoint") != 0 || !read_number(file, "version", &version)) {
        return fail_format(file, "its header names no checkpoint and no version", error);
    }
    if (version != LDAR_CHECKPOINT_VERSION) {
        return ldar_fail(error, LDAR_ERROR_UNSUPPORTED,
                         "%s: written by a newer ldar, in version %llu of the format: this ldar reads version %d",
                         file->path, (unsigned long long)version, LDAR_CHECKPOINT_VERSION);
    }
    file->config = ldar_tensors_metadata(file->tensors, "config");
    file->state = ldar_tensors_metadata(file->tensors, "state");
    file->hashes = ldar_tensors_metadata(file->tensors, "xxh64");
    if (!file->config || !file->state || !file->hashes || !read_number(file, "generation", &file->generation)
        || !read_number(file, "step", &file->step) || !read_number(file, "bytes", &bytes)
        || strlen(file->hashes) != LDAR_HASH_DIGITS * ldar_tensors_count(file->tensors)) {
        return fail_format(file, "its header lacks what a checkpoint has", error);
    }
    return bytes == file->bytes ? LDAR_OK : fail_format(file, "it does not have its length", error);
}

static enum ldar_status open_checked(struct ldar_checkpoint_file *file, struct ldar_error *error)
{
    enum ldar_status status = open_descriptor(file, error);
    if (!status) {
        status = read_header(file, error);
    }
    if (!status) {
        status = check_header(file, error);
    }
    if (!status) {
        status = ldar_tensors_open_memory(file->path, file->room, file->bytes, 0, &file->tensors, error);
    }
    return status ? status : read_metadata(file, error);
}

enum ldar_status ldar_checkpoint_file_open(const char *path, struct ldar_checkpoint_file **out,
                                           struct ldar_error *error)
{
    *out = NULL;
    struct ldar_checkpoint_file *file = calloc(1, sizeof *file);
    char *copy = malloc(strlen(path) + 1);
    if (!file || !copy) {
        free(file);
        free(copy);
        return ldar_fail_memory(error, sizeof *file + strlen(path), "a checkpoint");
    }
    file->path = strcpy(copy, path);
    file->descriptor = -1;
    enum ldar_status status = open_checked(file, error);
    if (status) {
        ldar_checkpoint_file_close(file);
        return status;
    }
    *out = file;
    return LDAR_OK;
}

void ldar_checkpoint_file_detach(struct ldar_checkpoint_file *file)
{
    if (file->descriptor >= 0) {
        close(file->descriptor);
    }
    file->descriptor = -1;
}

void ldar_checkpoint_file_close(struct ldar_checkpoint_file *file)
{
    if (!file) {
        return;
    }
    ldar_checkpoint_file_detach(file);
    ldar_tensors_close(file->tensors);
    if (file->room) {
        munmap(file->room, file->bytes);
    }
    free(file->path);
    free(file);
}

/* ---- the arrays ---- */

/* To out or, where that is NULL, piece by piece to `scratch` (PIECE). */
static enum ldar_status read_array(const struct ldar_checkpoint_file *file, size_t index, float *out, float *scratch,
                                   struct ldar_error *error)
{
    const struct ldar_tensor tensor = ldar_tensors_at(file->tensors, index);
    const size_t offset = (size_t)((const unsigned char *)tensor.data - file->room);
    struct ldar_xxh64 hash;
    char text[LDAR_HASH_DIGITS + 1];
    int finite = 1;
    if (tensor.type != LDAR_TENSOR_F32) {
        return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: tensor '%s' is not float32", file->path, tensor.name);
    }
    ldar_xxh64_begin(&hash);
    for (size_t i = 0; i < tensor.count; i += PIECE) {
        const size_t count = tensor.count - i < PIECE ? tensor.count - i : PIECE;
        float *piece = out ? out + i : scratch;
        enum ldar_status status = read_at(file, piece, count * sizeof *piece, offset + i * sizeof *piece, error);
        if (status) {
            return status;
        }
        ldar_xxh64_add(&hash, piece, count * sizeof *piece);
        finite &= ldar_all_finite(piece, LDAR_F32, count);
    }
    ldar_xxh64_text(&hash, text);
    if (memcmp(text, file->hashes + LDAR_HASH_DIGITS * index, LDAR_HASH_DIGITS) != 0) {
        return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: damaged: tensor '%s' does not have its hash", file->path,
                         tensor.name);
    }
    return finite ? LDAR_OK
                  : ldar_fail(error, LDAR_ERROR_FORMAT, "%s: tensor '%s' holds an infinity or NaN", file->path,
                              tensor.name);
}

static enum ldar_status read_scratch(const struct ldar_checkpoint_file *file, struct ldar_error *error)
{
    float *scratch = malloc(PIECE * sizeof *scratch);
    if (!scratch) {
        return ldar_fail_memory(error, PIECE * sizeof *scratch, "reading a checkpoint");
    }
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; !status && i < ldar_tensors_count(file->tensors); i++) {
        status = read_array(file, i, NULL, scratch, error);
    }
    free(scratch);
    return status;
}

static enum ldar_status fail_tensor(const struct ldar_checkpoint_file *file, const char *name, const char *what,
                                    struct ldar_error *error)
{
    return ldar_fail(error, LDAR_ERROR_TENSOR, "%s: tensor '%s' %s", file->path, name, what);
}

/* Where in the file the tensor stands. */
static enum ldar_status match(const struct ldar_checkpoint_file *file, const struct ldar_checkpoint_tensor *tensor,
                              size_t *index, struct ldar_error *error)
{
    char name[MAX_NAME + 1];
    ldar_checkpoint_name(tensor, name, sizeof name);
    *index = ldar_tensors_find(file->tensors, name);
    if (*index == ldar_tensors_count(file->tensors)) {
        return fail_tensor(file, name, "is not in it: the checkpoint belongs to another network", error);
    }
    const struct ldar_tensor found = ldar_tensors_at(file->tensors, *index);
    int equal = found.rank == tensor->rank;
    for (size_t k = 0; equal && k < found.rank; k++) {
        equal = found.shape[k] == tensor->shape[k];
    }
    if (!equal || found.type != LDAR_TENSOR_F32) {
        return fail_tensor(file, name, "has another shape or type: the checkpoint belongs to another network", error);
    }
    return LDAR_OK;
}

/* All that concerns the caller comes before anything is read: whatever fails later is the file's fault. */
enum ldar_status ldar_checkpoint_file_read(const struct ldar_checkpoint_file *file,
                                           const struct ldar_checkpoint_tensor *tensors, size_t count,
                                           struct ldar_error *error)
{
    size_t index;
    if (!tensors) {
        return read_scratch(file, error);
    }
    if (count != ldar_tensors_count(file->tensors)) {
        return ldar_fail(error, LDAR_ERROR_TENSOR,
                         "%s: it has %zu tensors where %zu are expected: the checkpoint belongs to another network",
                         file->path, ldar_tensors_count(file->tensors), count);
    }
    for (size_t i = 0; i < count; i++) {
        enum ldar_status status = match(file, &tensors[i], &index, error);
        if (status) {
            return status;
        }
    }
    for (size_t i = 0; i < count; i++) {
        enum ldar_status status = match(file, &tensors[i], &index, error);
        if (!status) {
            status = read_array(file, index, tensors[i].data, NULL, error);
        }
        if (status) {
            return status;
        }
    }
    return LDAR_OK;
}
