/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/source_class.h"

#include <ldar/model.h>

#include <htslib/bgzf.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- files ---- */

static char folder[] = "/tmp/ldar-formats-XXXXXX";

int folder_make(void **state)
{
    (void)state;
    printf("seed %llu\n", (unsigned long long)random_seed());
    return mkdtemp(folder) ? 0 : -1;
}

/* Calls `visit` for each file of the folder; returns how many there are. */
static size_t for_each_file(void (*visit)(const char *path))
{
    DIR *directory = opendir(folder);
    size_t count = 0;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        if (entry->d_name[0] != '.') {
            ++count;
            if (visit) {
                visit(in_folder(entry->d_name));
            }
        }
    }
    if (directory) {
        closedir(directory);
    }
    return count;
}

static void remove_file(const char *path)
{
    remove(path);
}

int folder_remove(void **state)
{
    (void)state;
    for_each_file(remove_file);
    return rmdir(folder);
}

const char *in_folder(const char *name)
{
    static char paths[8][512];
    static size_t next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

bool folder_has(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

size_t folder_count(void)
{
    return for_each_file(NULL);
}

const char *file_write(const char *name, const void *bytes, size_t count)
{
    const char *path = in_folder(name);
    remove(path); /* ext4 syncs a file that is truncated and written anew */
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
    return path;
}

const char *file_write_text(const char *name, const char *text)
{
    return file_write(name, text, strlen(text));
}

const char *file_pack(const char *name, const void *bytes, size_t count, enum packing packing)
{
    if (packing == PLAIN) {
        return file_write(name, bytes, count);
    }
    const char *path = in_folder(name);
    remove(path);
    BGZF *file = bgzf_open(path, packing == GZIP ? "wg" : "w");
    assert_non_null(file);
    assert_int_equal(bgzf_write(file, bytes, count), count);
    assert_int_equal(bgzf_close(file), 0);
    return path;
}

char *file_read(const char *path, size_t *count)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long size = ftell(file);
    rewind(file);
    char *bytes = malloc((size_t)size + 1);
    assert_non_null(bytes);
    *count = fread(bytes, 1, (size_t)size, file);
    assert_int_equal(*count, size);
    bytes[*count] = '\0';
    fclose(file);
    return bytes;
}

/* ---- messages ---- */

static void remember(void *user, const char *message)
{
    struct heard *heard = user;
    ++heard->count;
    snprintf(heard->last, sizeof heard->last, "%s", message);
    assert_null(strchr(message, '\n'));
}

struct warnings hear(struct heard *heard)
{
    return (struct warnings){remember, heard};
}

void assert_says(const char *message, const char *part)
{
    if (!strstr(message, part)) {
        fail_msg("\"%s\" does not say \"%s\"", message, part);
    }
    assert_null(strchr(message, '\n'));
}

/* ---- records ---- */

void sequences_add(struct sequence_list *sequences, const char *name, uint64_t start, const uint8_t *ids, size_t length)
{
    sequences->list = realloc(sequences->list, (sequences->count + 1) * sizeof *sequences->list);
    assert_non_null(sequences->list);
    struct sequence *sequence = &sequences->list[sequences->count++];
    *sequence = (struct sequence){strdup(name), start, malloc(length + 1), length};
    assert_non_null(sequence->name);
    assert_non_null(sequence->ids);
    if (length > 0) {
        memcpy(sequence->ids, ids, length);
    }
}

void sequences_free(struct sequence_list *sequences)
{
    for (size_t i = 0; i < sequences->count; ++i) {
        free(sequences->list[i].name);
        free(sequences->list[i].ids);
    }
    free(sequences->list);
    *sequences = (struct sequence_list){0};
}

static enum ldar_status read_record(source *source, struct random *random, struct sequence *sequence,
                                    struct ldar_error *error)
{
    const size_t pieces = random_below(random, 2) ? 100 : 100000;
    for (size_t capacity = 0;;) {
        const size_t wanted = 1 + random_below(random, pieces);
        size_t got;
        if (sequence->length + wanted > capacity) {
            capacity = 2 * (sequence->length + wanted);
            sequence->ids = realloc(sequence->ids, capacity);
            assert_non_null(sequence->ids);
        }
        const enum ldar_status status = source_read(source, sequence->ids + sequence->length, wanted, &got, error);
        if (status) {
            return status;
        }
        sequence->length += got;
        if (got < wanted) {
            return LDAR_OK;
        }
    }
}

enum ldar_status read_all(source *source, struct random *random, struct sequence_list *sequences,
                          struct ldar_error *error)
{
    for (;;) {
        struct record record;
        enum ldar_status status = source_next(source, &record, error);
        if (status || !record.name) {
            return status;
        }
        assert_int_equal(record.index, sequences->count);
        sequences_add(sequences, record.name, record.start, NULL, 0);
        struct sequence *sequence = &sequences->list[sequences->count - 1];
        status = read_record(source, random, sequence, error);
        if (status) {
            return status;
        }
        if (record.length != SOURCE_LENGTH_UNKNOWN) {
            assert_int_equal(record.length, sequence->length);
        }
    }
}

void assert_same_sequences(const struct sequence_list *left, const struct sequence_list *right)
{
    assert_int_equal(left->count, right->count);
    for (size_t i = 0; i < left->count; ++i) {
        assert_string_equal(left->list[i].name, right->list[i].name);
        assert_int_equal(left->list[i].start, right->list[i].start);
        assert_int_equal(left->list[i].length, right->list[i].length);
        assert_memory_equal(left->list[i].ids, right->list[i].ids, left->list[i].length);
    }
}

void random_symbols(struct random *random, uint8_t *ids, size_t length)
{
    for (size_t i = 0; i < length; ++i) {
        ids[i] = (uint8_t)(random_below(random, 50) ? random_below(random, 4) : LDAR_N);
    }
}

struct memory_source {
    source base;
    const struct sequence_list *sequences;
    size_t next, at;
};

static enum ldar_status memory_next(source *base, struct record *record, struct ldar_error *error)
{
    (void)error;
    struct memory_source *memory = (struct memory_source *)base;
    memory->at = 0;
    if (memory->next < memory->sequences->count) {
        const struct sequence *sequence = &memory->sequences->list[memory->next++];
        record->name = sequence->name;
        record->start = sequence->start;
        record->length = memory->next % 2 ? SOURCE_LENGTH_UNKNOWN : sequence->length;
    }
    return LDAR_OK;
}

static enum ldar_status memory_read(source *base, uint8_t *ids, size_t capacity, size_t *count,
                                    struct ldar_error *error)
{
    (void)error;
    struct memory_source *memory = (struct memory_source *)base;
    const struct sequence *sequence = &memory->sequences->list[memory->next - 1];
    const size_t left = sequence->length - memory->at;
    *count = left < capacity ? left : capacity;
    memcpy(ids, sequence->ids + memory->at, *count);
    memory->at += *count;
    return LDAR_OK;
}

static void memory_advance(const source *base, uint64_t *done, uint64_t *total)
{
    *done = ((const struct memory_source *)base)->next;
    *total = ((const struct memory_source *)base)->sequences->count;
}

static void memory_destroy(source *base)
{
    free(base);
}

source *source_of(const struct sequence_list *sequences)
{
    static const struct source_class class = {memory_next, memory_read, memory_advance, memory_destroy};
    struct memory_source *memory = calloc(1, sizeof *memory);
    assert_non_null(memory);
    source_init(&memory->base, &class, NULL);
    memory->sequences = sequences;
    return &memory->base;
}
