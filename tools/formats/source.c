/* SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include "source_class.h"

#include <ldar/model.h>

#include <stdio.h>

void source_init(source *source, const struct source_class *class, const struct warnings *warnings)
{
    source->class = class;
    source->warnings = warnings ? *warnings : (struct warnings){0};
    source->progress = (struct source_progress){0};
    for (int i = 0; i < REMARK_KINDS; ++i) {
        source->remarks[i] = 0;
    }
}

void source_remark(source *source, enum remark remark, const char *input, const char *name)
{
    static const char *const texts[REMARK_KINDS] = {"is empty", "has the name of a record before it"};
    if (!source->warnings.warn || source->remarks[remark] > REMARK_LIMIT) {
        return;
    }
    char message[1000];
    if (source->remarks[remark]++ < REMARK_LIMIT) {
        snprintf(message, sizeof message, "%s: record \"%.200s\" %s", input, name, texts[remark]);
    } else {
        snprintf(message, sizeof message, "%s: more records of which each %s; no more is said of them", input,
                 texts[remark]);
    }
    source->warnings.warn(source->warnings.user, message);
}

size_t source_encode(source *source, const char *letters, size_t count, uint8_t *ids)
{
    size_t unknown = 0;
    const size_t legal = ldar_encode(letters, count, ids, &unknown);
    source->progress.nucleotides += legal;
    source->progress.unknown += unknown;
    return legal;
}

struct byte_name byte_name(char byte)
{
    const unsigned char value = (unsigned char)byte;
    struct byte_name name;
    if (value > 0x20 && value < 0x7f) {
        snprintf(name.text, sizeof name.text, "'%c'", byte);
    } else {
        snprintf(name.text, sizeof name.text, "0x%02x", value);
    }
    return name;
}

enum ldar_status source_next(source *source, struct record *record, struct ldar_error *error)
{
    *record = (struct record){0};
    struct record next = {.index = source->progress.records};
    const enum ldar_status status = source->class->next(source, &next, error);
    if (!status && next.name) {
        ++source->progress.records;
        *record = next;
    }
    return status;
}

enum ldar_status source_read(source *source, uint8_t *ids, size_t capacity, size_t *count, struct ldar_error *error)
{
    *count = 0;
    return source->class->read(source, ids, capacity, count, error);
}

struct source_progress source_progress(const source *source)
{
    struct source_progress progress = source->progress;
    source->class->advance(source, &progress.done, &progress.total);
    return progress;
}

void source_destroy(source *source)
{
    if (source) {
        source->class->destroy(source);
    }
}
