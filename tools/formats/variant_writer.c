/* SPDX-License-Identifier: Apache-2.0 */
#include "variants.h"

#include "failure.h"
#include "output.h"

#include <ldar/file.h>

#include <htslib/bgzf.h>
#include <htslib/hts_log.h>
#include <htslib/kstring.h>
#include <htslib/tbx.h>
#include <htslib/vcf.h>

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- lines ---- */

bool variant_text_add(struct variant_text *text, const char *bytes, size_t count)
{
    if (count > text->capacity - text->length) {
        size_t capacity = text->capacity ? text->capacity : 4096;
        while (capacity - text->length < count) {
            if (capacity > SIZE_MAX / 2) {
                return false;
            }
            capacity *= 2;
        }
        char *larger = realloc(text->bytes, capacity);
        if (!larger) {
            return false;
        }
        text->bytes = larger;
        text->capacity = capacity;
    }
    memcpy(text->bytes + text->length, bytes, count);
    text->length += count;
    return true;
}

enum { INFO_COLUMN = 7 };

/* Whether the field field[0..bytes) of INFO is one of those that are replaced. */
static bool is_replaced(const char *field, size_t bytes, const struct variant_info *info, size_t count)
{
    const char *equals = memchr(field, '=', bytes);
    const size_t length = equals ? (size_t)(equals - field) : bytes;
    for (size_t i = 0; i < count; ++i) {
        if (strlen(info[i].id) == length && memcmp(info[i].id, field, length) == 0) {
            return true;
        }
    }
    return false;
}

/* A field behind those that are there; *first turns false. */
static bool add_field(struct variant_text *text, bool *first, const char *field, size_t bytes)
{
    const bool added = (*first || variant_text_add(text, ";", 1)) && variant_text_add(text, field, bytes);
    *first = false;
    return added;
}

static bool keep_fields(const char *info, const char *end, const struct variant_info *replaced, size_t count,
                        bool *first, struct variant_text *text)
{
    while (info < end) {
        const char *next = memchr(info, ';', (size_t)(end - info));
        const size_t bytes = (size_t)((next ? next : end) - info);
        const bool none = bytes == 0 || (bytes == 1 && *info == '.');
        if (!none && !is_replaced(info, bytes, replaced, count) && !add_field(text, first, info, bytes)) {
            return false;
        }
        info = next ? next + 1 : end;
    }
    return true;
}

