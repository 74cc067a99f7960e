/* SPDX-License-Identifier: Apache-2.0 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <zlib.h>

static const char magic[8] = "LDARPART";

enum { VERSION = 1, OPENING = 16, LENGTH = 8, CHECKSUM = 4, BUFFER = 1 << 18, PIECE = 1 << 20 };

#define END UINT64_MAX

static const double flush_seconds = 0.2, sync_seconds = 5;

struct journal {
    char *path;
    FILE *file;
    uint64_t blobs;
    uint32_t sum;
    double flushed, synced; /* when */
};

struct journal_reader {
    char *path, *header;
    FILE *file;
    uint64_t size, at; /* of the file; behind what was read and found right */
    uint64_t blobs;
    uint32_t sum;
    bool ended, cut; /* by its end; within a blob */
    unsigned char *blob;
    size_t capacity;
};

/* ---- numbers ---- */

static void put_number_le(unsigned char *to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; ++i) {
        to[i] = (unsigned char)(value >> 8 * i);
    }
}

static uint64_t get_number_le(const unsigned char *from, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;) {
        value = value << 8 | from[i];
    }
    return value;
}

static uint32_t checksum(uint32_t sum, const void *data, size_t bytes)
{
    return bytes > 0 ? (uint32_t)crc32_z(sum, data, bytes) : sum; /* zlib takes NULL for a new beginning */
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static enum ldar_status fail_file(const char *path, const char *what, struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_IO, "%s: cannot be %s: %s", path, what, strerror(errno));
}

/* ---- writing ---- */

static void discard(journal *journal)
{
    if (journal->file) {
        fclose(journal->file);
    }
    free(journal->path);
    free(journal);
}

/* Opens the file for the one who writes it. */
static enum ldar_status open_locked(const char *path, int flags, journal **out, struct ldar_error *error)
{
    journal *journal = calloc(1, sizeof *journal);
    const int descriptor = journal ? open(path, O_RDWR | O_CLOEXEC | flags, 0666) : -1;
    *out = NULL;
    if (!journal) {
        return fail_memory(error, path, "writing");
    }
    journal->path = strdup(path);
    journal->file = descriptor >= 0 ? fdopen(descriptor, "r+b") : NULL;
    enum ldar_status status = LDAR_OK;
    if (!journal->file) {
        status = fail_file(path, "written", error);
        if (descriptor >= 0) {
            close(descriptor);
        }
    } else if (!journal->path) {
        status = fail_memory(error, path, "writing");
    } else if (flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        status = fail(error, LDAR_ERROR_IO, "%s: another process is writing it", path);
    } else {
        setvbuf(journal->file, NULL, _IOFBF, BUFFER);
        journal->flushed = journal->synced = seconds();
    }
    if (status) {
        discard(journal);
        return status;
    }
    *out = journal;
    return LDAR_OK;
}

/* Writes a piece that counts in the checksums. */
static enum ldar_status put(journal *journal, const void *data, size_t bytes, struct ldar_error *error)
{
    journal->sum = checksum(journal->sum, data, bytes);
    return bytes == 0 || fwrite(data, 1, bytes, journal->file) == bytes ? LDAR_OK
                                                                        : fail_file(journal->path, "written", error);
}

static enum ldar_status put_checksum(journal *journal, struct ldar_error *error)
{
    unsigned char sum[CHECKSUM];
    put_number_le(sum, journal->sum, CHECKSUM);
    return fwrite(sum, 1, CHECKSUM, journal->file) == CHECKSUM ? LDAR_OK : fail_file(journal->path, "written", error);
}

static enum ldar_status flush(journal *journal, struct ldar_error *error)
{
    return fflush(journal->file) == 0 ? LDAR_OK : fail_file(journal->path, "written", error);
}

/* Where a file system cannot sync, it is not the journal that fails. */
static enum ldar_status sync_file(journal *journal, struct ldar_error *error)
{
    return fsync(fileno(journal->file)) == 0 || errno == EINVAL || errno == ENOSYS
               ? LDAR_OK
               : fail_file(journal->path, "written", error);
}

