/* SPDX-License-Identifier: Apache-2.0 */
#include "io/json.h"

#include <string.h>

int ldar_json_fail(struct ldar_json *json, const char *fault)
{
    if (!json->fault) {
        json->fault = fault;
    }
    return 0;
}

static void pass_space(struct ldar_json *json)
{
    while (json->at < json->end && (*json->at == ' ' || *json->at == '\n' || *json->at == '\t' || *json->at == '\r')) {
        json->at++;
    }
}

int ldar_json_try(struct ldar_json *json, char c)
{
    pass_space(json);
    if (json->fault || json->at == json->end || *json->at != c) {
        return 0;
    }
    json->at++;
    return 1;
}

int ldar_json_take(struct ldar_json *json, char c)
{
    if (ldar_json_try(json, c)) {
        return 1;
    }
    switch (c) {
    case '{':
        return ldar_json_fail(json, "'{' expected");
    case '}':
        return ldar_json_fail(json, "',' or '}' expected");
    case '[':
        return ldar_json_fail(json, "'[' expected");
    case ']':
        return ldar_json_fail(json, "',' or ']' expected");
    case '"':
        return ldar_json_fail(json, "a string expected");
    default:
        return ldar_json_fail(json, "':' expected");
    }
}

/* Length of the UTF-8 sequence at `text`, or 0: stray or missing continuation, overlong, surrogate, above U+10FFFF. */
static size_t utf8_length(const unsigned char *text, size_t rest)
{
    /* The second byte's range excludes what the first one alone would allow too much of. */
    unsigned char first = text[0], low = 0x80, high = 0xbf;
    size_t length;
    if (first < 0x80) {
        return 1;
    } else if (first >= 0xc2 && first <= 0xdf) {
        length = 2;
    } else if (first >= 0xe0 && first <= 0xef) {
        length = 3;
        low = first == 0xe0 ? 0xa0 : low;
        high = first == 0xed ? 0x9f : high;
    } else if (first >= 0xf0 && first <= 0xf4) {
        length = 4;
        low = first == 0xf0 ? 0x90 : low;
        high = first == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (rest < length || text[1] < low || text[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

static size_t utf8_write(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)(lead[length] | code);
    return length;
}

static uint32_t hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
           : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
           : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                  : UINT32_MAX;
}

static int hex4(struct ldar_json *json, uint32_t *code)
{
    *code = 0;
    if (json->end - json->at < 4) {
        return 0;
    }
    for (int i = 0; i < 4; i++) {
        uint32_t digit = hex_digit(*json->at++);
        if (digit == UINT32_MAX) {
            return 0;
        }
        *code = *code * 16 + digit;
    }
    return 1;
}

/* What stands after a backslash. */
static int escape(struct ldar_json *json, uint32_t *code)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char c = json->at < json->end ? *json->at++ : '\0';
    const char *name = c ? strchr(names, c) : NULL;
    if (name) {
        *code = (unsigned char)meanings[name - names];
        return 1;
    }
    if (c != 'u' || !hex4(json, code) || *code == 0) {
        return 0;
    }
    if (*code >= 0xd800 && *code < 0xdc00) {
        uint32_t low;
        if (json->end - json->at < 2 || json->at[0] != '\\' || json->at[1] != 'u') {
            return 0;
        }
        json->at += 2;
        if (!hex4(json, &low) || low < 0xdc00 || low > 0xdfff) {
            return 0;
        }
        *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
        return 1;
    }
    return *code < 0xdc00 || *code > 0xdfff;
}

int ldar_json_end(struct ldar_json *json)
{
    pass_space(json);
    return json->at == json->end || ldar_json_fail(json, "something after the end");
}

int ldar_json_is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    for (size_t rest = strlen(text), bytes; rest > 0; rest -= bytes, at += bytes) {
        bytes = utf8_length(at, rest);
        if (bytes == 0) {
            return 0;
        }
    }
    return 1;
}

/* Characters of a string that stand for themselves and have one byte. */
static size_t plain_run(const char *at, const char *end)
{
    const char *begin = at;
    while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' && *at != '\\') {
        at++;
    }
    return (size_t)(at - begin);
}

/* The next part of a string that is not at its closing quote: its bytes, which go to `scratch` when escaped, or 0. */
static size_t next_part(struct ldar_json *json, char scratch[4], const char **part)
{
    size_t bytes = plain_run(json->at, json->end);
    uint32_t code;
    *part = json->at;
    if (bytes > 0) {
        json->at += bytes;
    } else if (json->at == json->end) {
        ldar_json_fail(json, "the string has no end");
    } else if (*json->at == '\\') {
        json->at++;
        if (escape(json, &code)) {
            bytes = utf8_write(code, scratch);
            *part = scratch;
        } else {
            ldar_json_fail(json, "wrong escape in a string");
        }
    } else {
        bytes = utf8_length((const unsigned char *)json->at, (size_t)(json->end - json->at));
        if (bytes < 2) { /* a single byte that is not plain is a control character */
            bytes = 0;
            ldar_json_fail(json, "a string that is no UTF-8 text");
        }
        json->at += bytes;
    }
    return bytes;
}

