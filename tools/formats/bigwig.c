/* SPDX-License-Identifier: Apache-2.0 */
#include "bigwig.h"

#include "failure.h"
#include "output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/*
 * The file: header, zoom headers, summary of all, tree of contig names, number
 * of data blocks, then data and zoom blocks as they come, each compressed; at the
 * end the index of the data, and for each zoom level the number of its records
 * and its index. All numbers little-endian.
 */
static const uint32_t file_magic = 0x888FFC26, name_tree_magic = 0x78CA8C91, index_magic = 0x2468ACE0;

enum {
    VERSION = 4,
    HEADER_BYTES = 64,
    ZOOM_HEADER_BYTES = 24,
    SUMMARY_BYTES = 40,
    SECTION_HEADER_BYTES = 24,
    FIXED_STEP = 3, /* the kind of section that holds values alone */
    NAME_MAX_BYTES = 255,
    FAN = 256,         /* children of a tree's node: as Kent's tools have it */
    TREE_LEVELS = 8,   /* 256^8 leaves */
    SECTION = 8192,    /* values of a data block */
    ZOOM_RECORD = 32,  /* bytes */
    ZOOM_BLOCK = 1024, /* records: as large as a data block */
    BLOCK_BYTES = SECTION_HEADER_BYTES + SECTION * 4,
    ZOOM_FIRST = 32, /* bases of a bin of the first level */
    ZOOM_FACTOR = 4, /* from level to level */
    ZOOM_LEVELS = 10 /* 8 million bases a bin */
};

_Static_assert(ZOOM_BLOCK *ZOOM_RECORD <= BLOCK_BYTES, "one buffer serves both kinds of block");

/* ---- bytes ---- */

static uint8_t *put(uint8_t *to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; ++i) {
        to[i] = (uint8_t)(value >> 8 * i);
    }
    return to + bytes;
}

static uint8_t *put16(uint8_t *to, uint16_t value)
{
    return put(to, value, 2);
}

static uint8_t *put32(uint8_t *to, uint32_t value)
{
    return put(to, value, 4);
}

static uint8_t *put64(uint8_t *to, uint64_t value)
{
    return put(to, value, 8);
}

static uint8_t *put_float(uint8_t *to, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put32(to, bits);
}

static uint8_t *put_double(uint8_t *to, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put64(to, bits);
}

/* ---- what is kept ---- */

/* Some bases of a contig: what zoom levels and the summary of all are made of. */
struct bin {
    uint32_t contig, start, end;
    uint64_t covered; /* bases that have a value */
    double min, max, sum, squares;
};

/* Where a compressed block lies, and the bases that it is about. */
struct block {
    uint32_t first_contig, start, last_contig, end;
    uint64_t offset, bytes;
};

struct blocks {
    struct block *list;
    size_t count, capacity;
};

struct zoom {
    uint32_t bases; /* of a bin */
    struct bin open;
    struct block span; /* of the records in `records` */
    size_t filled;
    uint32_t written; /* records, in all */
    struct blocks blocks;
    uint64_t count_offset, index_offset;
    uint8_t records[ZOOM_BLOCK * ZOOM_RECORD];
};

struct bigwig {
    output *output;
    const char *path; /* behind the struct */
    struct contigs contigs;
    struct contig_name *by_name;
    size_t key_bytes; /* of the longest name */
    uint32_t contig;
    uint64_t position; /* of the next base in it */
    float values[SECTION];
    size_t filled; /* values that end at `position` */
    struct blocks blocks;
    struct bin all;
    struct zoom *zoom; /* (zoom_count) */
    size_t zoom_count;
    uint64_t names_offset, data_offset, index_offset;
    bool finished;
    uint8_t plain[BLOCK_BYTES];
    uint8_t *packed; /* (packed_bytes) */
    size_t packed_bytes;
};

static void bin_add(struct bin *bin, const struct bin *more)
{
    bin->min = bin->covered == 0 || more->min < bin->min ? more->min : bin->min;
    bin->max = bin->covered == 0 || more->max > bin->max ? more->max : bin->max;
    bin->sum += more->sum;
    bin->squares += more->squares;
    bin->covered += more->covered;
}

