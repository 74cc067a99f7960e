/* SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700 /* realpath */

#include <ldar/file.h>

#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, NAME_KEPT = 200, ATTEMPTS = 100 };

/*
 * The folder is held open and everything is done relative to it, so that a folder that is renamed while we write does
 * no harm and a path may be as long as the system's limit.
 */
struct ldar_file {
    char *path;      /* as the caller gave it, for messages */
    char *target;    /* path with symbolic links followed; its last part is `base` */
    char *temporary; /* full name; its last part is `temporary_base`. NULL: the target is written directly */
    const char *base, *temporary_base;
    int folder, descriptor;
    uint64_t length;
    size_t buffered;
    char buffer[BUFFER];
};

static enum ldar_status fail(const struct ldar_file *file, const char *what, struct ldar_error *error)
{
    return ldar_fail(error, LDAR_ERROR_IO, "%s: cannot %s: %s", file->path, what, strerror(errno));
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static char *copy(const char *text)
{
    char *out = malloc(strlen(text) + 1);
    return out ? strcpy(out, text) : NULL;
}

/* Names and folder. */
static enum ldar_status locate(struct ldar_file *file, struct ldar_error *error)
{
    struct stat state;
    if (lstat(file->path, &state) == 0 && S_ISLNK(state.st_mode)) {
        file->target = realpath(file->path, NULL); /* NULL where it points nowhere: then the link itself is replaced */
    }
    if (!file->target) {
        file->target = copy(file->path);
    }
    if (!file->target) {
        return ldar_fail_memory(error, strlen(file->path), "a file's name");
    }
    file->base = last_part(file->target);
    if (!*file->base) {
        return ldar_fail(error, LDAR_ERROR_IO, "%s: the name of a file expected", file->path);
    }
    size_t length = (size_t)(file->base - file->target);
    char *folder = malloc(length + 2);
    if (!folder) {
        return ldar_fail_memory(error, length, "a file's name");
    }
    memcpy(folder, length ? file->target : ".", length ? length : 1);
    folder[length ? length : 1] = '\0';
    file->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    return file->folder < 0 ? fail(file, "open its folder", error) : LDAR_OK;
}

static enum ldar_status open_temporary(struct ldar_file *file, struct ldar_error *error)
{
    const size_t prefix = (size_t)(file->base - file->target), capacity = prefix + NAME_KEPT + 64;
    file->temporary = malloc(capacity);
    if (!file->temporary) {
        return ldar_fail_memory(error, capacity, "a file's name");
    }
    file->temporary_base = file->temporary + prefix;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        snprintf(file->temporary, capacity, "%.*s%.*s.tmp.%ld.%d", (int)prefix, file->target, NAME_KEPT, file->base,
                 (long)getpid(), attempt);
        file->descriptor = openat(file->folder, file->temporary_base, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->descriptor >= 0) {
            return LDAR_OK;
        }
        if (errno != EEXIST && errno != EINTR) {
            break;
        }
    }
    free(file->temporary); /* nothing of ours bears the name */
    file->temporary = NULL;
    return fail(file, "create", error);
}

static enum ldar_status open_output(struct ldar_file *file, struct ldar_error *error)
{
    struct stat state;
    if (fstatat(file->folder, file->base, &state, 0) != 0 || S_ISREG(state.st_mode)) {
        return open_temporary(file, error);
    }
    if (S_ISDIR(state.st_mode)) {
        errno = EISDIR;
        return fail(file, "create", error);
    }
    file->descriptor = openat(file->folder, file->base, O_WRONLY | O_CLOEXEC);
    return file->descriptor < 0 ? fail(file, "open", error) : LDAR_OK;
}

enum ldar_status ldar_file_create(const char *path, ldar_file **out, struct ldar_error *error)
{
    *out = NULL;
    struct ldar_file *file = calloc(1, sizeof *file);
    if (!file) {
        return ldar_fail_memory(error, sizeof *file, "a file");
    }
    file->folder = file->descriptor = -1;
    file->path = copy(path);
    enum ldar_status status = file->path ? locate(file, error) : ldar_fail_memory(error, strlen(path), "a file's name");
    if (!status) {
        status = open_output(file, error);
    }
    if (status) {
        ldar_file_abandon(file);
        return status;
    }
    *out = file;
    return LDAR_OK;
}

