/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_HEAD_H
#define LDAR_MODEL_HEAD_H

#include <ldar/model.h>

/* What a number of parts stands for. */
static inline size_t ldar_parts(size_t parts)
{
    return parts > 1 ? parts : 1;
}

/* Columns of a head's weight. */
static inline size_t ldar_head_columns(const struct ldar_head *head, size_t width)
{
    return ldar_parts(head->parts) * width;
}

/*
 * Kind, number of outputs and parts and names as ldar/model.h states them; a fault is an ldar_fail that begins with
 * `where`.
 */
enum ldar_status ldar_head_check(const char *where, enum ldar_status fault, const struct ldar_head *head,
                                 struct ldar_error *error);

/* One block that holds the names and, at its beginning, the list of them, which head->names then is; the caller's. */
enum ldar_status ldar_head_copy_names(struct ldar_head *head, void **block, struct ldar_error *error);

/* The key of a file's metadata that says what a head of this kind puts out: "classes" or "target". */
const char *ldar_head_key(enum ldar_head_kind kind);

/* The text that stands there, which the caller frees: a JSON array of the classes' names, or the value's name. NULL: no
 * memory. */
char *ldar_head_format(const struct ldar_head *head);

/*
 * Kind, outputs and names of the head whose text in the metadata of the file `where` is this; the block is the
 * caller's. weight and bias stay as they are. On failure *block is NULL.
 */
enum ldar_status ldar_head_parse(const char *where, enum ldar_head_kind kind, const char *text, struct ldar_head *head,
                                 void **block, struct ldar_error *error);

/* ---- arithmetic, in double and in the order of sequences, outputs and columns ---- */

/* scores (sequences, outputs) of means (sequences, parts, width). */
void ldar_head_apply(const struct ldar_head *head, size_t width, const float *mean, size_t sequences, double *scores);

/*
 * The sum over sequences of the cross-entropy of their classes, or of half the squared errors. scores become `scale`
 * times its gradient by them; *correct counts the sequences whose class has the highest score, the first of equals.
 */
double ldar_head_loss(const struct ldar_head *head, const float *targets, size_t sequences, double scale,
                      double *scores, size_t *correct);

/* dweight and dbias (as weight and bias) and dmean (as mean) by dscores; row (parts, width) is room. */
void ldar_head_backward(const struct ldar_head *head, size_t width, const float *mean, const double *dscores,
                        size_t sequences, float *dweight, float *dbias, float *dmean, double *row);

#endif
