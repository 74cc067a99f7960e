/* SPDX-License-Identifier: Apache-2.0 */
#include "delimited.h"

#include "failure.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Where in a field the next byte stands. */
enum place {
    PLACE_BEGIN,  /* nothing but blanks of it has been read */
    PLACE_PLAIN,  /* in it, and it is not quoted */
    PLACE_QUOTED, /* between its quotes */
    PLACE_CLOSED  /* behind a quote that closes it, or is the first of two */
};

struct delimited {
    stream *stream;
    int separator;
    size_t limit;
    const char *bytes; /* [at, end) of them are unread */
    size_t at, end;
    uint64_t line;   /* of the next byte */
    uint64_t quoted; /* the line in which the last quote was opened */
    size_t passed;   /* bytes of the row */
    enum place place;
    bool blank; /* the row is one field so far, and nothing is in it */
    char *text; /* the fields, unquoted, each with its NUL; (text_capacity) */
    size_t length, text_capacity;
    size_t *starts; /* where in it each begins; (fields_capacity) */
    char **fields;  /* (fields_capacity) */
    size_t count, fields_capacity;
};

/* ---- opening ---- */

/* Past a byte order mark; and the separator, by the first line as far as the first block has it. */
static enum ldar_status begin(delimited *reader, struct ldar_error *error)
{
    const enum ldar_status status = stream_read(reader->stream, &reader->bytes, &reader->end, error);
    if (status) {
        return status;
    }
    if (reader->end >= 3 && memcmp(reader->bytes, "\xef\xbb\xbf", 3) == 0) {
        reader->at = 3;
    }
    if (reader->separator == SEPARATOR_FOUND) {
        size_t first = reader->at;
        while (first < reader->end && strchr("\r\n", reader->bytes[first])) {
            ++first;
        }
        const char *line = reader->bytes + first;
        const char *newline = memchr(line, '\n', reader->end - first);
        const size_t length = newline ? (size_t)(newline - line) : reader->end - first;
        reader->separator = memchr(line, '\t', length) ? '\t' : ',';
    }
    return LDAR_OK;
}

enum ldar_status delimited_open(stream *stream, int separator, size_t limit, delimited **out, struct ldar_error *error)
{
    *out = NULL;
    delimited *reader = calloc(1, sizeof *reader);
    if (!reader) {
        return fail_memory(error, stream_name(stream), "reading");
    }
    reader->stream = stream;
    reader->separator = separator;
    reader->limit = limit;
    reader->line = 1;
    const enum ldar_status status = begin(reader, error);
    if (status) {
        delimited_close(reader);
        return status;
    }
    *out = reader;
    return LDAR_OK;
}

void delimited_close(delimited *reader)
{
    if (reader) {
        free(reader->text);
        free(reader->starts);
        free(reader->fields);
        free(reader);
    }
}

/* ---- fields ---- */

static enum ldar_status fail_line(const delimited *reader, uint64_t line, const char *what, struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_FORMAT, "%s:%" PRIu64 ": %s", stream_name(reader->stream), line, what);
}

/* Room for `count` bytes more and a NUL. The row is no longer than the limit, so that nothing overflows. */
static enum ldar_status reserve_text(delimited *reader, size_t count, struct ldar_error *error)
{
    const size_t needed = reader->length + count + 1;
    if (needed > reader->text_capacity) {
        const size_t capacity = needed < 2048 ? 4096 : 2 * needed;
        char *text = realloc(reader->text, capacity);
        if (!text) {
            return fail_memory(error, stream_name(reader->stream), "a line");
        }
        reader->text = text;
        reader->text_capacity = capacity;
    }
    return LDAR_OK;
}

static enum ldar_status append(delimited *reader, const char *bytes, size_t count, struct ldar_error *error)
{
    if (memchr(bytes, '\0', count)) {
        return fail_line(reader, reader->line, "holds a NUL byte; this is no text", error);
    }
    const enum ldar_status status = reserve_text(reader, count, error);
    if (!status) {
        memcpy(reader->text + reader->length, bytes, count);
        reader->length += count;
        reader->blank = false;
    }
    return status;
}

static enum ldar_status reserve_fields(delimited *reader, struct ldar_error *error)
{
    if (reader->count == DELIMITED_FIELDS_MAX) {
        return fail(error, LDAR_ERROR_FORMAT, "%s:%" PRIu64 ": more than %d columns", stream_name(reader->stream),
                    reader->line, DELIMITED_FIELDS_MAX);
    }
    if (reader->count == reader->fields_capacity) {
        const size_t capacity = reader->count ? 2 * reader->count : 16;
        size_t *starts = realloc(reader->starts, capacity * sizeof *starts);
        reader->starts = starts ? starts : reader->starts;
        char **fields = starts ? realloc(reader->fields, capacity * sizeof *fields) : NULL;
        if (!fields) {
            return fail_memory(error, stream_name(reader->stream), "the columns of a line");
        }
        reader->fields = fields;
        reader->fields_capacity = capacity;
    }
    return LDAR_OK;
}

