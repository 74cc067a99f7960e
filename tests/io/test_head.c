/* SPDX-License-Identifier: Apache-2.0 */
/* Models with a head: what is written is read, and what is almost right is one clear error. */
#include <ldar/model.h>
#include <ldar/tensors.h>

#include "files.h"
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { WIDTH = 16 };

static ldar_model *bare;
static const char *const names[] = {"TATA", "non \"TATA\"", "ж\\"};
static float weight[3 * WIDTH], bias[3] = {0.5f, -1, 2};
static const struct ldar_head classes = {LDAR_HEAD_CLASSES, 3, names, weight, bias, 1};
static const struct ldar_head value = {LDAR_HEAD_VALUE, 1, names + 1, weight, bias, 1};
static const struct ldar_head in_parts = {LDAR_HEAD_VALUE, 1, names + 1, weight, bias, 3};

static int set_up(void **state)
{
    struct ldar_error error;
    (void)state;
    for (size_t i = 0; i < sizeof weight / sizeof *weight; i++) {
        weight[i] = (float)i / 7 - 3;
    }
    return ldar_model_import(source_file("tests/io/data/reference.safetensors"), NULL, &bare, &error) != LDAR_OK;
}

static int tear_down(void **state)
{
    (void)state;
    ldar_model_destroy(bare);
    return 0;
}

static ldar_model *with_head(const ldar_model *model, const struct ldar_head *head, uint64_t seed)
{
    ldar_model *out;
    struct ldar_error error;
    if (ldar_model_with_head(model, head, seed, &out, &error) != LDAR_OK) {
        fail_msg("%s", error.message);
    }
    return out;
}

static void expect_head(const ldar_model *model, const struct ldar_head *expected)
{
    const struct ldar_head *head = ldar_model_head(model);
    assert_non_null(head);
    assert_int_equal(head->kind, expected->kind);
    assert_int_equal(head->outputs, expected->outputs);
    for (size_t i = 0; i < head->outputs; i++) {
        assert_string_equal(head->names[i], expected->names[i]);
    }
    assert_int_equal(head->parts, expected->parts);
    assert_memory_equal(head->weight, expected->weight, head->outputs * head->parts * WIDTH * sizeof(float));
    assert_memory_equal(head->bias, expected->bias, head->outputs * sizeof(float));
}

/* What is saved is loaded, described and saved again to the byte; convert keeps it; the network is left as it was. */
static void test_round_trip(void **state)
{
    (void)state;
    const struct ldar_head *const heads[] = {&classes, &value, &in_parts};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        for (int dtype = LDAR_F32; dtype <= LDAR_BF16; dtype++) {
            struct ldar_model_info info, peeked, plain;
            struct ldar_error error;
            ldar_model *model = with_head(bare, heads[i], 1), *imported;
            expect_head(model, heads[i]);
            save_model(model, (enum ldar_dtype)dtype, scratch("first"));
            ldar_model *again = load_model(scratch("first"));
            expect_head(again, heads[i]);
            save_model(again, (enum ldar_dtype)dtype, scratch("second"));
            expect_equal_files(scratch("first"), scratch("second"));
            assert_int_equal(ldar_model_import(scratch("first"), NULL, &imported, &error), LDAR_OK);
            expect_head(imported, heads[i]);
            assert_int_equal(ldar_model_peek(scratch("first"), &peeked, &error), LDAR_OK);
            ldar_model_describe(again, &info);
            ldar_model_describe(bare, &plain);
            assert_int_equal(info.head, heads[i]->kind);
            assert_int_equal(peeked.head, info.head);
            assert_int_equal(peeked.outputs, heads[i]->outputs);
            assert_int_equal(info.outputs, peeked.outputs);
            assert_int_equal(peeked.parts, heads[i]->parts);
            assert_int_equal(info.parts, peeked.parts);
            assert_int_equal(info.parameters, plain.parameters + heads[i]->outputs * (heads[i]->parts * WIDTH + 1));
            assert_int_equal(peeked.parameters, info.parameters);
            assert_string_equal(peeked.sha256, info.sha256);
            assert_int_equal(plain.head, 0);
            ldar_model_destroy(imported);
            ldar_model_destroy(again);
            ldar_model_destroy(model);
        }
    }
    assert_null(ldar_model_head(bare));
}

