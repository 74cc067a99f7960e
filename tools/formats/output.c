/* SPDX-License-Identifier: Apache-2.0 */
#include "output.h"

#include <ldar/file.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, PRINT_MAX = 1024 };

struct output {
    ldar_file *file; /* NULL: standard output, for which the rest is */
    bool can_rewrite;
    off_t origin; /* where standard output stood at first */
    uint64_t length;
    size_t buffered;
    char buffer[BUFFER];
};

static bool is_standard(const char *path)
{
    return strcmp(path, "-") == 0;
}

static void inspect_standard(output *output)
{
    struct stat status;
    const int flags = fcntl(STDOUT_FILENO, F_GETFL);
    output->origin = lseek(STDOUT_FILENO, 0, SEEK_CUR);
    output->can_rewrite = output->origin >= 0 && flags >= 0 && !(flags & O_APPEND) && fstat(STDOUT_FILENO, &status) == 0
                          && S_ISREG(status.st_mode);
}

/* A path that bears nothing yet will be a regular file. */
static bool is_stream(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

enum ldar_status output_create(const char *path, output **out, struct ldar_error *error)
{
    *out = NULL;
    output *output = calloc(1, sizeof *output);
    if (!output) {
        return fail_memory(error, path, "writing");
    }
    if (is_standard(path)) {
        inspect_standard(output);
    } else {
        output->can_rewrite = !is_stream(path);
        const enum ldar_status status = ldar_file_create(path, &output->file, error);
        if (status) {
            free(output);
            return status;
        }
    }
    *out = output;
    return LDAR_OK;
}

/* ---- standard output ---- */

/* Writes all of it, at `at`, or where standard output stands when that is negative. */
static enum ldar_status send(const char *data, size_t bytes, off_t at, struct ldar_error *error)
{
    for (size_t sent = 0; sent < bytes;) {
        const ssize_t now = at < 0 ? write(STDOUT_FILENO, data + sent, bytes - sent)
                                   : pwrite(STDOUT_FILENO, data + sent, bytes - sent, at + (off_t)sent);
        if (now < 0 && errno != EINTR) {
            return fail(error, LDAR_ERROR_IO, "standard output: %s", strerror(errno));
        }
        sent += now > 0 ? (size_t)now : 0;
    }
    return LDAR_OK;
}

static enum ldar_status flush(output *output, struct ldar_error *error)
{
    const size_t bytes = output->buffered;
    output->buffered = 0;
    return send(output->buffer, bytes, -1, error);
}

static enum ldar_status write_standard(output *output, const char *data, size_t bytes, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (bytes > BUFFER - output->buffered) {
        status = flush(output, error);
    }
    if (!status && bytes > BUFFER) {
        status = send(data, bytes, -1, error);
    } else if (!status) {
        memcpy(output->buffer + output->buffered, data, bytes);
        output->buffered += bytes;
    }
    output->length += bytes;
    return status;
}

/* ---- either ---- */

enum ldar_status output_write(output *output, const void *data, size_t bytes, struct ldar_error *error)
{
    if (bytes == 0) {
        return LDAR_OK;
    }
    return output->file ? ldar_file_write(output->file, data, bytes, error)
                        : write_standard(output, data, bytes, error);
}

enum ldar_status output_print(output *output, struct ldar_error *error, const char *format, ...)
{
    char text[PRINT_MAX];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0 || length >= PRINT_MAX) {
        return fail(error, LDAR_ERROR_INTERNAL, "a line of output is too long; please report it");
    }
    return output_write(output, text, (size_t)length, error);
}

uint64_t output_length(const output *output)
{
    return output->file ? ldar_file_length(output->file) : output->length;
}

bool output_can_rewrite(const output *output)
{
    return output->can_rewrite;
}

enum ldar_status output_rewrite(output *output, uint64_t offset, const void *data, size_t bytes,
                                struct ldar_error *error)
{
    if (output->file) {
        return ldar_file_rewrite(output->file, offset, data, bytes, error);
    }
    const enum ldar_status status = flush(output, error);
    return status ? status : send(data, bytes, output->origin + (off_t)offset, error);
}

bool output_has_neighbour(const char *path)
{
    struct stat status;
    return !is_standard(path) && (stat(path, &status) != 0 || S_ISREG(status.st_mode));
}

char *output_neighbour(const char *path)
{
    static const char suffix[] = ".json";
    char *neighbour = malloc(strlen(path) + sizeof suffix);
    return neighbour ? strcat(strcpy(neighbour, path), suffix) : NULL;
}

enum ldar_status output_sync(output *output, struct ldar_error *error)
{
    return output->file ? ldar_file_sync(output->file, error) : flush(output, error);
}

enum ldar_status output_commit(output *output, struct ldar_error *error)
{
    const enum ldar_status status = output->file ? ldar_file_commit(output->file, error) : flush(output, error);
    free(output);
    return status;
}

void output_abandon(output *output)
{
    if (output) {
        ldar_file_abandon(output->file);
        free(output);
    }
}
