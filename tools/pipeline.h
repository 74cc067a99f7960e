/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_PIPELINE_H
#define LDAR_TOOLS_PIPELINE_H

#include "session.h"

#include "formats/regions.h"
#include "formats/windows.h"

/*
 * The loop that embed, logits and segment share: records of a file or regions
 * of a genome, cut into windows, batched, put through the model, and handed to
 * a consumer in order.
 */

/* The settings of a command that reads sequences. */
struct input {
    struct common common;
    const char *genome;
    struct texts regions;
    const char *bed;
    uint64_t window, overlap;
    /* Set by the command itself: regions are sorted and merged, and widened by context (regions.h). */
    int in_order;
    uint64_t flank;
};

extern const struct option option_reference, option_region, option_regions, option_window, option_overlap;

#define OPTIONS_INPUT &option_reference, &option_region, &option_regions, &option_window, &option_overlap

/* Where records come from. Of parts that are merged neither genome nor source is there. */
struct pipeline {
    reference *genome; /* NULL: a file of sequences */
    source *source;
    const char *output; /* where a consumer's output goes: "-" is the standard output */
    /*
     * Of a consumer that wishes for PIPELINE_CONTIGS, from its `open` on: names and lengths of all sequences of the
     * genome or the file.
     */
    const struct contigs *contigs;
    struct contigs listed; /* those that no genome lists */
};

enum { PIPELINE_BASES = 4 }; /* A, C, G, T */

/* Usage errors of the input's options. */
enum exit_status pipeline_check(const struct input *input);

/* Opens the records; on failure there is nothing to close. */
LDAR_MUST_USE enum ldar_status pipeline_open(const struct input *input, struct pipeline *pipeline,
                                             struct ldar_error *error);
void pipeline_close(struct pipeline *pipeline);

/* What is to be computed, ored. */
enum pipeline_wish {
    PIPELINE_LOGITS = 1,
    PIPELINE_HIDDEN = 2,
    PIPELINE_ENCODER = 4,
    PIPELINE_BOUNDARY = 8, /* probability and decision */
    PIPELINE_CHUNKS = 16,
    PIPELINE_MARGINALS = 32, /* what the model expects each base to be; only a consumer that computes has it */
    /*
     * Of the one of logits, hidden, encoder and chunks that is wished for, each window's sum in double precision in
     * place of the rows. Sums added up in order of the windows are the same however work is split.
     */
    PIPELINE_SUM = 64,
    PIPELINE_CONTIGS = 128, /* struct pipeline's */
    PIPELINE_LETTERS = 256
};

/* Consecutive rows of a record; what was not wished for is NULL. */
struct pipeline_rows {
    size_t count;         /* nucleotides */
    const uint8_t *ids;   /* (count) what they are: there for those who wish for PIPELINE_LETTERS */
    const float *logits;  /* (count, 7) */
    const float *hidden;  /* (count, D) */
    const float *encoder; /* (count, D) */
    const float *prob;    /* (count) */
    const uint8_t *boundary;
    size_t chunk_count;  /* tokens that begin here */
    const float *chunks; /* (chunk_count, D) */
    const float *log_p;  /* (count, 4) of A, C, G, T */
    const double *sum;   /* (parts, D), or (parts, 7) of logits: of sum_rows rows */
    uint64_t sum_rows;
};

/*
 * Takes each record in turn: begin, rows (none for an empty record), end. What it does may depend on nothing but what
 * it is handed there and in `open`: it may be handed all of it later and elsewhere (results.h).
 */
struct consumer {
    void *user;
    /*
     * NULL, or called before the first record: makes the output at pipeline->output. A run that writes a part never
     * calls it; one that only says what it would take calls it again after `commit` or `abandon`.
     */
    enum ldar_status (*open)(void *user, const struct session *session, const struct pipeline *pipeline,
                             struct ldar_error *error);
    enum ldar_status (*begin)(void *user, const struct record *record, struct ldar_error *error);
    enum ldar_status (*rows)(void *user, const struct pipeline_rows *rows, struct ldar_error *error);
    enum ldar_status (*end)(void *user, uint64_t length, struct ldar_error *error);
    /* NULL, or one of them called when `open` went well: completes the output, or removes it. */
    enum ldar_status (*commit)(void *user, struct ldar_error *error);
    void (*abandon)(void *user);
    /*
     * NULL, or what computes a batch in place of ldar_forward: `windows` (batch->sequences) say where sequences lie,
     * `outputs` and `log_p` (T, 4) are the room for what was wished for, NULL for the rest. Called by the thread that
     * called pipeline_run, while another thread may be in begin, rows and end with the batch before.
     */
    enum ldar_status (*compute)(void *user, const struct ldar_batch *batch, const struct window *windows,
                                const struct ldar_outputs *outputs, float *log_p, struct ldar_error *error);
    /* Of `compute`, for --dry-run: how many passes over a batch it makes; 0: one for each base that is owned. */
    unsigned passes;
    /*
     * Of PIPELINE_SUM: a sum of each of so many parts of a record (ldar_head_part) in place of one; 0 stands for 1.
     * With more than one, a record that takes more than a window is an error.
     */
    size_t parts;
};

/*
 * Puts all records through the model, or those of a shard, or replays what parts hold. `wishes`: enum pipeline_wish,
 * which must depend on the command's options alone.
 */
LDAR_MUST_USE enum ldar_status pipeline_run(const struct input *input, const struct session *session,
                                            struct pipeline *pipeline, unsigned wishes, const struct consumer *consumer,
                                            struct ldar_error *error);

/* All that a command does whose consumer opens and commits its output: checks, opens, runs, closes. */
enum exit_status pipeline_command(const struct input *input, unsigned wishes, const struct consumer *consumer);

#endif