/* A head takes another's place; what it is not given is drawn by the seed. */
static void test_drawn(void **state)
{
    (void)state;
    const struct ldar_head empty = {.kind = LDAR_HEAD_CLASSES, .outputs = 3, .names = names};
    ldar_model *first = with_head(bare, &value, 0), *one = with_head(first, &empty, 7);
    ldar_model *same = with_head(bare, &empty, 7), *other = with_head(bare, &empty, 8);
    const struct ldar_head *head = ldar_model_head(one);
    double squares = 0;
    expect_head(one, ldar_model_head(same));
    assert_memory_not_equal(head->weight, ldar_model_head(other)->weight, 3 * WIDTH * sizeof(float));
    for (size_t i = 0; i < 3 * WIDTH; i++) {
        squares += (double)head->weight[i] * (double)head->weight[i];
    }
    assert_true(fabs(sqrt(squares / (3 * WIDTH)) / 0.02 - 1) < 0.4);
    for (size_t i = 0; i < 3; i++) {
        assert_true(head->bias[i] == 0);
    }
    for (size_t i = 0; i < bare->table.count; i++) {
        enum ldar_dtype dtype;
        const struct ldar_parameter *parameter = &bare->table.entry[i];
        const void *data = ldar_parameter_data(parameter, &dtype);
        assert_memory_equal(ldar_parameter_data(&one->table.entry[i], &dtype), data, parameter->count * sizeof(float));
    }
    ldar_model_destroy(first);
    ldar_model_destroy(one);
    ldar_model_destroy(same);
    ldar_model_destroy(other);
}

static void test_scores(void **state)
{
    (void)state;
    float mean[2 * WIDTH], scores[6];
    for (size_t i = 0; i < 2 * WIDTH; i++) {
        mean[i] = (float)(i % 5) - 1.75f;
    }
    ldar_head_scores(&classes, WIDTH, mean, 2, scores);
    for (size_t s = 0; s < 2; s++) {
        for (size_t c = 0; c < 3; c++) {
            double sum = (double)bias[c];
            for (size_t k = 0; k < WIDTH; k++) {
                sum += (double)weight[c * WIDTH + k] * (double)mean[s * WIDTH + k];
            }
            assert_true(scores[3 * s + c] == (float)sum);
        }
    }
}

/* Parts cover a sequence in order, a base once and in sizes that differ by one; more than it has bases are of one. */
static void test_parts(void **state)
{
    (void)state;
    for (size_t length = 1; length <= 130; length++) {
        for (size_t parts = 1; parts <= 200; parts++) {
            size_t before = 0;
            for (size_t i = 0; i < parts; i++) {
                size_t first, end;
                ldar_head_part(length, parts, i, &first, &end);
                const size_t size = end - first;
                if (parts > length ? first != i * length / parts || size != 1
                                   : first != before || size - length / parts > 1) {
                    fail_msg("part %zu of %zu of %zu nucleotides: %zu to %zu", i, parts, length, first, end);
                }
                before = end;
            }
            assert_int_equal(before, length);
        }
    }
    float mean[2 * 3 * WIDTH], scores[2];
    double sums[2] = {(double)bias[0], (double)bias[0]};
    for (size_t i = 0; i < 2 * 3 * WIDTH; i++) {
        mean[i] = (float)(i % 7) - 2.5f;
        sums[i / (3 * WIDTH)] += (double)mean[i] * (double)weight[i % (3 * WIDTH)];
    }
    ldar_head_scores(&in_parts, WIDTH, mean, 2, scores);
    assert_true(scores[0] == (float)sums[0] && scores[1] == (float)sums[1]);
}

/* A weight for a part and a half is for no model. */
static void test_half_a_part(void **state)
{
    (void)state;
    const struct ldar_head two = {LDAR_HEAD_VALUE, 1, names, weight, bias, 2};
    struct ldar_error error;
    ldar_model *model = with_head(bare, &two, 1);
    char from[64], to[64];
    save_model(model, LDAR_F32, scratch("whole"));
    ldar_model_destroy(model);
    struct bytes file = read_file(scratch("whole"));
    snprintf(from, sizeof from, "[1,%d]", 2 * WIDTH);
    snprintf(to, sizeof to, "[%d,1]", 2 * WIDTH);
    char *header = memchr(file.data, '{', file.count), *at = strstr(header, from);
    assert_non_null(at);
    memcpy(at, to, strlen(to));
    write_file(scratch("turned"), file.data, file.count);
    free(file.data);
    expect_failure(ldar_model_load(scratch("turned"), &model, &error), &error, LDAR_ERROR_TENSOR, "classifier.weight");
}

/* ---- files that are almost right ---- */

