/* SPDX-License-Identifier: Apache-2.0 */
#include "tabix.h"

#include "failure.h"
#include "names.h"
#include "output.h"

#include <ldar/file.h>

#include <htslib/bgzf.h>
#include <htslib/hts.h>
#include <htslib/tbx.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEVEL = 4,                /* of compression: half the time of the default for 2 % more bytes, of variants */
    MIN_SHIFT = 14,           /* the linear index has an entry for each 16 kb */
    TBI_LEVELS = 5,           /* 2^29 bases */
    CSI_LEVELS = 6,           /* 2^32 */
    META_HEADER = 7 * 4,      /* of an index: the columns, and the length of the names */
    NAMES_MAX_BYTES = 1 << 30 /* of them */
};

static const uint64_t tbi_bases = UINT64_C(1) << 29;

struct tabix {
    output *output;
    const char *path; /* behind the struct */
    hts_idx_t *index;
    ldar_file *index_file; /* from tabix_finish on */
    int format;            /* of it: HTS_FMT_TBI or HTS_FMT_CSI */
    struct name_set seen;
    char *names; /* of the sequences that have come, each with its NUL */
    size_t names_bytes, names_room;
    size_t last;       /* where the last of them begins */
    int sequence;      /* their number less one */
    uint64_t position; /* of the line before */
    size_t filled;
    char block[BGZF_BLOCK_SIZE];
    char packed[BGZF_MAX_BLOCK_SIZE];
};

/* ---- BGZF ---- */

/* Compresses and writes what is held; of nothing, the block that ends a file. */
static enum ldar_status write_block(tabix *tabix, struct ldar_error *error)
{
    size_t bytes = sizeof tabix->packed;
    if (bgzf_compress(tabix->packed, &bytes, tabix->block, tabix->filled, LEVEL) != 0) {
        return fail_memory(error, tabix->path, "compression");
    }
    tabix->filled = 0;
    return output_write(tabix->output, tabix->packed, bytes, error);
}

/* A full block is written at once, so that an offset never points behind the last byte of one. */
static enum ldar_status put(tabix *tabix, const char *text, size_t bytes, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    while (bytes > 0 && !status) {
        const size_t room = sizeof tabix->block - tabix->filled, run = bytes < room ? bytes : room;
        memcpy(tabix->block + tabix->filled, text, run);
        tabix->filled += run;
        text += run;
        bytes -= run;
        status = tabix->filled == sizeof tabix->block ? write_block(tabix, error) : LDAR_OK;
    }
    return status;
}

/* Where the next byte will lie, as htslib counts it: of its block, and in it. */
static uint64_t offset_of(const tabix *tabix)
{
    return output_length(tabix->output) << 16 | tabix->filled;
}

/* ---- creation ---- */

/* The index's first offset is that of the first line, so it is made when that comes. */
static enum ldar_status make_index(tabix *tabix, struct ldar_error *error)
{
    const int levels = tabix->format == HTS_FMT_TBI ? TBI_LEVELS : CSI_LEVELS;
    tabix->index = hts_idx_init(0, tabix->format, offset_of(tabix), MIN_SHIFT, levels);
    return tabix->index ? LDAR_OK : fail_memory(error, tabix->path, "its index");
}

enum ldar_status tabix_create(const char *path, const struct contigs *contigs, tabix **out, struct ldar_error *error)
{
    *out = NULL;
    if (strcmp(path, "-") == 0) {
        return fail(error, LDAR_ERROR_ARGUMENT, "standard output: nothing can be indexed there; give -o FILE");
    }
    tabix *tabix = calloc(1, sizeof *tabix + strlen(path) + 1);
    if (!tabix) {
        return fail_memory(error, path, "writing");
    }
    tabix->path = strcpy((char *)(tabix + 1), path);
    tabix->sequence = -1;
    tabix->format = HTS_FMT_TBI;
    for (size_t i = 0; i < contigs->count; ++i) {
        tabix->format = contigs->lengths[i] > tbi_bases ? HTS_FMT_CSI : tabix->format;
    }
    const enum ldar_status status = output_create(path, &tabix->output, error);
    if (status) {
        tabix_abandon(tabix);
        return status;
    }
    *out = tabix;
    return LDAR_OK;
}

enum ldar_status tabix_text(tabix *tabix, const char *text, size_t bytes, struct ldar_error *error)
{
    return put(tabix, text, bytes, error);
}

/* ---- lines ---- */

static enum ldar_status keep_name(tabix *tabix, const char *name, size_t bytes, struct ldar_error *error)
{
    if (bytes > NAMES_MAX_BYTES - tabix->names_bytes) {
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: an index cannot hold so many names", tabix->path);
    }
    if (bytes > tabix->names_room - tabix->names_bytes) {
        const size_t room = 2 * tabix->names_room + bytes;
        char *names = realloc(tabix->names, room);
        if (!names) {
            return fail_memory(error, tabix->path, "the names of its sequences");
        }
        tabix->names = names;
        tabix->names_room = room;
    }
    memcpy(tabix->names + tabix->names_bytes, name, bytes);
    tabix->names_bytes += bytes;
    return LDAR_OK;
}