static enum ldar_status put_header(journal *journal, const char *header, struct ldar_error *error)
{
    unsigned char opening[OPENING];
    const size_t length = strlen(header);
    if (length > JOURNAL_HEADER_MAX) {
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: a header of %zu bytes is too long", journal->path, length);
    }
    memcpy(opening, magic, sizeof magic);
    put_number_le(opening + 8, VERSION, 4);
    put_number_le(opening + 12, length, 4);
    enum ldar_status status = put(journal, opening, OPENING, error);
    if (!status) {
        status = put(journal, header, length, error);
    }
    if (!status) {
        status = put_checksum(journal, error);
    }
    return status ? status : flush(journal, error);
}

/* That what is to be replaced is a journal, or the beginning of one. */
static enum ldar_status check_replaced(const journal *journal, struct ldar_error *error)
{
    char opening[sizeof magic];
    const ssize_t there = pread(fileno(journal->file), opening, sizeof opening, 0);
    if (there < 0) {
        return fail_file(journal->path, "read", error);
    }
    return memcmp(opening, magic, (size_t)there) == 0
               ? LDAR_OK
               : fail(error, LDAR_ERROR_FORMAT,
                      "%s: is another kind of file and would be replaced: remove it, or name another output",
                      journal->path);
}

enum ldar_status journal_create(const char *path, const char *header, journal **out, struct ldar_error *error)
{
    enum ldar_status status = open_locked(path, O_CREAT, out, error);
    if (status) {
        return status;
    }
    status = check_replaced(*out, error);
    /* Only now that it is ours alone. */
    if (!status && ftruncate(fileno((*out)->file), 0) != 0) {
        status = fail_file(path, "written", error);
    }
    if (!status) {
        status = put_header(*out, header, error);
    }
    if (status) {
        discard(*out);
        *out = NULL;
    }
    return status;
}

enum ldar_status journal_append(journal *journal, const void *blob, size_t bytes, struct ldar_error *error)
{
    unsigned char length[LENGTH];
    const double now = seconds();
    put_number_le(length, bytes, LENGTH);
    enum ldar_status status = put(journal, length, LENGTH, error);
    if (!status) {
        status = put(journal, blob, bytes, error);
    }
    if (!status) {
        status = put_checksum(journal, error);
    }
    ++journal->blobs;
    if (!status && now - journal->flushed >= flush_seconds) {
        journal->flushed = now;
        status = flush(journal, error);
    }
    if (!status && now - journal->synced >= sync_seconds) {
        journal->synced = now;
        status = sync_file(journal, error);
    }
    return status;
}

enum ldar_status journal_end(journal *journal, struct ldar_error *error)
{
    unsigned char end[2 * LENGTH];
    put_number_le(end, END, LENGTH);
    put_number_le(end + LENGTH, journal->blobs, LENGTH);
    enum ldar_status status = put(journal, end, sizeof end, error);
    if (!status) {
        status = put_checksum(journal, error);
    }
    if (!status) {
        status = flush(journal, error);
    }
    return status ? status : sync_file(journal, error);
}

enum ldar_status journal_close(journal *journal, struct ldar_error *error)
{
    const enum ldar_status status = flush(journal, error);
    discard(journal);
    return status;
}

/* ---- reading ---- */

void journal_reader_close(journal_reader *reader)
{
    if (reader) {
        if (reader->file) {
            fclose(reader->file);
        }
        free(reader->path);
        free(reader->header);
        free(reader->blob);
        free(reader);
    }
}

static enum ldar_status fail_damage(const journal_reader *reader, struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_FORMAT, "%s: damaged behind byte %" PRIu64 ", in result %" PRIu64, reader->path,
                reader->at, reader->blobs + 1);
}

/* Reads a piece that the file's size says is there. */
static enum ldar_status get(journal_reader *reader, void *to, size_t bytes, struct ldar_error *error)
{
    if (fread(to, 1, bytes, reader->file) == bytes) {
        return LDAR_OK;
    }
    return ferror(reader->file) ? fail_file(reader->path, "read", error)
                                : fail(error, LDAR_ERROR_IO, "%s: has become shorter meanwhile", reader->path);
}

/* Whether as many bytes and a checksum are left behind what was read, and `before` bytes more. */
static bool has(const journal_reader *reader, uint64_t before, uint64_t bytes)
{
    const uint64_t left = reader->size - reader->at;
    return left >= before && left - before >= CHECKSUM && left - before - CHECKSUM >= bytes;
}