/* The model with a head of three classes, but for this metadata behind its configuration, without the tensor `skip`. */
static const char *changed(const char *metadata, const char *skip)
{
    struct bytes header = {NULL, 0}, data = {NULL, 0}, file = {NULL, 0};
    struct ldar_error error;
    ldar_tensors *source;
    ldar_model *model = with_head(bare, &classes, 1);
    save_model(model, LDAR_F32, scratch("whole"));
    ldar_model_destroy(model);
    assert_int_equal(ldar_tensors_open(scratch("whole"), 0, &source, &error), LDAR_OK);
    add_text(&header, "{\"__metadata__\":{\"format\":\"ldarnet\",\"config\":\"");
    for (const char *c = ldar_tensors_metadata(source, "config"); *c; c++) {
        if (*c == '"') {
            add_text(&header, "\\");
        }
        add_bytes(&header, c, 1);
    }
    add_text(&header, "\"");
    add_text(&header, metadata);
    add_text(&header, "}");
    for (size_t i = 0; i < ldar_tensors_count(source); i++) {
        const struct ldar_tensor t = ldar_tensors_at(source, i);
        char text[512], shape[64];
        if (skip && strcmp(t.name, skip) == 0) {
            continue;
        }
        ldar_shape_text(t.shape, t.rank, shape, sizeof shape);
        snprintf(text, sizeof text, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", t.name,
                 shape, data.count, data.count + t.bytes);
        add_text(&header, text);
        add_bytes(&data, t.data, t.bytes);
    }
    add_text(&header, "}");
    ldar_tensors_close(source);
    add_little(&file, header.count, 8);
    add_bytes(&file, header.data, header.count);
    add_bytes(&file, data.data, data.count);
    write_file(scratch("changed"), file.data, file.count);
    free(header.data);
    free(data.data);
    free(file.data);
    return scratch("changed");
}

