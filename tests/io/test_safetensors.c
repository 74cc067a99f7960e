/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/tensors.h>

#include "files.h"
#include "io/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void test_types(void **state)
{
    static const struct {
        const char *name;
        enum ldar_tensor_type type;
        size_t bytes;
    } types[] = {
        {"BOOL", LDAR_TENSOR_BOOL, 1}, {"U8", LDAR_TENSOR_U8, 1},           {"I8", LDAR_TENSOR_I8, 1},
        {"U16", LDAR_TENSOR_U16, 2},   {"I16", LDAR_TENSOR_I16, 2},         {"U32", LDAR_TENSOR_U32, 4},
        {"I32", LDAR_TENSOR_I32, 4},   {"U64", LDAR_TENSOR_U64, 8},         {"I64", LDAR_TENSOR_I64, 8},
        {"F16", LDAR_TENSOR_F16, 2},   {"BF16", LDAR_TENSOR_BF16, 2},       {"F32", LDAR_TENSOR_F32, 4},
        {"F64", LDAR_TENSOR_F64, 8},   {"F8_E4M3", LDAR_TENSOR_F8_E4M3, 1}, {"F8_E5M2", LDAR_TENSOR_F8_E5M2, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char header[256];
        struct ldar_error error;
        ldar_tensors *tensors;
        snprintf(header, sizeof header, "{\"x\":{\"dtype\":\"%s\",\"shape\":[2,3],\"data_offsets\":[0,%zu]}}",
                 types[i].name, 6 * types[i].bytes);
        struct bytes file = safetensors(header, 6 * types[i].bytes);
        assert_int_equal(ldar_tensors_open_memory("x", file.data, file.count, 0, &tensors, &error), LDAR_OK);
        struct ldar_tensor tensor = ldar_tensors_at(tensors, 0);
        assert_int_equal(tensor.type, types[i].type);
        assert_string_equal(ldar_tensor_type_name(tensor.type), types[i].name);
        assert_int_equal(ldar_tensor_type_bytes(tensor.type), types[i].bytes);
        assert_int_equal(tensor.count, 6);
        assert_int_equal(tensor.bytes, 6 * types[i].bytes);
        assert_memory_equal(tensor.data, file.data + file.count - tensor.bytes, tensor.bytes);
        ldar_tensors_close(tensors);
        free(file.data);
    }
    assert_null(ldar_tensor_type_name((enum ldar_tensor_type)99));
    assert_int_equal(ldar_tensor_type_bytes((enum ldar_tensor_type)99), 0);
}

/* Scalars, empty tensors, any order of fields and of tensors, escapes, spaces, metadata. */
static void test_legal(void **state)
{
    static const char header[] = "{ \"b\": {\"data_offsets\":[4, 8], \"dtype\":\"F32\", \"shape\":[]},\n"
                                 "  \"__metadata__\": {\"k\\u00e9y\":\"v\\\"\\n\\ud83e\\uddec\", \"empty\":\"\"},"
                                 "  \"none\": {\"dtype\":\"F64\",\"shape\":[3,0,5],\"data_offsets\":[4,4]},"
                                 "  \"a\\/\\u0062\": {\"dtype\":\"U8\",\"shape\":[4,1],\"data_offsets\":[0,4]},"
                                 "  \"last\": {\"dtype\":\"F64\",\"shape\":[0],\"data_offsets\":[8,8]} }   ";
    struct bytes file = safetensors(header, 8);
    struct ldar_error error;
    ldar_tensors *tensors;
    (void)state;
    write_file(scratch("legal"), file.data, file.count);
    assert_int_equal(ldar_tensors_open(scratch("legal"), 0, &tensors, &error), LDAR_OK);
    assert_int_equal(ldar_tensors_count(tensors), 4);
    assert_int_equal(ldar_tensors_find(tensors, "b"), 0);
    assert_int_equal(ldar_tensors_find(tensors, "a/b"), 2);
    assert_int_equal(ldar_tensors_find(tensors, "absent"), 4);
    assert_string_equal(ldar_tensors_metadata(tensors, "k\xc3\xa9y"), "v\"\n\xf0\x9f\xa7\xac");
    assert_string_equal(ldar_tensors_metadata(tensors, "empty"), "");
    assert_null(ldar_tensors_metadata(tensors, "absent"));
    assert_int_equal(ldar_tensors_at(tensors, 0).rank, 0);
    assert_int_equal(ldar_tensors_at(tensors, 0).count, 1);
    assert_int_equal(*(const unsigned char *)ldar_tensors_at(tensors, 0).data, 4);
    assert_int_equal(ldar_tensors_at(tensors, 1).count, 0);
    assert_int_equal(ldar_tensors_at(tensors, 2).shape[0], 4);
    ldar_tensors_close(tensors);

    file.data[0] -= 3; /* the spaces at the end become data that no tensor owns */
    expect_failure(ldar_tensors_open_memory("f", file.data, file.count, 0, &tensors, &error), &error, LDAR_ERROR_FORMAT,
                   "3 bytes at its end belong to no tensor");
    free(file.data);
    struct bytes empty = safetensors("{}", 0);
    assert_int_equal(ldar_tensors_open_memory("empty", empty.data, empty.count, 0, &tensors, &error), LDAR_OK);
    assert_int_equal(ldar_tensors_count(tensors), 0);
    assert_int_equal(ldar_tensors_find(tensors, "x"), 0);
    ldar_tensors_close(tensors);
    ldar_tensors_close(NULL);
    free(empty.data);
}

static void test_golden(void **state)
{
    struct ldar_error error;
    ldar_tensors *tensors;
    (void)state;
    assert_int_equal(ldar_tensors_open(source_file("tests/golden/tiny-forward-L5.safetensors"), 0, &tensors, &error),
                     LDAR_OK);
    struct ldar_tensor logits = ldar_tensors_at(tensors, ldar_tensors_find(tensors, "logits"));
    assert_int_equal(logits.type, LDAR_TENSOR_F32);
    assert_int_equal(logits.shape[0], 5);
    assert_int_equal(logits.shape[1], 7);
    assert_int_equal(ldar_tensors_at(tensors, ldar_tensors_find(tensors, "ids")).type, LDAR_TENSOR_I64);
    assert_int_equal(ldar_tensors_at(tensors, ldar_tensors_find(tensors, "boundary")).type, LDAR_TENSOR_U8);
    ldar_tensors_close(tensors);
}

#define X(dtype, shape, offsets) "{\"x\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define ENTRY(name, begin, end) "\"" name "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[" begin "," end "]}"

static const struct {
    const char *header;
    size_t data_bytes;
    const char *words;
} hostile[] = {
    /* syntax */
    {"[]", 0, "must begin with '{'"},
    {" {}", 0, "must begin with '{'"},
    {"{ ", 0, "a string expected"},
    {"{}x", 0, "after the header"},
    {"{}\n", 0, "after the header"},
    {"{},", 0, "after the header"},
    {"{\"x\"}", 0, "':' expected"},
    {"{\"x\":}", 0, "'{' expected"},
    {"{\"x\":1}", 0, "'{' expected"},
    {"{\"x\":{}}", 0, "a string expected"},
    {"{" ENTRY("x", "0", "4") ",}", 4, "a string expected"},
    {"{" ENTRY("x", "0", "4") " " ENTRY("y", "4", "8") "}", 8, "',' or '}' expected"},
    {"{\"x", 0, "no end"},
    {"{\"x\\", 0, "wrong escape"},
    {"{\"x\\q\":{}}", 0, "wrong escape"},
    {"{\"x\\u12\":{}}", 0, "wrong escape"},
    {"{\"x\\u0000\":{}}", 0, "wrong escape"},
    {"{\"x\\ud800\":{}}", 0, "wrong escape"},
    {"{\"x\\udc00\":{}}", 0, "wrong escape"},
    {"{\"x\\ud800\\u0041\":{}}", 0, "wrong escape"},
    {"{\"x\":[[[[[[[[]]]]]]]]}", 0, "'{' expected"},
    {"{\"__metadata__\":{\"a\":{\"b\":{\"c\":{}}}}}", 0, "a string expected"},
    /* names */
    {"{" ENTRY("", "0", "4") "}", 4, "1 to 256 bytes"},
    {"{" ENTRY("a\\u0001", "0", "4") "}", 4, "control character"},
    {"{" ENTRY("a\\u007f", "0", "4") "}", 4, "control character"},
    {"{" ENTRY("a\n", "0", "4") "}", 4, "no UTF-8"},
    {"{" ENTRY("\xff", "0", "4") "}", 4, "no UTF-8"},
    {"{" ENTRY("\xc0\x80", "0", "4") "}", 4, "no UTF-8"},
    {"{" ENTRY("\xe0\x80\x80", "0", "4") "}", 4, "no UTF-8"},
    {"{" ENTRY("\xed\xa0\x80", "0", "4") "}", 4, "no UTF-8"},
    {"{" ENTRY("\xf4\x90\x80\x80", "0", "4") "}", 4, "no UTF-8"},
    {"{" ENTRY("\xe2\x82", "0", "4") "}", 4, "no UTF-8"},
    {"{" ENTRY("x", "0", "4") "," ENTRY("x", "4", "8") "}", 8, "'x' occurs twice"},
    {"{" ENTRY("x", "0", "4") "," ENTRY("\\u0078", "4", "8") "}", 8, "'x' occurs twice"},
    /* metadata */
    {"{\"__metadata__\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"3\"}}", 0, "key 'a' occurs twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ occurs twice"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "a string expected"},
    {"{\"__metadata__\":[]}", 0, "'{' expected"},
    {"{\"__metadata__\":{\"a\":\"b\"", 0, "',' or '}' expected"},
    /* fields */
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "lacks dtype"},
    {"{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":0}}", 4, "and nothing else"},
    {"{\"x\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "each once"},
    {X("F33", "[1]", "[0,4]"), 4, "unknown dtype"},
    {X("f32", "[1]", "[0,4]"), 4, "unknown dtype"},
    {X("F4", "[1]", "[0,4]"), 4, "unknown dtype"},
    {X("", "[1]", "[0,4]"), 4, "unknown dtype"},
    {X("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "too many numbers"},
    {X("F32", "[1 2]", "[0,4]"), 4, "',' or ']' expected"},
    {X("F32", "1", "[0,4]"), 4, "'[' expected"},
    /* numbers */
    {X("F32", "[1.0]", "[0,4]"), 4, "decimal integer expected"},
    {X("F32", "[1e0]", "[0,4]"), 4, "decimal integer expected"},
    {X("F32", "[-1]", "[0,4]"), 4, "decimal integer expected"},
    {X("F32", "[+1]", "[0,4]"), 4, "decimal integer expected"},
    {X("F32", "[01]", "[0,4]"), 4, "decimal integer expected"},
    {X("F32", "[0x1]", "[0,4]"), 4, "',' or ']' expected"},
    {X("F32", "[\"1\"]", "[0,4]"), 4, "decimal integer expected"},
    {X("F32", "[true]", "[0,4]"), 4, "decimal integer expected"},
    {X("F32", "[]", "[0,9007199254740993]"), 4, "above 2^53"},
    {X("F32", "[]", "[0,18446744073709551620]"), 4, "above 2^53"},
    {X("F32", "[99999999999999999999999999999999]", "[0,4]"), 4, "above 2^53"},
    /* sizes */
    {X("F32", "[1099511627777]", "[0,4]"), 4, "too large"},
    {X("F32", "[1099511627776,1099511627776]", "[0,4]"), 4, "too large"},
    {X("F32", "[4611686018427387904]", "[0,0]"), 0, "above 2^53"},
    {X("F64", "[1073741824,1073741824,2]", "[0,0]"), 0, "too large"},
    {X("U8", "[4294967296,4294967296]", "[0,0]"), 0, "too large"},
    {X("F32", "[2]", "[0,4]"), 4, "do not fit its data_offsets"},
    {X("F32", "[0]", "[0,4]"), 4, "do not fit its data_offsets"},
    {X("F32", "[1]", "[0,5]"), 5, "do not fit its data_offsets"},
    {X("U8", "[1000000000000]", "[0,1000000000000]"), 4, "is it truncated?"},
    /* places */
    {X("F32", "[1]", "[4,0]"), 4, "begin and end"},
    {X("F32", "[1]", "[4]"), 4, "begin and end"},
    {X("F32", "[1]", "[0,4,8]"), 4, "too many numbers"},
    {X("F32", "[1]", "[0,4]"), 3, "is it truncated?"},
    {X("F32", "[1]", "[0,4]"), 5, "1 bytes at its end belong to no tensor"},
    {X("F32", "[1]", "[1,5]"), 5, "hole or overlaps"},
    {X("F32", "[0]", "[9007199254740992,9007199254740992]"), 0, "hole or overlaps"},
    {"{" ENTRY("a", "0", "4") "," ENTRY("b", "5", "9") "}", 9, "'b': its data leaves a hole or overlaps"},
    {"{" ENTRY("a", "0", "4") "," ENTRY("b", "3", "7") "}", 7, "'b': its data leaves a hole or overlaps"},
    {"{" ENTRY("a", "0", "4") "," ENTRY("b", "0", "4") "}", 4, "hole or overlaps"},
    {"{" ENTRY("b", "4", "8") "," ENTRY("c", "4", "8") "," ENTRY("a", "0", "4") "}", 8, "hole or overlaps"},
};

static void test_hostile(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct ldar_error error = {LDAR_OK, ""};
        ldar_tensors *tensors = (ldar_tensors *)&error;
        struct bytes file = safetensors(hostile[i].header, hostile[i].data_bytes);
        enum ldar_status status = ldar_tensors_open_memory("f", file.data, file.count, 0, &tensors, &error);
        if (status != LDAR_ERROR_FORMAT || !strstr(error.message, hostile[i].words) || tensors) {
            fail_msg("%s\n%d \"%s\"; expected \"%s\"", hostile[i].header, (int)status, error.message, hostile[i].words);
        }
        free(file.data);
    }
}

/* The first 8 bytes: lengths that wrap, that reach beyond the file, that are too large to be true. */
static void test_lengths(void **state)
{
    static const uint64_t lengths[] = {0,
                                       1,
                                       5,
                                       100000001,
                                       UINT64_C(1) << 32,
                                       INT64_MAX,
                                       UINT64_MAX,
                                       UINT64_MAX - 5,
                                       UINT64_MAX - 7,
                                       UINT64_MAX - 8,
                                       UINT64_C(1) << 63};
    struct ldar_error error;
    ldar_tensors *tensors;
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct bytes file = {NULL, 0};
        add_little(&file, lengths[i], 8);
        add_text(&file, "{}  ");
        expect_failure(ldar_tensors_open_memory("f", file.data, file.count, 0, &tensors, &error), &error,
                       LDAR_ERROR_FORMAT, "");
        free(file.data);
    }
    for (size_t bytes = 0; bytes < 10; bytes++) {
        static const char start[] = "\2\0\0\0\0\0\0\0{}";
        expect_failure(ldar_tensors_open_memory("f", start, bytes, 0, &tensors, &error), &error, LDAR_ERROR_FORMAT,
                       "safetensors file");
    }
}