static enum ldar_status begin_field(delimited *reader, struct ldar_error *error)
{
    const enum ldar_status status = reserve_fields(reader, error);
    if (!status) {
        reader->starts[reader->count++] = reader->length;
        reader->place = PLACE_BEGIN;
    }
    return status;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

/* Blanks at the end of a field are no part of it, unless they were quoted. */
static enum ldar_status end_field(delimited *reader, struct ldar_error *error)
{
    if (reader->place == PLACE_PLAIN) {
        while (reader->length > reader->starts[reader->count - 1] && is_blank(reader->text[reader->length - 1])) {
            --reader->length;
        }
    }
    const enum ldar_status status = reserve_text(reader, 0, error);
    if (!status) {
        reader->text[reader->length++] = '\0';
    }
    return status;
}

/* ---- bytes ---- */

/* Bytes up to one that ends what the place is in, or the block. */
static size_t run_length(const delimited *reader)
{
    const char *from = reader->bytes + reader->at;
    const size_t here = reader->end - reader->at;
    size_t run = 0;
    if (reader->place == PLACE_QUOTED) {
        while (run < here && from[run] != '"' && from[run] != '\n') {
            ++run;
        }
    } else {
        const char separator = reader->separator ? (char)reader->separator : '\n';
        while (run < here && from[run] != separator && from[run] != '\n') {
            ++run;
        }
    }
    return run;
}

/* One byte, or a run of those that mean nothing but themselves. */
static enum ldar_status take_quoted(delimited *reader, struct ldar_error *error)
{
    const char *from = reader->bytes + reader->at;
    size_t run = run_length(reader);
    if (run == 0 && *from == '"') {
        reader->place = PLACE_CLOSED;
        reader->at += 1;
        return LDAR_OK;
    }
    if (run == 0) {
        run = 1;
        ++reader->line;
    }
    reader->at += run;
    return append(reader, from, run, error);
}

static enum ldar_status take_closed(delimited *reader, struct ldar_error *error)
{
    const char byte = reader->bytes[reader->at];
    if (byte == '"') {
        reader->place = PLACE_QUOTED;
        ++reader->at;
        return append(reader, "\"", 1, error);
    }
    if (!is_blank(byte)) {
        return fail_line(reader, reader->line,
                         "a quoted field goes on behind its closing quote; a quote within it is written twice", error);
    }
    ++reader->at;
    return LDAR_OK;
}

static enum ldar_status take_begin(delimited *reader, struct ldar_error *error)
{
    const char byte = reader->bytes[reader->at];
    if (is_blank(byte)) {
        ++reader->at;
    } else if (byte == '"') {
        ++reader->at;
        reader->quoted = reader->line;
        reader->place = PLACE_QUOTED;
        reader->blank = false;
    } else {
        const char *from = reader->bytes + reader->at;
        const size_t run = run_length(reader);
        reader->place = PLACE_PLAIN;
        reader->at += run;
        return append(reader, from, run, error);
    }
    return LDAR_OK;
}

/* Takes one step; *over says that the row has ended. */
static enum ldar_status take(delimited *reader, bool *over, struct ldar_error *error)
{
    const char byte = reader->bytes[reader->at];
    enum ldar_status status = LDAR_OK;
    if (reader->place == PLACE_QUOTED) {
        return take_quoted(reader, error);
    }
    if (byte == '\n' || (reader->separator && byte == reader->separator)) {
        ++reader->at;
        *over = byte == '\n';
        reader->line += *over;
        reader->blank = reader->blank && *over;
        status = end_field(reader, error);
        return status || *over ? status : begin_field(reader, error);
    }
    if (reader->place == PLACE_CLOSED) {
        return take_closed(reader, error);
    }
    if (reader->place == PLACE_BEGIN) {
        return take_begin(reader, error);
    }
    const char *from = reader->bytes + reader->at;
    const size_t run = run_length(reader);
    reader->at += run;
    return append(reader, from, run, error);
}

/* ---- rows ---- */

/* Makes sure that a byte is unread; *end says that there is none. */
static enum ldar_status fill(delimited *reader, bool *end, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (reader->at == reader->end) {
        reader->at = 0;
        status = stream_read(reader->stream, &reader->bytes, &reader->end, error);
    }
    *end = reader->at == reader->end;
    return status;
}

/* The file is over; so is the row. */
static enum ldar_status end_row(delimited *reader, struct ldar_error *error)
{
    if (reader->place == PLACE_QUOTED) {
        return fail_line(reader, reader->quoted, "a quote is opened here and closed nowhere", error);
    }
    return end_field(reader, error);
}

/* A row, blank ones too; *end says that the file ended with it. */
static enum ldar_status read_row(delimited *reader, struct delimited_row *row, bool *end, struct ldar_error *error)
{
    reader->length = reader->count = reader->passed = 0;
    reader->blank = true;
    row->line = reader->line;
    enum ldar_status status = begin_field(reader, error);
    for (bool over = false; !status && !over;) {
        status = fill(reader, end, error);
        if (status) {
            return status;
        }
        if (*end) {
            return end_row(reader, error);
        }
        const size_t before = reader->at;
        status = take(reader, &over, error);
        reader->passed += reader->at - before;
        if (!status && reader->passed > reader->limit + over) {
            status = fail(error, LDAR_ERROR_FORMAT, "%s:%" PRIu64 ": the line is longer than %zu bytes",
                          stream_name(reader->stream), row->line, reader->limit);
        }
    }
    return status;
}

enum ldar_status delimited_next(delimited *reader, struct delimited_row *row, struct ldar_error *error)
{
    *row = (struct delimited_row){0};
    bool end = false;
    do {
        const enum ldar_status status = read_row(reader, row, &end, error);
        if (status) {
            return status;
        }
    } while (reader->blank && !end);
    if (reader->blank) {
        return LDAR_OK;
    }
    for (size_t i = 0; i < reader->count; ++i) {
        reader->fields[i] = reader->text + reader->starts[i];
    }
    row->fields = reader->fields;
    row->count = reader->count;
    return LDAR_OK;
}
