/* SPDX-License-Identifier: Apache-2.0 */
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

static const char reference[] = "tests/io/data/reference.safetensors";

/* Every golden model loads, with the values that stand in its file. */
static void test_golden(void **state)
{
    static const char *const names[] = {
        "tiny",        "shapes/two-stages", "shapes/three-stages", "shapes/equal-widths",
        "shapes/tied", "shapes/no-scan",    "shapes/odd-state",    "shapes/deep-state"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[64];
        struct ldar_error error;
        struct ldar_model_info info, peeked;
        ldar_tensors *tensors;
        snprintf(name, sizeof name, "tests/golden/%s.safetensors", names[i]);
        const char *path = source_file(name);
        ldar_model *model = load_model(path);
        assert_int_equal(ldar_tensors_open(path, 0, &tensors, &error), LDAR_OK);
        for (size_t k = 0; k < model->table.count; k++) {
            const struct ldar_parameter *parameter = &model->table.entry[k];
            enum ldar_dtype dtype;
            const void *data = ldar_parameter_data(parameter, &dtype);
            struct ldar_tensor tensor = ldar_tensors_at(tensors, ldar_tensors_find(tensors, parameter->name));
            assert_int_equal(tensor.count, parameter->count);
            assert_memory_equal(tensor.data, data, tensor.bytes);
        }
        ldar_model_describe(model, &info);
        assert_int_equal(ldar_model_peek(path, &peeked, &error), LDAR_OK);
        assert_int_equal(info.parameters, peeked.parameters);
        assert_int_equal(info.dtype, LDAR_F32);
        assert_int_equal(peeked.dtype, LDAR_F32);
        assert_int_equal(strlen(info.sha256), 64);
        assert_string_equal(peeked.sha256, "");
        const struct ldar_parameters *parameters = ldar_model_parameters(model);
        assert_true((parameters->head == parameters->embeddings) == (info.config.tie_embeddings != 0));
        ldar_tensors_close(tensors);
        ldar_model_destroy(model);
    }
    ldar_model_destroy(NULL);
}

/* 0: what save writes, load reads and save writes again, to the byte; in both types. */
static void test_round_trip(void **state)
{
    (void)state;
    ldar_model *model = load_model(source_file("tests/golden/tiny.safetensors"));
    for (int dtype = LDAR_F32; dtype <= LDAR_BF16; dtype++) {
        struct ldar_model_info info, peeked;
        struct ldar_error error;
        save_model(model, (enum ldar_dtype)dtype, scratch("first"));
        ldar_model *again = load_model(scratch("first"));
        save_model(again, (enum ldar_dtype)dtype, scratch("second"));
        expect_equal_files(scratch("first"), scratch("second"));
        if (dtype == LDAR_F32) { /* a model has the name that its file will say */
            ldar_model_describe(model, &peeked);
            ldar_model_describe(again, &info);
            assert_string_equal(peeked.sha256, info.sha256);
        }
        ldar_model_describe(again, &info);
        assert_int_equal(info.dtype, dtype);
        assert_int_equal(strlen(info.sha256), 64);
        assert_int_equal(ldar_model_peek(scratch("first"), &peeked, &error), LDAR_OK);
        assert_string_equal(info.sha256, peeked.sha256);
        assert_int_equal(peeked.dtype, dtype);
        assert_int_equal(peeked.parameters, info.parameters);
        /* Over the file that the model is mapped from. */
        save_model(again, (enum ldar_dtype)dtype, scratch("first"));
        expect_equal_files(scratch("first"), scratch("second"));
        ldar_model_destroy(again);
    }
    struct ldar_error error;
    expect_failure(ldar_model_save(model, (enum ldar_dtype)7, scratch("x"), &error), &error, LDAR_ERROR_ARGUMENT,
                   "f32 or bf16");
    assert_int_equal(access(scratch("x"), F_OK), -1);
    ldar_model_destroy(model);
}