/* Every file that is cut short, and every single byte changed, is refused or gives what stands in bounds. */
static void test_damage(void **state)
{
    struct bytes file =
        safetensors("{\"__metadata__\":{\"a\":\"b\"}," ENTRY("x", "0", "4") "," ENTRY("y", "4", "8") "}", 8);
    struct ldar_error error;
    ldar_tensors *tensors;
    (void)state;
    for (size_t bytes = 0; bytes < file.count; bytes++) {
        unsigned char *cut = malloc(bytes + 1);
        assert_non_null(cut);
        memcpy(cut, file.data, bytes);
        assert_int_not_equal(ldar_tensors_open_memory("f", cut, bytes, 0, &tensors, &error), LDAR_OK);
        free(cut);
    }
    for (size_t at = 0; at < file.count; at++) {
        for (int bit = 0; bit < 8; bit++) {
            file.data[at] ^= (unsigned char)(1 << bit);
            if (ldar_tensors_open_memory("f", file.data, file.count, 0, &tensors, &error) == LDAR_OK) {
                for (size_t i = 0; i < ldar_tensors_count(tensors); i++) {
                    struct ldar_tensor tensor = ldar_tensors_at(tensors, i);
                    const unsigned char *data = tensor.data;
                    assert_true(data >= file.data && data + tensor.bytes <= file.data + file.count);
                }
                ldar_tensors_close(tensors);
            }
            file.data[at] ^= (unsigned char)(1 << bit);
        }
    }
    free(file.data);
}

