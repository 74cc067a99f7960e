/* SPDX-License-Identifier: Apache-2.0 */
#include "members.h"
#include "failure.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX_BYTES = 1 << 24 };

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* Behind the string whose opening quote `at` stands on; at the NUL when it does not end. */
static const char *skip_string(const char *at)
{
    for (++at; *at && *at != '"'; ++at) {
        at += at[0] == '\\' && at[1];
    }
    return at + (*at == '"');
}

/* Behind a value: a string, something in brackets, or a word. */
static const char *skip_value(const char *at)
{
    size_t depth = 0;
    do {
        at = skip_blanks(at);
        if (*at == '"') {
            at = skip_string(at);
        } else if (*at == '{' || *at == '[') {
            ++depth;
            ++at;
        } else if (*at == '}' || *at == ']') {
            depth -= depth > 0;
            ++at;
        } else if (*at) {
            at += depth > 0 ? 1 : strcspn(at, ",}] \t\r\n");
        }
    } while (depth > 0 && *at);
    return at;
}

const char *member_find(const char *text, const char *key)
{
    const size_t length = strlen(key);
    const char *at = skip_blanks(text);
    if (*at++ != '{') {
        return NULL;
    }
    for (at = skip_blanks(at); *at == '"'; at = skip_blanks(at + 1)) {
        const char *name = at + 1, *end = skip_string(at);
        at = skip_blanks(end);
        if (*at != ':') {
            return NULL;
        }
        at = skip_blanks(at + 1);
        if ((size_t)(end - name) == length + 1 && memcmp(name, key, length) == 0) {
            return at;
        }
        at = skip_blanks(skip_value(at));
        if (*at != ',') {
            return NULL;
        }
    }
    return NULL;
}

bool member_number(const char *text, const char *key, double *value)
{
    const char *at = member_find(text, key);
    char *end;
    if (!at || !*at || !strchr("-0123456789", *at)) {
        return false;
    }
    *value = strtod(at, &end);
    return end > at;
}

/* ---- strings ---- */

static char *put_utf8(char *to, unsigned code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/* What the escape behind a backslash stands for; *at is moved behind it. */
static char *put_escape(char *to, const char **at)
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    const char letter = *(*at)++;
    const char *known = strchr(letters, letter);
    unsigned code = 0;
    if (letter != 'u') {
        *to++ = known ? meanings[known - letters] : letter;
        return to;
    }
    for (int i = 0; i < 4 && **at && strchr("0123456789abcdefABCDEF", **at); ++i, ++*at) {
        const char digit = **at;
        code = 16 * code + (unsigned)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
    }
    return put_utf8(to, code);
}

/* The string whose opening quote *at stands on, which is moved behind it. */
static char *read_string(const char **at)
{
    const char *from = *at + 1, *end = skip_string(*at);
    char *string = malloc((size_t)(end - *at) + 1), *to = string;
    *at = end;
    if (!string || end[-1] != '"' || end - from < 1) {
        free(string);
        return NULL;
    }
    while (from < end - 1) {
        if (*from == '\\') {
            ++from;
            to = put_escape(to, &from);
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
    return string;
}

char *member_string(const char *text, const char *key)
{
    const char *at = member_find(text, key);
    return at && *at == '"' ? read_string(&at) : NULL;
}

void member_strings_free(char **strings)
{
    for (size_t i = 0; strings && strings[i]; ++i) {
        free(strings[i]);
    }
    free(strings);
}

char **member_strings(const char *text, const char *key, size_t *count)
{
    const char *at = member_find(text, key);
    char **strings = at && *at == '[' ? calloc(1, sizeof *strings) : NULL;
    *count = 0;
    if (!strings) {
        return NULL;
    }
    for (at = skip_blanks(at + 1); *at == '"'; at = skip_blanks(at)) {
        char **larger = realloc(strings, (*count + 2) * sizeof *strings);
        if (!larger) {
            break;
        }
        strings = larger;
        strings[*count + 1] = NULL;
        strings[*count] = read_string(&at);
        if (!strings[*count]) {
            break;
        }
        ++*count;
        at = skip_blanks(at);
        at += *at == ',';
    }
    if (*at != ']') {
        member_strings_free(strings);
        return NULL;
    }
    return strings;
}

char *members_read(const char *path, struct ldar_error *error)
{
    FILE *in = fopen(path, "rb");
    char *text = in ? malloc(FILE_MAX_BYTES + 1) : NULL;
    if (!in)
        fail(error, LDAR_ERROR_IO, "%s: cannot be read: %s", path, strerror(errno));
    else if (!text)
        fail_memory(error, path, "its text");
    else
        text[fread(text, 1, FILE_MAX_BYTES, in)] = '\0';
    if (in)
        fclose(in);
    return text;
}
