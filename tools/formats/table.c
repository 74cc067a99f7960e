/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include "delimited.h"
#include "failure.h"
#include "number.h"
#include "sequences.h"
#include "stream.h"
#include "table_rows.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* ---- columns ---- */

enum column {
    COLUMN_SEQUENCE,
    COLUMN_LABEL,
    COLUMN_NAME,
    COLUMN_ID,
    COLUMN_REGION,
    COLUMN_START,
    COLUMN_END,
    COLUMN_STRAND,
    COLUMNS
};

static const char *const column_names[COLUMNS] = {"sequence", "label", "name", "id",
                                                  "region",   "start", "end",  "strand"};

/* Where in a row each column stands. */
struct columns {
    size_t at[COLUMNS]; /* `count`: nowhere */
    size_t count;
    bool intervals;
};

/* A file of rows. */
struct row_reader {
    struct table_rows *rows;
    const char *label; /* of all rows, where the file has no such column; NULL: it has */
    struct columns columns;
    struct delimited_row row;
    struct table_place place;
};

static bool has(const struct columns *columns, enum column column)
{
    return columns->at[column] < columns->count;
}

static enum ldar_status find_columns(struct row_reader *reader, struct ldar_error *error)
{
    struct columns *columns = &reader->columns;
    columns->count = reader->row.count;
    for (int column = 0; column < COLUMNS; ++column) {
        columns->at[column] = columns->count;
        for (size_t i = 0; i < columns->count; ++i) {
            if (strcasecmp(reader->row.fields[i], column_names[column]) != 0) {
                continue;
            }
            if (has(columns, (enum column)column)) {
                return table_fail(&reader->place, error, "two columns are named \"%s\"", column_names[column]);
            }
            columns->at[column] = i;
        }
    }
    return LDAR_OK;
}

/* What a table needs, and which of its two kinds it is. */
static enum ldar_status check_columns(struct row_reader *reader, struct ldar_error *error)
{
    struct columns *columns = &reader->columns;
    const bool sequence = has(columns, COLUMN_SEQUENCE), label = has(columns, COLUMN_LABEL);
    columns->intervals =
        !sequence && has(columns, COLUMN_REGION) && has(columns, COLUMN_START) && has(columns, COLUMN_END);
    if (!sequence && !columns->intervals) {
        return table_fail(&reader->place, error,
                          "%s; the first line must name the columns \"sequence\" and \"label\" (or \"region\", "
                          "\"start\" and \"end\" of intervals), separated by commas or tabs, and it begins with "
                          "\"%.40s\"",
                          label ? "no column \"sequence\"" : "no header", reader->row.fields[0]);
    }
    if (label && reader->label) {
        return table_fail(
            &reader->place, error,
            "has a column \"label\", and in a folder of tables the file's name is the class; name the file "
            "that is meant instead of the folder");
    }
    if (!label && !reader->label) {
        return table_fail(&reader->place, error, "no column \"label\" beside \"%s\"",
                          column_names[sequence ? COLUMN_SEQUENCE : COLUMN_REGION]);
    }
    if (columns->intervals && !reader->rows->options->reference) {
        return table_fail(&reader->place, error,
                          "holds intervals of a genome, and no genome is given; name its FASTA file with -f");
    }
    return LDAR_OK;
}

static char *field(const struct row_reader *reader, enum column column)
{
    return reader->row.fields[reader->columns.at[column]];
}

/* ---- intervals ---- */

static enum ldar_status parse_position(const struct row_reader *reader, enum column column, uint64_t *value,
                                       struct ldar_error *error)
{
    const char *text = field(reader, column);
    if (!parse_number(text, strlen(text), value)) {
        return table_fail(&reader->place, error, "%s \"%.40s\" is no position; one is a number, not negative",
                          column_names[column], text);
    }
    return LDAR_OK;
}

static enum ldar_status parse_strand(const struct row_reader *reader, bool *reversed, struct ldar_error *error)
{
    const char *text = has(&reader->columns, COLUMN_STRAND) ? field(reader, COLUMN_STRAND) : "";
    *reversed = strcmp(text, "-") == 0;
    if (!*reversed && *text && strcmp(text, "+") != 0 && strcmp(text, ".") != 0) {
        return table_fail(&reader->place, error, "strand \"%.40s\" is none of + - .", text);
    }
    return LDAR_OK;
}

