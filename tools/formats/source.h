/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_SOURCE_H
#define FORMATS_SOURCE_H

#include <ldar/status.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Sources: what a command reads. A source yields records one after the other,
 * and the nucleotides of each in pieces, so that neither a file nor a record
 * ever sits in memory whole.
 *
 *   struct record record;
 *   for (;;) {
 *       if (source_next(source, &record, error)) ...failed...
 *       if (!record.name) break;
 *       do {
 *           if (source_read(source, ids, capacity, &count, error)) ...failed...
 *       } while (count);
 *   }
 *
 * sequences.h opens a file of sequences as a source, regions.h the regions of a
 * genome. After a failure only source_destroy may follow.
 */
typedef struct source source;

#define SOURCE_LENGTH_UNKNOWN UINT64_MAX

struct record {
    const char *name;       /* NULL: there are no more records. Owned by the source, until the next source_next */
    uint64_t index;         /* 0, 1, ... in the order of the input */
    uint64_t start;         /* 0-based position in the reference of its first nucleotide; 0 in a file of sequences */
    uint64_t length;        /* nucleotides; SOURCE_LENGTH_UNKNOWN in a file of sequences, where only reading tells */
    uint64_t before, after; /* of these, how many at its ends are context alone; 0 but for regions_widen */
};

/*
 * Who hears of what is odd but no error: one line for a person, without a line
 * break. `warn` may be NULL: nobody. Sources copy the struct.
 */
struct warnings {
    void (*warn)(void *user, const char *message);
    void *user;
};

/* The next record; what was left unread of the one before is skipped, but still checked. */
LDAR_MUST_USE enum ldar_status source_next(source *source, struct record *record, struct ldar_error *error);

/*
 * Up to `capacity` (at least 1) more nucleotides of the current record as enum
 * ldar_symbol. *count is less than `capacity` only at the record's end, 0 beyond it.
 */
LDAR_MUST_USE enum ldar_status source_read(source *source, uint8_t *ids, size_t capacity, size_t *count,
                                           struct ldar_error *error);

struct source_progress {
    uint64_t records;     /* begun so far */
    uint64_t nucleotides; /* passed so far, skipped ones included */
    uint64_t unknown;     /* letters among them that became N */
    uint64_t done, total; /* how far the input is read, in a unit of the source's own; total 0: not known */
};

struct source_progress source_progress(const source *source);

/* Does nothing for NULL. */
void source_destroy(source *source);

#endif