/* A header of `count` entries of no bytes each. */
static struct bytes many_entries(size_t count)
{
    struct bytes file = {NULL, 0};
    const size_t room = 80 * count + 3;
    char *text = malloc(room);
    size_t length = 1;
    assert_non_null(text);
    text[0] = '{';
    for (size_t i = 0; i < count; i++) {
        length +=
            (size_t)snprintf(text + length, room - length,
                             "%s\"%zx\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i > 0 ? "," : "", i);
    }
    text[length++] = '}';
    add_little(&file, length, 8);
    add_bytes(&file, text, length);
    free(text);
    return file;
}

static void test_many(void **state)
{
    struct ldar_error error;
    ldar_tensors *tensors;
    (void)state;
    struct bytes most = many_entries(65536);
    assert_int_equal(ldar_tensors_open_memory("f", most.data, most.count, 0, &tensors, &error), LDAR_OK);
    assert_int_equal(ldar_tensors_find(tensors, "ffff"), 65535);
    ldar_tensors_close(tensors);
    free(most.data);
    struct bytes more = many_entries(400000);
    expect_failure(ldar_tensors_open_memory("f", more.data, more.count, 0, &tensors, &error), &error, LDAR_ERROR_FORMAT,
                   "is more than 16777216");
    expect_failure(ldar_tensors_open_memory("f", more.data, more.count, 100000000, &tensors, &error), &error,
                   LDAR_ERROR_FORMAT, "more than 65536 tensors");
    free(more.data);
}

static void test_files(void **state)
{
    struct ldar_error error;
    ldar_tensors *tensors;
    (void)state;
    expect_failure(ldar_tensors_open(scratch("absent"), 0, &tensors, &error), &error, LDAR_ERROR_IO,
                   "No such file or directory");
    expect_failure(ldar_tensors_open(scratch_folder(), 0, &tensors, &error), &error, LDAR_ERROR_IO, "no regular file");
    expect_failure(ldar_tensors_open("/dev/zero", 0, &tensors, &error), &error, LDAR_ERROR_IO, "no regular file");
    assert_int_equal(mkfifo(scratch("pipe"), 0600), 0);
    expect_failure(ldar_tensors_open(scratch("pipe"), 0, &tensors, &error), &error, LDAR_ERROR_IO, "no regular file");
    write_file(scratch("empty"), "", 0);
    expect_failure(ldar_tensors_open(scratch("empty"), 0, &tensors, &error), &error, LDAR_ERROR_FORMAT, "0 bytes");

    /* A file that shrinks while it is open is noticed by its size, without touching what is gone. */
    struct bytes file = safetensors("{" ENTRY("x", "0", "4") "}", 4);
    write_file(scratch("shrinking"), file.data, file.count);
    assert_int_equal(ldar_tensors_open(scratch("shrinking"), 0, &tensors, &error), LDAR_OK);
    assert_int_equal(ldar_tensors_recheck(tensors, &error), LDAR_OK);
    assert_int_equal(truncate(scratch("shrinking"), (off_t)file.count - 1), 0);
    expect_failure(ldar_tensors_recheck(tensors, &error), &error, LDAR_ERROR_IO, "its size has changed");
    ldar_tensors_close(tensors);
    free(file.data);
}

/* Resident bytes of the mapping that holds `address`; SIZE_MAX where the system does not tell. */
static size_t resident(const void *address)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    unsigned long begin, end, kib;
    size_t found = SIZE_MAX;
    int here = 0;
    char line[512];
    while (maps && fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2) {
            here = (uintptr_t)address >= begin && (uintptr_t)address < end;
        } else if (here && sscanf(line, "Rss: %lu kB", &kib) == 1) {
            found = kib << 10;
        }
    }
    if (maps) {
        fclose(maps);
    }
    return found;
}