/* All of it, at `offset`, or at the end when that is negative. */
static enum ldar_status put(struct ldar_file *file, const char *data, size_t bytes, off_t offset,
                            struct ldar_error *error)
{
    while (bytes > 0) {
        ssize_t written =
            offset < 0 ? write(file->descriptor, data, bytes) : pwrite(file->descriptor, data, bytes, offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            errno = written == 0 ? ENOSPC : errno;
            return fail(file, "write", error);
        }
        data += written;
        bytes -= (size_t)written;
        offset += offset < 0 ? 0 : (off_t)written;
    }
    return LDAR_OK;
}

static enum ldar_status flush(struct ldar_file *file, struct ldar_error *error)
{
    size_t bytes = file->buffered;
    file->buffered = 0;
    return put(file, file->buffer, bytes, -1, error);
}

enum ldar_status ldar_file_write(ldar_file *file, const void *data, size_t bytes, struct ldar_error *error)
{
    file->length += bytes;
    if (bytes > BUFFER - file->buffered) {
        enum ldar_status status = flush(file, error);
        if (status) {
            return status;
        }
    }
    if (bytes >= BUFFER) {
        return put(file, data, bytes, -1, error);
    }
    if (bytes > 0) {
        memcpy(file->buffer + file->buffered, data, bytes);
        file->buffered += bytes;
    }
    return LDAR_OK;
}

enum ldar_status ldar_file_rewrite(ldar_file *file, uint64_t offset, const void *data, size_t bytes,
                                   struct ldar_error *error)
{
    if (offset > file->length || bytes > file->length - offset) {
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "%s: only what is there can be written over", file->path);
    }
    enum ldar_status status = flush(file, error);
    return status ? status : put(file, data, bytes, (off_t)offset, error);
}

uint64_t ldar_file_length(const ldar_file *file)
{
    return file->length;
}

const char *ldar_file_temporary(const ldar_file *file)
{
    return file->temporary ? file->temporary : file->target;
}

static int sync_descriptor(int descriptor)
{
    int result;
    do {
        result = fsync(descriptor);
    } while (result != 0 && errno == EINTR);
    return result != 0 && errno != EINVAL; /* EINVAL: a file system that cannot sync a folder */
}

static int close_once(int *descriptor)
{
    int result = *descriptor >= 0 ? close(*descriptor) : 0;
    *descriptor = -1;
    return result;
}

static enum ldar_status publish(struct ldar_file *file, struct ldar_error *error)
{
    if (!file->temporary) {
        return close_once(&file->descriptor) != 0 ? fail(file, "close", error) : LDAR_OK;
    }
    if (sync_descriptor(file->descriptor)) {
        return fail(file, "sync", error);
    }
    if (close_once(&file->descriptor) != 0) {
        return fail(file, "close", error);
    }
    if (renameat(file->folder, file->temporary_base, file->folder, file->base) != 0) {
        return fail(file, "rename to its name", error);
    }
    free(file->temporary);
    file->temporary = NULL;
    return sync_descriptor(file->folder) ? fail(file, "sync its folder", error) : LDAR_OK;
}

enum ldar_status ldar_file_sync(ldar_file *file, struct ldar_error *error)
{
    const enum ldar_status status = flush(file, error);
    if (!status && file->temporary && sync_descriptor(file->descriptor)) {
        return fail(file, "sync", error);
    }
    return status;
}

enum ldar_status ldar_file_commit(ldar_file *file, struct ldar_error *error)
{
    enum ldar_status status = flush(file, error);
    if (!status) {
        status = publish(file, error);
    }
    ldar_file_abandon(file);
    return status;
}

void ldar_file_abandon(ldar_file *file)
{
    if (!file) {
        return;
    }
    close_once(&file->descriptor);
    if (file->temporary) {
        unlinkat(file->folder, file->temporary_base, 0);
    }
    close_once(&file->folder);
    free(file->temporary);
    free(file->target);
    free(file->path);
    free(file);
}
