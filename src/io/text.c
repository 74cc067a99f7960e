/* SPDX-License-Identifier: Apache-2.0 */
#include "io/text.h"

#include <stdarg.h>
#include <stdio.h>

void ldar_text_add(struct ldar_text *text, const char *format, ...)
{
    size_t room = text->length < text->capacity ? text->capacity - text->length : 0;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(room ? text->out + text->length : NULL, room, format, arguments);
    va_end(arguments);
    text->length += length > 0 ? (size_t)length : 0;
}

void ldar_text_add_json(struct ldar_text *text, const char *string)
{
    ldar_text_add(text, "\"");
    for (; *string; string++) {
        if (*string == '"' || *string == '\\') {
            ldar_text_add(text, "\\%c", *string);
        } else if ((unsigned char)*string < 0x20) {
            ldar_text_add(text, "\\u%04x", (unsigned)*string);
        } else {
            ldar_text_add(text, "%c", *string);
        }
    }
    ldar_text_add(text, "\"");
}