static void test_hostile(void **state)
{
    static const struct {
        const char *metadata, *skip;
        enum ldar_status status; /* LDAR_OK: it loads */
        const char *words;
    } cases[] = {
        {",\"classes\":\"[\\\"a\\\",\\\"b\\\",\\\"c\\\"]\"", NULL, LDAR_OK, NULL},
        {",\"classes\":\" [ \\\"a\\\" ,\\n\\\"b\\\",\\\"\\\\u00e9\\\" ] \"", NULL, LDAR_OK, NULL},
        {"", NULL, LDAR_ERROR_TENSOR, "'classifier.weight' is there, but the metadata names no classes and no target"},
        {",\"classes\":\"[\\\"a\\\",\\\"b\\\"]\"", NULL, LDAR_ERROR_TENSOR,
         "names 2 outputs, but tensor 'classifier.weight' has 3 rows"},
        {",\"target\":\"a\"", NULL, LDAR_ERROR_TENSOR, "names 1 outputs, but tensor 'classifier.weight' has 3 rows"},
        {",\"classes\":\"[1,2,3]\"", NULL, LDAR_ERROR_FORMAT, "a string expected"},
        {",\"classes\":\"[\\\"a\\\",\\\"b\\\",null]\"", NULL, LDAR_ERROR_FORMAT, "a string expected"},
        {",\"classes\":\"[]\"", NULL, LDAR_ERROR_FORMAT, "a string expected"},
        {",\"classes\":\"\"", NULL, LDAR_ERROR_FORMAT, "'[' expected"},
        {",\"classes\":\"{\\\"a\\\":1}\"", NULL, LDAR_ERROR_FORMAT, "'[' expected"},
        {",\"classes\":\"[\\\"a\\\",\\\"b\\\",\\\"c\\\"\"", NULL, LDAR_ERROR_FORMAT, "',' or ']' expected"},
        {",\"classes\":\"[\\\"a\\\",\\\"b\\\",\\\"c\\\"] x\"", NULL, LDAR_ERROR_FORMAT, "something after the end"},
        {",\"classes\":\"[\\\"a\\\",\\\"b\\\",\\\"a\\\"]\"", NULL, LDAR_ERROR_FORMAT, "the class 'a' is named twice"},
        {",\"classes\":\"[\\\"a\\\",\\\"\\\",\\\"b\\\"]\"", NULL, LDAR_ERROR_FORMAT, "output 1 has an empty name"},
        {",\"classes\":\"[\\\"a\\\",\\\"b\\\\n\\\",\\\"c\\\"]\"", NULL, LDAR_ERROR_FORMAT, "control characters"},
        {",\"classes\":\"[\\\"a\\\"]\"", NULL, LDAR_ERROR_FORMAT, "2 to 65536 outputs, not 1"},
        {",\"target\":\"\"", NULL, LDAR_ERROR_FORMAT, "output 0 has an empty name"},
        {",\"target\":\"a\",\"classes\":\"[\\\"a\\\",\\\"b\\\",\\\"c\\\"]\"", NULL, LDAR_ERROR_FORMAT,
         "holds classes and a target"},
        {",\"classes\":\"[\\\"a\\\",\\\"b\\\",\\\"c\\\"]\"", "classifier.bias", LDAR_ERROR_TENSOR,
         "'classifier.bias' is missing"},
        {",\"classes\":\"[\\\"a\\\",\\\"b\\\",\\\"c\\\"]\"", "classifier.weight", LDAR_ERROR_TENSOR,
         "'classifier.weight' is missing"},
        {"", "classifier.weight", LDAR_ERROR_TENSOR, "'classifier.bias' has no place"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ldar_error error = {LDAR_OK, ""};
        struct ldar_model_info info;
        ldar_model *model;
        const char *path = changed(cases[i].metadata, cases[i].skip);
        const enum ldar_status status = ldar_model_load(path, &model, &error);
        if (status != cases[i].status || (status && !strstr(error.message, cases[i].words))) {
            fail_msg("case %zu: %d \"%s\"", i, (int)status, error.message);
        }
        ldar_model_destroy(model);
        assert_int_equal(ldar_model_peek(path, &info, &error), cases[i].status);
        assert_int_equal(access(scratch("x"), F_OK), -1);
    }
}

/* More names than there may be, and names that are too long: refused before anything of their size is held. */
static void test_many(void **state)
{
    (void)state;
    static char metadata[32 + 16 * LDAR_MAX_OUTPUTS];
    struct ldar_error error;
    ldar_model *model;
    size_t end = (size_t)sprintf(metadata, ",\"classes\":\"[\\\"a\\\"");
    for (size_t i = 0; i < LDAR_MAX_OUTPUTS; i++) {
        end += (size_t)sprintf(metadata + end, ",\\\"%zu\\\"", i);
    }
    sprintf(metadata + end, "]\"");
    expect_failure(ldar_model_load(changed(metadata, NULL), &model, &error), &error, LDAR_ERROR_FORMAT,
                   "more than 65536 names");
}

/* A stranger's head without names keeps its numbers: outputs are numbered. */
static void test_foreign(void **state)
{
    (void)state;
    struct ldar_error error;
    ldar_model *model;
    assert_int_equal(ldar_model_import(changed("", NULL), NULL, &model, &error), LDAR_OK);
    static const char *const numbers[] = {"0", "1", "2"};
    expect_head(model, &(struct ldar_head){LDAR_HEAD_CLASSES, 3, numbers, weight, bias, 1});
    ldar_model_destroy(model);
}

/* Every flipped bit of the names is noticed, as of all else. */
static void test_flips(void **state)
{
    (void)state;
    ldar_model *model = with_head(bare, &classes, 1);
    save_model(model, LDAR_F32, scratch("sound"));
    ldar_model_destroy(model);
    struct bytes file = read_file(scratch("sound"));
    const char *at = memchr(file.data, '{', file.count), *key = strstr(at, "\"classes\"");
    assert_non_null(key);
    const size_t first = (size_t)(key - (const char *)file.data);
    for (size_t bit = 8 * first; bit < 8 * (first + 64); bit++) {
        struct ldar_error error;
        file.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        write_file(scratch("flipped"), file.data, file.count);
        if (ldar_model_load(scratch("flipped"), &model, &error) == LDAR_OK) {
            fail_msg("bit %zu", bit);
        }
        file.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    free(file.data);
}

/* ---- callers who get it wrong ---- */

static void test_wrong(void **state)
{
    (void)state;
    static const char *const twice[] = {"a", "b", "a"}, *const empty[] = {"a", "", "c"}, *const absent[] = {"a", NULL},
                             *const control[] = {"a", "b\t"}, *const bytes[] = {"a", "\xff"};
    static char endless[LDAR_MAX_OUTPUT_NAME + 2];
    memset(endless, 'a', sizeof endless - 1);
    const char *const too_long[] = {endless, "b"};
    static float infinite[3 * WIDTH] = {[5] = INFINITY}, no_number[3] = {[2] = NAN};
    const struct {
        struct ldar_head head;
        const char *words;
    } wrong[] = {
        {{(enum ldar_head_kind)0, 3, names, weight, bias, 1}, "no kind of head"},
        {{(enum ldar_head_kind)3, 3, names, weight, bias, 1}, "no kind of head"},
        {{LDAR_HEAD_CLASSES, 0, names, weight, bias, 1}, "not 0"},
        {{LDAR_HEAD_CLASSES, 1, names, weight, bias, 1}, "not 1"},
        {{LDAR_HEAD_CLASSES, LDAR_MAX_OUTPUTS + 1, names, weight, bias, 1}, "not 65537"},
        {{LDAR_HEAD_CLASSES, SIZE_MAX, names, weight, bias, 1}, "2 to 65536"},
        {{LDAR_HEAD_VALUE, 2, names, weight, bias, 1}, "one output, not 2"},
        {{LDAR_HEAD_CLASSES, 3, NULL, weight, bias, 1}, "without names"},
        {{LDAR_HEAD_CLASSES, 3, twice, weight, bias, 1}, "'a' is named twice"},
        {{LDAR_HEAD_CLASSES, 3, empty, weight, bias, 1}, "output 1 has an empty name"},
        {{LDAR_HEAD_CLASSES, 2, absent, weight, bias, 1}, "output 1 has an empty name"},
        {{LDAR_HEAD_CLASSES, 2, control, weight, bias, 1}, "control characters"},
        {{LDAR_HEAD_CLASSES, 2, bytes, weight, bias, 1}, "no UTF-8"},
        {{LDAR_HEAD_CLASSES, 2, too_long, weight, bias, 1}, "longer than 255 bytes"},
        {{LDAR_HEAD_CLASSES, 3, names, infinite, bias, 1}, "infinity or NaN"},
        {{LDAR_HEAD_CLASSES, 3, names, weight, no_number, 1}, "infinity or NaN"},
        {{LDAR_HEAD_CLASSES, 3, names, NULL, bias, LDAR_MAX_PARTS + 1}, "65537 parts, more than 65536"},
    };
    struct ldar_error error;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ldar_model *out = bare;
        expect_failure(ldar_model_with_head(bare, &wrong[i].head, 1, &out, &error), &error, LDAR_ERROR_ARGUMENT,
                       wrong[i].words);
        assert_null(out);
    }
    ldar_model *out = bare;
    expect_failure(ldar_model_with_head(NULL, &classes, 1, &out, &error), &error, LDAR_ERROR_ARGUMENT, "no model");
    expect_failure(ldar_model_with_head(bare, NULL, 1, &out, &error), &error, LDAR_ERROR_ARGUMENT, "no head");
    expect_failure(ldar_model_with_head(bare, &classes, 1, NULL, &error), &error, LDAR_ERROR_ARGUMENT, "no place");
    assert_null(out);
}

/* As many classes as there may be, whose names need escapes twice over, go through a file. */
static void test_limits(void **state)
{
    (void)state;
    enum { LONGEST = 32 };
    const char **list = malloc(LDAR_MAX_OUTPUTS * sizeof *list);
    char(*text)[LONGEST + 1] = calloc(LDAR_MAX_OUTPUTS, sizeof *text);
    assert_true(list && text);
    for (size_t i = 0; i < LDAR_MAX_OUTPUTS; i++) {
        memset(text[i], '"', LONGEST - 8);
        snprintf(text[i] + LONGEST - 8, 9, "%08zu", i);
        list[i] = text[i];
    }
    const struct ldar_head most = {.kind = LDAR_HEAD_CLASSES, .outputs = LDAR_MAX_OUTPUTS, .names = list};
    ldar_model *model = with_head(bare, &most, 1);
    save_model(model, LDAR_F32, scratch("most"));
    ldar_model *again = load_model(scratch("most"));
    assert_string_equal(ldar_model_head(again)->names[LDAR_MAX_OUTPUTS - 1], list[LDAR_MAX_OUTPUTS - 1]);
    ldar_model_destroy(again);
    ldar_model_destroy(model);
    struct ldar_error error;
    char longer[LONGEST + 2];
    memset(longer, 'x', sizeof longer - 1);
    longer[LONGEST + 1] = '\0';
    list[0] = longer;
    expect_failure(ldar_model_with_head(bare, &most, 1, &model, &error), &error, LDAR_ERROR_ARGUMENT,
                   "more than 2097152 in all");
    free(text);
    free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_drawn),       cmocka_unit_test(test_scores),
        cmocka_unit_test(test_hostile),    cmocka_unit_test(test_many),        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_flips),      cmocka_unit_test(test_wrong),       cmocka_unit_test(test_limits),
        cmocka_unit_test(test_parts),      cmocka_unit_test(test_half_a_part),
    };
    return cmocka_run_group_tests_name("io.head", tests, set_up, tear_down);
}
