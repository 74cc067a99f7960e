/* SPDX-License-Identifier: Apache-2.0 */
#include "table_rows.h"

#include "provenance.h"
#include "source_class.h"
#include "strands.h"

#include <ldar/model.h>

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 16 };

enum ldar_status table_fail(const struct table_place *place, struct ldar_error *error, const char *format, ...)
{
    char what[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (place->line) {
        return fail(error, LDAR_ERROR_FORMAT, "%.300s:%" PRIu64 ": %s", place->file, place->line, what);
    }
    if (place->record) {
        return fail(error, LDAR_ERROR_FORMAT, "%.300s: record \"%.80s\": %s", place->file, place->record, what);
    }
    return fail(error, LDAR_ERROR_FORMAT, "%.300s: %s", place->file, what);
}

/* ---- room ---- */

/* Makes `*array`, of elements of `size` bytes, hold `needed`, and half as much again, so that growing costs little. */
static bool reserve(void *array, size_t *capacity, size_t needed, size_t size)
{
    void *old;
    memcpy(&old, array, sizeof old); /* a pointer of any type */
    if (needed <= *capacity && old) {
        return true;
    }
    const size_t wanted = needed < 1024 ? 1024 : needed + needed / 2;
    void *new = wanted < needed || wanted > SIZE_MAX / 2 / size ? NULL : realloc(old, wanted * size);
    if (new) {
        memcpy(array, &new, sizeof new);
        *capacity = wanted;
    }
    return new;
}

/* The arrays with an element per row grow together, and `offsets` has one more. */
static bool reserve_rows(struct table_rows *rows)
{
    struct table *table = rows->table;
    const size_t needed = table->count + 2, old = rows->rows_capacity;
    const bool values = table->kind == TABLE_VALUES;
    size_t capacity[3] = {old, old, old};
    const bool done = reserve(&table->offsets, &capacity[0], needed, sizeof *table->offsets)
                      && reserve(&table->name_starts, &capacity[1], needed, sizeof *table->name_starts)
                      && (values ? reserve(&table->values, &capacity[2], needed, sizeof *table->values)
                                 : reserve(&table->labels, &capacity[2], needed, sizeof *table->labels));
    rows->rows_capacity = done ? capacity[0] : old;
    return done;
}

static enum ldar_status fail_rows(const char *file, struct ldar_error *error)
{
    return fail_memory(error, file, "its sequences, which are held whole");
}

/* ---- letters ---- */

static size_t row_length(const struct table_rows *rows)
{
    return rows->length - rows->table->offsets[rows->table->count];
}

static enum ldar_status reserve_letters(struct table_rows *rows, const struct table_place *place, size_t count,
                                        struct ldar_error *error)
{
    if (count > SIZE_MAX - rows->length
        || !reserve(&rows->table->ids, &rows->ids_capacity, rows->length + count, sizeof *rows->table->ids)) {
        return fail_rows(place->file, error);
    }
    return LDAR_OK;
}

/* Letters were appended. */
static enum ldar_status add_length(struct table_rows *rows, const struct table_place *place, size_t count,
                                   struct ldar_error *error)
{
    rows->length += count;
    if (row_length(rows) > TABLE_LINE_MAX) {
        return table_fail(place, error, "a sequence of more than %d nucleotides", TABLE_LINE_MAX);
    }
    return LDAR_OK;
}

enum ldar_status table_rows_letters(struct table_rows *rows, const struct table_place *place, const char *letters,
                                    size_t count, bool reversed, struct ldar_error *error)
{
    const enum ldar_status status = reserve_letters(rows, place, count, error);
    if (status) {
        return status;
    }
    uint8_t *ids = rows->table->ids + rows->length;
    const size_t legal = ldar_encode(letters, count, ids, &rows->table->unknown);
    if (legal < count) {
        return table_fail(place, error,
                          "position %zu of the sequence: %s is no nucleotide; letters are ACGTU, the IUPAC codes "
                          "RYSWKMBDHVN and '-'",
                          row_length(rows) + legal + 1, byte_name(letters[legal]).text);
    }
    if (reversed && count > 0) {
        reverse_complement(ids, count, ids);
    }
    return add_length(rows, place, count, error);
}

enum ldar_status table_rows_record(struct table_rows *rows, const struct table_place *place, source *source,
                                   struct ldar_error *error)
{
    const uint64_t before = source_progress(source).unknown;
    size_t got;
    do {
        enum ldar_status status = reserve_letters(rows, place, PIECE, error);
        if (!status) {
            status = source_read(source, rows->table->ids + rows->length, PIECE, &got, error);
        }
        if (!status) {
            status = add_length(rows, place, got, error);
        }
        if (status) {
            return status;
        }
    } while (got == PIECE);
    rows->table->unknown += (size_t)(source_progress(source).unknown - before);
    return LDAR_OK;
}

/* ---- labels ---- */

static bool is_utf8(const char *text)
{
    while (*text) {
        const size_t length = utf8_length(text);
        if (length == 0) {
            return false;
        }
        text += length;
    }
    return true;
}

static bool has_control(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; ++c) {
        if (*c < 0x20 || *c == 0x7f) {
            return true;
        }
    }
    return false;
}