bool variant_line_with(const char *line, size_t bytes, const struct variant_info *info, size_t count,
                       struct variant_text *text)
{
    const char *end = line + bytes, *at = line;
    bool first = true;
    for (int column = 0; column < INFO_COLUMN && at; ++column) {
        at = memchr(at, '\t', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    if (!at) {
        return false;
    }
    const char *behind = memchr(at, '\t', (size_t)(end - at));
    behind = behind ? behind : end;
    bool added =
        variant_text_add(text, line, (size_t)(at - line)) && keep_fields(at, behind, info, count, &first, text);
    for (size_t i = 0; i < count && added; ++i) {
        added = !info[i].value
                || (add_field(text, &first, info[i].id, strlen(info[i].id)) && variant_text_add(text, "=", 1)
                    && variant_text_add(text, info[i].value, strlen(info[i].value)));
    }
    return added && (!first || variant_text_add(text, ".", 1)) && variant_text_add(text, behind, (size_t)(end - behind))
           && variant_text_add(text, "\n", 1);
}

/* ---- writing ---- */

enum form { PLAIN, PACKED, BINARY };

struct variant_writer {
    char *path;
    enum form form;
    output *plain; /* of PLAIN, which is all that it needs */
    ldar_file *file, *index;
    htsFile *binary;
    BGZF *packed;
    bcf_hdr_t *header;
    bcf1_t *record;
    kstring_t line;
};

static bool ends_with(const char *path, const char *ending)
{
    const size_t length = strlen(path), tail = strlen(ending);
    return length > tail && strcmp(path + length - tail, ending) == 0;
}

static enum form form_of(const char *path)
{
    return ends_with(path, ".bcf")                                     ? BINARY
           : ends_with(path, ".vcf.gz") || ends_with(path, ".vcf.bgz") ? PACKED
                                                                       : PLAIN;
}

bool variant_path_is_indexed(const char *path)
{
    return form_of(path) != PLAIN && output_has_neighbour(path);
}

static enum ldar_status fail_write(const variant_writer *writer, struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_IO, "%s: cannot be written; is the disk full?", writer->path);
}

static enum ldar_status create_index(variant_writer *writer, struct ldar_error *error)
{
    char *path = malloc(strlen(writer->path) + 5);
    if (!path) {
        return fail_memory(error, writer->path, "its index");
    }
    strcat(strcpy(path, writer->path), ".csi");
    const enum ldar_status status = ldar_file_create(path, &writer->index, error);
    free(path);
    return status;
}

static enum ldar_status open_binary(variant_writer *writer, const char *header, struct ldar_error *error)
{
    /* htslib reads a header of its own copy of the text. */
    char *text = malloc(strlen(header) + 1);
    writer->record = bcf_init();
    writer->header = bcf_hdr_init("r");
    if (!text || !writer->record || !writer->header) {
        free(text);
        return fail_memory(error, writer->path, "its header");
    }
    const int parsed = bcf_hdr_parse(writer->header, strcpy(text, header));
    free(text);
    if (parsed < 0 || bcf_hdr_sync(writer->header) < 0) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: htslib cannot read the header that is to be written", writer->path);
    }
    writer->binary = hts_open(ldar_file_temporary(writer->file), "wb");
    return writer->binary && bcf_hdr_write(writer->binary, writer->header) == 0 ? LDAR_OK : fail_write(writer, error);
}

static enum ldar_status open_packed(variant_writer *writer, const char *header, struct ldar_error *error)
{
    const size_t bytes = strlen(header);
    writer->packed = bgzf_open(ldar_file_temporary(writer->file), "w");
    return writer->packed && bgzf_write(writer->packed, header, bytes) == (ssize_t)bytes
                   && bgzf_flush(writer->packed) == 0
               ? LDAR_OK
               : fail_write(writer, error);
}

static enum ldar_status begin(variant_writer *writer, const char *header, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (writer->form == PLAIN) {
        status = output_create(writer->path, &writer->plain, error);
        return status ? status : output_write(writer->plain, header, strlen(header), error);
    }
    const bool indexed = variant_path_is_indexed(writer->path);
    status = ldar_file_create(writer->path, &writer->file, error);
    if (!status && indexed) {
        status = create_index(writer, error);
    }
    if (status) {
        return status;
    }
    return writer->form == BINARY ? open_binary(writer, header, error) : open_packed(writer, header, error);
}

enum ldar_status variant_writer_create(const char *path, const char *header, variant_writer **out,
                                       struct ldar_error *error)
{
    *out = NULL;
    hts_set_log_level(HTS_LOG_OFF);
    variant_writer *writer = calloc(1, sizeof *writer);
    char *copy = malloc(strlen(path) + 1);
    if (!writer || !copy) {
        free(writer);
        free(copy);
        return fail_memory(error, path, "writing");
    }
    writer->path = strcpy(copy, path);
    writer->form = form_of(path);
    const enum ldar_status status = begin(writer, header, error);
    if (status) {
        variant_writer_abandon(writer);
        return status;
    }
    *out = writer;
    return LDAR_OK;
}