/* The contig, and that the interval lies in it. */
static enum ldar_status find_interval(const struct row_reader *reader, uint64_t start, uint64_t end, size_t *contig,
                                      struct ldar_error *error)
{
    reference *reference = reader->rows->options->reference;
    const char *name = field(reader, COLUMN_REGION);
    if (start >= end) {
        return table_fail(&reader->place, error, "start %" PRIu64 " is not before end %" PRIu64, start, end);
    }
    if (!*name || !reference_find(reference, name, contig)) {
        return table_fail(&reader->place, error, "%.200s has no sequence \"%.100s\"", reference_path(reference), name);
    }
    const uint64_t length = reference_contigs(reference)->lengths[*contig];
    if (end > length) {
        return table_fail(&reader->place, error,
                          "end %" PRIu64 " is beyond the end of \"%.100s\" in %.200s, which has %" PRIu64
                          " nucleotides; is this the right assembly?",
                          end, name, reference_path(reference), length);
    }
    if (end - start > TABLE_LINE_MAX) {
        return table_fail(&reader->place, error, "an interval of more than %d nucleotides", TABLE_LINE_MAX);
    }
    return LDAR_OK;
}

static enum ldar_status take_interval(struct row_reader *reader, struct ldar_error *error)
{
    uint64_t start = 0, end = 0;
    bool reversed = false;
    size_t contig = 0;
    char *letters = NULL;
    enum ldar_status status = parse_position(reader, COLUMN_START, &start, error);
    if (!status) {
        status = parse_position(reader, COLUMN_END, &end, error);
    }
    if (!status) {
        status = parse_strand(reader, &reversed, error);
    }
    if (!status) {
        status = find_interval(reader, start, end, &contig, error);
    }
    if (!status) {
        status =
            reference_fetch(reader->rows->options->reference, contig, start, (size_t)(end - start), &letters, error);
    }
    if (!status) {
        status = table_rows_letters(reader->rows, &reader->place, letters, (size_t)(end - start), reversed, error);
    }
    free(letters);
    return status;
}

/* ---- rows ---- */

static const char *row_name(const struct row_reader *reader)
{
    return has(&reader->columns, COLUMN_NAME) ? field(reader, COLUMN_NAME)
           : has(&reader->columns, COLUMN_ID) ? field(reader, COLUMN_ID)
                                              : "";
}

static enum ldar_status take_row(struct row_reader *reader, struct ldar_error *error)
{
    const struct delimited_row *row = &reader->row;
    reader->place.line = row->line;
    if (row->count != reader->columns.count) {
        return table_fail(&reader->place, error, "%zu column%s, and the header has %zu", row->count,
                          row->count == 1 ? "" : "s", reader->columns.count);
    }
    enum ldar_status status;
    if (reader->columns.intervals) {
        status = take_interval(reader, error);
    } else {
        const char *sequence = field(reader, COLUMN_SEQUENCE);
        status = table_rows_letters(reader->rows, &reader->place, sequence, strlen(sequence), false, error);
    }
    const char *name = row_name(reader);
    const char *label = reader->label ? reader->label : field(reader, COLUMN_LABEL);
    return status ? status : table_rows_close(reader->rows, &reader->place, label, name, strlen(name), error);
}

static enum ldar_status take_rows(struct row_reader *reader, delimited *lines, struct ldar_error *error)
{
    enum ldar_status status = delimited_next(lines, &reader->row, error);
    reader->place.line = reader->row.line;
    if (!status && reader->row.count == 0) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: is empty", reader->place.file);
    }
    if (!status) {
        status = find_columns(reader, error);
    }
    if (!status) {
        status = check_columns(reader, error);
    }
    const size_t before = reader->rows->table->count;
    while (!status && !(status = delimited_next(lines, &reader->row, error)) && reader->row.count > 0) {
        status = take_row(reader, error);
    }
    if (!status && reader->rows->table->count == before) {
        status = fail(error, LDAR_ERROR_FORMAT, "%s: holds a header and no row", reader->place.file);
    }
    return status;
}

