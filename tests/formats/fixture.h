/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_FORMATS_FIXTURE_H
#define LDAR_TESTS_FORMATS_FIXTURE_H

#include "formats/failure.h" /* before cmocka, which has a macro of the name */
#include "formats/source.h"
#include "kit/random.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- files ---- */

/* A folder of the test program's own; group set-up and tear-down. */
int folder_make(void **state);
int folder_remove(void **state);

/* The path of a file in the folder; static storage that eight calls share. */
const char *in_folder(const char *name);

/* Whether a file of that name is there, and how many files are. */
bool folder_has(const char *name);
size_t folder_count(void);

enum packing { PLAIN, GZIP, BGZF_PACKED, PACKINGS };

/* Writes a file; returns its path. */
const char *file_write(const char *name, const void *bytes, size_t count);
const char *file_write_text(const char *name, const char *text);
const char *file_pack(const char *name, const void *bytes, size_t count, enum packing packing);

/* The whole file with a NUL behind it; the caller frees it. */
char *file_read(const char *path, size_t *count);

/* ---- messages ---- */

struct heard {
    size_t count;
    char last[1000];
};

struct warnings hear(struct heard *heard);

/* Fails the test with the error's message unless the status is LDAR_OK. */
#define assert_ok(call, error)                                                                                         \
    do {                                                                                                               \
        if ((call) != LDAR_OK)                                                                                         \
            fail_msg("%s: %s", #call, (error)->message);                                                               \
    } while (0)

/* That `part` is in the message, which is one line. */
void assert_says(const char *message, const char *part);

/* ---- records ---- */

struct sequence {
    char *name;
    uint64_t start;
    uint8_t *ids;
    size_t length;
};

struct sequence_list {
    struct sequence *list;
    size_t count;
};

/* Appends a record of `length` ids; both are copied. */
void sequences_add(struct sequence_list *sequences, const char *name, uint64_t start, const uint8_t *ids,
                   size_t length);
void sequences_free(struct sequence_list *sequences);

/* All records of a source, read in pieces of random sizes. */
enum ldar_status read_all(source *source, struct random *random, struct sequence_list *sequences,
                          struct ldar_error *error);

/* Fails the test unless both hold the same records. */
void assert_same_sequences(const struct sequence_list *left, const struct sequence_list *right);

/* `length` symbols, mostly A, C, G and T. */
void random_symbols(struct random *random, uint8_t *ids, size_t length);

/* A source of records in memory, which it borrows. */
source *source_of(const struct sequence_list *sequences);

#endif
