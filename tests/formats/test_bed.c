/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/bed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All intervals as "name:start-end@line" separated by blanks. */
static enum ldar_status read_bed(const char *path, char *text, struct ldar_error *error)
{
    bed_reader *bed;
    struct bed_interval interval;
    *text = '\0';
    enum ldar_status status = bed_open(path, &bed, error);
    if (status) {
        return status;
    }
    while (!(status = bed_next(bed, &interval, error)) && interval.name) {
        text += sprintf(text, "%s%s:%" PRIu64 "-%" PRIu64 "@%" PRIu64, interval.line > 1 ? " " : "", interval.name,
                        interval.start, interval.end, interval.line);
    }
    bed_close(bed);
    return status;
}

static void test_forms(void **state)
{
    (void)state;
    static const char *const forms[][2] = {
        {"a\t0\t1\n", "a:0-1@1"},
        {"a\t0\t1", "a:0-1@1"},
        {"a\t0\t1\r\nb\t5\t9\tname\t0\t+\r\n", "a:0-1@1 b:5-9@2"},
        {"a 0 1\nb   5  9\n", "a:0-1@1 b:5-9@2"},
        {"a b\t0\t1\n", "a b:0-1@1"},
        {"# comment\ntrack name=x\nbrowser position\n\n \t\na\t7\t8\n", " a:7-8@6"},
        {"tracks\t0\t1\n", "tracks:0-1@1"},
        {"a\t0\t9223372036854775807\n", "a:0-9223372036854775807@1"},
        {"a\t007\t08\n", "a:7-8@1"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; ++i) {
        for (int packing = 0; packing < PACKINGS; ++packing) {
            char text[200];
            struct ldar_error error;
            const char *path = file_pack("forms", forms[i][0], strlen(forms[i][0]), (enum packing)packing);
            assert_ok(read_bed(path, text, &error), &error);
            assert_string_equal(text, forms[i][1]);
        }
    }
}

/* The sixth column, where there is one. */
static void test_strands(void **state)
{
    (void)state;
    static const char text[] =
        "a\t0\t1\na\t0\t1\tx\t5\na\t0\t1\tx\t5\t-\na 0 1 x 5 + 7\na\t0\t1\t\t\t.\na\t0\t1\tx\t5\t\n";
    static const char *const strands[] = {NULL, NULL, "-", "+", ".", NULL};
    bed_reader *bed;
    struct bed_interval interval;
    struct ldar_error error;
    assert_ok(bed_open(file_write_text("strands", text), &bed, &error), &error);
    for (size_t i = 0; i < sizeof strands / sizeof *strands; ++i) {
        assert_ok(bed_next(bed, &interval, &error), &error);
        assert_int_equal(interval.strand != NULL, strands[i] != NULL);
        if (strands[i]) {
            assert_string_equal(interval.strand, strands[i]);
        }
    }
    bed_close(bed);
}

/* The fourth column, where there is one. */
static void test_labels(void **state)
{
    (void)state;
    static const char text[] = "a\t0\t1\na\t0\t1\tx y\t5\na 0 1 z 7\na\t0\t1\t\nb\t0\t1\n";
    static const char *const labels[] = {NULL, "x y", "z", NULL, NULL};
    bed_reader *bed;
    struct bed_interval interval;
    struct ldar_error error;
    assert_ok(bed_open(file_write_text("labels", text), &bed, &error), &error);
    for (size_t i = 0; i < sizeof labels / sizeof *labels; ++i) {
        assert_ok(bed_next(bed, &interval, &error), &error);
        assert_int_equal(interval.label != NULL, labels[i] != NULL);
        if (labels[i]) {
            assert_string_equal(interval.label, labels[i]);
        }
    }
    bed_close(bed);
}

static void test_refusals(void **state)
{
    (void)state;
    static const char *const refusals[][2] = {
        {"a\t0\n", ":1: fewer than the three columns"},
        {"a\n", ":1: fewer"},
        {"\t0\t1\n", ":1: fewer"},
        {"a\t0\t1\nb\t3\t3\n", ":2: start 3 is not before end 3"},
        {"a\t4\t3\n", ":1: start 4 is not before end 3"},
        {"a\t-1\t3\n", ":1: \"-1\" is no position"},
        {"a\t1\t3x\n", ":1: \"3x\" is no position"},
        {"a\t\t3\n", ":1: \"\" is no position"},
        {"a\t+1\t3\n", ":1: \"+1\" is no position"},
        {"a\t1.0\t3\n", ":1: \"1.0\" is no position"},
        {"a\t0\t9223372036854775808\n", ":1: \"9223372036854775808\" is no position"},
        {"a\t0\t99999999999999999999999999\n", "is no position"},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; ++i) {
        char text[200];
        struct ldar_error error;
        const char *path = file_write_text("refused.bed", refusals[i][0]);
        assert_int_equal(read_bed(path, text, &error), LDAR_ERROR_FORMAT);
        assert_says(error.message, "refused.bed:");
        assert_says(error.message, refusals[i][1]);
    }
}

static void test_nul_and_length(void **state)
{
    (void)state;
    char text[200];
    struct ldar_error error;
    assert_int_equal(read_bed(file_write("nul.bed", "a\t0\t1\na\0\t0\t1\n", 14), text, &error), LDAR_ERROR_FORMAT);
    assert_says(error.message, "nul.bed:2: holds a NUL");
    char *line = malloc(BED_LINE_MAX + 2);
    assert_non_null(line);
    memset(line, 'x', BED_LINE_MAX + 2);
    memcpy(line, "a\t0\t1\t", 6);
    assert_ok(read_bed(file_write("long.bed", line, BED_LINE_MAX), text, &error), &error);
    assert_string_equal(text, "a:0-1@1");
    assert_int_equal(read_bed(file_write("long.bed", line, BED_LINE_MAX + 1), text, &error), LDAR_ERROR_FORMAT);
    assert_says(error.message, "long.bed:1: the line is longer");
    free(line);
    assert_int_equal(read_bed(in_folder("absent.bed"), text, &error), LDAR_ERROR_IO);
    bed_close(NULL);
}

/* Lines come out the same wherever they lie against the blocks in which they are read. */
static void test_blocks(void **state)
{
    (void)state;
    enum { LINES = 20000 };
    FILE *file = fopen(in_folder("blocks.bed"), "w");
    assert_non_null(file);
    for (unsigned i = 0; i < LINES; ++i) {
        fprintf(file, "chromosome%u\t%u\t%u\n", i, i, 2 * i + 1);
    }
    fclose(file);
    bed_reader *bed;
    struct bed_interval interval;
    struct ldar_error error;
    assert_ok(bed_open(in_folder("blocks.bed"), &bed, &error), &error);
    for (unsigned i = 0; i < LINES; ++i) {
        char name[32];
        snprintf(name, sizeof name, "chromosome%u", i);
        assert_ok(bed_next(bed, &interval, &error), &error);
        assert_string_equal(interval.name, name);
        assert_int_equal(interval.start, i);
        assert_int_equal(interval.end, 2 * i + 1);
        assert_int_equal(interval.line, i + 1);
    }
    assert_ok(bed_next(bed, &interval, &error), &error);
    assert_null(interval.name);
    bed_close(bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),    cmocka_unit_test(test_labels),         cmocka_unit_test(test_strands),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_nul_and_length), cmocka_unit_test(test_blocks),
    };
    return cmocka_run_group_tests_name("formats.bed", tests, folder_make, folder_remove);
}
