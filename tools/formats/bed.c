/* SPDX-License-Identifier: Apache-2.0 */
#include "bed.h"

#include "failure.h"
#include "number.h"
#include "stream.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct bed_reader {
    stream *stream;
    const char *bytes; /* [at, end) of them are unread */
    size_t at, end;
    uint64_t line;
    char *text; /* the line; (capacity) */
    size_t capacity;
};

enum ldar_status bed_open(const char *path, bed_reader **out, struct ldar_error *error)
{
    *out = NULL;
    bed_reader *bed = calloc(1, sizeof *bed);
    if (!bed) {
        return fail_memory(error, path, "reading");
    }
    const enum ldar_status status = stream_open(path, &bed->stream, error);
    if (status) {
        free(bed);
        return status;
    }
    *out = bed;
    return LDAR_OK;
}

static enum ldar_status fail_line(const bed_reader *bed, const char *what, struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_FORMAT, "%s:%" PRIu64 ": %s", stream_name(bed->stream), bed->line, what);
}

/* Room for a line of `length` bytes. */
static enum ldar_status reserve(bed_reader *bed, size_t length, struct ldar_error *error)
{
    if (length > BED_LINE_MAX) {
        return fail_line(bed, "the line is longer than 1 MiB; this is no BED file", error);
    }
    if (length >= bed->capacity) {
        const size_t capacity = length < 2048 ? 4096 : 2 * length;
        char *text = realloc(bed->text, capacity);
        if (!text) {
            return fail_memory(error, stream_name(bed->stream), "a line");
        }
        bed->text = text;
        bed->capacity = capacity;
    }
    return LDAR_OK;
}

/* Appends the bytes up to the end of the line or of the block to text[*length]; *over says that the line is over. */
static enum ldar_status take_line(bed_reader *bed, size_t *length, bool *over, struct ldar_error *error)
{
    const char *from = bed->bytes + bed->at;
    const char *newline = memchr(from, '\n', bed->end - bed->at);
    const size_t run = newline ? (size_t)(newline - from) : bed->end - bed->at;
    const enum ldar_status status = reserve(bed, *length + run, error);
    if (status) {
        return status;
    }
    memcpy(bed->text + *length, from, run);
    *length += run;
    *over = newline != NULL;
    bed->at += run + *over;
    return LDAR_OK;
}

/* The next line into `text`, without its end; *found is false behind the last one. */
static enum ldar_status read_line(bed_reader *bed, bool *found, struct ldar_error *error)
{
    size_t length = 0;
    *found = false;
    ++bed->line;
    for (bool over = false; !over;) {
        if (bed->at == bed->end) {
            bed->at = 0;
            const enum ldar_status status = stream_read(bed->stream, &bed->bytes, &bed->end, error);
            if (status) {
                return status;
            }
            if (bed->end == 0) {
                break;
            }
        }
        *found = true;
        const enum ldar_status status = take_line(bed, &length, &over, error);
        if (status) {
            return status;
        }
    }
    if (!*found) {
        return LDAR_OK;
    }
    if (memchr(bed->text, '\0', length)) {
        return fail_line(bed, "holds a NUL byte; this is no BED file", error);
    }
    length -= length > 0 && bed->text[length - 1] == '\r';
    bed->text[length] = '\0';
    return LDAR_OK;
}

/* Whether the line's first word is `word`. */
static bool begins_with_word(const char *line, const char *word)
{
    const size_t length = strlen(word);
    return strncmp(line, word, length) == 0 && (line[length] == '\0' || strchr(" \t", line[length]));
}

/* Header and comment lines carry no interval. */
static bool is_remark(const char *line)
{
    return line[strspn(line, " \t")] == '\0' || line[0] == '#' || begins_with_word(line, "track")
           || begins_with_word(line, "browser");
}

/* Ends the column that begins at *rest and moves *rest behind it; NULL when there is none. */
static char *take_column(char **rest, const char *separators)
{
    char *column = *rest;
    if (!column || !*column) {
        return NULL;
    }
    char *end = column + strcspn(column, separators);
    if (*end) {
        *end++ = '\0';
        if (*separators == ' ') {
            end += strspn(end, separators);
        }
        *rest = end;
    } else {
        *rest = NULL;
    }
    return column;
}

static enum ldar_status parse_position(const bed_reader *bed, const char *column, uint64_t *value,
                                       struct ldar_error *error)
{
    if (!parse_number(column, strlen(column), value)) {
        return fail(error, LDAR_ERROR_FORMAT, "%s:%" PRIu64 ": \"%.40s\" is no position; one is a number, not negative",
                    stream_name(bed->stream), bed->line, column);
    }
    return LDAR_OK;
}

static enum ldar_status parse_line(bed_reader *bed, struct bed_interval *interval, struct ldar_error *error)
{
    char *rest = bed->text;
    const char *separators = strchr(bed->text, '\t') ? "\t" : " ";
    const char *name = take_column(&rest, separators);
    const char *start = take_column(&rest, separators);
    const char *end = take_column(&rest, separators);
    if (!end || !*name) {
        return fail_line(bed, "fewer than the three columns name, start and end", error);
    }
    enum ldar_status status = parse_position(bed, start, &interval->start, error);
    if (!status) {
        status = parse_position(bed, end, &interval->end, error);
    }
    if (!status && interval->start >= interval->end) {
        status = fail(error, LDAR_ERROR_FORMAT, "%s:%" PRIu64 ": start %" PRIu64 " is not before end %" PRIu64,
                      stream_name(bed->stream), bed->line, interval->start, interval->end);
    }
    interval->name = name;
    interval->label = take_column(&rest, separators);
    (void)take_column(&rest, separators); /* the score */
    interval->strand = take_column(&rest, separators);
    interval->line = bed->line;
    return status;
}

enum ldar_status bed_next(bed_reader *bed, struct bed_interval *interval, struct ldar_error *error)
{
    *interval = (struct bed_interval){0};
    for (;;) {
        bool found;
        const enum ldar_status status = read_line(bed, &found, error);
        if (status || !found) {
            return status;
        }
        if (!is_remark(bed->text)) {
            return parse_line(bed, interval, error);
        }
    }
}

void bed_close(bed_reader *bed)
{
    if (bed) {
        stream_close(bed->stream);
        free(bed->text);
        free(bed);
    }
}
