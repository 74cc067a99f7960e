/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_RANKS_H
#define LDAR_TOOLS_RANKS_H

#include "options.h"

#include <ldar/peers.h>
#include <ldar/train.h>

/*
 * A run of several processes. All compute, draw and decide the same; rank 0 alone writes and speaks, errors excepted.
 * Where *peers is NULL, this process is alone, and each call does what is left to do.
 */

/* Joins the processes that a launcher started with this one. When one is lost, this one ends with a line on stderr. */
enum exit_status ranks_join(const struct command *command, ldar_peers **peers);

/* Whether this process writes. */
int ranks_first(const ldar_peers *peers);

/* The signal that any of the processes has noted, the same in all; 0: none has. */
LDAR_MUST_USE enum ldar_status ranks_signal(ldar_peers *peers, int *number, struct ldar_error *error);

/*
 * Threads for this process where nobody has said how many: 0, as ever, when no other process has its CPUs, else its
 * part of them. Two teams that spin on the same CPUs are many times slower than one.
 */
LDAR_MUST_USE enum ldar_status ranks_threads(ldar_peers *peers, int *threads, struct ldar_error *error);

/* An error in all processes unless they are of one build, one instruction set, and read the same sequences. */
LDAR_MUST_USE enum ldar_status ranks_agree(ldar_peers *peers, const ldar_trainer *trainer, uint64_t data,
                                           struct ldar_error *error);

#endif
