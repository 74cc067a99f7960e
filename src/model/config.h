/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_CONFIG_H
#define LDAR_MODEL_CONFIG_H

#include <ldar/model.h>

/* Every range and relation that ldar/model.h states. The message begins with `where`. */
enum ldar_status ldar_config_check(const struct ldar_config *config, const char *where, struct ldar_error *error);

/* ldar_config_parse for a configuration that stands at `where`: a file's name, for the message. */
enum ldar_status ldar_config_parse_at(const char *where, const char *json, size_t bytes, struct ldar_config *config,
                                      struct ldar_error *error);

int ldar_config_equal(const struct ldar_config *a, const struct ldar_config *b);

#endif
