/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_IO_JSON_H
#define LDAR_IO_JSON_H

#include <stddef.h>
#include <stdint.h>

/*
 * A reader of JSON that the caller leads through the text and that builds nothing: a safetensors header may hold 65536
 * entries from a stranger, and a tree of it would take ten times the memory of the text.
 *
 * Functions return 1, or 0 when the text does not continue so; the first failure leaves its reason in `fault` and its
 * place in `at`.
 */
struct ldar_json {
    const char *begin, *at, *end;
    const char *fault; /* static text, NULL while all is well */
};

/* The next character is `c`; white space before it is passed. */
int ldar_json_take(struct ldar_json *json, char c);

/* As ldar_json_take, but it is no failure when another character follows. */
int ldar_json_try(struct ldar_json *json, char c);

/*
 * A string: valid UTF-8, without escaped NUL or lone surrogates. Its text, escapes resolved and NUL-terminated, goes to
 * out[0..capacity); it is never longer than what stands between the quotes.
 */
int ldar_json_string(struct ldar_json *json, char *out, size_t capacity, size_t *length);

/* A non-negative integer of decimal digits, at most 2^53, without sign, fraction, exponent or leading zeros. */
int ldar_json_integer(struct ldar_json *json, uint64_t *value);

/* Passes over one value of any kind, which may be nested 64 deep. */
int ldar_json_skip(struct ldar_json *json);

/*
 * Places *value at the value of `key` in an object, which `object` stands before and which has been skipped once
 * without fault. Returns 1, or 0 when the object has no such key, has it twice (a fault of *value) or is no object.
 */
int ldar_json_member(const struct ldar_json *object, const char *key, struct ldar_json *value);

/* Nothing but white space follows. */
int ldar_json_end(struct ldar_json *json);

/* 1 when the text is valid UTF-8, as every string that is read here. */
int ldar_json_is_utf8(const char *text);

/* Records a fault found by the caller; returns 0. */
int ldar_json_fail(struct ldar_json *json, const char *fault);

#endif