/* CSV or TSV; `label` is that of all rows, or NULL. The stream is closed. */
static enum ldar_status read_rows(struct table_rows *rows, stream *stream, const char *label, struct ldar_error *error)
{
    delimited *lines;
    struct row_reader reader = {.rows = rows, .label = label, .place = {.file = stream_name(stream)}};
    enum ldar_status status = delimited_open(stream, SEPARATOR_FOUND, TABLE_LINE_MAX, &lines, error);
    if (!status) {
        status = take_rows(&reader, lines, error);
        delimited_close(lines);
    }
    stream_close(stream);
    return status;
}

/* ---- files of sequences ---- */

/* A record's class is that of all, or stands behind the last '|' of its name. */
static enum ldar_status take_record(struct table_rows *rows, const struct table_place *place, source *source,
                                    const char *label, struct ldar_error *error)
{
    const char *bar = label ? NULL : strrchr(place->record, '|');
    if (!label && !bar) {
        return table_fail(place, error, "its name does not end in a bar and its label, as in \"name|label\"");
    }
    const enum ldar_status status = table_rows_record(rows, place, source, error);
    const size_t length = bar ? (size_t)(bar - place->record) : strlen(place->record);
    return status ? status : table_rows_close(rows, place, bar ? bar + 1 : label, place->record, length, error);
}

/* FASTA or FASTQ. The stream is closed. */
static enum ldar_status read_records(struct table_rows *rows, stream *stream, const char *path, const char *label,
                                     struct ldar_error *error)
{
    source *source;
    struct record record;
    struct table_place place = {.file = path};
    enum ldar_status status = sequences_from(stream, rows->options->warnings, &source, error);
    if (status) {
        return status;
    }
    do {
        status = source_next(source, &record, error);
        place.record = record.name;
        if (!status && record.name) {
            status = take_record(rows, &place, source, label, error);
        }
    } while (!status && record.name);
    source_destroy(source);
    return status;
}

/* Text with a sequence per line, named after the file. The stream is closed. */
static enum ldar_status read_lines(struct table_rows *rows, stream *stream, const char *label, const char *name,
                                   struct ldar_error *error)
{
    delimited *lines;
    struct delimited_row row;
    struct table_place place = {.file = stream_name(stream)};
    enum ldar_status status = delimited_open(stream, SEPARATOR_NONE, TABLE_LINE_MAX, &lines, error);
    while (!status && !(status = delimited_next(lines, &row, error)) && row.count > 0) {
        place.line = row.line;
        status = table_rows_letters(rows, &place, row.fields[0], strlen(row.fields[0]), false, error);
        if (!status) {
            status = table_rows_close(rows, &place, label, name, strcspn(name, "."), error);
        }
    }
    delimited_close(lines);
    stream_close(stream);
    return status;
}

/* Whether the first byte that is not blank is one that FASTA or FASTQ begins with. */
static enum ldar_status is_records(stream *stream, bool *records, struct ldar_error *error)
{
    const char *bytes;
    size_t count, first = 0;
    const enum ldar_status status = stream_peek(stream, &bytes, &count, error);
    if (status) {
        return status;
    }
    first = count >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (first < count && strchr("\r\n", bytes[first])) {
        ++first;
    }
    *records = first < count && (bytes[first] == '>' || bytes[first] == '@');
    return LDAR_OK;
}

/* What a file of a class folder may be called, .gz taken away. */
enum suffix { SUFFIX_NONE, SUFFIX_SEQUENCES, SUFFIX_TEXT, SUFFIX_ROWS };

/* Where the suffix begins is put in *length, so that name[0..*length) is the stem. */
static enum suffix find_suffix(const char *name, size_t *length)
{
    static const struct {
        const char *text;
        enum suffix suffix;
    } suffixes[] = {{".fa", SUFFIX_SEQUENCES},  {".fasta", SUFFIX_SEQUENCES}, {".fna", SUFFIX_SEQUENCES},
                    {".ffn", SUFFIX_SEQUENCES}, {".fq", SUFFIX_SEQUENCES},    {".fastq", SUFFIX_SEQUENCES},
                    {".txt", SUFFIX_TEXT},      {".csv", SUFFIX_ROWS},        {".tsv", SUFFIX_ROWS}};
    size_t end = strlen(name);
    if (end > 3 && strcasecmp(name + end - 3, ".gz") == 0) {
        end -= 3;
    }
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; ++i) {
        const size_t suffix = strlen(suffixes[i].text);
        if (end > suffix && strncasecmp(name + end - suffix, suffixes[i].text, suffix) == 0) {
            *length = end - suffix;
            return suffixes[i].suffix;
        }
    }
    return SUFFIX_NONE;
}

