/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the N-th allocation, and the N-th call of the system, fail, for N = 1, 2, ... until an operation gets through.
 * Each failure must come out as an error, with nothing leaked and the old file untouched. The linker routes the
 * library's calls through the wrappers here (-Wl,--wrap).
 */
#include <ldar/model.h>
#include <ldar/tensors.h>

#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the wrappers ---- */

/* How many more calls succeed; then one fails, or all that follow when `lasting`. Negative: no failure. */
struct fault {
    long left;
    int lasting, hit;
};
static struct fault memory_fault = {-1, 0, 0}, system_fault = {-1, 0, 0};
static int system_errno, short_writes;
static long live_blocks;

static int fails(struct fault *fault)
{
    if (fault->left < 0) {
        return 0;
    }
    if (fault->left > 0) {
        fault->left--;
        return 0;
    }
    fault->hit = 1;
    if (!fault->lasting) {
        fault->left = -1;
    }
    return 1;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *block);

static void *counted(void *block)
{
    live_blocks += block != NULL;
    return block;
}

void *__wrap_malloc(size_t bytes)
{
    return fails(&memory_fault) ? NULL : counted(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails(&memory_fault) ? NULL : counted(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *block, size_t bytes)
{
    if (fails(&memory_fault)) {
        return NULL;
    }
    live_blocks += block == NULL;
    return __real_realloc(block, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return fails(&memory_fault) ? NULL : counted(__real_aligned_alloc(alignment, bytes));
}

void __wrap_free(void *block)
{
    live_blocks -= block != NULL;
    __real_free(block);
}

static int system_fails(void)
{
    if (fails(&system_fault)) {
        errno = system_errno;
        return 1;
    }
    return 0;
}

int __real_open64(const char *path, int flags, ...);
int __real_openat64(int folder, const char *path, int flags, ...);
ssize_t __real_read(int file, void *data, size_t bytes);
ssize_t __real_write(int file, const void *data, size_t bytes);
ssize_t __real_pwrite64(int file, const void *data, size_t bytes, off_t offset);
int __real_fsync(int file);
int __real_close(int file);
int __real_renameat(int from_folder, const char *from, int to_folder, const char *to);
void *__real_mmap64(void *address, size_t bytes, int protection, int flags, int file, off_t offset);
int __real_fstat64(int file, struct stat *status);

int __wrap_open64(const char *path, int flags, ...)
{
    return system_fails() ? -1 : __real_open64(path, flags);
}

int __wrap_openat64(int folder, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return system_fails() ? -1 : __real_openat64(folder, path, flags, mode);
}

ssize_t __wrap_read(int file, void *data, size_t bytes)
{
    return system_fails() ? -1 : __real_read(file, data, bytes);
}

/* With short_writes, every second call is interrupted and the others take a few bytes only. */
static int disturb(size_t *bytes)
{
    static int call;
    if (short_writes && ++call % 2) {
        errno = EINTR;
        return 1;
    }
    if (short_writes && *bytes > 1000) {
        *bytes = 1000;
    }
    return 0;
}

ssize_t __wrap_write(int file, const void *data, size_t bytes)
{
    return system_fails() || disturb(&bytes) ? -1 : __real_write(file, data, bytes);
}

ssize_t __wrap_pwrite64(int file, const void *data, size_t bytes, off_t offset)
{
    return system_fails() || disturb(&bytes) ? -1 : __real_pwrite64(file, data, bytes, offset);
}

int __wrap_fsync(int file)
{
    return system_fails() ? -1 : __real_fsync(file);
}

/* A close that fails has closed all the same, as on Linux; what was only read loses nothing by it. */
int __wrap_close(int file)
{
    const int written = (fcntl(file, F_GETFL) & O_ACCMODE) != O_RDONLY;
    int result = __real_close(file);
    return written && system_fails() ? -1 : result;
}

int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return system_fails() ? -1 : __real_renameat(from_folder, from, to_folder, to);
}

void *__wrap_mmap64(void *address, size_t bytes, int protection, int flags, int file, off_t offset)
{
    return system_fails() ? MAP_FAILED : __real_mmap64(address, bytes, protection, flags, file, offset);
}

int __wrap_fstat64(int file, struct stat *status)
{
    return system_fails() ? -1 : __real_fstat64(file, status);
}

/* ---- the operations ---- */

/* The files' names, made before anything may fail. */
static char published[1024], reference[1024], output[1024];
static ldar_model *saved_model;

static enum ldar_status do_create(struct ldar_error *error)
{
    struct ldar_config config;
    ldar_model *model = NULL;
    enum ldar_status status = ldar_config_preset("2m", &config, error);
    if (!status) {
        status = ldar_model_create(&config, 1, &model, error);
    }
    ldar_model_destroy(model);
    return status;
}

static enum ldar_status do_load(struct ldar_error *error)
{
    ldar_model *model;
    enum ldar_status status = ldar_model_load(reference, &model, error);
    ldar_model_destroy(model);
    return status;
}

static enum ldar_status do_peek(struct ldar_error *error)
{
    struct ldar_model_info info;
    return ldar_model_peek(reference, &info, error);
}

static enum ldar_status do_import(struct ldar_error *error)
{
    ldar_model *model;
    enum ldar_status status = ldar_model_import(published, NULL, &model, error);
    ldar_model_destroy(model);
    return status;
}

static enum ldar_status do_save(struct ldar_error *error)
{
    return ldar_model_save(saved_model, LDAR_BF16, output, error);
}

static const struct {
    const char *name;
    enum ldar_status (*run)(struct ldar_error *error);
    int system; /* its calls of the system are ours to fail: libzip's are not */
} operations[] = {
    {"create", do_create, 0}, {"load", do_load, 1},     {"peek", do_peek, 1},
    {"save", do_save, 1},     {"import", do_import, 0},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

/* ---- the loops ---- */

static void setup_files(void)
{
    struct ldar_error error;
    snprintf(published, sizeof published, "%s", source_file("tests/io/data/published.pt"));
    snprintf(reference, sizeof reference, "%s", source_file("tests/io/data/reference.safetensors"));
    snprintf(output, sizeof output, "%s", scratch("saved"));
    assert_int_equal(ldar_model_load(reference, &saved_model, &error), LDAR_OK);
}

static int group_setup(void **state)
{
    (void)state;
    setup_files();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    ldar_model_destroy(saved_model);
    return 0;
}

/* Runs the operation with the N-th call of a kind failing. Returns 1 when it got through untouched. */
static int run_once(size_t operation, struct fault *fault, long n, int lasting)
{
    struct ldar_error error = {LDAR_OK, ""};
    const long blocks = live_blocks;
    const size_t descriptors = count_descriptors();
    *fault = (struct fault){n, lasting, 0};
    enum ldar_status status = operations[operation].run(&error);
    const int hit = fault->hit;
    *fault = (struct fault){-1, 0, 0};
    if (hit != (status != LDAR_OK) || (hit && (error.status != status || !error.message[0]))) {
        fail_msg("%s, call %ld: %d \"%s\"", operations[operation].name, n, (int)status, error.message);
    }
    if (live_blocks != blocks || count_descriptors() != descriptors) {
        fail_msg("%s, call %ld: %ld blocks and %zd descriptors leaked (%s)", operations[operation].name, n,
                 live_blocks - blocks, (ssize_t)(count_descriptors() - descriptors), error.message);
    }
    return !hit;
}

static void test_allocations(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPERATIONS; i++) {
        for (int lasting = 0; lasting < 2; lasting++) {
            long n = 0;
            while (!run_once(i, &memory_fault, n, lasting)) {
                n++;
            }
            print_message("%s: %ld allocations\n", operations[i].name, n);
            assert_true(n > 2);
        }
    }
}

static void test_system(void **state)
{
    (void)state;
    system_errno = EIO;
    for (size_t i = 0; i < OPERATIONS; i++) {
        long n = 0;
        while (operations[i].system && !run_once(i, &system_fault, n, 1)) {
            n++;
        }
        print_message("%s: %ld calls\n", operations[i].name, n);
        assert_true(n > 2 || !operations[i].system);
    }
}

/* A save that fails leaves the old file and nothing else, whatever fails and whyever. */
static void test_save(void **state)
{
    static const int reasons[] = {EIO, ENOSPC, EDQUOT, EROFS};
    struct ldar_error error;
    (void)state;
    assert_int_equal(ldar_model_save(saved_model, LDAR_BF16, scratch("expected"), &error), LDAR_OK);
    struct bytes expected = read_file(scratch("expected"));
    for (size_t r = 0; r < sizeof reasons / sizeof *reasons; r++) {
        int through = 0;
        for (long n = 0; !through; n++) {
            write_file(output, "the old one", 11);
            const size_t files = count_files(scratch_folder());
            system_errno = reasons[r];
            system_fault = (struct fault){n, 0, 0};
            enum ldar_status status = ldar_model_save(saved_model, LDAR_BF16, output, &error);
            through = !system_fault.hit;
            system_fault = (struct fault){-1, 0, 0};
            assert_int_equal(count_files(scratch_folder()), files);
            struct bytes got = read_file(output);
            const int old = got.count == 11 && memcmp(got.data, "the old one", 11) == 0;
            const int new = got.count == expected.count &&memcmp(got.data, expected.data, got.count) == 0;
            assert_true(through ? new &&status == LDAR_OK : old || new);
            if (!through) {
                assert_int_equal(status, LDAR_ERROR_IO);
                assert_non_null(strstr(error.message, output));
            }
            free(got.data);
        }
    }
    short_writes = 1;
    assert_int_equal(ldar_model_save(saved_model, LDAR_BF16, output, &error), LDAR_OK);
    short_writes = 0;
    struct bytes got = read_file(output);
    assert_int_equal(got.count, expected.count);
    assert_memory_equal(got.data, expected.data, got.count);
    free(got.data);
    free(expected.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_system),
        cmocka_unit_test(test_save),
    };
    return cmocka_run_group_tests_name("io.failure", tests, group_setup, group_teardown);
}
