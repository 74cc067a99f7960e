/* SPDX-License-Identifier: Apache-2.0 */
#include "provenance.h"

#include "failure.h"
#include "output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Text that grows; `bytes` NULL after memory could not be had, and then for good. */
struct text {
    char *bytes;
    size_t length, capacity;
};

static struct text text_begin(void)
{
    struct text text = {.capacity = 256};
    text.bytes = malloc(text.capacity);
    return text;
}

static void append(struct text *text, const char *bytes, size_t count)
{
    while (text->bytes && count >= text->capacity - text->length) {
        char *larger = text->capacity > SIZE_MAX / 2 ? NULL : realloc(text->bytes, 2 * text->capacity);
        if (!larger) {
            free(text->bytes);
        }
        text->bytes = larger;
        text->capacity *= 2;
    }
    if (text->bytes) {
        memcpy(text->bytes + text->length, bytes, count);
        text->length += count;
    }
}

static void append_string(struct text *text, const char *string)
{
    append(text, string, strlen(string));
}

static char *text_end(struct text *text)
{
    append(text, "", 1);
    return text->bytes;
}

/* ---- the command line ---- */

static void append_argument(struct text *text, const char *argument)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";
    if (*argument && argument[strspn(argument, plain)] == '\0') {
        append_string(text, argument);
        return;
    }
    append(text, "'", 1);
    for (; *argument; ++argument) {
        if (*argument == '\'') {
            append_string(text, "'\\''");
        } else {
            append(text, argument, 1);
        }
    }
    append(text, "'", 1);
}

char *provenance_command(int argc, char *const *argv)
{
    struct text text = text_begin();
    for (int i = 0; i < argc; ++i) {
        append(&text, " ", i > 0);
        append_argument(&text, argv[i]);
    }
    return text_end(&text);
}

char *provenance_line(const struct provenance *provenance)
{
    struct text text = text_begin();
    append_string(&text, "ldar ");
    append_string(&text, provenance->version);
    append_string(&text, "; ");
    append_string(&text, provenance->command);
    if (provenance->model) {
        append_string(&text, "; model ");
        append_string(&text, provenance->model);
    }
    if (provenance->sha256 && *provenance->sha256) {
        append_string(&text, " sha256 ");
        append_string(&text, provenance->sha256);
    }
    char *line = text_end(&text);
    for (unsigned char *c = (unsigned char *)line; c && *c; ++c) {
        if (*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    return line;
}

/* ---- JSON ---- */

size_t utf8_length(const char *bytes)
{
    const unsigned char *text = (const unsigned char *)bytes;
    const unsigned char lead = text[0];
    const size_t length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < length; ++i) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    const int overlong = (lead == 0xe0 && text[1] < 0xa0) || (lead == 0xf0 && text[1] < 0x90);
    const int surrogate = lead == 0xed && text[1] >= 0xa0;
    const int beyond = lead == 0xf4 && text[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : length;
}

static void append_json(struct text *text, const char *string)
{
    const unsigned char *at = (const unsigned char *)string;
    append(text, "\"", 1);
    while (*at) {
        const size_t length = utf8_length((const char *)at);
        char escape[8];
        if (length == 0) {
            append_string(text, "\\ufffd");
        } else if (*at < 0x20 || *at == 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", *at);
            append_string(text, escape);
        } else {
            append(text, "\\", *at == '"' || *at == '\\');
            append(text, (const char *)at, length);
        }
        at += length ? length : 1;
    }
    append(text, "\"", 1);
}

static void append_member(struct text *text, const char *key, const char *value)
{
    append_json(text, key);
    append_string(text, ": ");
    if (value && *value) {
        append_json(text, value);
    } else {
        append_string(text, "null");
    }
}

char *quote_json(const char *string)
{
    struct text text = text_begin();
    append_json(&text, string);
    return text_end(&text);
}

char *provenance_json(const struct provenance *provenance)
{
    struct text text = text_begin();
    append_member(&text, "version", provenance->version);
    append_string(&text, ", ");
    append_member(&text, "command", provenance->command);
    append_string(&text, ", ");
    append_member(&text, "model", provenance->model);
    append_string(&text, ", ");
    append_member(&text, "sha256", provenance->sha256);
    return text_end(&text);
}

/* ---- a file ---- */

static enum ldar_status write_members(output *output, const char *members, struct ldar_error *error)
{
    enum ldar_status status = output_write(output, "{", 1, error);
    if (!status) {
        status = output_write(output, members, strlen(members), error);
    }
    return status ? status : output_write(output, "}\n", 2, error);
}

enum ldar_status provenance_begin_beside(const char *path, const struct provenance *provenance, output **side,
                                         struct ldar_error *error)
{
    *side = NULL;
    if (!output_has_neighbour(path)) {
        return LDAR_OK;
    }
    char *neighbour = output_neighbour(path);
    char *members = provenance_json(provenance);
    enum ldar_status status =
        neighbour && members ? output_create(neighbour, side, error) : fail_memory(error, path, "its provenance");
    if (!status) {
        status = write_members(*side, members, error);
    }
    if (status) {
        output_abandon(*side);
        *side = NULL;
    }
    free(neighbour);
    free(members);
    return status;
}