enum ldar_status tabix_sequence(tabix *tabix, const char *name, struct ldar_error *error)
{
    const size_t bytes = strlen(name) + 1;
    bool added;
    if (tabix->sequence >= 0 && strcmp(tabix->names + tabix->last, name) == 0) {
        return LDAR_OK;
    }
    if (!name_set_add(&tabix->seen, name, bytes - 1, &added)) {
        return fail_memory(error, tabix->path, "the names of its sequences");
    }
    if (!added) {
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: lines of \"%.200s\" do not follow one another; sort the regions",
                    tabix->path, name);
    }
    const size_t begin = tabix->names_bytes;
    const enum ldar_status status = keep_name(tabix, name, bytes, error);
    if (!status) {
        tabix->last = begin;
        ++tabix->sequence;
        tabix->position = 0;
    }
    return status;
}

enum ldar_status tabix_line(tabix *tabix, uint64_t position, const char *line, size_t bytes, struct ldar_error *error)
{
    if (position < tabix->position) {
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: position %" PRIu64 " comes too late; sort the regions",
                    tabix->path, position + 1);
    }
    enum ldar_status status = tabix->index ? LDAR_OK : make_index(tabix, error);
    if (!status) {
        status = put(tabix, line, bytes, error);
    }
    tabix->position = position;
    if (!status
        && hts_idx_push(tabix->index, tabix->sequence, (hts_pos_t)position, (hts_pos_t)position + 1, offset_of(tabix),
                        1)
               < 0) {
        status = fail_memory(error, tabix->path, "its index");
    }
    return status;
}

/* ---- the end ---- */

static uint8_t *put32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; ++i) {
        to[i] = (uint8_t)(value >> 8 * i);
    }
    return to + 4;
}

/* What the columns are, and the names: the part of the index that is tabix's own. */
static enum ldar_status describe(tabix *tabix, struct ldar_error *error)
{
    uint8_t *meta = malloc(META_HEADER + tabix->names_bytes);
    if (!meta) {
        return fail_memory(error, tabix->path, "its index");
    }
    uint8_t *to = put32(put32(put32(put32(meta, TBX_GENERIC), 1), 2), 2); /* name, begin and end */
    to = put32(put32(put32(to, '#'), 0), (uint32_t)tabix->names_bytes);
    if (tabix->names_bytes > 0) {
        memcpy(to, tabix->names, tabix->names_bytes);
    }
    if (hts_idx_set_meta(tabix->index, (uint32_t)(META_HEADER + tabix->names_bytes), meta, 0) != 0) {
        free(meta);
        return fail_memory(error, tabix->path, "its index");
    }
    return LDAR_OK;
}

static enum ldar_status save_index(tabix *tabix, struct ldar_error *error)
{
    char *path = malloc(strlen(tabix->path) + 8);
    if (!path) {
        return fail_memory(error, tabix->path, "its index");
    }
    strcat(strcpy(path, tabix->path), tabix->format == HTS_FMT_TBI ? ".tbi" : ".csi");
    enum ldar_status status = ldar_file_create(path, &tabix->index_file, error);
    if (!status
        && hts_idx_save_as(tabix->index, tabix->path, ldar_file_temporary(tabix->index_file), tabix->format) < 0) {
        status = fail(error, LDAR_ERROR_IO, "%s: cannot be written", path);
    }
    free(path);
    return status ? status : ldar_file_sync(tabix->index_file, error);
}

static enum ldar_status complete(tabix *tabix, struct ldar_error *error)
{
    enum ldar_status status = tabix->index ? LDAR_OK : make_index(tabix, error);
    if (!status && tabix->filled > 0) {
        status = write_block(tabix, error);
    }
    if (!status && hts_idx_finish(tabix->index, offset_of(tabix)) != 0) {
        status = fail_memory(error, tabix->path, "its index");
    }
    if (!status) {
        status = write_block(tabix, error);
    }
    return status ? status : describe(tabix, error);
}

enum ldar_status tabix_finish(tabix *tabix, struct ldar_error *error)
{
    enum ldar_status status = complete(tabix, error);
    if (!status) {
        status = output_sync(tabix->output, error);
    }
    return status ? status : save_index(tabix, error);
}

enum ldar_status tabix_commit(tabix *tabix, struct ldar_error *error)
{
    enum ldar_status status = tabix->index_file ? LDAR_OK : tabix_finish(tabix, error);
    if (!status) {
        status = ldar_file_commit(tabix->index_file, error);
        tabix->index_file = NULL;
    }
    if (!status) {
        status = output_commit(tabix->output, error);
        tabix->output = NULL;
    }
    tabix_abandon(tabix);
    return status;
}

void tabix_abandon(tabix *tabix)
{
    if (tabix) {
        output_abandon(tabix->output);
        ldar_file_abandon(tabix->index_file);
        if (tabix->index) {
            hts_idx_destroy(tabix->index);
        }
        name_set_free(&tabix->seen);
        free(tabix->names);
        free(tabix);
    }
}