static float widened(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Which tensors of a bfloat16 file are bfloat16, and that their values are the nearest ones. */
static void test_bf16(void **state)
{
    struct ldar_error error;
    ldar_tensors *tensors;
    (void)state;
    ldar_model *model = load_model(source_file("tests/golden/tiny.safetensors"));
    save_model(model, LDAR_BF16, scratch("narrow"));
    assert_int_equal(ldar_tensors_open(scratch("narrow"), 0, &tensors, &error), LDAR_OK);
    static const char *const narrow[] = {"embeddings.weight", "lm_head.weight", "in_proj.weight", "out_proj.weight",
                                         "Wqkv.weight",       "fc1.weight",     "fc2.weight"};
    for (size_t i = 0; i < ldar_tensors_count(tensors); i++) {
        struct ldar_tensor tensor = ldar_tensors_at(tensors, i);
        enum ldar_tensor_type expected = LDAR_TENSOR_F32;
        for (size_t k = 0; k < sizeof narrow / sizeof *narrow; k++) {
            if (strstr(tensor.name, narrow[k])) {
                expected = LDAR_TENSOR_BF16;
            }
        }
        assert_int_equal(tensor.type, expected);
        assert_null(strstr(tensor.name, "bwd.in_proj"));
        assert_null(strstr(tensor.name, "bwd.out_proj"));
    }
    struct ldar_tensor stored = ldar_tensors_at(tensors, ldar_tensors_find(tensors, "embeddings.weight"));
    const float *exact = ldar_model_parameters(model)->embeddings;
    for (size_t i = 0; i < stored.count; i++) {
        uint16_t half;
        memcpy(&half, (const char *)stored.data + 2 * i, sizeof half);
        float error_here = fabsf(widened(half) - exact[i]);
        assert_true(error_here <= fabsf(widened((uint16_t)(half + 1)) - exact[i]));
        assert_true(error_here <= fabsf(widened((uint16_t)(half - 1)) - exact[i]));
    }
    ldar_tensors_close(tensors);
    /* The table of symbols is float in memory, the matrices stay narrow, and bf16 made wide again is exact. */
    ldar_model *again = load_model(scratch("narrow"));
    assert_int_equal(ldar_model_parameters(again)->stage[0].encoder.layer[0].bimamba.in_proj.dtype, LDAR_BF16);
    assert_int_equal(ldar_model_parameters(again)->stage[0].router_q.dtype, LDAR_F32);
    save_model(again, LDAR_F32, scratch("wide"));
    ldar_model *wide = load_model(scratch("wide"));
    save_model(wide, LDAR_BF16, scratch("narrow again"));
    expect_equal_files(scratch("narrow"), scratch("narrow again"));
    ldar_model_destroy(wide);
    ldar_model_destroy(again);
    ldar_model_destroy(model);
}

/* ---- files that are almost right ---- */

/* A tensor file that is put together anew. */
struct draft {
    struct bytes header, data;
};

static void draft_begin(struct draft *draft, const ldar_tensors *source)
{
    struct ldar_config config;
    struct ldar_error error;
    char text[4096];
    const char *json = ldar_tensors_metadata(source, "config");
    *draft = (struct draft){0};
    assert_int_equal(ldar_config_parse(json, strlen(json), &config, &error), LDAR_OK);
    ldar_config_format(&config, text, sizeof text);
    add_text(&draft->header, "{\"__metadata__\":{\"format\":\"ldarnet\",\"config\":\"");
    for (const char *c = text; *c; c++) {
        if (*c == '"') {
            add_text(&draft->header, "\\");
        }
        add_bytes(&draft->header, c, 1);
    }
    add_text(&draft->header, "\"}");
}

static void draft_add(struct draft *draft, const char *name, const char *type, const size_t *shape, size_t rank,
                      const void *data, size_t bytes)
{
    char text[512], dims[128] = "";
    for (size_t i = 0; i < rank; i++) {
        snprintf(dims + strlen(dims), sizeof dims - strlen(dims), i > 0 ? ",%zu" : "%zu", shape[i]);
    }
    snprintf(text, sizeof text, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", name, type,
             dims, draft->data.count, draft->data.count + bytes);
    add_text(&draft->header, text);
    add_bytes(&draft->data, data, bytes);
}

static void draft_write(struct draft *draft, const char *path)
{
    struct bytes file = {NULL, 0};
    add_text(&draft->header, "}");
    add_little(&file, draft->header.count, 8);
    add_bytes(&file, draft->header.data, draft->header.count);
    add_bytes(&file, draft->data.data, draft->data.count);
    write_file(path, file.data, file.count);
    free(file.data);
    free(draft->header.data);
    free(draft->data.data);
}

enum change { KEEP, DROP, RENAME, TWICE, TURN, FLAT, INTEGER, DOUBLE, NOT_A_NUMBER, INFINITE, LAST_BIT, WRAP };

/* The reference model with one tensor changed. */
static const char *changed(const char *name, enum change change)
{
    struct ldar_error error;
    ldar_tensors *source;
    struct draft draft;
    assert_int_equal(ldar_tensors_open(source_file(reference), 0, &source, &error), LDAR_OK);
    draft_begin(&draft, source);
    for (size_t i = 0; i < ldar_tensors_count(source); i++) {
        struct ldar_tensor t = ldar_tensors_at(source, i);
        const int here = change != KEEP && strcmp(t.name, name) == 0;
        const char *type = here && change == INTEGER ? "I32" : "F32";
        float *data = malloc(t.bytes);
        char new_name[300];
        assert_non_null(data);
        memcpy(data, t.data, t.bytes);
        snprintf(new_name, sizeof new_name, "%s%s%s", here && change == WRAP ? "_orig_mod.module." : "", t.name,
                 here && change == RENAME ? "x" : "");
        if (here && (change == NOT_A_NUMBER || change == INFINITE)) {
            data[t.count - 1] = change == INFINITE ? -INFINITY : NAN;
        } else if (here && change == LAST_BIT) {
            ((unsigned char *)data)[t.bytes - 4] ^= 1;
        } else if (here && change == TURN) {
            size_t rows = t.shape[0];
            t.shape[0] = t.shape[1];
            t.shape[1] = rows;
        } else if (here && change == FLAT) {
            t.shape[0] = t.count;
            t.rank = 1;
        }
        if (here && change == DOUBLE) {
            double *wide = malloc(2 * t.bytes);
            assert_non_null(wide);
            for (size_t k = 0; k < t.count; k++) {
                wide[k] = data[k];
            }
            draft_add(&draft, new_name, "F64", t.shape, t.rank, wide, 2 * t.bytes);
            free(wide);
        } else if (!here || change != DROP) {
            draft_add(&draft, new_name, type, t.shape, t.rank, data, t.bytes);
        }
        if (here && change == TWICE) {
            snprintf(new_name, sizeof new_name, "module.%s", t.name);
            draft_add(&draft, new_name, type, t.shape, t.rank, data, t.bytes);
        }
        free(data);
    }
    ldar_tensors_close(source);
    draft_write(&draft, scratch("changed"));
    return scratch("changed");
}

static void test_changes(void **state)
{
    static const struct {
        const char *name;
        enum change change;
        const char *words;
    } cases[] = {
        {"lm_head.weight", DROP, "'lm_head.weight' is missing"},
        {"backbone.encoder.layers.0.mixer.bwd.D", DROP, "mixer.bwd.D' is missing"},
        {"backbone.encoder.layers.0.mixer.fwd.in_proj.weight", DROP, "mixer.fwd.in_proj.weight' is missing"},
        {"lm_head.weight", RENAME, "'lm_head.weightx' has no place"},
        {"lm_head.weight", TURN, "'lm_head.weight' has shape (16,7), but the configuration makes it (7,16)"},
        {"backbone.main_network.pad_dimension", FLAT, NULL},
        {"backbone.encoder.layers.0.mixer.fwd.conv1d.weight", FLAT, "has shape (272), but"},
        {"backbone.residual_proj.bias", INTEGER, "'backbone.residual_proj.bias' has type I32"},
        {"backbone.decoder.rmsnorm.weight", NOT_A_NUMBER, "'backbone.decoder.rmsnorm.weight' holds an infinity or NaN"},
        {"backbone.encoder.layers.0.mixer.fwd.out_proj.weight", INFINITE, "out_proj.weight' holds an infinity or NaN"},
        {"backbone.encoder.layers.0.mixer.bwd.in_proj.weight", LAST_BIT, "bwd.in_proj.weight' differs from its twin"},
        {"backbone.encoder.layers.0.mixer.fwd.out_proj.weight", LAST_BIT, "bwd.out_proj.weight' differs from its twin"},
        {"backbone.encoder.layers.0.mixer.bwd.in_proj.weight", DROP, NULL},
        {"backbone.encoder.layers.0.mixer.bwd.out_proj.weight", DOUBLE, "has type F64"},
        {"lm_head.weight", DOUBLE, "has type F64, not F32 or BF16"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ldar_error error = {LDAR_OK, ""};
        struct ldar_model_info info;
        ldar_model *model;
        const char *path = changed(cases[i].name, cases[i].change);
        enum ldar_status status = ldar_model_load(path, &model, &error);
        if (cases[i].words ? status != LDAR_ERROR_TENSOR || !strstr(error.message, cases[i].words)
                           : status != LDAR_OK) {
            fail_msg("%s, change %d: %d \"%s\"", cases[i].name, (int)cases[i].change, (int)status, error.message);
        }
        ldar_model_destroy(model);
        if (cases[i].change <= INTEGER && cases[i].words) { /* what the header alone shows */
            expect_failure(ldar_model_peek(path, &info, &error), &error, LDAR_ERROR_TENSOR, cases[i].words);
        }
    }
}

/* import takes off the wrappers' prefixes; load wants our names. */
static void test_wrappers(void **state)
{
    struct ldar_error error;
    ldar_model *model;
    (void)state;
    const char *path = changed("backbone.decoder.rmsnorm.weight", WRAP);
    expect_failure(ldar_model_load(path, &model, &error), &error, LDAR_ERROR_TENSOR, "_orig_mod.module.backbone");
    assert_int_equal(ldar_model_import(path, NULL, &model, &error), LDAR_OK);
    ldar_model_destroy(model);
    path = changed("lm_head.weight", DOUBLE);
    assert_int_equal(ldar_model_import(path, NULL, &model, &error), LDAR_OK);
    ldar_model_destroy(model);
    path = changed("backbone.encoder.layers.0.mixer.bwd.out_proj.weight", DOUBLE);
    expect_failure(ldar_model_import(path, NULL, &model, &error), &error, LDAR_ERROR_TENSOR, "differs from its twin");
    path = changed("lm_head.weight", TWICE);
    expect_failure(ldar_model_import(path, NULL, &model, &error), &error, LDAR_ERROR_TENSOR,
                   "'module.lm_head.weight' occurs twice");
}

static void test_metadata(void **state)
{
    struct ldar_error error;
    ldar_model *model;
    (void)state;
    struct bytes file = safetensors("{}", 0);
    write_file(scratch("bare"), file.data, file.count);
    free(file.data);
    expect_failure(ldar_model_load(scratch("bare"), &model, &error), &error, LDAR_ERROR_FORMAT, "lacks format");
    expect_failure(ldar_model_import(scratch("bare"), NULL, &model, &error), &error, LDAR_ERROR_CONFIG,
                   "give one (--config FILE.json or --preset)");
    struct ldar_config config;
    assert_int_equal(ldar_config_preset("2m", &config, &error), LDAR_OK);
    expect_failure(ldar_model_import(scratch("bare"), &config, &model, &error), &error, LDAR_ERROR_TENSOR,
                   "'embeddings.weight' is missing");
    expect_failure(ldar_model_import(source_file(reference), &config, &model, &error), &error, LDAR_ERROR_CONFIG,
                   "not the one that was given");
    file = safetensors("{\"__metadata__\":{\"format\":\"ldarnet\",\"config\":\"{\"}}", 0);
    write_file(scratch("bad config"), file.data, file.count);
    free(file.data);
    expect_failure(ldar_model_load(scratch("bad config"), &model, &error), &error, LDAR_ERROR_CONFIG, "bad config: no");
    expect_failure(ldar_model_load(source_file("tests/io/data/published.pt"), &model, &error), &error,
                   LDAR_ERROR_FORMAT, "ldar convert");
    expect_failure(ldar_model_load(scratch("absent"), &model, &error), &error, LDAR_ERROR_IO, "No such file");
    expect_failure(ldar_model_load(source_file("tests/golden/tiny-forward-L5.safetensors"), &model, &error), &error,
                   LDAR_ERROR_FORMAT, "lacks format");
}

/* Any single flipped bit of a file that we wrote is noticed. LDAR_TEST_FLIPS of them are tried. */
static void test_flips(void **state)
{
    const char *count = getenv("LDAR_TEST_FLIPS"), *seed = getenv("LDAR_TEST_SEED");
    uint64_t flips = count ? strtoull(count, NULL, 10) : 1000, random = seed ? strtoull(seed, NULL, 10) : 1;
    struct ldar_error error;
    ldar_model *model;
    (void)state;
    print_message("LDAR_TEST_SEED=%llu\n", (unsigned long long)random);
    assert_int_equal(ldar_model_import(source_file(reference), NULL, &model, &error), LDAR_OK);
    save_model(model, LDAR_BF16, scratch("sound"));
    ldar_model_destroy(model);
    struct bytes file = read_file(scratch("sound"));
    uint64_t header = 0;
    memcpy(&header, file.data, sizeof header);
    for (uint64_t i = 0; i < flips; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        /* Half of them in the header, where fewer are found by the hashes. */
        uint64_t bit = (random >> 20) % (8 * (i % 2 ? file.count : header + 8));
        file.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
        write_file(scratch("flipped"), file.data, file.count);
        if (ldar_model_load(scratch("flipped"), &model, &error) == LDAR_OK) {
            fail_msg("bit %llu of %zu bytes, header %llu", (unsigned long long)bit, file.count,
                     (unsigned long long)header);
        }
        file.data[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    free(file.data);
}

/* The list of hashes names every tensor once: a name written over another leaves one tensor unchecked. */
static void test_hash_list(void **state)
{
    static const struct {
        const char *from, *to, *words;
    } cases[] = {
        {"encoder.layers.0.mixer.bwd.D\\\"", "encoder.layers.0.mixer.fwd.D\\\"", "malformed or stands twice"},
        {"encoder.layers.0.mixer.bwd.D\\\"", "encoder.layers.0.mixer.bwd.E\\\"", "something that is not there"},
    };
    struct ldar_config config;
    struct ldar_error error;
    ldar_model *model;
    (void)state;
    assert_int_equal(ldar_config_preset("2m", &config, &error), LDAR_OK);
    assert_int_equal(ldar_model_create(&config, 1, &model, &error), LDAR_OK); /* D is 1 in both directions */
    save_model(model, LDAR_F32, scratch("sound"));
    ldar_model_destroy(model);
    struct bytes file = read_file(scratch("sound"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t length = strlen(cases[i].from);
        unsigned char *at = file.data;
        assert_int_equal(strlen(cases[i].to), length);
        while (memcmp(at, cases[i].from, length) != 0) {
            at++;
            assert_true(at + length < file.data + file.count);
        }
        memcpy(at, cases[i].to, length);
        write_file(scratch("list"), file.data, file.count);
        memcpy(at, cases[i].from, length);
        expect_failure(ldar_model_load(scratch("list"), &model, &error), &error, LDAR_ERROR_FORMAT, cases[i].words);
    }
    free(file.data);
}

/* Pages that were let go of read as before, and a model on the heap keeps its values. */
static void test_release(void **state)
{
    struct ldar_config config;
    struct ldar_error error;
    ldar_model *model;
    (void)state;
    assert_int_equal(ldar_config_preset("2m", &config, &error), LDAR_OK);
    assert_int_equal(ldar_model_create(&config, 1, &model, &error), LDAR_OK);
    for (int dtype = LDAR_F32; dtype <= LDAR_BF16; dtype++) {
        save_model(model, (enum ldar_dtype)dtype, scratch("views"));
        ldar_model *views = load_model(scratch("views"));
        for (int step = 0; step < 2; step++) {
            const struct ldar_model *one = step ? model : views; /* one from a file, one on the heap */
            for (size_t i = 0; i < one->table.count; i++) {
                if (one->table.entry[i].matrix) {
                    ldar_matrix_release_pages(&one->parameters, one->table.entry[i].matrix);
                }
            }
        }
        save_model(views, (enum ldar_dtype)dtype, scratch("again"));
        expect_equal_files(scratch("views"), scratch("again"));
        save_model(model, (enum ldar_dtype)dtype, scratch("again"));
        expect_equal_files(scratch("views"), scratch("again"));
        ldar_model_destroy(views);
    }
    ldar_model_destroy(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),  cmocka_unit_test(test_round_trip), cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_changes), cmocka_unit_test(test_wrappers),   cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_flips),   cmocka_unit_test(test_hash_list),  cmocka_unit_test(test_release),
    };
    return cmocka_run_group_tests_name("io.model", tests, NULL, NULL);
}
