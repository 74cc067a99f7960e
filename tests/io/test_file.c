/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/file.h>

#include "files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void expect_contents(const char *path, const char *text)
{
    struct bytes bytes = read_file(path);
    assert_int_equal(bytes.count, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.count);
    free(bytes.data);
}

static ldar_file *create(const char *path)
{
    struct ldar_error error;
    ldar_file *file;
    assert_int_equal(ldar_file_create(path, &file, &error), LDAR_OK);
    return file;
}

static void put(ldar_file *file, const char *text)
{
    struct ldar_error error;
    assert_int_equal(ldar_file_write(file, text, strlen(text), &error), LDAR_OK);
}

static void test_commit(void **state)
{
    const char *path = scratch("a file \xc3\xa9");
    struct ldar_error error;
    (void)state;
    write_file(path, "old", 3);
    ldar_file *file = create(path);
    put(file, "one ");
    put(file, "two");
    expect_contents(path, "old");
    assert_int_equal(ldar_file_length(file), 7);
    assert_int_equal(ldar_file_rewrite(file, 2, "E", 1, &error), LDAR_OK);
    expect_failure(ldar_file_rewrite(file, 6, "xx", 2, &error), &error, LDAR_ERROR_ARGUMENT, "written over");
    expect_failure(ldar_file_rewrite(file, UINT64_MAX, "xx", 2, &error), &error, LDAR_ERROR_ARGUMENT, "written over");
    put(file, "!");
    assert_int_equal(ldar_file_commit(file, &error), LDAR_OK);
    expect_contents(path, "onE two!");
}

/* What is synced is whole under its temporary name, and may still be committed or abandoned, or grow. */
static void test_sync(void **state)
{
    const char *path = scratch("synced");
    struct ldar_error error;
    (void)state;
    ldar_file *file = create(path);
    put(file, "one ");
    assert_int_equal(ldar_file_sync(file, &error), LDAR_OK);
    expect_contents(ldar_file_temporary(file), "one ");
    assert_int_not_equal(access(path, F_OK), 0);
    put(file, "two");
    assert_int_equal(ldar_file_sync(file, &error), LDAR_OK);
    assert_int_equal(ldar_file_commit(file, &error), LDAR_OK);
    expect_contents(path, "one two");
    size_t before = count_files(scratch_folder());
    file = create(path);
    put(file, "other");
    assert_int_equal(ldar_file_sync(file, &error), LDAR_OK);
    ldar_file_abandon(file);
    expect_contents(path, "one two");
    assert_int_equal(count_files(scratch_folder()), before);
}

static void test_abandon(void **state)
{
    const char *path = scratch("abandoned");
    (void)state;
    size_t before = count_files(scratch_folder()), descriptors = count_descriptors();
    ldar_file *file = create(path);
    put(file, "text");
    assert_int_equal(count_files(scratch_folder()), before + 1);
    ldar_file_abandon(file);
    ldar_file_abandon(NULL);
    assert_int_equal(count_files(scratch_folder()), before);
    assert_int_equal(count_descriptors(), descriptors);
}

/* Pieces around the size of the buffer arrive whole and in order. */
static void test_pieces(void **state)
{
    static const size_t sizes[] = {1, 65535, 1, 65536, 65537, 0, 3, 65533, 200000, 17};
    static unsigned char piece[200000];
    const char *path = scratch("pieces");
    struct ldar_error error;
    struct bytes expected = {NULL, 0};
    (void)state;
    ldar_file *file = create(path);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t begin = expected.count;
        for (size_t k = 0; k < sizes[i]; k++)
            piece[k] = (unsigned char)(k * 7 + i);
        add_bytes(&expected, piece, sizes[i]);
        assert_int_equal(ldar_file_write(file, expected.data + begin, sizes[i], &error), LDAR_OK);
    }
    assert_int_equal(ldar_file_length(file), expected.count);
    assert_int_equal(ldar_file_commit(file, &error), LDAR_OK);
    struct bytes got = read_file(path);
    assert_int_equal(got.count, expected.count);
    assert_memory_equal(got.data, expected.data, got.count);
    free(got.data);
    free(expected.data);
}

