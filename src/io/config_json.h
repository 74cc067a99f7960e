/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_IO_CONFIG_JSON_H
#define LDAR_IO_CONFIG_JSON_H

#include <ldar/model.h>

/*
 * A configuration's published form as JSON text. Reading checks the form (keys, types, one number or one per stage)
 * and that each number fits its field; the ranges are the model's business. Messages begin with `where`.
 */
enum ldar_status ldar_config_from_json(const char *where, const char *json, size_t bytes, struct ldar_config *config,
                                       struct ldar_error *error);

/* As ldar_config_format. */
size_t ldar_config_to_json(const struct ldar_config *config, char *text, size_t capacity);

#endif
