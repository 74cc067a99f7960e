/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_WINDOWS_H
#define FORMATS_WINDOWS_H

#include "source.h"

#include <ldar/context.h>

/*
 * Records cut into windows, and windows packed into batches for ldar_forward.
 *
 * A record of at most `window` nucleotides is one window. A longer one, of
 * length L, has windows of exactly `window` nucleotides: they begin at 0, S, 2S,
 * ... with S = window - overlap as long as they end before L, and the last one
 * begins at L - window. (So the last two may overlap by more than `overlap`, and
 * no window is ever shorter than the model could have had it.)
 *
 * A base is owned by the window in which it lies deepest, that is, farthest from
 * the nearer end, where the record's own ends do not count; a tie goes to the
 * left. Of the n bases that two neighbours share, the left one so owns the first
 * ceil(n / 2). Each base has one owner, and owned ranges follow one another
 * without gaps. All of it depends on L, window and overlap alone. What of a record
 * is context alone (struct record) has no owner.
 */
struct window_plan {
    size_t window;  /* most nucleotides of a window, at least 1 */
    size_t overlap; /* of neighbours, less than `window` */
    size_t batch;   /* most nucleotides of a batch; less than `window` counts as `window` */
};

enum { WINDOW_DEFAULT = 65536, WINDOW_OVERLAP_DEFAULT = 4096 };

/* Windows of a record of `length` nucleotides; 1 for an empty record. */
uint64_t window_count(uint64_t length, size_t window, size_t overlap);

struct window {
    struct record record; /* where it comes from; its length is known when `last` is set */
    uint64_t start;       /* position in the record of its first nucleotide */
    size_t length;        /* nucleotides; 0 only for an empty record */
    size_t owned_begin;   /* its rows owned_begin .. owned_end - 1 are the ones that count; none where all is context */
    size_t owned_end;
    bool first, last; /* of its record */
};

struct window_batch {
    struct ldar_batch input;      /* what ldar_forward takes; a sequence for each window */
    const struct window *windows; /* (input.sequences), in order: by record, and within a record from left to right */
};

/*
 * A cutter takes a source's records in order. Memory: 2 `window` + 2 `batch` bytes
 * for nucleotides, and at most 2 MiB for names and windows.
 */
typedef struct window_cutter window_cutter;

/* The source is borrowed and read from here on by the cutter alone. On failure *cutter is NULL. */
LDAR_MUST_USE enum ldar_status window_cutter_create(source *source, const struct window_plan *plan,
                                                    window_cutter **cutter, struct ldar_error *error);

/*
 * The next batch: whole windows, at least one, as many as fit. input.sequences is
 * 0 when all records are done. Its arrays belong to the cutter, until the next call
 * but one: while a batch is computed, another thread may cut the next.
 */
LDAR_MUST_USE enum ldar_status window_cutter_next(window_cutter *cutter, struct window_batch *batch,
                                                  struct ldar_error *error);

/*
 * How many windows were passed so far, in batches or not, and how many bases they own. What lies before a window so
 * gives its place in the whole input.
 */
struct window_position {
    uint64_t windows, bases;
};

struct window_position window_cutter_position(const window_cutter *cutter);

/*
 * Passes over the windows before which fewer than `before.windows` windows or fewer than `before.bases` bases lie. They
 * are in no batch; of records whose length is known nothing is read.
 */
LDAR_MUST_USE enum ldar_status window_cutter_pass(window_cutter *cutter, struct window_position before,
                                                  struct ldar_error *error);

/* From here on windows before which `bases` bases or more lie are in no batch: all records are done before them. */
void window_cutter_stop(window_cutter *cutter, uint64_t bases);

/* Does nothing for NULL. The source stays. */
void window_cutter_destroy(window_cutter *cutter);

#endif