static size_t sum_bytes(const unsigned char *data, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += data[i];
    }
    return sum;
}

/* What is released is no longer resident and reads as before; what is not the file's is left alone. */
static void test_release(void **state)
{
    enum { BYTES = 4 << 20 };
    static unsigned char own[1 << 20];
    struct ldar_error error;
    ldar_tensors *tensors;
    (void)state;
    struct bytes file = safetensors("{\"x\":{\"dtype\":\"U8\",\"shape\":[4194304],\"data_offsets\":[0,4194304]}}", 0);
    for (size_t i = 0; i < BYTES; i += sizeof own) {
        memset(own, (int)(1 + i / sizeof own), sizeof own);
        add_bytes(&file, own, sizeof own);
    }
    write_file(scratch("large"), file.data, file.count);
    free(file.data);
    assert_int_equal(ldar_tensors_open(scratch("large"), 0, &tensors, &error), LDAR_OK);
    const unsigned char *data = ldar_tensors_at(tensors, 0).data;
    const size_t sum = sum_bytes(data, BYTES), page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t all = resident(data);
    if (all == SIZE_MAX || all < BYTES) { /* an emulator may tell of no residency at all */
        ldar_tensors_close(tensors);
        skip();
    }
    ldar_tensors_release_range(tensors, data + BYTES / 4, BYTES / 2);
    assert_true(resident(data) <= all - BYTES / 2 + 2 * page);
    assert_int_equal(sum_bytes(data, BYTES), sum);
    ldar_tensors_release_range(tensors, data, BYTES);
    assert_true(resident(data) <= page);
    assert_int_equal(sum_bytes(data, BYTES), sum);
    ldar_tensors_release_pages(tensors);
    assert_int_equal(resident(data), 0);

    memset(own, 7, sizeof own);
    ldar_tensors_release_range(tensors, own, sizeof own);
    assert_int_equal(sum_bytes(own, sizeof own), 7 * sizeof own);
    assert_int_equal(sum_bytes(data, BYTES), sum);
    const size_t back = resident(data);
    ldar_tensors_release_range(tensors, data + page, BYTES); /* reaches beyond the file */
    ldar_tensors_release_range(tensors, data - page, BYTES);
    assert_int_equal(resident(data), back);
    ldar_tensors_close(tensors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),   cmocka_unit_test(test_legal),   cmocka_unit_test(test_golden),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_lengths), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_many),    cmocka_unit_test(test_files),   cmocka_unit_test(test_release),
    };
    return cmocka_run_group_tests_name("io.safetensors", tests, NULL, NULL);
}
