/* SPDX-License-Identifier: Apache-2.0 */
#include "sequences.h"

#include "failure.h"
#include "names.h"
#include "source_class.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SCRATCH = 1 << 15 };

/* Where the next byte stands. */
enum place {
    PLACE_BEGIN,    /* before the first record */
    PLACE_SEQUENCE, /* in the letters of a record */
    PLACE_BETWEEN   /* behind a record that was checked to its end */
};

struct sequences {
    source base;
    stream *stream;
    const char *bytes; /* [at, end) of them are unread */
    size_t at, end;
    char opening; /* '>' or '@', the first byte of all; what each record begins with */
    enum place place;
    bool line_start;      /* the next byte begins a line */
    uint64_t letters;     /* of the current record so far */
    uint64_t lines;       /* of these that held a letter */
    uint64_t lines_ended; /* letters when the last line of the sequence ended */
    struct name_set names;
    char name[SEQUENCES_NAME_MAX + 1];
    uint8_t scratch[SCRATCH]; /* letters that nobody asked for */
};

/* ---- bytes ---- */

/* Makes sure that a byte is unread; *end says that there is none. */
static enum ldar_status fill(struct sequences *reader, bool *end, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (reader->at == reader->end) {
        reader->at = 0;
        status = stream_read(reader->stream, &reader->bytes, &reader->end, error);
    }
    *end = reader->at == reader->end;
    return status;
}

/* Letters or qualities up to the end of the line or of the block. */
static size_t run_length(const struct sequences *reader, size_t limit)
{
    const char *from = reader->bytes + reader->at;
    const size_t here = reader->end - reader->at < limit ? reader->end - reader->at : limit;
    const char *newline = memchr(from, '\n', here);
    return newline ? (size_t)(newline - from) : here;
}

static enum ldar_status fail_letter(const struct sequences *reader, char byte, struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_FORMAT,
                "%s: record \"%.200s\", position %" PRIu64 ": %s is no nucleotide; letters are ACGTU, the IUPAC codes "
                "RYSWKMBDHVN and '-'",
                stream_name(reader->stream), reader->name, reader->letters + 1, byte_name(byte).text);
}

/* Past a carriage return after `count` letters or qualities, which only the end of the line may follow. */
static enum ldar_status pass_return(struct sequences *reader, uint64_t count, struct ldar_error *error)
{
    bool end;
    ++reader->at;
    const enum ldar_status status = fill(reader, &end, error);
    if (!status && !end && reader->bytes[reader->at] != '\n') {
        return fail(error, LDAR_ERROR_FORMAT,
                    "%s: record \"%.200s\", position %" PRIu64 ": a carriage return within a line",
                    stream_name(reader->stream), reader->name, count + 1);
    }
    return status;
}

/* Past the end of the line. */
static enum ldar_status pass_line(struct sequences *reader, struct ldar_error *error)
{
    for (;;) {
        bool end;
        const enum ldar_status status = fill(reader, &end, error);
        if (status || end) {
            return status;
        }
        reader->at += run_length(reader, SIZE_MAX);
        if (reader->at < reader->end) {
            ++reader->at;
            return LDAR_OK;
        }
    }
}

/* Past blank lines. */
static enum ldar_status pass_blank(struct sequences *reader, bool *end, struct ldar_error *error)
{
    for (;;) {
        const enum ldar_status status = fill(reader, end, error);
        if (status || *end || (reader->bytes[reader->at] != '\n' && reader->bytes[reader->at] != '\r')) {
            return status;
        }
        ++reader->at;
    }
}

/* ---- names ---- */

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static enum ldar_status add_to_name(struct sequences *reader, size_t *length, char byte, struct ldar_error *error)
{
    if (*length == SEQUENCES_NAME_MAX) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: record %" PRIu64 ": a name longer than %d bytes",
                    stream_name(reader->stream), reader->base.progress.records + 1, SEQUENCES_NAME_MAX);
    }
    if ((unsigned char)byte < 0x20 || byte == 0x7f) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: record %" PRIu64 ": the control character %s in its name",
                    stream_name(reader->stream), reader->base.progress.records + 1, byte_name(byte).text);
    }
    reader->name[(*length)++] = byte;
    return LDAR_OK;
}