static enum ldar_status put_binary(variant_writer *writer, const char *line, size_t bytes, struct ldar_error *error)
{
    writer->line.l = 0;
    bcf_clear(writer->record);
    if (kputsn(line, bytes, &writer->line) < 0) {
        return fail_memory(error, writer->path, "a record");
    }
    const int parsed = vcf_parse(&writer->line, writer->header, writer->record);
    if (writer->record->errcode & (BCF_ERR_CTG_UNDEF | BCF_ERR_TAG_UNDEF)) {
        const int shown = (int)(bytes < 60 ? bytes : 60);
        return fail(error, LDAR_ERROR_FORMAT,
                    "%s: the header lacks a line for the contig or a tag of the record \"%.*s...\", without which it "
                    "cannot be BCF: mend the header, or write .vcf or .vcf.gz",
                    writer->path, shown, line);
    }
    if (parsed < 0 || writer->record->errcode) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: htslib cannot make BCF of a record; write .vcf or .vcf.gz",
                    writer->path);
    }
    return bcf_write(writer->binary, writer->header, writer->record) == 0 ? LDAR_OK : fail_write(writer, error);
}

/* No line is in two blocks, unless it is longer than one. */
static enum ldar_status put_packed(variant_writer *writer, const char *line, size_t bytes, struct ldar_error *error)
{
    return bgzf_flush_try(writer->packed, (ssize_t)bytes) == 0
                   && bgzf_write(writer->packed, line, bytes) == (ssize_t)bytes
               ? LDAR_OK
               : fail_write(writer, error);
}

enum ldar_status variant_writer_put(variant_writer *writer, const char *lines, size_t bytes, struct ldar_error *error)
{
    const char *end = lines + bytes;
    enum ldar_status status = LDAR_OK;
    if (writer->form == PLAIN) {
        return output_write(writer->plain, lines, bytes, error);
    }
    while (lines < end && !status) {
        const char *break_at = memchr(lines, '\n', (size_t)(end - lines));
        const char *next = break_at ? break_at + 1 : end;
        status = writer->form == BINARY
                     ? put_binary(writer, lines, (size_t)((break_at ? break_at : end) - lines), error)
                     : put_packed(writer, lines, (size_t)(next - lines), error);
        lines = next;
    }
    return status;
}

/* ---- the end ---- */

static bool close_streams(variant_writer *writer)
{
    const bool binary = !writer->binary || hts_close(writer->binary) == 0;
    const bool packed = !writer->packed || bgzf_close(writer->packed) == 0;
    writer->binary = NULL;
    writer->packed = NULL;
    return binary && packed;
}

static enum ldar_status build_index(const variant_writer *writer, struct ldar_error *error)
{
    enum { MIN_SHIFT = 14 }; /* as bcftools index has it */
    const char *from = ldar_file_temporary(writer->file), *to = ldar_file_temporary(writer->index);
    const int built = writer->form == BINARY ? bcf_index_build3(from, to, MIN_SHIFT, 0)
                                             : tbx_index_build3(from, to, MIN_SHIFT, 0, &tbx_conf_vcf);
    return built == 0 ? LDAR_OK
                      : fail(error, LDAR_ERROR_FORMAT,
                             "%s: cannot be indexed: its records are not sorted by contig and position; sort them "
                             "first (bcftools sort), or write plain .vcf, which has no index",
                             writer->path);
}

static void destroy(variant_writer *writer)
{
    (void)close_streams(writer);
    output_abandon(writer->plain);
    ldar_file_abandon(writer->file);
    ldar_file_abandon(writer->index);
    if (writer->record) {
        bcf_destroy(writer->record);
    }
    if (writer->header) {
        bcf_hdr_destroy(writer->header);
    }
    free(writer->line.s);
    free(writer->path);
    free(writer);
}

enum ldar_status variant_writer_commit(variant_writer *writer, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (writer->plain) {
        status = output_commit(writer->plain, error);
        writer->plain = NULL;
    } else {
        status = close_streams(writer) ? LDAR_OK : fail_write(writer, error);
        if (!status && writer->index) {
            status = build_index(writer, error);
        }
        if (!status) {
            status = ldar_file_commit(writer->file, error);
            writer->file = NULL;
        }
        /* An index is newer than its file, or readers mind. */
        if (!status && writer->index) {
            status = ldar_file_commit(writer->index, error);
            writer->index = NULL;
        }
    }
    destroy(writer);
    return status;
}

void variant_writer_abandon(variant_writer *writer)
{
    if (writer) {
        destroy(writer);
    }
}
