/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_IO_TEXT_H
#define LDAR_IO_TEXT_H

#include <stddef.h>

/* A text that grows in room of fixed size. `length` counts also what found no room, as snprintf does. */
struct ldar_text {
    char *out; /* (capacity) ends in NUL when capacity > 0 */
    size_t capacity, length;
};

void ldar_text_add(struct ldar_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `string` as a JSON string, with its quotes. */
void ldar_text_add_json(struct ldar_text *text, const char *string);

#endif
