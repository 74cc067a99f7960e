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
};

extern const struct option option_reference, option_region, option_regions, option_window, option_overlap;

#define OPTIONS_INPUT &option_reference, &option_region, &option_regions, &option_window, &option_overlap

/* Where records come from. */
struct pipeline {
    reference *genome; /* NULL: a file of sequences */
    source *source;
};

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
    PIPELINE_MARGINALS = 32 /* what the model expects each base to be; only a consumer that computes has it */
};

/* Consecutive rows of a record; what was not wished for is NULL. */
struct pipeline_rows {
    size_t count;         /* nucleotides */
    const uint8_t *ids;   /* (count) what they are */
    const float *logits;  /* (count, 7) */
    const float *hidden;  /* (count, D) */
    const float *encoder; /* (count, D) */
    const float *prob;    /* (count) */
    const uint8_t *boundary;
    size_t chunk_count;  /* tokens that begin here */
    const float *chunks; /* (chunk_count, D) */
    const float *log_p;  /* (count, 4) of A, C, G, T */
};

/* Takes each record in turn: begin, rows (none for an empty record), end. */
struct consumer {
    void *user;
    enum ldar_status (*begin)(void *user, const struct record *record, struct ldar_error *error);
    enum ldar_status (*rows)(void *user, const struct pipeline_rows *rows, struct ldar_error *error);
    enum ldar_status (*end)(void *user, uint64_t length, struct ldar_error *error);
    /*
     * NULL, or what computes a batch in place of ldar_forward: `windows` (batch->sequences) say where sequences lie,
     * `outputs` and `log_p` (T, 4) are the room for what was wished for, NULL for the rest. Called by the thread that
     * called pipeline_run, while another thread may be in begin, rows and end with the batch before.
     */
    enum ldar_status (*compute)(void *user, const struct ldar_batch *batch, const struct window *windows,
                                const struct ldar_outputs *outputs, float *log_p, struct ldar_error *error);
};

/* Puts all records through the model. `wishes`: enum pipeline_wish. */
LDAR_MUST_USE enum ldar_status pipeline_run(const struct input *input, const struct session *session,
                                            const struct pipeline *pipeline, unsigned wishes,
                                            const struct consumer *consumer, struct ldar_error *error);

#endif