/* ---- folders ---- */

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int compare_entries(const struct dirent **left, const struct dirent **right)
{
    return strcmp((*left)->d_name, (*right)->d_name);
}

struct entry {
    char *path, *name; /* the name is the path's last part */
    bool folder;
    enum suffix suffix;
    size_t stem; /* bytes of the name before its suffix */
};

struct listing {
    struct entry *list;
    size_t count, folders;
    size_t of[SUFFIX_ROWS + 1]; /* files of each kind */
};

static void listing_free(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; ++i) {
        free(listing->list[i].path);
    }
    free(listing->list);
    *listing = (struct listing){0};
}

static enum ldar_status add_entry(struct listing *listing, const char *folder, const char *name,
                                  struct ldar_error *error)
{
    struct stat status;
    struct entry *entry = &listing->list[listing->count];
    const size_t length = strlen(folder);
    char *path = malloc(length + strlen(name) + 2);
    if (!path) {
        return fail_memory(error, folder, "the names of its files");
    }
    ++listing->count;
    sprintf(path, "%s/%s", folder, name);
    *entry = (struct entry){.path = path, .name = path + length + 1};
    if (stat(path, &status)) {
        return fail(error, LDAR_ERROR_IO, "%s: %s", path, strerror(errno));
    }
    entry->folder = S_ISDIR(status.st_mode);
    listing->folders += entry->folder;
    if (!entry->folder) {
        entry->suffix = find_suffix(name, &entry->stem);
        ++listing->of[entry->suffix];
    }
    return LDAR_OK;
}

/* What the folder holds, in the order of the names; hidden files are not seen. */
static enum ldar_status listing_read(struct listing *listing, const char *folder, struct ldar_error *error)
{
    struct dirent **found;
    *listing = (struct listing){0};
    const int count = scandir(folder, &found, is_visible, compare_entries);
    if (count < 0) {
        return fail(error, LDAR_ERROR_IO, "%s: %s", folder, strerror(errno));
    }
    enum ldar_status status = LDAR_OK;
    listing->list = calloc((size_t)count + 1, sizeof *listing->list);
    if (!listing->list) {
        status = fail_memory(error, folder, "the names of its files");
    }
    for (int i = 0; i < count; ++i) {
        if (!status) {
            status = add_entry(listing, folder, found[i]->d_name, error);
        }
        free(found[i]);
    }
    free(found);
    if (status) {
        listing_free(listing);
    }
    return status;
}

static void warn_passed(const struct table_rows *rows, const char *folder, size_t count, const char *needed)
{
    const struct warnings *warnings = rows->options->warnings;
    if (warnings && warnings->warn && count > 0) {
        char message[1000];
        snprintf(message, sizeof message, "%.400s: %zu file%s passed over, whose name ends in none of %s", folder,
                 count, count == 1 ? " is" : "s are", needed);
        warnings->warn(warnings->user, message);
    }
}

/* ---- a folder per class ---- */

static const char sequence_suffixes[] = ".fa .fasta .fna .ffn .fq .fastq .txt (or these with .gz)";

static enum ldar_status read_class_file(struct table_rows *rows, const struct entry *file, const char *class,
                                        struct ldar_error *error)
{
    stream *stream;
    bool records = true;
    enum ldar_status status = stream_open(file->path, &stream, error);
    if (status) {
        return status;
    }
    if (file->suffix == SUFFIX_TEXT && (status = is_records(stream, &records, error))) {
        stream_close(stream);
        return status;
    }
    return records ? read_records(rows, stream, file->path, class, error)
                   : read_lines(rows, stream, class, file->name, error);
}

static enum ldar_status read_class_folder(struct table_rows *rows, const struct entry *folder, struct ldar_error *error)
{
    struct listing files;
    const size_t before = rows->table->count;
    enum ldar_status status = listing_read(&files, folder->path, error);
    for (size_t i = 0; !status && i < files.count; ++i) {
        if (files.list[i].suffix == SUFFIX_SEQUENCES || files.list[i].suffix == SUFFIX_TEXT) {
            status = read_class_file(rows, &files.list[i], folder->name, error);
        }
    }
    if (!status && rows->table->count == before) {
        status =
            fail(error, LDAR_ERROR_FORMAT,
                 "%s: a folder of folders is a table in which each is a class, and this one holds no sequences: no "
                 "file %s",
                 folder->path, sequence_suffixes);
    }
    if (!status) {
        warn_passed(rows, folder->path, files.of[SUFFIX_NONE] + files.of[SUFFIX_ROWS], sequence_suffixes);
    }
    listing_free(&files);
    return status;
}