static bool blocks_add(struct blocks *blocks, struct block block)
{
    if (blocks->count == blocks->capacity) {
        const size_t capacity = blocks->capacity ? 2 * blocks->capacity : 64;
        struct block *list = realloc(blocks->list, capacity * sizeof *list);
        if (!list) {
            return false;
        }
        blocks->list = list;
        blocks->capacity = capacity;
    }
    blocks->list[blocks->count++] = block;
    return true;
}

/* Compresses and writes a block, and enters it in `blocks`. */
static enum ldar_status write_block(bigwig *bigwig, const uint8_t *plain, size_t bytes, struct block span,
                                    struct blocks *blocks, struct ldar_error *error)
{
    uLongf packed = bigwig->packed_bytes;
    if (compress(bigwig->packed, &packed, plain, bytes) != Z_OK) {
        return fail_memory(error, bigwig->path, "compression");
    }
    span.offset = output_length(bigwig->output);
    span.bytes = packed;
    if (!blocks_add(blocks, span)) {
        return fail_memory(error, bigwig->path, "its index");
    }
    return output_write(bigwig->output, bigwig->packed, packed, error);
}

/* ---- trees ---- */

/*
 * Both trees of the format are static and of one make: leaves of FAN items, nodes of FAN children,
 * the root first, each level contiguous. What an item looks like is the owner's business.
 */
struct tree {
    size_t items;
    size_t item_bytes[2]; /* of an inner node's, of a leaf's */
    /* Writes the item for items first..last (of a leaf: one), whose node is at `child`. */
    void (*put_item)(const bigwig *bigwig, const struct blocks *blocks, uint8_t *to, bool leaf, size_t first,
                     size_t last, uint64_t child);
    const struct blocks *blocks; /* of an index; else NULL */
};

/* Level 0 are the leaves. */
struct tree_shape {
    size_t levels;
    size_t nodes[TREE_LEVELS];
    size_t span[TREE_LEVELS]; /* items under one child of a node */
    uint64_t offset[TREE_LEVELS];
};

static size_t node_bytes(const struct tree *tree, size_t level, size_t children)
{
    return 4 + children * tree->item_bytes[level == 0];
}

static size_t divide_up(size_t count, size_t by)
{
    return count / by + (count % by != 0);
}

static struct tree_shape shape_of(const struct tree *tree, uint64_t offset)
{
    struct tree_shape shape = {0};
    size_t children = tree->items, span = 1;
    do {
        shape.nodes[shape.levels] = children ? divide_up(children, FAN) : 1;
        shape.span[shape.levels] = span;
        children = shape.nodes[shape.levels++];
        span *= FAN;
    } while (children > 1 && shape.levels < TREE_LEVELS);
    for (size_t level = shape.levels; level-- > 0;) {
        const size_t below = level ? shape.nodes[level - 1] : tree->items;
        shape.offset[level] = offset;
        offset += 4 * shape.nodes[level] + below * tree->item_bytes[level == 0];
    }
    return shape;
}

static enum ldar_status write_node(bigwig *bigwig, const struct tree *tree, const struct tree_shape *shape,
                                   size_t level, size_t node, struct ldar_error *error)
{
    uint8_t bytes[4 + FAN * (NAME_MAX_BYTES + 8)];
    const size_t below = level ? shape->nodes[level - 1] : tree->items;
    const size_t first = node * FAN;
    const size_t children = below - first < FAN ? below - first : FAN;
    uint8_t *to = put16(put16(bytes, level == 0), (uint16_t)children);
    for (size_t child = first; child < first + children; ++child) {
        const size_t from = child * shape->span[level];
        const size_t left = tree->items - from;
        const uint64_t offset = level ? shape->offset[level - 1] + child * node_bytes(tree, level - 1, FAN) : 0;
        const size_t covered = left < shape->span[level] ? left : shape->span[level];
        tree->put_item(bigwig, tree->blocks, to, level == 0, from, from + covered - 1, offset);
        to += tree->item_bytes[level == 0];
    }
    return output_write(bigwig->output, bytes, (size_t)(to - bytes), error);
}

