/* SPDX-License-Identifier: Apache-2.0 */
#include "files.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { NAMES = 8, NAME = 1024 };

static void *must(void *pointer)
{
    if (!pointer) {
        perror("test");
        exit(1);
    }
    return pointer;
}

void add_bytes(struct bytes *bytes, const void *data, size_t count)
{
    bytes->data = must(realloc(bytes->data, bytes->count + count + 1));
    if (count > 0) {
        memcpy(bytes->data + bytes->count, data, count);
    }
    bytes->count += count;
}

void add_text(struct bytes *bytes, const char *text)
{
    add_bytes(bytes, text, strlen(text));
}

void add_little(struct bytes *bytes, uint64_t number, int width)
{
    for (int i = 0; i < width; i++) {
        unsigned char byte = (unsigned char)(number >> 8 * i);
        add_bytes(bytes, &byte, 1);
    }
}

static char folder[] = "/tmp/ldar-test-XXXXXX";
static pid_t folder_owner;

static void remove_folder(void)
{
    DIR *listing = getpid() == folder_owner ? opendir(folder) : NULL;
    if (!listing) {
        return;
    }
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        unlinkat(dirfd(listing), entry->d_name, 0);
    }
    closedir(listing);
    rmdir(folder);
}

const char *scratch_folder(void)
{
    if (folder_owner == 0) {
        must(mkdtemp(folder));
        folder_owner = getpid();
        atexit(remove_folder);
    }
    return folder;
}

static const char *join(const char *front, const char *name)
{
    static char names[NAMES][NAME];
    static int next;
    char *out = names[next++ % NAMES];
    snprintf(out, NAME, "%s/%s", front, name);
    return out;
}

const char *scratch(const char *name)
{
    return join(scratch_folder(), name);
}

const char *source_file(const char *name)
{
    const char *source = getenv("LDAR_SOURCE_DIR");
    return join(source ? source : ".", name);
}

void write_file(const char *path, const void *data, size_t count)
{
    FILE *file = must(fopen(path, "wb"));
    if (fwrite(data, 1, count, file) != count || fclose(file) != 0) {
        must(NULL);
    }
}

struct bytes read_file(const char *path)
{
    FILE *file = must(fopen(path, "rb"));
    struct stat status;
    if (fstat(fileno(file), &status) != 0) {
        must(NULL);
    }
    struct bytes bytes = {.count = (size_t)status.st_size};
    bytes.data = must(malloc(bytes.count + 1));
    if (fread(bytes.data, 1, bytes.count, file) != bytes.count) {
        must(NULL);
    }
    fclose(file);
    return bytes;
}

struct bytes safetensors(const char *header, size_t data_bytes)
{
    struct bytes file = {NULL, 0};
    add_little(&file, strlen(header), 8);
    add_text(&file, header);
    unsigned char *data = must(malloc(data_bytes + 1));
    for (size_t i = 0; i < data_bytes; i++) {
        data[i] = (unsigned char)i;
    }
    add_bytes(&file, data, data_bytes);
    free(data);
    return file;
}

size_t count_files(const char *path)
{
    size_t count = 0;
    DIR *listing = must(opendir(path));
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(listing);
    return count;
}

size_t count_descriptors(void)
{
    return count_files("/proc/self/fd");
}

void expect_failure(enum ldar_status got, const struct ldar_error *error, enum ldar_status status, const char *words)
{
    if (got != status || error->status != status || !strstr(error->message, words) || strchr(error->message, '\n')) {
        fail_msg("status %d (%s), message \"%s\"; expected %d and \"%s\"", (int)got, ldar_status_string(got),
                 got ? error->message : "", (int)status, words);
    }
}

ldar_model *load_model(const char *path)
{
    struct ldar_error error;
    ldar_model *model;
    if (ldar_model_load(path, &model, &error) != LDAR_OK)
        fail_msg("%s", error.message);
    return model;
}

void save_model(const ldar_model *model, enum ldar_dtype dtype, const char *path)
{
    struct ldar_error error;
    if (ldar_model_save(model, dtype, path, &error) != LDAR_OK)
        fail_msg("%s", error.message);
}

void expect_equal_files(const char *a, const char *b)
{
    struct bytes x = read_file(a), y = read_file(b);
    assert_int_equal(x.count, y.count);
    assert_memory_equal(x.data, y.data, x.count);
    free(x.data);
    free(y.data);
}