/* Reads the checksum and compares; *right is false when it is another. */
static enum ldar_status check_sum(journal_reader *reader, uint32_t sum, bool *right, struct ldar_error *error)
{
    unsigned char stored[CHECKSUM];
    const enum ldar_status status = get(reader, stored, CHECKSUM, error);
    *right = !status && get_number_le(stored, CHECKSUM) == sum;
    return status;
}

static enum ldar_status reader_create(const char *path, journal_reader **out, struct ldar_error *error)
{
    journal_reader *reader = calloc(1, sizeof *reader);
    struct stat status;
    enum ldar_status result = LDAR_OK;
    *out = NULL;
    if (!reader || !(reader->path = strdup(path))) {
        result = fail_memory(error, path, "reading");
    } else if (!(reader->file = fopen(path, "rb")) || fstat(fileno(reader->file), &status) != 0) {
        result = fail_file(path, "read", error);
    } else if (!S_ISREG(status.st_mode)) {
        result = fail(error, LDAR_ERROR_IO, "%s: is no regular file", path);
    } else {
        reader->size = (uint64_t)status.st_size;
        setvbuf(reader->file, NULL, _IOFBF, BUFFER);
        *out = reader;
        return LDAR_OK;
    }
    journal_reader_close(reader);
    return result;
}

/* Reads the header. *whole is false, without an error, for a journal that ends within it or whose header is damaged. */
static enum ldar_status read_header(journal_reader *reader, bool *whole, struct ldar_error *error)
{
    unsigned char opening[OPENING] = {0};
    const size_t there = reader->size < OPENING ? (size_t)reader->size : OPENING;
    *whole = false;
    enum ldar_status status = get(reader, opening, there, error);
    if (status) {
        return status;
    }
    if (memcmp(opening, magic, there < sizeof magic ? there : sizeof magic) != 0) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: is no file of results that ldar keeps", reader->path);
    }
    const uint64_t version = get_number_le(opening + 8, 4), length = get_number_le(opening + 12, 4);
    if (there == OPENING && version != VERSION) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: has version %" PRIu64 " of the format; this ldar reads version %d",
                    reader->path, version, VERSION);
    }
    if (there < OPENING || length > JOURNAL_HEADER_MAX || !has(reader, OPENING, length)) {
        return LDAR_OK;
    }
    reader->header = calloc(1, (size_t)length + 1);
    if (!reader->header) {
        return fail_memory(error, reader->path, "its header");
    }
    status = get(reader, reader->header, (size_t)length, error);
    reader->sum = checksum(checksum(0, opening, OPENING), reader->header, (size_t)length);
    if (!status) {
        status = check_sum(reader, reader->sum, whole, error);
    }
    reader->at = OPENING + length + CHECKSUM;
    *whole = *whole && strlen(reader->header) == length;
    return status;
}

enum ldar_status journal_open(const char *path, journal_reader **out, struct ldar_error *error)
{
    bool whole;
    enum ldar_status status = reader_create(path, out, error);
    if (status) {
        return status;
    }
    status = read_header(*out, &whole, error);
    if (!status && !whole) {
        status = fail(error, LDAR_ERROR_FORMAT, "%s: its header is cut or damaged", path);
    }
    if (status) {
        journal_reader_close(*out);
        *out = NULL;
    }
    return status;
}

const char *journal_header(const journal_reader *reader)
{
    return reader->header;
}

/* Room for `bytes` bytes of the blob. */
static bool reserve(journal_reader *reader, size_t bytes)
{
    if (bytes <= reader->capacity && reader->blob) {
        return true;
    }
    const size_t capacity = bytes < 1024 ? 1024 : bytes > SIZE_MAX / 2 ? bytes : bytes + bytes / 2;
    unsigned char *blob = realloc(reader->blob, capacity);
    if (blob) {
        reader->blob = blob;
        reader->capacity = capacity;
    }
    return blob != NULL;
}

/* Piece by piece: what a file says of a length may be a lie, and memory is taken only for what is there. */
static enum ldar_status read_blob(journal_reader *reader, size_t bytes, struct ldar_error *error)
{
    size_t done = 0;
    do {
        const size_t piece = bytes - done < PIECE ? bytes - done : PIECE;
        if (!reserve(reader, done + piece)) {
            return fail_memory(error, reader->path, "a result");
        }
        const enum ldar_status status = get(reader, reader->blob + done, piece, error);
        if (status) {
            return status;
        }
        done += piece;
    } while (done < bytes);
    return LDAR_OK;
}