/* Models and tables of results hold the name. */
static enum ldar_status check_name(const struct table_place *place, const char *name, struct ldar_error *error)
{
    if (!*name) {
        return table_fail(place, error, "the label is empty");
    }
    if (strlen(name) > TABLE_CLASS_NAME_MAX) {
        return table_fail(place, error, "a class whose name is longer than %d bytes: \"%.40s...\"",
                          TABLE_CLASS_NAME_MAX, name);
    }
    if (has_control(name) || !is_utf8(name)) {
        return table_fail(place, error, "the class \"%.100s\" has a name with control characters, or not in UTF-8",
                          name);
    }
    return LDAR_OK;
}

static enum ldar_status add_class(struct table_rows *rows, const struct table_place *place, const char *name,
                                  struct ldar_error *error)
{
    const size_t count = rows->labels.count;
    if (count == TABLE_CLASSES_MAX) {
        return table_fail(place, error,
                          "more than %d classes, and \"%.40s\" is one more; numbers that are no classes are learned by "
                          "regression",
                          TABLE_CLASSES_MAX, name);
    }
    if (!reserve(&rows->class_sizes, &rows->classes_capacity, count + 1, sizeof *rows->class_sizes)
        || !label_set_add(&rows->labels, name)) {
        return fail_memory(error, place->file, "its classes");
    }
    rows->class_sizes[count] = 0;
    return LDAR_OK;
}

/* A class that the caller's list lacks; the first few that it holds help to see why. */
static enum ldar_status fail_unknown(const struct table_rows *rows, const struct table_place *place, const char *name,
                                     struct ldar_error *error)
{
    enum { SHOWN = 5 };
    char known[SHOWN * 40] = "";
    size_t length = 0;
    for (size_t i = 0; i < rows->labels.count && i < SHOWN; ++i) {
        length += (size_t)snprintf(known + length, sizeof known - length, "%s\"%.30s\"", i ? ", " : "",
                                   rows->labels.names[i]);
    }
    return table_fail(place, error, "the class \"%.100s\" is none of the %zu known: %s%s", name, rows->labels.count,
                      known, rows->labels.count > SHOWN ? ", ..." : "");
}

static enum ldar_status find_class(struct table_rows *rows, const struct table_place *place, const char *name,
                                   uint32_t *index, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (label_set_find(&rows->labels, name, index)) {
        return LDAR_OK;
    }
    status = check_name(place, name, error);
    if (!status && rows->options->classes) {
        status = fail_unknown(rows, place, name, error);
    }
    if (!status) {
        *index = (uint32_t)rows->labels.count;
        status = add_class(rows, place, name, error);
    }
    return status;
}

/* As strtod has it in the C locale, but neither hexadecimal nor "nan" nor "infinity". */
static enum ldar_status parse_value(const struct table_place *place, const char *label, double *value,
                                    struct ldar_error *error)
{
    char *end;
    *value = strtod(label, &end);
    if (!*label || label[strspn(label, "0123456789+-.eE")] || *end || !isfinite(*value)) {
        return table_fail(place, error, "the label \"%.100s\" is no finite number", label);
    }
    return LDAR_OK;
}

/* ---- rows ---- */

