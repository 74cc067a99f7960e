/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_FORECAST_H
#define LDAR_TOOLS_FORECAST_H

#include "formats/failure.h"

#include <ldar/model.h>

#include <stdint.h>

/* What long work will take, said before it is done: what --dry-run prints. */
struct forecast {
    uint64_t records, bases, windows;
    double computed; /* nucleotides of all windows: those that windows share count more than once */
    double passes;   /* through the model, over each window or, in training, over what is learned from */
    double flop;
    double rate; /* nucleotides of windows per second, all passes made, as measured now */
    double seconds;
    double memory; /* bytes at the peak */
    double output; /* bytes of the files; negative: not known */
};

/*
 * To the standard output, a line for each: its name, a tab, the number in full, a tab, and the number for a person; "-"
 * for what is not known.
 */
void forecast_print(const struct forecast *forecast);

/* What forecast_seconds measures. */
struct forecast_pass {
    enum ldar_status (*pass)(void *user, struct ldar_error *error);
    void *user;
};

/*
 * How long a pass takes: the mean of as many as a second holds, after one that warms up. Where that first one takes
 * long, it is the measurement, and nothing more is run.
 */
LDAR_MUST_USE enum ldar_status forecast_seconds(const struct forecast_pass *pass, double *seconds,
                                                struct ldar_error *error);

/*
 * The arithmetic of a nucleotide as far as the model is computed for boundaries alone: as ldar_forward_flops, without
 * what lies behind the first router.
 */
double forecast_boundary_flops(const struct ldar_config *config, size_t length);

/*
 * A new folder to rehearse an output in, or NULL where none can be made; the caller removes it. Once a process; it is
 * gone after an interrupt too.
 */
const char *forecast_folder(void);

/* Bytes of the files in it, without what lies beside an output (*.json). The files are removed. */
double forecast_empty_folder(const char *folder);

/* The most memory that this process had resident so far, in bytes. */
double forecast_resident(void);

#endif
