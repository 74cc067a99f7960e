/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/provenance.h"

#include <jansson.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A shell takes the command line apart into the very arguments again. */
static void test_command(void **state)
{
    (void)state;
    static char *const arguments[] = {"ldar", "segment",  "a b",   "it's",        "",          "$HOME `x`", "*",
                                      "-r",   "chr1:1-2", "\"q\"", "back\\slash", "two\nlines"};
    enum { COUNT = sizeof arguments / sizeof *arguments };
    char *line = provenance_command(COUNT, arguments);
    assert_non_null(line);
    assert_int_equal(strncmp(line, "ldar segment 'a b' ", 19), 0);
    char *script = malloc(strlen(line) + 100);
    assert_non_null(script);
    sprintf(script, "printf '<%%s>' %s >%s", line, in_folder("arguments"));
    assert_int_equal(system(script), 0);
    char expected[500] = "";
    for (int i = 0; i < COUNT; ++i) {
        sprintf(expected + strlen(expected), "<%s>", arguments[i]);
    }
    size_t size;
    char *got = file_read(in_folder("arguments"), &size);
    assert_string_equal(got, expected);
    free(got);
    free(script);
    free(line);
}

static void test_line(void **state)
{
    (void)state;
    char *line = provenance_line(&(struct provenance){"1.2.3", "ldar x 'a\nb'", "m.safetensors", "abc"});
    assert_string_equal(line, "ldar 1.2.3; ldar x 'a?b'; model m.safetensors sha256 abc");
    free(line);
    line = provenance_line(&(struct provenance){"1.2.3", "ldar x", NULL, ""});
    assert_string_equal(line, "ldar 1.2.3; ldar x");
    free(line);
}

static void test_json(void **state)
{
    (void)state;
    char *members = provenance_json(&(struct provenance){"1.2.3", "ldar \"x\"", NULL, ""});
    assert_string_equal(members, "\"version\": \"1.2.3\", \"command\": \"ldar \\\"x\\\"\", \"model\": null, "
                                 "\"sha256\": null");
    free(members);
}

/* Any bytes become JSON that says the same; UTF-8 comes back unchanged. */
static void check_json(const char *text, const char *expected)
{
    char *quoted = quote_json(text);
    assert_non_null(quoted);
    json_error_t error;
    json_t *value = json_loads(quoted, JSON_DECODE_ANY, &error);
    if (!value) {
        fail_msg("%s: %s", quoted, error.text);
    }
    if (expected) {
        assert_string_equal(json_string_value(value), expected);
    }
    json_decref(value);
    free(quoted);
}

static void test_strings(void **state)
{
    (void)state;
    static const char *const same[] = {"",
                                       "chr1",
                                       "a\"b\\c/d",
                                       "\x01\x1f\x7f\t\n",
                                       "\xc3\xa9",
                                       "\xe2\x82\xac",
                                       "\xf0\x9f\xa7\xac",
                                       "\xef\xbf\xbf",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const broken[][2] = {
        {"\xff", "\xef\xbf\xbd"},
        {"a\x80z", "a\xef\xbf\xbdz"},
        {"\xc3", "\xef\xbf\xbd"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe0\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; ++i) {
        check_json(same[i], same[i]);
    }
    for (size_t i = 0; i < sizeof broken / sizeof *broken; ++i) {
        check_json(broken[i][0], broken[i][1]);
    }
    struct random random = random_start(random_seed());
    for (int round = 0; round < 20000; ++round) {
        char text[12] = "";
        for (size_t i = random_below(&random, sizeof text); i-- > 0;) {
            text[i] = (char)(random_below(&random, 3) ? 0x80 + random_below(&random, 128) : random_below(&random, 256));
        }
        check_json(text, NULL);
    }
}

/* ---- outputs ---- */

static void test_beside(void **state)
{
    (void)state;
    const struct provenance provenance = {"1.2.3", "ldar x", "m", "abc"};
    struct ldar_error error;
    output *side;
    const size_t files = folder_count();
    assert_ok(provenance_begin_beside(in_folder("out.bw"), &provenance, &side, &error), &error);
    assert_false(folder_has("out.bw.json"));
    assert_ok(output_commit(side, &error), &error);
    json_t *value = json_load_file(in_folder("out.bw.json"), 0, NULL);
    assert_string_equal(json_string_value(json_object_get(value, "sha256")), "abc");
    json_decref(value);
    assert_ok(provenance_begin_beside(in_folder("other.bw"), &provenance, &side, &error), &error);
    output_abandon(side);
    assert_int_equal(folder_count(), files + 1);
    assert_ok(provenance_begin_beside("/dev/null", &provenance, &side, &error), &error);
    assert_null(side);
    assert_ok(provenance_begin_beside("-", &provenance, &side, &error), &error);
    assert_null(side);
}

/* What is written to standard output arrives, in order, also what is written over; on a pipe that is refused. */
static void test_standard_output(void **state)
{
    (void)state;
    enum { LINES = 30000 };
    struct ldar_error error;
    output *output;
    fflush(stdout);
    const int saved = dup(STDOUT_FILENO);
    FILE *file = fopen(in_folder("stdout"), "w");
    assert_non_null(file);
    fputs("before\n", file);
    fflush(file);
    dup2(fileno(file), STDOUT_FILENO);
    enum ldar_status status = output_create("-", &output, &error);
    const bool can = output_can_rewrite(output);
    for (int i = 0; i < LINES && !status; ++i) {
        status = output_print(output, &error, "%09d\n", i);
    }
    if (!status) {
        status = output_rewrite(output, 10, "changed", 7, &error);
    }
    const uint64_t length = output_length(output);
    const enum ldar_status committed = output_commit(output, &error);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    fclose(file);
    assert_int_equal(status, LDAR_OK);
    assert_int_equal(committed, LDAR_OK);
    assert_true(can);
    assert_int_equal(length, 10 * LINES);
    size_t size;
    char *got = file_read(in_folder("stdout"), &size);
    assert_int_equal(size, 7 + 10 * LINES);
    assert_memory_equal(got, "before\n000000000\nchanged01\n000000002\n", 37);
    assert_memory_equal(got + size - 10, "000029999\n", 10);
    free(got);
}

static void test_pipe(void **state)
{
    (void)state;
    struct ldar_error error;
    output *output;
    int ends[2];
    fflush(stdout);
    assert_int_equal(pipe(ends), 0);
    const int saved = dup(STDOUT_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    const enum ldar_status status = output_create("-", &output, &error);
    const bool can = output_can_rewrite(output);
    output_abandon(output);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(status, LDAR_OK);
    assert_false(can);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command), cmocka_unit_test(test_line),   cmocka_unit_test(test_json),
        cmocka_unit_test(test_strings), cmocka_unit_test(test_beside), cmocka_unit_test(test_standard_output),
        cmocka_unit_test(test_pipe),
    };
    return cmocka_run_group_tests_name("formats.provenance", tests, folder_make, folder_remove);
}