static enum ldar_status write_tree(bigwig *bigwig, const struct tree *tree, struct ldar_error *error)
{
    const struct tree_shape shape = shape_of(tree, output_length(bigwig->output));
    enum ldar_status status = LDAR_OK;
    for (size_t level = shape.levels; level-- > 0;) {
        for (size_t node = 0; !status && node < shape.nodes[level]; ++node) {
            status = write_node(bigwig, tree, &shape, level, node, error);
        }
    }
    return status;
}

/* ---- contigs ---- */

/* Names are sorted in the tree, so that readers may search it; contigs are numbered as they come in the data. */
static void put_name(const bigwig *bigwig, const struct blocks *blocks, uint8_t *to, bool leaf, size_t first,
                     size_t last, uint64_t child)
{
    (void)blocks;
    (void)last;
    const struct contig_name *name = &bigwig->by_name[first];
    memset(to, 0, bigwig->key_bytes);
    memcpy(to, name->name, strlen(name->name));
    to += bigwig->key_bytes;
    if (leaf) {
        put32(put32(to, (uint32_t)name->contig), (uint32_t)bigwig->contigs.lengths[name->contig]);
    } else {
        put64(to, child);
    }
}

static enum ldar_status write_names(bigwig *bigwig, struct ldar_error *error)
{
    const size_t key = bigwig->key_bytes;
    uint8_t header[32];
    uint8_t *to = put32(put32(put32(header, name_tree_magic), FAN), (uint32_t)key);
    put64(put64(put32(to, 8), bigwig->contigs.count), 0);
    const struct tree tree = {bigwig->contigs.count, {key + 8, key + 8}, put_name, NULL};
    bigwig->names_offset = output_length(bigwig->output);
    const enum ldar_status status = output_write(bigwig->output, header, sizeof header, error);
    return status ? status : write_tree(bigwig, &tree, error);
}

static enum ldar_status check_contig(bigwig *bigwig, size_t i, struct ldar_error *error)
{
    const char *name = bigwig->by_name[i].name;
    const size_t length = strlen(name);
    bigwig->key_bytes = length > bigwig->key_bytes ? length : bigwig->key_bytes;
    if (length > NAME_MAX_BYTES) {
        return fail(error, LDAR_ERROR_ARGUMENT,
                    "%s: a bigWig cannot hold a name of more than %d bytes, as \"%.100s...\"", bigwig->path,
                    NAME_MAX_BYTES, name);
    }
    if (bigwig->contigs.lengths[bigwig->by_name[i].contig] > UINT32_MAX) {
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: a bigWig cannot hold \"%.200s\", which is longer than 2^32 - 1",
                    bigwig->path, name);
    }
    if (i > 0 && strcmp(bigwig->by_name[i - 1].name, name) == 0) {
        return fail(error, LDAR_ERROR_ARGUMENT,
                    "%s: a bigWig cannot hold two sequences of one name, \"%.200s\"; give them names of their own",
                    bigwig->path, name);
    }
    return LDAR_OK;
}

static enum ldar_status take_contigs(bigwig *bigwig, const struct contigs *contigs, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; !status && i < contigs->count; ++i) {
        status = contigs_add(&bigwig->contigs, contigs->names[i], contigs->lengths[i], error);
    }
    if (!status && !(bigwig->by_name = contigs_sort(&bigwig->contigs))) {
        status = fail_memory(error, bigwig->path, "the names of its sequences");
    }
    for (size_t i = 0; !status && i < contigs->count; ++i) {
        status = check_contig(bigwig, i, error);
    }
    if (!status && contigs->count > UINT32_MAX) {
        status = fail(error, LDAR_ERROR_ARGUMENT, "%s: a bigWig cannot hold so many sequences", bigwig->path);
    }
    return status;
}

/* ---- zoom levels ---- */

