/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_BENCH_PASS_H
#define LDAR_TOOLS_BENCH_PASS_H

#include "bench.h"

#include <ldar/train.h>

/* What bench times: passes over random sequences with fixed boundaries. */

enum bench_what { BENCH_FORWARD, BENCH_BOUNDARIES, BENCH_TRAIN, BENCH_KERNELS };

struct shape {
    enum bench_what what;
    int threads;
    enum ldar_dtype dtype;
    size_t length, batch, ratio;
};

/* All that the passes of a shape share: who computes, the sequences, and room for what a pass gives. */
struct pass {
    ldar_context *context; /* or, of BENCH_TRAIN, */
    ldar_trainer *trainer;
    struct ldar_batch batch;
    struct ldar_boundaries boundaries;
    struct ldar_outputs outputs;
    uint8_t *ids, *labels;
    size_t *offsets;
    char *results;
    size_t result_bytes;
};

/* On failure there is nothing to close. Threads and type are the shape's. */
LDAR_MUST_USE enum ldar_status pass_open(const struct common *common, const ldar_model *model,
                                         const struct shape *shape, struct pass *pass, struct ldar_error *error);
void pass_close(struct pass *pass);

/*
 * One pass, with the checksum of all that it computed: outputs, or loss and gradients. A step of training ends with the
 * optimiser at the rate 0, which moves no weight: every step computes the same.
 */
LDAR_MUST_USE enum ldar_status pass_run(struct pass *pass, double *seconds, uint64_t *sum, struct ldar_error *error);

/* What context or trainer settled on. */
enum ldar_isa pass_isa(const struct pass *pass);
enum ldar_dtype pass_dtype(const struct pass *pass);
const char *pass_gemm(const struct pass *pass);
void pass_profile(const struct pass *pass, struct ldar_profile *profile);
void pass_reset_profile(struct pass *pass);

/* The least arithmetic of a nucleotide, in FLOP; 0 where it is not counted. */
double pass_flops(const ldar_model *model, const struct shape *shape);

#endif