enum ldar_status table_rows_begin(struct table_rows *rows, const struct table_options *options, struct table *table,
                                  struct ldar_error *error)
{
    const struct table_place place = {.file = "the model's classes"};
    *rows = (struct table_rows){.options = options, .table = table};
    *table = (struct table){.kind = options->kind};
    if (!reserve_rows(rows) || !reserve(&table->ids, &rows->ids_capacity, PIECE, 1)
        || !reserve(&table->name_text, &rows->names_capacity, 1, 1)) {
        return fail_rows("a table", error);
    }
    table->offsets[0] = 0;
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; !status && options->kind == TABLE_CLASSES && options->classes && i < options->class_count; ++i) {
        uint32_t index;
        const char *name = options->classes[i];
        status = check_name(&place, name, error);
        if (!status && label_set_find(&rows->labels, name, &index)) {
            status = table_fail(&place, error, "\"%.100s\" is there twice", name);
        }
        if (!status) {
            status = add_class(rows, &place, name, error);
        }
    }
    return status;
}

static enum ldar_status close_label(struct table_rows *rows, const struct table_place *place, const char *label,
                                    struct ldar_error *error)
{
    struct table *table = rows->table;
    if (table->kind == TABLE_VALUES) {
        return parse_value(place, label, &table->values[table->count], error);
    }
    uint32_t index;
    const enum ldar_status status = find_class(rows, place, label, &index, error);
    if (!status) {
        table->labels[table->count] = index;
        ++rows->class_sizes[index];
    }
    return status;
}

enum ldar_status table_rows_close(struct table_rows *rows, const struct table_place *place, const char *label,
                                  const char *name, size_t name_length, struct ldar_error *error)
{
    struct table *table = rows->table;
    const size_t length = row_length(rows);
    if (length == 0) {
        return table_fail(place, error, "the sequence is empty");
    }
    if (!reserve_rows(rows) || name_length >= SIZE_MAX - rows->name_length
        || !reserve(&table->name_text, &rows->names_capacity, rows->name_length + name_length + 1, 1)) {
        return fail_rows(place->file, error);
    }
    const enum ldar_status status = close_label(rows, place, label, error);
    if (status) {
        return status;
    }
    table->name_starts[table->count] = rows->name_length;
    memcpy(table->name_text + rows->name_length, name, name_length);
    rows->name_length += name_length;
    table->name_text[rows->name_length++] = '\0';
    table->offsets[++table->count] = rows->length;
    table->longest = length > table->longest ? length : table->longest;
    return LDAR_OK;
}

/* ---- the end ---- */

static enum ldar_status sort_classes(struct table_rows *rows, const char *path, struct ldar_error *error)
{
    struct table *table = rows->table;
    const size_t count = rows->labels.count;
    uint32_t *moved = NULL;
    table->class_sizes = calloc(count + 1, sizeof *table->class_sizes);
    if (!table->class_sizes || (!rows->options->classes && !label_set_sort(&rows->labels, &moved))) {
        return fail_memory(error, path, "its classes");
    }
    for (size_t i = 0; i < count; ++i) {
        table->class_sizes[moved ? moved[i] : i] = rows->class_sizes[i];
    }
    for (size_t i = 0; moved && i < table->count; ++i) {
        table->labels[i] = moved[table->labels[i]];
    }
    free(moved);
    table->classes = rows->labels.names;
    table->class_count = count;
    rows->labels.names = NULL;
    rows->labels.count = 0;
    return LDAR_OK;
}

enum ldar_status table_rows_end(struct table_rows *rows, const char *path, struct ldar_error *error)
{
    struct table *table = rows->table;
    if (table->count == 0) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: holds no sequence", path);
    }
    if (table->kind == TABLE_CLASSES && !rows->options->classes && rows->labels.count == 1) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: all rows are of the class \"%.100s\", and two at least are needed",
                    path, rows->labels.names[0]);
    }
    /* What growing took beyond the need goes back; should that fail, all is there still. */
    uint8_t *ids = realloc(table->ids, rows->length);
    table->ids = ids ? ids : table->ids;
    return table->kind == TABLE_CLASSES ? sort_classes(rows, path, error) : LDAR_OK;
}

void table_rows_free(struct table_rows *rows)
{
    label_set_free(&rows->labels);
    free(rows->class_sizes);
    rows->class_sizes = NULL;
}

/* ---- the table ---- */

const char *table_name(const struct table *table, size_t row)
{
    return table->name_text + table->name_starts[row];
}

void table_free(struct table *table)
{
    for (size_t i = 0; i < table->class_count; ++i) {
        free(table->classes[i]);
    }
    free(table->classes);
    free(table->class_sizes);
    free(table->ids);
    free(table->offsets);
    free(table->labels);
    free(table->values);
    free(table->name_text);
    free(table->name_starts);
    *table = (struct table){0};
}