static enum ldar_status flush_zoom(bigwig *bigwig, struct zoom *zoom, struct ldar_error *error)
{
    if (zoom->filled == 0) {
        return LDAR_OK;
    }
    const size_t bytes = zoom->filled * ZOOM_RECORD;
    zoom->filled = 0;
    return write_block(bigwig, zoom->records, bytes, zoom->span, &zoom->blocks, error);
}

static enum ldar_status write_bin(bigwig *bigwig, struct zoom *zoom, struct ldar_error *error)
{
    const struct bin *bin = &zoom->open;
    if (zoom->filled == 0) {
        zoom->span.first_contig = bin->contig;
        zoom->span.start = bin->start;
    }
    zoom->span.last_contig = bin->contig;
    zoom->span.end = bin->end;
    uint8_t *to = zoom->records + ZOOM_RECORD * zoom->filled++;
    to = put32(put32(put32(put32(to, bin->contig), bin->start), bin->end), (uint32_t)bin->covered);
    to = put_float(put_float(to, (float)bin->min), (float)bin->max);
    put_float(put_float(to, (float)bin->sum), (float)bin->squares);
    ++zoom->written;
    return zoom->filled == ZOOM_BLOCK ? flush_zoom(bigwig, zoom, error) : LDAR_OK;
}

/* Opens the bin of a level that holds position `start` of the current contig. */
static void open_bin(const bigwig *bigwig, struct zoom *zoom, uint32_t start)
{
    const uint64_t length = bigwig->contigs.lengths[bigwig->contig];
    const uint64_t end = (uint64_t)start - start % zoom->bases + zoom->bases;
    zoom->open = (struct bin){.contig = bigwig->contig, .start = start - start % zoom->bases};
    zoom->open.end = (uint32_t)(end < length ? end : length);
}

/* Closes the open bin of `level`, writes it and hands it to the levels above, each of whose bins holds ZOOM_FACTOR. */
static enum ldar_status close_bin(bigwig *bigwig, size_t level, struct ldar_error *error)
{
    struct zoom *zoom = &bigwig->zoom[level];
    if (zoom->open.covered == 0) {
        return LDAR_OK;
    }
    enum ldar_status status = write_bin(bigwig, zoom, error);
    if (!status && level + 1 < bigwig->zoom_count) {
        struct zoom *above = zoom + 1;
        if (above->open.covered && zoom->open.start >= above->open.end) {
            status = close_bin(bigwig, level + 1, error);
        }
        if (above->open.covered == 0) {
            open_bin(bigwig, above, zoom->open.start);
        }
        bin_add(&above->open, &zoom->open);
    }
    zoom->open.covered = 0;
    return status;
}

/* All levels, from below: at the end of a contig. */
static enum ldar_status close_bins(bigwig *bigwig, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t level = 0; !status && level < bigwig->zoom_count; ++level) {
        status = close_bin(bigwig, level, error);
    }
    return status;
}

static struct bin summarise(const float *values, size_t count)
{
    struct bin bin = {.covered = count, .min = values[0], .max = values[0]};
    for (size_t i = 0; i < count; ++i) {
        const double value = values[i];
        bin.min = value < bin.min ? value : bin.min;
        bin.max = value > bin.max ? value : bin.max;
        bin.sum += value;
        bin.squares += value * value;
    }
    return bin;
}

/* Values from position `start` on, which a bin of the first level holds whole. */
static enum ldar_status zoom_values(bigwig *bigwig, const float *values, size_t count, uint32_t start,
                                    struct ldar_error *error)
{
    const struct bin bin = summarise(values, count);
    bin_add(&bigwig->all, &bin);
    if (bigwig->zoom_count == 0) {
        return LDAR_OK;
    }
    struct zoom *zoom = bigwig->zoom;
    enum ldar_status status = LDAR_OK;
    if (zoom->open.covered && start >= zoom->open.end) {
        status = close_bin(bigwig, 0, error);
    }
    if (zoom->open.covered == 0) {
        open_bin(bigwig, zoom, start);
    }
    bin_add(&zoom->open, &bin);
    return status;
}

/* ---- values ---- */

