/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_NUMBER_H
#define FORMATS_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* text[0..length) as a decimal number of digits alone, at most INT64_MAX; false when it is none. */
bool parse_number(const char *text, size_t length, uint64_t *value);

/* Most characters that those below put, which end with no NUL. All return where they ended. */
enum { NUMBER_CHARACTERS = 32 };

/* In decimal digits. */
char *put_number(char *to, uint64_t value);

/*
 * Rounded to `decimals` (1 to 9) digits behind the point, all of them put: "-0.1250", "0.00000". What is not finite, or
 * has more than nine digits before the point, is ".".
 */
char *put_decimal(char *to, double value, int decimals);

/* As printf's "%.9g" would, which is enough to read the same float back. */
char *put_float_text(char *to, float value);

/* A number as JSON has it, which knows no NaN and no infinity: null. */
struct json_number {
    char text[NUMBER_CHARACTERS];
};
struct json_number json_number(double value);

#endif
