/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_CONFIGURATION_H
#define LDAR_TOOLS_CONFIGURATION_H

#include "options.h"

#include <ldar/model.h>

/* What init and convert share: shapes of models, and writing them. */

extern const struct option option_storage; /* --dtype of a file */

/* --preset: an index into these words. */
#define CONFIGURATION_PRESETS "110m|2m"

LDAR_MUST_USE enum ldar_status configuration_preset(int preset, struct ldar_config *config, struct ldar_error *error);

/* A JSON file in the published form. */
LDAR_MUST_USE enum ldar_status configuration_read(const char *path, struct ldar_config *config,
                                                  struct ldar_error *error);

enum { CONFIGURATION_LAYOUT = 2 * LDAR_MAX_STAGES * LDAR_MAX_LAYOUT };

/* The layout as text, as "m3t1 [ M10 ] m4". */
void configuration_layout(const struct ldar_config *config, char text[CONFIGURATION_LAYOUT]);

/* EXIT_USAGE, after a line on stderr, unless -o names a file. */
enum exit_status check_model_output(const struct common *common);

/* Writes the model to -o and says so. */
enum exit_status save_model(const ldar_model *model, const struct common *common);

#endif