/* A data block of the values that are held. */
static enum ldar_status flush_values(bigwig *bigwig, struct ldar_error *error)
{
    if (bigwig->filled == 0) {
        return LDAR_OK;
    }
    const uint32_t end = (uint32_t)bigwig->position, start = end - (uint32_t)bigwig->filled;
    uint8_t *to = put32(put32(put32(bigwig->plain, bigwig->contig), start), end);
    to = put32(put32(to, 1), 1); /* step and span */
    to = put16(put16(to, FIXED_STEP), (uint16_t)bigwig->filled);
    for (size_t i = 0; i < bigwig->filled; ++i) {
        to = put_float(to, bigwig->values[i]);
    }
    bigwig->filled = 0;
    const struct block span = {bigwig->contig, start, bigwig->contig, end, 0, 0};
    return write_block(bigwig, bigwig->plain, (size_t)(to - bigwig->plain), span, &bigwig->blocks, error);
}

enum ldar_status bigwig_seek(bigwig *bigwig, const char *name, uint64_t start, struct ldar_error *error)
{
    const struct contig_name *found = contigs_find(bigwig->by_name, bigwig->contigs.count, name);
    if (!found) {
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: no sequence \"%.200s\" among those it was made for", bigwig->path,
                    name);
    }
    if (found->contig < bigwig->contig || (found->contig == bigwig->contig && start < bigwig->position)) {
        return fail(
            error, LDAR_ERROR_ARGUMENT,
            "%s: regions of a bigWig must be in the genome's order and must not overlap, and \"%.200s\" from %" PRIu64
            " on comes too late; sort and merge them, or write bedGraph",
            bigwig->path, name, start + 1);
    }
    enum ldar_status status = LDAR_OK;
    if (found->contig != bigwig->contig || start != bigwig->position) {
        status = flush_values(bigwig, error);
    }
    if (!status && found->contig != bigwig->contig) {
        status = close_bins(bigwig, error);
    }
    bigwig->contig = (uint32_t)found->contig;
    bigwig->position = start;
    return status;
}

enum ldar_status bigwig_write(bigwig *bigwig, const float *values, size_t count, struct ldar_error *error)
{
    const uint64_t length = bigwig->contigs.count ? bigwig->contigs.lengths[bigwig->contig] : 0;
    if (bigwig->position > length || count > length - bigwig->position) {
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: values beyond the end of a sequence: the input changed meanwhile",
                    bigwig->path);
    }
    while (count > 0) {
        const size_t bin = ZOOM_FIRST - (size_t)(bigwig->position % ZOOM_FIRST);
        const size_t room = SECTION - bigwig->filled;
        size_t run = count < bin ? count : bin;
        run = run < room ? run : room;
        memcpy(bigwig->values + bigwig->filled, values, run * sizeof *values);
        enum ldar_status status = zoom_values(bigwig, values, run, (uint32_t)bigwig->position, error);
        bigwig->filled += run;
        bigwig->position += run;
        values += run;
        count -= run;
        if (!status && bigwig->filled == SECTION) {
            status = flush_values(bigwig, error);
        }
        if (status) {
            return status;
        }
    }
    return LDAR_OK;
}

/* ---- indexes ---- */

static void put_block(const bigwig *bigwig, const struct blocks *blocks, uint8_t *to, bool leaf, size_t first,
                      size_t last, uint64_t child)
{
    (void)bigwig;
    const struct block *from = &blocks->list[first], *until = &blocks->list[last];
    to = put32(put32(to, from->first_contig), from->start);
    to = put32(put32(to, until->last_contig), until->end);
    to = put64(to, leaf ? from->offset : child);
    if (leaf) {
        put64(to, from->bytes);
    }
}

