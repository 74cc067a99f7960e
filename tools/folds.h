/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FOLDS_H
#define FOLDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the published evaluations split by. */
enum { FOLDS_PUBLISHED = 10, FOLDS_PUBLISHED_SEED = 42 };

/*
 * Cuts rows into folds as scikit-learn's KFold(folds, shuffle=True, random_state=seed) does: fold_of (count) says for
 * each row in which fold it is left out. Rows taken in their order, those of fold k are KFold's k-th test indices, and
 * all others its training indices. 2 <= folds <= count. False without memory.
 */
bool folds_split(size_t count, size_t folds, uint32_t seed, uint32_t *fold_of);

#endif