static void test_places(void **state)
{
    struct ldar_error error;
    struct stat status;
    ldar_file *file = (ldar_file *)&error;
    char name[300];
    (void)state;
    expect_failure(ldar_file_create(scratch("no/folder"), &file, &error), &error, LDAR_ERROR_IO, "open its folder");
    assert_null(file);
    expect_failure(ldar_file_create(scratch_folder(), &file, &error), &error, LDAR_ERROR_IO, "Is a directory");
    expect_failure(ldar_file_create(scratch(""), &file, &error), &error, LDAR_ERROR_IO, "name of a file");
    expect_failure(ldar_file_create("", &file, &error), &error, LDAR_ERROR_IO, "name of a file");
    memset(name, 'x', 256);
    name[256] = '\0';
    file = NULL;
    if (ldar_file_create(scratch(name), &file, &error)
        == LDAR_OK) { /* the temporary name is short; the real one fails */
        expect_failure(ldar_file_commit(file, &error), &error, LDAR_ERROR_IO, "File name too long");
    }
    name[255] = '\0';
    assert_int_equal(ldar_file_commit(create(scratch(name)), &error), LDAR_OK);

    /* A symbolic link stays, what it points to is replaced; one that points nowhere is replaced itself. */
    write_file(scratch("real"), "old", 3);
    assert_int_equal(symlink("real", scratch("link")), 0);
    file = create(scratch("link"));
    put(file, "new");
    assert_int_equal(ldar_file_commit(file, &error), LDAR_OK);
    expect_contents(scratch("real"), "new");
    assert_int_equal(lstat(scratch("link"), &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_int_equal(symlink("nowhere", scratch("dangling")), 0);
    assert_int_equal(ldar_file_commit(create(scratch("dangling")), &error), LDAR_OK);

    /* A device is written, not replaced. */
    file = create("/dev/null");
    put(file, "text");
    assert_string_equal(ldar_file_temporary(file), "/dev/null");
    assert_int_equal(ldar_file_commit(file, &error), LDAR_OK);
    assert_int_equal(stat("/dev/null", &status), 0);
    assert_true(S_ISCHR(status.st_mode));
    file = create("/dev/full");
    put(file, "text");
    expect_failure(ldar_file_commit(file, &error), &error, LDAR_ERROR_IO, "No space left on device");

    /* In the current folder, without a slash. */
    assert_int_equal(chdir(scratch_folder()), 0);
    assert_int_equal(ldar_file_commit(create("plain"), &error), LDAR_OK);
    assert_int_equal(access(scratch("plain"), R_OK), 0);
}

/* Two writers of one name do not meet; the last to commit wins. */
static void test_two(void **state)
{
    const char *path = scratch("two");
    struct ldar_error error;
    (void)state;
    ldar_file *first = create(path), *second = create(path);
    put(first, "first");
    put(second, "second");
    assert_string_not_equal(ldar_file_temporary(first), ldar_file_temporary(second));
    assert_int_equal(ldar_file_commit(second, &error), LDAR_OK);
    assert_int_equal(ldar_file_commit(first, &error), LDAR_OK);
    expect_contents(path, "first");
}

/* Another library may write the temporary file by its name. */
static void test_temporary(void **state)
{
    const char *path = scratch("foreign");
    struct ldar_error error;
    (void)state;
    ldar_file *file = create(path);
    write_file(ldar_file_temporary(file), "foreign", 7);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(ldar_file_commit(file, &error), LDAR_OK);
    expect_contents(path, "foreign");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit),    cmocka_unit_test(test_sync),   cmocka_unit_test(test_abandon),
        cmocka_unit_test(test_pieces),    cmocka_unit_test(test_places), cmocka_unit_test(test_two),
        cmocka_unit_test(test_temporary),
    };
    return cmocka_run_group_tests_name("io.file", tests, NULL, NULL);
}
