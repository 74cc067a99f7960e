/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"

#include "failure.h"

#include <htslib/bgzf.h>
#include <htslib/hfile.h>
#include <htslib/hts_log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK = 1 << 16 };

struct stream {
    BGZF *file;
    char *name; /* behind the struct */
    uint64_t total;
    int ended;
    size_t peeked; /* bytes of the block that stream_peek showed and stream_read has not given */
    char block[BLOCK];
};

/*
 * The descriptor is opened here and not by htslib, which takes a path for a URL when it looks like one, and
 * whose errors lose errno.
 */
static int open_path(const char *path)
{
    return strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
}

static enum ldar_status check_kind(const char *name, int descriptor, uint64_t *total, struct ldar_error *error)
{
    struct stat status;
    if (fstat(descriptor, &status)) {
        return fail(error, LDAR_ERROR_IO, "%s: %s", name, strerror(errno));
    }
    if (S_ISDIR(status.st_mode)) {
        return fail(error, LDAR_ERROR_IO, "%s: is a directory, and a file is needed", name);
    }
    *total = S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
    return LDAR_OK;
}

enum ldar_status stream_open(const char *path, stream **out, struct ldar_error *error)
{
    *out = NULL;
    hts_set_log_level(HTS_LOG_OFF);
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    const int descriptor = open_path(path);
    if (descriptor < 0) {
        return fail(error, LDAR_ERROR_IO, "%s: %s", name, strerror(errno));
    }
    uint64_t total = 0;
    enum ldar_status status = check_kind(name, descriptor, &total, error);
    stream *stream = status ? NULL : malloc(sizeof *stream + strlen(name) + 1);
    if (!stream) {
        close(descriptor);
        return status ? status : fail_memory(error, name, "reading");
    }
    errno = 0;
    stream->file = bgzf_dopen(descriptor, "r");
    if (!stream->file) {
        /* It has closed the descriptor. */
        free(stream);
        return fail(error, LDAR_ERROR_IO, "%s: %s", name, errno ? strerror(errno) : "cannot be read");
    }
    stream->name = strcpy((char *)(stream + 1), name);
    stream->total = total;
    stream->ended = 0;
    stream->peeked = 0;
    *out = stream;
    return LDAR_OK;
}

static enum ldar_status fail_read(const stream *stream, struct ldar_error *error)
{
    if (stream->file->is_compressed) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: the %s data is cut off or damaged; get the file again", stream->name,
                    stream->file->is_gzip ? "gzip" : "BGZF");
    }
    return fail(error, LDAR_ERROR_IO, "%s: %s", stream->name, errno ? strerror(errno) : "cannot be read");
}

enum ldar_status stream_read(stream *stream, const char **bytes, size_t *count, struct ldar_error *error)
{
    *bytes = stream->block;
    *count = stream->peeked;
    stream->peeked = 0;
    if (*count > 0 || stream->ended) {
        return LDAR_OK;
    }
    errno = 0;
    const ssize_t got = bgzf_read(stream->file, stream->block, BLOCK);
    if (got < 0) {
        return fail_read(stream, error);
    }
    *count = (size_t)got;
    if (got == 0) {
        stream->ended = 1;
        if (stream->file->is_compressed && !stream->file->is_gzip && stream->file->no_eof_block) {
            return fail(error, LDAR_ERROR_FORMAT,
                        "%s: the BGZF data lacks its end-of-file block, so the file is cut off; get it again",
                        stream->name);
        }
    }
    return LDAR_OK;
}

enum ldar_status stream_peek(stream *stream, const char **bytes, size_t *count, struct ldar_error *error)
{
    const enum ldar_status status = stream_read(stream, bytes, count, error);
    stream->peeked = *count;
    return status;
}

const char *stream_name(const stream *stream)
{
    return stream->name;
}

void stream_progress(const stream *stream, uint64_t *done, uint64_t *total)
{
    *total = stream->total;
    *done = (uint64_t)htell(stream->file->fp);
}

void stream_close(stream *stream)
{
    if (stream) {
        /* Nothing was written: closing has nothing to lose. */
        (void)bgzf_close(stream->file);
        free(stream);
    }
}