/* The first word of the line. */
static enum ldar_status read_name(struct sequences *reader, size_t *length, struct ldar_error *error)
{
    *length = 0;
    for (;;) {
        bool end;
        enum ldar_status status = fill(reader, &end, error);
        if (status || end) {
            return status;
        }
        const char byte = reader->bytes[reader->at];
        if (byte == '\n' || byte == '\r' || (is_blank(byte) && *length > 0)) {
            return LDAR_OK;
        }
        if (!is_blank(byte) && (status = add_to_name(reader, length, byte, error))) {
            return status;
        }
        ++reader->at;
    }
}

/* A name that was met before is worth a remark; of reads without end the first ones are remembered. */
static enum ldar_status remember_name(struct sequences *reader, size_t length, struct ldar_error *error)
{
    bool new = true;
    if (reader->names.count == SEQUENCES_NAMES_KEPT) {
        new = !name_set_holds(&reader->names, reader->name, length);
    } else if (!name_set_add(&reader->names, reader->name, length, &new)) {
        return fail_memory(error, stream_name(reader->stream), "the names of its records");
    }
    if (!new) {
        source_remark(&reader->base, REMARK_REPEATED, stream_name(reader->stream), reader->name);
    }
    return LDAR_OK;
}

/* The line that opens a record. */
static enum ldar_status read_header(struct sequences *reader, struct ldar_error *error)
{
    size_t length;
    ++reader->at;
    enum ldar_status status = read_name(reader, &length, error);
    if (status) {
        return status;
    }
    reader->name[length] = '\0';
    if (length == 0) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: record %" PRIu64 " has no name", stream_name(reader->stream),
                    reader->base.progress.records + 1);
    }
    status = pass_line(reader, error);
    reader->line_start = true;
    reader->letters = reader->lines = reader->lines_ended = 0;
    reader->place = PLACE_SEQUENCE;
    return status ? status : remember_name(reader, length, error);
}

/* ---- qualities ---- */

static enum ldar_status fail_quality(const struct sequences *reader, uint64_t count, const char *what,
                                     struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_FORMAT,
                "%s: record \"%.200s\": %s %" PRIu64 " qualities for %" PRIu64
                " nucleotides; the file is cut off or damaged",
                stream_name(reader->stream), reader->name, what, count, reader->letters);
}

/* Printable bytes of one line of qualities, at most `limit` + 1, so that one too many is seen. */
static enum ldar_status pass_qualities(struct sequences *reader, uint64_t limit, uint64_t *count,
                                       struct ldar_error *error)
{
    const size_t run = run_length(reader, limit < SIZE_MAX ? (size_t)limit + 1 : SIZE_MAX);
    for (size_t i = 0; i < run; ++i) {
        const char byte = reader->bytes[reader->at];
        if (byte == '\r') {
            return pass_return(reader, *count, error);
        }
        if (byte <= ' ' || byte > '~') {
            return fail(error, LDAR_ERROR_FORMAT, "%s: record \"%.200s\": %s among its qualities",
                        stream_name(reader->stream), reader->name, byte_name(byte).text);
        }
        ++reader->at;
        ++*count;
    }
    return LDAR_OK;
}

/*
 * The '+' line and the qualities: as many as letters. A sequence on one line has
 * its qualities on one line, by which a line cut short is found even where the next record would make up for it.
 */
static enum ldar_status read_qualities(struct sequences *reader, struct ldar_error *error)
{
    enum ldar_status status = pass_line(reader, error);
    uint64_t count = 0;
    bool end = false;
    while (!status && !(status = fill(reader, &end, error)) && !end) {
        if (reader->bytes[reader->at] == '\n') {
            ++reader->at;
            if (count == reader->letters) {
                break;
            }
            if (reader->lines == 1) {
                return fail_quality(reader, count, "only", error);
            }
        } else {
            status = pass_qualities(reader, reader->letters - count, &count, error);
            if (!status && count > reader->letters) {
                return fail_quality(reader, count, "at least", error);
            }
        }
    }
    return status || count == reader->letters ? status : fail_quality(reader, count, "only", error);
}

/* ---- sequences ---- */

/* The record's letters are over: what else must follow, does. */
static enum ldar_status end_record(struct sequences *reader, bool end, struct ldar_error *error)
{
    reader->place = PLACE_BETWEEN;
    if (reader->letters == 0) {
        source_remark(&reader->base, REMARK_EMPTY, stream_name(reader->stream), reader->name);
    }
    if (reader->opening == '>') {
        return LDAR_OK;
    }
    return end ? fail_quality(reader, 0, "only", error) : read_qualities(reader, error);
}

/* A line of letters is over. */
static void end_line(struct sequences *reader)
{
    reader->line_start = true;
    reader->lines += reader->letters > reader->lines_ended;
    reader->lines_ended = reader->letters;
}