static enum ldar_status write_index(bigwig *bigwig, const struct blocks *blocks, uint64_t *offset,
                                    struct ldar_error *error)
{
    static const struct block none;
    const struct block *first = blocks->count ? blocks->list : &none;
    const struct block *last = blocks->count ? blocks->list + blocks->count - 1 : &none;
    uint8_t header[48];
    *offset = output_length(bigwig->output);
    uint8_t *to = put64(put32(put32(header, index_magic), FAN), blocks->count);
    to = put32(put32(to, first->first_contig), first->start);
    to = put32(put32(to, last->last_contig), last->end);
    put32(put32(put64(to, *offset), 1), 0); /* where the data ends, blocks a slot, padding */
    const struct tree tree = {blocks->count, {24, 32}, put_block, blocks};
    const enum ldar_status status = output_write(bigwig->output, header, sizeof header, error);
    return status ? status : write_tree(bigwig, &tree, error);
}

static enum ldar_status write_zoom_index(bigwig *bigwig, struct zoom *zoom, struct ldar_error *error)
{
    uint8_t count[4];
    enum ldar_status status = flush_zoom(bigwig, zoom, error);
    put32(count, zoom->written);
    zoom->count_offset = output_length(bigwig->output);
    if (!status) {
        status = output_write(bigwig->output, count, sizeof count, error);
    }
    return status ? status : write_index(bigwig, &zoom->blocks, &zoom->index_offset, error);
}

/* ---- the header ---- */

static uint8_t *put_summary(uint8_t *to, const struct bin *all)
{
    to = put_double(put_double(put64(to, all->covered), all->min), all->max);
    return put_double(put_double(to, all->sum), all->squares);
}

/* Header, zoom headers and summary into `bytes`; returns how many. */
static size_t make_header(const bigwig *bigwig,
                          uint8_t bytes[HEADER_BYTES + ZOOM_LEVELS * ZOOM_HEADER_BYTES + SUMMARY_BYTES])
{
    const uint64_t summary_offset = HEADER_BYTES + bigwig->zoom_count * ZOOM_HEADER_BYTES;
    uint8_t *to = put16(put16(put32(bytes, file_magic), VERSION), (uint16_t)bigwig->zoom_count);
    to = put64(put64(put64(to, bigwig->names_offset), bigwig->data_offset), bigwig->index_offset);
    to = put64(put16(put16(to, 0), 0), 0); /* fields and their description: a bigBed's */
    to = put64(put32(put64(to, summary_offset), BLOCK_BYTES), 0);
    for (size_t i = 0; i < bigwig->zoom_count; ++i) {
        const struct zoom *zoom = &bigwig->zoom[i];
        to = put64(put64(put32(put32(to, zoom->bases), 0), zoom->count_offset), zoom->index_offset);
    }
    return (size_t)(put_summary(to, &bigwig->all) - bytes);
}

static enum ldar_status write_header(bigwig *bigwig, bool again, struct ldar_error *error)
{
    uint8_t bytes[HEADER_BYTES + ZOOM_LEVELS * ZOOM_HEADER_BYTES + SUMMARY_BYTES];
    const size_t count = make_header(bigwig, bytes);
    return again ? output_rewrite(bigwig->output, 0, bytes, count, error)
                 : output_write(bigwig->output, bytes, count, error);
}

static enum ldar_status write_count(bigwig *bigwig, bool again, struct ldar_error *error)
{
    uint8_t count[8];
    put64(count, bigwig->blocks.count);
    return again ? output_rewrite(bigwig->output, bigwig->data_offset, count, sizeof count, error)
                 : output_write(bigwig->output, count, sizeof count, error);
}

/* ---- the file ---- */

/* As many levels as have bins smaller than the longest contig. */
static enum ldar_status make_zoom(bigwig *bigwig, struct ldar_error *error)
{
    uint64_t longest = 0;
    for (size_t i = 0; i < bigwig->contigs.count; ++i) {
        longest = bigwig->contigs.lengths[i] > longest ? bigwig->contigs.lengths[i] : longest;
    }
    size_t count = 0;
    for (uint64_t bases = ZOOM_FIRST; count < ZOOM_LEVELS && bases < longest; bases *= ZOOM_FACTOR) {
        ++count;
    }
    bigwig->zoom = calloc(count ? count : 1, sizeof *bigwig->zoom);
    if (!bigwig->zoom) {
        return fail_memory(error, bigwig->path, "zoom levels");
    }
    uint32_t bases = ZOOM_FIRST;
    for (size_t i = 0; i < count; ++i, bases *= ZOOM_FACTOR) {
        bigwig->zoom[i].bases = bases;
    }
    bigwig->zoom_count = count;
    return LDAR_OK;
}