int ldar_json_string(struct ldar_json *json, char *out, size_t capacity, size_t *length)
{
    if (!ldar_json_take(json, '"')) {
        return 0;
    }
    size_t used = 0;
    while (json->at == json->end || *json->at != '"') {
        char scratch[4];
        const char *part;
        size_t bytes = next_part(json, scratch, &part);
        if (bytes == 0) {
            return 0;
        }
        if (bytes >= capacity - used) {
            return ldar_json_fail(json, "a string that is too long");
        }
        memcpy(out + used, part, bytes);
        used += bytes;
    }
    json->at++;
    out[used] = '\0';
    *length = used;
    return 1;
}

/* ---- values of no interest ---- */

enum { MAX_DEPTH = 64, MAX_KEY = 64 };

static int skip_string(struct ldar_json *json)
{
    if (!ldar_json_take(json, '"')) {
        return 0;
    }
    while (json->at == json->end || *json->at != '"') {
        char scratch[4];
        const char *part;
        if (next_part(json, scratch, &part) == 0) {
            return 0;
        }
    }
    json->at++;
    return 1;
}

static size_t skip_digits(struct ldar_json *json)
{
    const char *begin = json->at;
    while (json->at < json->end && *json->at >= '0' && *json->at <= '9') {
        json->at++;
    }
    return (size_t)(json->at - begin);
}

static int skip_number(struct ldar_json *json)
{
    ldar_json_try(json, '-');
    const int zero = json->at < json->end && *json->at == '0';
    const size_t whole = skip_digits(json);
    if (whole == 0 || (zero && whole > 1)) {
        return ldar_json_fail(json, "a value expected");
    }
    if (json->at < json->end && *json->at == '.') {
        json->at++;
        if (skip_digits(json) == 0) {
            return ldar_json_fail(json, "a fraction without digits");
        }
    }
    if (json->at < json->end && (*json->at == 'e' || *json->at == 'E')) {
        json->at++;
        if (json->at < json->end && (*json->at == '+' || *json->at == '-')) {
            json->at++;
        }
        if (skip_digits(json) == 0) {
            return ldar_json_fail(json, "an exponent without digits");
        }
    }
    return 1;
}

static int skip_word(struct ldar_json *json)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i]);
        if ((size_t)(json->end - json->at) >= length && memcmp(json->at, words[i], length) == 0) {
            json->at += length;
            return 1;
        }
    }
    return ldar_json_fail(json, "a value expected");
}

static int skip_nested(struct ldar_json *json, int depth)
{
    pass_space(json);
    const char first = json->at < json->end ? *json->at : '\0';
    const char last = first == '{' ? '}' : ']';
    if (first == '"') {
        return skip_string(json);
    }
    if (first != '{' && first != '[') {
        return first == 't' || first == 'f' || first == 'n' ? skip_word(json) : skip_number(json);
    }
    if (depth == MAX_DEPTH) {
        return ldar_json_fail(json, "nested too deeply");
    }
    json->at++;
    if (ldar_json_try(json, last)) {
        return 1;
    }
    do {
        if (first == '{' && (!skip_string(json) || !ldar_json_take(json, ':'))) {
            return 0;
        }
        if (!skip_nested(json, depth + 1)) {
            return 0;
        }
    } while (ldar_json_try(json, ','));
    return ldar_json_take(json, last);
}

int ldar_json_skip(struct ldar_json *json)
{
    return skip_nested(json, 0);
}

int ldar_json_member(const struct ldar_json *object, const char *key, struct ldar_json *value)
{
    struct ldar_json json = *object;
    int found = 0;
    if (!ldar_json_try(&json, '{') || ldar_json_try(&json, '}')) {
        return 0;
    }
    do {
        struct ldar_json probe = json;
        char name[MAX_KEY];
        size_t length;
        const int matches = ldar_json_string(&probe, name, sizeof name, &length) && strcmp(name, key) == 0;
        skip_string(&json);
        ldar_json_take(&json, ':');
        if (matches && found++) {
            value->fault = "occurs twice";
            return 0;
        }
        if (matches) {
            *value = json;
        }
        ldar_json_skip(&json);
    } while (ldar_json_try(&json, ','));
    return found;
}

int ldar_json_integer(struct ldar_json *json, uint64_t *value)
{
    pass_space(json);
    const char *begin = json->at;
    *value = 0;
    while (json->at < json->end && *json->at >= '0' && *json->at <= '9') {
        *value = *value * 10 + (uint64_t)(*json->at++ - '0');
        if (*value > UINT64_C(1) << 53) {
            return ldar_json_fail(json, "an integer above 2^53");
        }
    }
    if (json->at == begin || (*begin == '0' && json->at - begin > 1)
        || (json->at < json->end && memchr(".eE", *json->at, 3))) {
        return ldar_json_fail(json, "a non-negative decimal integer expected");
    }
    return 1;
}
