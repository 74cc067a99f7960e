/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_ARGUMENTS_H
#define LDAR_ARGUMENTS_H

#include <ldar/context.h>

/* Checks of what callers of several public functions hand over. */
enum ldar_status ldar_context_options_check(const struct ldar_context_options *options, struct ldar_error *error);
enum ldar_status ldar_batch_check(const struct ldar_batch *batch, struct ldar_error *error);

#endif
