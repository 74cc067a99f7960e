/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/npy.h"

#include <jansson.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct provenance provenance = {"1.2.3", "ldar embed x", "m.safetensors", "abc"};

enum { WIDTH = 7 };

/* Record i has i rows of values that number them. */
static void write_matrix(const char *path, size_t records)
{
    struct ldar_error error;
    npy *npy;
    float rows[64 * WIDTH];
    float value = 0;
    assert_ok(npy_create(path, WIDTH, NPY_ROW_PER_NUCLEOTIDE, &provenance, &npy, &error), &error);
    for (size_t i = 0; i < records; ++i) {
        assert_ok(npy_record(npy, i == 3 ? "o\"d\xff" : "plain", 100 * i, &error), &error);
        for (size_t row = 0; row < i; ++row) {
            for (size_t j = 0; j < WIDTH; ++j) {
                rows[j] = value++;
            }
            assert_ok(npy_write(npy, rows, 1, &error), &error);
        }
        assert_ok(npy_record_end(npy, i, &error), &error);
    }
    assert_ok(npy_commit(npy, &error), &error);
}

static void test_bytes(void **state)
{
    (void)state;
    const char *path = in_folder("matrix.npy");
    size_t size;
    write_matrix(path, 5);
    char *bytes = file_read(path, &size);
    assert_int_equal(size, 128 + 10 * WIDTH * sizeof(float));
    assert_memory_equal(bytes, "\x93NUMPY\x01\x00\x76\x00", 10);
    assert_memory_equal(bytes + 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (10, 7), } ", 61);
    assert_int_equal(bytes[127], '\n');
    for (size_t i = 0; i < 10 * WIDTH; ++i) {
        float value;
        memcpy(&value, bytes + 128 + i * sizeof value, sizeof value);
        assert_true(value == (float)i);
    }
    free(bytes);
}

static void test_side_file(void **state)
{
    (void)state;
    write_matrix(in_folder("side.npy"), 5);
    json_error_t error;
    json_t *side = json_load_file(in_folder("side.npy.json"), JSON_REJECT_DUPLICATES, &error);
    if (!side) {
        fail_msg("%s", error.text);
    }
    assert_string_equal(json_string_value(json_object_get(side, "version")), "1.2.3");
    assert_string_equal(json_string_value(json_object_get(side, "command")), "ldar embed x");
    assert_string_equal(json_string_value(json_object_get(side, "sha256")), "abc");
    assert_string_equal(json_string_value(json_object_get(side, "rows")), "nucleotide");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(side, "shape"), 0)), 10);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(side, "shape"), 1)), WIDTH);
    const json_t *records = json_object_get(side, "records");
    assert_int_equal(json_array_size(records), 5);
    for (size_t i = 0; i < 5; ++i) {
        const json_t *record = json_array_get(records, i);
        assert_string_equal(json_string_value(json_object_get(record, "name")), i == 3 ? "o\"d\xef\xbf\xbd" : "plain");
        assert_int_equal(json_integer_value(json_object_get(record, "start")), 100 * i);
        assert_int_equal(json_integer_value(json_object_get(record, "length")), i);
        assert_int_equal(json_integer_value(json_object_get(record, "offset")), i * (i - 1) / 2);
        assert_int_equal(json_integer_value(json_object_get(record, "rows")), i);
    }
    json_decref(side);
}

static void test_empty(void **state)
{
    (void)state;
    size_t size;
    write_matrix(in_folder("empty.npy"), 0);
    char *bytes = file_read(in_folder("empty.npy"), &size);
    assert_int_equal(size, 128);
    assert_non_null(strstr(bytes + 10, "(0, 7)"));
    free(bytes);
    json_t *side = json_load_file(in_folder("empty.npy.json"), 0, NULL);
    assert_int_equal(json_array_size(json_object_get(side, "records")), 0);
    json_decref(side);
}

static void test_numpy(void **state)
{
    (void)state;
    static const char python[] = "/usr/bin/python3";
    char command[2000];
    if (access(python, X_OK) != 0 || system("/usr/bin/python3 -c 'import numpy' 2>/dev/null") != 0) {
        skip();
    }
    write_matrix(in_folder("numpy.npy"), 9);
    snprintf(command, sizeof command,
             "%s -c \"import numpy; a = numpy.load('%s', mmap_mode='r'); assert a.shape == (36, 7) and a.dtype == "
             "numpy.float32 and (a.ravel() == numpy.arange(252)).all()\"",
             python, in_folder("numpy.npy"));
    assert_int_equal(system(command), 0);
}

/* Until it is committed, nothing bears the name; what was there stays. */
static void test_unfinished(void **state)
{
    (void)state;
    struct ldar_error error;
    npy *npy;
    const char *path = file_write_text("kept.npy", "old");
    const size_t files = folder_count();
    const float row[WIDTH] = {0};
    size_t size;
    assert_ok(npy_create(path, WIDTH, NPY_ROW_PER_RECORD, &provenance, &npy, &error), &error);
    assert_ok(npy_record(npy, "a", 0, &error), &error);
    assert_ok(npy_write(npy, row, 1, &error), &error);
    npy_abandon(npy);
    npy_abandon(NULL);
    char *bytes = file_read(path, &size);
    assert_string_equal(bytes, "old");
    free(bytes);
    assert_int_equal(folder_count(), files);
}

static void test_refusals(void **state)
{
    (void)state;
    struct ldar_error error;
    npy *npy;
    const char *pipe_path = in_folder("pipe.npy");
    assert_int_equal(npy_create(in_folder("no/such/folder.npy"), WIDTH, NPY_ROW_PER_RECORD, &provenance, &npy, &error),
                     LDAR_ERROR_IO);
    assert_null(npy);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    FILE *reader = fopen(pipe_path, "r+");
    assert_int_equal(npy_create(pipe_path, WIDTH, NPY_ROW_PER_RECORD, &provenance, &npy, &error), LDAR_ERROR_ARGUMENT);
    assert_says(error.message, "pipe.npy: a pipe cannot hold");
    fclose(reader);
}

static void test_full_disk(void **state)
{
    (void)state;
    struct ldar_error error;
    npy *npy;
    const float row[WIDTH] = {0};
    if (access("/dev/full", W_OK) != 0) {
        skip();
    }
    assert_ok(npy_create("/dev/full", WIDTH, NPY_ROW_PER_RECORD, &provenance, &npy, &error), &error);
    assert_ok(npy_record(npy, "a", 0, &error), &error);
    assert_ok(npy_write(npy, row, 1, &error), &error);
    assert_ok(npy_record_end(npy, 1, &error), &error);
    assert_int_equal(npy_commit(npy, &error), LDAR_ERROR_IO);
    assert_says(error.message, "No space left");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),     cmocka_unit_test(test_side_file),  cmocka_unit_test(test_empty),
        cmocka_unit_test(test_numpy),     cmocka_unit_test(test_unfinished), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests_name("formats.npy", tests, folder_make, folder_remove);
}
