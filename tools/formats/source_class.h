/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_SOURCE_CLASS_H
#define FORMATS_SOURCE_CLASS_H

#include "source.h"

/* What a kind of source provides, for source.c to call. A source of any kind begins with a struct source. */
struct source_class {
    enum ldar_status (*next)(source *source, struct record *record, struct ldar_error *error);
    enum ldar_status (*read)(source *source, uint8_t *ids, size_t capacity, size_t *count, struct ldar_error *error);
    void (*advance)(const source *source, uint64_t *done, uint64_t *total);
    void (*destroy)(source *source);
};

/* A remark is made this often; a file of a million empty records is not worth a million lines. */
enum { REMARK_LIMIT = 5 };

enum remark { REMARK_EMPTY, REMARK_REPEATED, REMARK_KINDS };

struct source {
    const struct source_class *class;
    struct warnings warnings;
    struct source_progress progress; /* done and total are asked of the class */
    size_t remarks[REMARK_KINDS];
};

void source_init(source *source, const struct source_class *class, const struct warnings *warnings);

/* Warns about `name` in the input `input`, unless the kind of remark was made often enough. */
void source_remark(source *source, enum remark remark, const char *input, const char *name);

/*
 * ldar_encode for a source: counts nucleotides and unknown letters. Returns how many letters were legal.
 */
size_t source_encode(source *source, const char *letters, size_t count, uint8_t *ids);

/* The byte as a person would name it: 'x', or a number. */
struct byte_name {
    char text[8];
};
struct byte_name byte_name(char byte);

#endif