/* Letters of one line, at most `capacity`. */
static enum ldar_status read_run(struct sequences *reader, uint8_t *ids, size_t capacity, size_t *count,
                                 struct ldar_error *error)
{
    const size_t run = run_length(reader, capacity);
    const size_t legal = source_encode(&reader->base, reader->bytes + reader->at, run, ids);
    reader->at += legal;
    reader->letters += legal;
    reader->line_start = false;
    *count += legal;
    if (legal == run) {
        return LDAR_OK;
    }
    const char byte = reader->bytes[reader->at];
    return byte == '\r' ? pass_return(reader, reader->letters, error) : fail_letter(reader, byte, error);
}

static enum ldar_status read_letters(source *base, uint8_t *ids, size_t capacity, size_t *count,
                                     struct ldar_error *error)
{
    struct sequences *reader = (struct sequences *)base;
    const char closing = reader->opening == '>' ? '>' : '+';
    while (reader->place == PLACE_SEQUENCE && *count < capacity) {
        bool end;
        enum ldar_status status = fill(reader, &end, error);
        if (status) {
            return status;
        }
        const char byte = end ? closing : reader->bytes[reader->at];
        if (end || (reader->line_start && byte == closing)) {
            end_line(reader);
            status = end_record(reader, end, error);
        } else if (byte == '\n') {
            ++reader->at;
            end_line(reader);
        } else {
            status = read_run(reader, ids + *count, capacity - *count, count, error);
        }
        if (status) {
            return status;
        }
    }
    return LDAR_OK;
}

static enum ldar_status skip_letters(struct sequences *reader, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    while (!status && reader->place == PLACE_SEQUENCE) {
        size_t count = 0;
        status = read_letters(&reader->base, reader->scratch, SCRATCH, &count, error);
    }
    return status;
}

/* The first byte that is not blank tells FASTA from FASTQ. */
static enum ldar_status find_format(struct sequences *reader, bool end, struct ldar_error *error)
{
    if (end) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: holds no record", stream_name(reader->stream));
    }
    reader->opening = reader->bytes[reader->at];
    if (reader->opening != '>' && reader->opening != '@') {
        return fail(error, LDAR_ERROR_FORMAT,
                    "%s: neither FASTA nor FASTQ: it begins with %s, where '>' or '@' must be",
                    stream_name(reader->stream), byte_name(reader->opening).text);
    }
    return LDAR_OK;
}

static enum ldar_status next_record(source *base, struct record *record, struct ldar_error *error)
{
    struct sequences *reader = (struct sequences *)base;
    bool end;
    enum ldar_status status = skip_letters(reader, error);
    if (!status) {
        status = pass_blank(reader, &end, error);
    }
    if (!status && reader->place == PLACE_BEGIN) {
        status = find_format(reader, end, error);
    }
    if (status || end) {
        return status;
    }
    if (reader->bytes[reader->at] != reader->opening) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: after record \"%.200s\" stands %s, where '%c' must be",
                    stream_name(reader->stream), reader->name, byte_name(reader->bytes[reader->at]).text,
                    reader->opening);
    }
    status = read_header(reader, error);
    record->name = reader->name;
    record->length = SOURCE_LENGTH_UNKNOWN;
    return status;
}

/* ---- the source ---- */

static void advance(const source *base, uint64_t *done, uint64_t *total)
{
    stream_progress(((const struct sequences *)base)->stream, done, total);
}

static void destroy(source *base)
{
    struct sequences *reader = (struct sequences *)base;
    stream_close(reader->stream);
    name_set_free(&reader->names);
    free(reader);
}

enum ldar_status sequences_from(stream *stream, const struct warnings *warnings, source **sequences,
                                struct ldar_error *error)
{
    static const struct source_class class = {next_record, read_letters, advance, destroy};
    *sequences = NULL;
    struct sequences *reader = calloc(1, sizeof *reader);
    if (!reader) {
        const enum ldar_status status = fail_memory(error, stream_name(stream), "reading");
        stream_close(stream);
        return status;
    }
    reader->stream = stream;
    source_init(&reader->base, &class, warnings);
    *sequences = &reader->base;
    return LDAR_OK;
}

enum ldar_status sequences_open(const char *path, const struct warnings *warnings, source **sequences,
                                struct ldar_error *error)
{
    stream *stream;
    *sequences = NULL;
    const enum ldar_status status = stream_open(path, &stream, error);
    return status ? status : sequences_from(stream, warnings, sequences, error);
}
