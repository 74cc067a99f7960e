/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_NUMBER_H
#define FORMATS_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* text[0..length) as a decimal number of digits alone, at most INT64_MAX; false when it is none. */
bool parse_number(const char *text, size_t length, uint64_t *value);

#endif