static enum ldar_status begin_file(bigwig *bigwig, struct ldar_error *error)
{
    enum ldar_status status = output_create(bigwig->path, &bigwig->output, error);
    if (!status && !output_can_rewrite(bigwig->output)) {
        status = fail(error, LDAR_ERROR_ARGUMENT, "%s: a pipe cannot hold a bigWig", bigwig->path);
    }
    if (!status) {
        status = write_header(bigwig, false, error);
    }
    if (!status) {
        status = write_names(bigwig, error);
    }
    if (!status) {
        bigwig->data_offset = output_length(bigwig->output);
        status = write_count(bigwig, false, error);
    }
    return status;
}

enum ldar_status bigwig_create(const char *path, const struct contigs *contigs, bigwig **out, struct ldar_error *error)
{
    *out = NULL;
    if (strcmp(path, "-") == 0) {
        return fail(error, LDAR_ERROR_ARGUMENT, "standard output: a bigWig is not written in order; give -o FILE");
    }
    bigwig *bigwig = calloc(1, sizeof *bigwig + strlen(path) + 1);
    if (!bigwig) {
        return fail_memory(error, path, "writing");
    }
    bigwig->path = strcpy((char *)(bigwig + 1), path);
    bigwig->packed_bytes = compressBound(BLOCK_BYTES);
    bigwig->packed = malloc(bigwig->packed_bytes);
    enum ldar_status status = bigwig->packed ? LDAR_OK : fail_memory(error, path, "compression");
    if (!status) {
        status = take_contigs(bigwig, contigs, error);
    }
    if (!status) {
        status = make_zoom(bigwig, error);
    }
    if (!status) {
        status = begin_file(bigwig, error);
    }
    if (status) {
        bigwig_abandon(bigwig);
        return status;
    }
    *out = bigwig;
    return LDAR_OK;
}

static enum ldar_status complete(bigwig *bigwig, struct ldar_error *error)
{
    uint8_t magic[4];
    put32(magic, file_magic);
    enum ldar_status status = flush_values(bigwig, error);
    if (!status) {
        status = close_bins(bigwig, error);
    }
    if (!status) {
        status = write_index(bigwig, &bigwig->blocks, &bigwig->index_offset, error);
    }
    for (size_t i = 0; !status && i < bigwig->zoom_count; ++i) {
        status = write_zoom_index(bigwig, &bigwig->zoom[i], error);
    }
    if (!status) {
        status = output_write(bigwig->output, magic, sizeof magic, error);
    }
    if (!status) {
        status = write_count(bigwig, true, error);
    }
    return status ? status : write_header(bigwig, true, error);
}

enum ldar_status bigwig_finish(bigwig *bigwig, struct ldar_error *error)
{
    const enum ldar_status status = complete(bigwig, error);
    bigwig->finished = true;
    return status ? status : output_sync(bigwig->output, error);
}

enum ldar_status bigwig_commit(bigwig *bigwig, struct ldar_error *error)
{
    enum ldar_status status = bigwig->finished ? LDAR_OK : complete(bigwig, error);
    if (!status) {
        status = output_commit(bigwig->output, error);
        bigwig->output = NULL;
    }
    bigwig_abandon(bigwig);
    return status;
}

void bigwig_abandon(bigwig *bigwig)
{
    if (bigwig) {
        output_abandon(bigwig->output);
        for (size_t i = 0; bigwig->zoom && i < bigwig->zoom_count; ++i) {
            free(bigwig->zoom[i].blocks.list);
        }
        free(bigwig->zoom);
        free(bigwig->blocks.list);
        free(bigwig->by_name);
        contigs_free(&bigwig->contigs);
        free(bigwig->packed);
        free(bigwig);
    }
}
