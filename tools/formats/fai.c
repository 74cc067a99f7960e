/* SPDX-License-Identifier: Apache-2.0 */
#include "fai.h"

#include "failure.h"
#include "names.h"
#include "number.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line holds a name and five numbers; htslib reads no longer one. */
enum { LINE_MAX_BYTES = 1 << 16, COLUMNS = 5 };

struct fai_line {
    const char *path;
    uint64_t number; /* 1-based */
    char *text;
};

struct fai_entry {
    const char *name;
    uint64_t length, offset, line_letters, line_bytes;
};

static enum ldar_status fail_line(const struct fai_line *line, const char *what, struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_FORMAT, "%s:%" PRIu64 ": %s; remove the index, and it is made anew", line->path,
                line->number, what);
}

/* Splits at tabs into at most COLUMNS + 2 columns, so that one too many is seen. */
static size_t split(char *text, char *columns[COLUMNS + 2])
{
    size_t count = 0;
    for (char *rest = text; rest && count < COLUMNS + 2; ++count) {
        columns[count] = rest;
        rest = strchr(rest, '\t');
        if (rest) {
            *rest++ = '\0';
        }
    }
    return count;
}

static enum ldar_status parse_line(const struct fai_line *line, struct fai_entry *entry, struct ldar_error *error)
{
    char *columns[COLUMNS + 2];
    const size_t count = split(line->text, columns);
    uint64_t *const values[COLUMNS - 1] = {&entry->length, &entry->offset, &entry->line_letters, &entry->line_bytes};
    if (count == COLUMNS + 1) {
        return fail_line(line, "six columns, so this is the index of a FASTQ file", error);
    }
    if (count != COLUMNS || !*columns[0]) {
        return fail_line(line, "not the five columns of a FASTA index", error);
    }
    entry->name = columns[0];
    for (size_t i = 1; i < COLUMNS; ++i) {
        if (!parse_number(columns[i], strlen(columns[i]), values[i - 1])) {
            return fail_line(line, "a column that is no number", error);
        }
    }
    return LDAR_OK;
}

/* The numbers of an entry against each other and the file; overflow in any of them is beyond any file. */
static enum ldar_status check_entry(const struct fai_line *line, const struct fai_entry *entry, uint64_t genome_bytes,
                                    struct ldar_error *error)
{
    if (entry->length == 0) {
        return LDAR_OK;
    }
    if (entry->line_letters == 0 || entry->line_bytes < entry->line_letters || entry->line_bytes > INT32_MAX) {
        return fail_line(line, "an impossible line width", error);
    }
    uint64_t last;
    const uint64_t lines = (entry->length - 1) / entry->line_letters;
    if (__builtin_mul_overflow(lines, entry->line_bytes, &last)
        || __builtin_add_overflow(last, (entry->length - 1) % entry->line_letters, &last)
        || __builtin_add_overflow(last, entry->offset, &last) || last >= INT64_MAX
        || (genome_bytes && last >= genome_bytes)) {
        return fail_line(line, "the sequence would end beyond the end of the file", error);
    }
    return LDAR_OK;
}

static enum ldar_status add_entry(const struct fai_line *line, uint64_t genome_bytes, struct name_set *names,
                                  struct contigs *contigs, struct ldar_error *error)
{
    struct fai_entry entry;
    bool added;
    enum ldar_status status = parse_line(line, &entry, error);
    if (!status) {
        status = check_entry(line, &entry, genome_bytes, error);
    }
    if (status) {
        return status;
    }
    if (!name_set_add(names, entry.name, strlen(entry.name), &added)) {
        return fail_memory(error, line->path, "its names");
    }
    if (!added) {
        return fail_line(line, "a name that stands on a line before", error);
    }
    return contigs_add(contigs, entry.name, entry.length, error);
}

/* Ends the line that fgets read; false when it is too long or holds a NUL. */
static bool end_line(char *text, FILE *file)
{
    const size_t length = strlen(text);
    if (length > 0 && text[length - 1] == '\n') {
        text[length - 1] = '\0';
        if (length > 1 && text[length - 2] == '\r') {
            text[length - 2] = '\0';
        }
        return true;
    }
    return feof(file) && length > 0;
}

static enum ldar_status read_lines(FILE *file, struct fai_line *line, uint64_t genome_bytes, struct contigs *contigs,
                                   struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    struct name_set names = {0};
    while (!status && fgets(line->text, LINE_MAX_BYTES, file)) {
        ++line->number;
        status = end_line(line->text, file) ? add_entry(line, genome_bytes, &names, contigs, error)
                                            : fail_line(line, "a line that is no text or too long", error);
    }
    if (!status && ferror(file)) {
        status = fail(error, LDAR_ERROR_IO, "%s: %s", line->path, strerror(errno));
    }
    if (!status && contigs->count == 0) {
        status = fail(error, LDAR_ERROR_FORMAT, "%s: is empty; remove the index, and it is made anew", line->path);
    }
    name_set_free(&names);
    return status;
}

enum ldar_status fai_read(const char *path, uint64_t genome_bytes, struct contigs *contigs, struct ldar_error *error)
{
    *contigs = (struct contigs){0};
    FILE *file = fopen(path, "r");
    if (!file) {
        return fail(error, LDAR_ERROR_IO, "%s: %s", path, strerror(errno));
    }
    struct fai_line line = {.path = path, .text = malloc(LINE_MAX_BYTES)};
    enum ldar_status status =
        line.text ? read_lines(file, &line, genome_bytes, contigs, error) : fail_memory(error, path, "reading");
    if (status) {
        contigs_free(contigs);
    }
    free(line.text);
    fclose(file);
    return status;
}