/* The end: how many blobs there are, and nothing more. */
static enum ldar_status read_end(journal_reader *reader, uint32_t sum, struct ldar_error *error)
{
    unsigned char count[LENGTH];
    bool right;
    if (!has(reader, LENGTH, LENGTH)) {
        reader->cut = true;
        return LDAR_OK;
    }
    enum ldar_status status = get(reader, count, LENGTH, error);
    if (!status) {
        status = check_sum(reader, checksum(sum, count, LENGTH), &right, error);
    }
    if (status) {
        return status;
    }
    if (!right || get_number_le(count, LENGTH) != reader->blobs || reader->size - reader->at != 2 * LENGTH + CHECKSUM) {
        return fail_damage(reader, error);
    }
    reader->ended = true;
    return LDAR_OK;
}

enum ldar_status journal_next(journal_reader *reader, const void **blob, size_t *bytes, struct ldar_error *error)
{
    unsigned char length[LENGTH];
    bool right;
    *blob = NULL;
    *bytes = 0;
    reader->cut = reader->cut || !has(reader, LENGTH, 0);
    if (reader->ended || reader->cut) {
        return LDAR_OK;
    }
    enum ldar_status status = get(reader, length, LENGTH, error);
    if (status) {
        return status;
    }
    const uint64_t size = get_number_le(length, LENGTH);
    uint32_t sum = checksum(reader->sum, length, LENGTH);
    if (size == END) {
        return read_end(reader, sum, error);
    }
    if (size > SIZE_MAX / 4 || !has(reader, LENGTH, size)) {
        reader->cut = true;
        return LDAR_OK;
    }
    status = read_blob(reader, (size_t)size, error);
    sum = status ? 0 : checksum(sum, reader->blob, (size_t)size);
    if (!status) {
        status = check_sum(reader, sum, &right, error);
    }
    if (status || !right) {
        return status ? status : fail_damage(reader, error);
    }
    reader->at += LENGTH + size + CHECKSUM;
    reader->sum = sum;
    ++reader->blobs;
    *blob = reader->blob;
    *bytes = (size_t)size;
    return LDAR_OK;
}

bool journal_ended(const journal_reader *reader)
{
    return reader->ended;
}

/* ---- going on ---- */

/* Passes over all whole blobs; damage ends them as a torn tail does: what follows is computed again. */
static enum ldar_status pass_blobs(journal_reader *reader, struct ldar_error *error)
{
    const void *blob;
    size_t bytes;
    enum ldar_status status;
    while (!(status = journal_next(reader, &blob, &bytes, error)) && blob) {
    }
    return status == LDAR_ERROR_FORMAT ? LDAR_OK : status;
}

/* Takes over what the reader found whole, and cuts off the rest. */
static enum ldar_status take_over(const journal_reader *reader, journal *journal, struct ldar_error *error)
{
    journal->blobs = reader->blobs;
    journal->sum = reader->sum;
    return ftruncate(fileno(journal->file), (off_t)reader->at) == 0
                   && fseeko(journal->file, (off_t)reader->at, SEEK_SET) == 0
               ? LDAR_OK
               : fail_file(journal->path, "written", error);
}

/* Reads the whole journal; *whole is false when not even its header is there. */
static enum ldar_status inspect(const char *path, const struct journal_check *check, journal_reader **reader,
                                bool *whole, struct ldar_error *error)
{
    enum ldar_status status = reader_create(path, reader, error);
    if (!status) {
        status = read_header(*reader, whole, error);
    }
    if (!status && *whole) {
        status = check->check(check->user, (*reader)->header, error);
    }
    return status || !*whole ? status : pass_blobs(*reader, error);
}

enum ldar_status journal_continue(const char *path, const struct journal_check *check, journal **out, uint64_t *blobs,
                                  struct ldar_error *error)
{
    journal_reader *reader = NULL;
    bool whole = false;
    *out = NULL;
    *blobs = 0;
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        return LDAR_OK;
    }
    enum ldar_status status = open_locked(path, 0, out, error);
    if (!status) {
        status = inspect(path, check, &reader, &whole, error);
    }
    if (!status && whole) {
        status = take_over(reader, *out, error);
        *blobs = reader->blobs;
    }
    journal_reader_close(reader);
    if (*out && (status || !whole)) {
        discard(*out);
        *out = NULL;
    }
    return status;
}
