/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_MATRIX_H
#define LDAR_TOOLS_MATRIX_H

#include "pipeline.h"

/* What a .npy file of embed or logits holds. */
enum matrix_layer { MATRIX_HIDDEN, MATRIX_ENCODER, MATRIX_CHUNKS, MATRIX_LOGITS };

/*
 * Computes a layer for all records of the input and writes it to -o: a row per
 * nucleotide (of MATRIX_CHUNKS per token), or when `pooled` a row per record,
 * the mean of its rows; NaN for a record without rows.
 */
enum exit_status matrix_write(const struct input *input, enum matrix_layer layer, int pooled);

#endif
