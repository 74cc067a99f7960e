/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_IO_FILES_H
#define LDAR_TESTS_IO_FILES_H

#include <ldar/model.h>

#include <stddef.h>
#include <stdint.h>

/* Bytes that grow. Zeroed is empty; free(data) ends it. Running out of memory ends the process. */
struct bytes {
    unsigned char *data;
    size_t count;
};
void add_bytes(struct bytes *bytes, const void *data, size_t count);
void add_text(struct bytes *bytes, const char *text);
void add_little(struct bytes *bytes, uint64_t number, int width);

/* A folder of this process, made on the first call and removed with its files at exit. */
const char *scratch_folder(void);

/* The name of a file in it; static storage, valid for the next 8 calls. */
const char *scratch(const char *name);

/* A file of the source tree, likewise. */
const char *source_file(const char *name);

void write_file(const char *path, const void *data, size_t count);
struct bytes read_file(const char *path);

/* A safetensors file: this header, then `data_bytes` bytes that count up from 0. */
struct bytes safetensors(const char *header, size_t data_bytes);

/* Models from and to files; a failure is the running cmocka test's. */
ldar_model *load_model(const char *path);
void save_model(const ldar_model *model, enum ldar_dtype dtype, const char *path);

/* Fails the running cmocka test unless both files hold the same bytes. */
void expect_equal_files(const char *a, const char *b);

/* Files in a folder, "." and ".." not counted. */
size_t count_files(const char *folder);

/* Descriptors that this process has open. */
size_t count_descriptors(void);

/* Fails the running cmocka test unless the call failed with `status` and one line that holds `words`. */
void expect_failure(enum ldar_status got, const struct ldar_error *error, enum ldar_status status, const char *words);

#endif