static enum ldar_status read_class_folders(struct table_rows *rows, const char *path, const struct listing *listing,
                                           struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (listing->of[SUFFIX_ROWS] > 0) {
        return fail(error, LDAR_ERROR_FORMAT,
                    "%s: holds folders and tables, and either would be its classes; name the one that is meant", path);
    }
    for (size_t i = 0; !status && i < listing->count; ++i) {
        if (listing->list[i].folder) {
            status = read_class_folder(rows, &listing->list[i], error);
        }
    }
    return status;
}

/* ---- a table of intervals per class ---- */

static enum ldar_status read_class_table(struct table_rows *rows, const struct entry *file, struct ldar_error *error)
{
    stream *stream;
    char *class = strndup(file->name, file->stem);
    if (!class) {
        return fail_memory(error, file->path, "its class");
    }
    enum ldar_status status = stream_open(file->path, &stream, error);
    if (!status) {
        status = read_rows(rows, stream, class, error);
    }
    free(class);
    return status;
}

static enum ldar_status read_class_tables(struct table_rows *rows, const char *path, const struct listing *listing,
                                          struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    const struct entry *before = NULL;
    for (size_t i = 0; !status && i < listing->count; ++i) {
        const struct entry *file = &listing->list[i];
        if (file->suffix != SUFFIX_ROWS) {
            continue;
        }
        if (before && before->stem == file->stem && strncmp(before->name, file->name, file->stem) == 0) {
            return fail(error, LDAR_ERROR_FORMAT, "%s: %s and %s are one class; remove one of them", path, before->name,
                        file->name);
        }
        status = read_class_table(rows, file, error);
        before = file;
    }
    if (!status) {
        warn_passed(rows, path, listing->count - listing->of[SUFFIX_ROWS], ".csv .tsv (or these with .gz)");
    }
    return status;
}

static enum ldar_status read_folder(struct table_rows *rows, const char *path, struct ldar_error *error)
{
    struct listing listing;
    if (rows->options->kind == TABLE_VALUES) {
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: a folder has classes, not values; those stand in a table", path);
    }
    enum ldar_status status = listing_read(&listing, path, error);
    if (status) {
        return status;
    }
    if (listing.folders > 0) {
        status = read_class_folders(rows, path, &listing, error);
    } else if (listing.of[SUFFIX_ROWS] > 0) {
        status = read_class_tables(rows, path, &listing, error);
    } else {
        status =
            fail(error, LDAR_ERROR_FORMAT,
                 "%s: no table: it holds neither a folder nor a .csv or .tsv file (perhaps with .gz) per class", path);
    }
    listing_free(&listing);
    return status;
}

/* ---- the table ---- */

static enum ldar_status read_file(struct table_rows *rows, const char *path, struct ldar_error *error)
{
    stream *stream;
    bool records = false;
    enum ldar_status status = stream_open(path, &stream, error);
    if (status) {
        return status;
    }
    status = is_records(stream, &records, error);
    if (status) {
        stream_close(stream);
        return status;
    }
    return records ? read_records(rows, stream, stream_name(stream), NULL, error)
                   : read_rows(rows, stream, NULL, error);
}

enum ldar_status table_read(const char *path, const struct table_options *options, struct table *table,
                            struct ldar_error *error)
{
    struct stat kind;
    struct table_rows rows;
    const bool folder = strcmp(path, "-") != 0 && stat(path, &kind) == 0 && S_ISDIR(kind.st_mode);
    enum ldar_status status = table_rows_begin(&rows, options, table, error);
    if (!status) {
        status = folder ? read_folder(&rows, path, error) : read_file(&rows, path, error);
    }
    if (!status) {
        status = table_rows_end(&rows, strcmp(path, "-") == 0 ? "standard input" : path, error);
    }
    table_rows_free(&rows);
    if (status) {
        table_free(table);
    }
    return status;
}
