/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/model.h>

#include "files.h"
#include "model/config.h"
#include "model/parameters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A configuration of two stages with parts to be put in. */
#define CONFIG(layout, width, ssm, attn, more)                                                                         \
    "{\"arch_layout\":" layout ",\"d_model\":" width ",\"d_intermediate\":[0,100],\"vocab_size\":7,"                   \
    "\"ssm_cfg\":{" ssm "},\"attn_cfg\":{" attn "}" more "}"
#define LAYOUT "[\"m1t1\",[\"M2\"],\"m1\"]"
#define WIDTH "[64,128]"
#define SSM "\"d_conv\":4,\"expand\":2,\"d_state\":16,\"chunk_size\":256"
#define ATTN "\"num_heads\":[2,4],\"rotary_emb_dim\":[32,32],\"window_size\":[7,-1]"

static enum ldar_status parse(const char *json, struct ldar_config *config, struct ldar_error *error)
{
    return ldar_config_parse(json, strlen(json), config, error);
}

static void test_presets(void **state)
{
    static const char published[] =
        "{\"arch_layout\": [\"m3t1\", [\"M10\"], \"m4\"], \"d_model\": [512, 768], \"d_intermediate\": [0, 2560],"
        "\"vocab_size\": 7, \"ssm_cfg\": {\"chunk_size\": 256, \"d_conv\": 4, \"d_state\": 128, \"expand\": 2},"
        "\"attn_cfg\": {\"num_heads\": [16, 16], \"rotary_emb_dim\": [32, 48], \"window_size\": [1023, -1]},"
        "\"tie_embeddings\": false, \"mode\": \"mlm\", \"pad_token_id\": 6, \"mask_token_id\": 5}";
    struct ldar_config preset, parsed;
    struct ldar_error error;
    (void)state;
    assert_int_equal(ldar_config_preset("110m", &preset, &error), LDAR_OK);
    assert_int_equal(parse(published, &parsed, &error), LDAR_OK);
    assert_true(ldar_config_equal(&preset, &parsed));
    assert_int_equal(parsed.stage[0].intermediate, 0);
    assert_int_equal(parsed.stage[1].rotary, 48);
    assert_int_equal(parsed.stage[1].window, -1);
    assert_string_equal(parsed.stage[0].decoder, "m4");
    expect_failure(ldar_config_preset("7b", &preset, &error), &error, LDAR_ERROR_ARGUMENT, "the presets are");
}

/* What is formatted is parsed back; text that does not fit is measured. */
static void test_format(void **state)
{
    static const char *const names[] = {"110m", "2m"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct ldar_config config, again;
        struct ldar_error error;
        char text[4096], small[16];
        if (i < 2) {
            assert_int_equal(ldar_config_preset(names[i], &config, &error), LDAR_OK);
        } else {
            assert_int_equal(
                parse("{\"arch_layout\":[\"m2\",[\"t1\",[\"M3T1\"],\"m1t1\"],\"m2\"],\"d_model\":[64,64,128],"
                      "\"d_intermediate\":[0,0,300],\"vocab_size\":7,\"ssm_cfg\":{\"d_conv\":[4,3,2],"
                      "\"expand\":[2,4,1],\"d_state\":[16,32,64]},\"attn_cfg\":{\"num_heads\":[1,2,4],"
                      "\"rotary_emb_dim\":[0,8,16],\"window_size\":[0,5,-1]},\"tie_embeddings\":true}",
                      &config, &error),
                LDAR_OK);
        }
        size_t length = ldar_config_format(&config, text, sizeof text);
        assert_int_equal(length, strlen(text));
        assert_int_equal(ldar_config_format(&config, NULL, 0), length);
        assert_int_equal(ldar_config_format(&config, small, sizeof small), length);
        assert_int_equal(strlen(small), sizeof small - 1);
        assert_int_equal(parse(text, &again, &error), LDAR_OK);
        assert_true(ldar_config_equal(&config, &again));
        config.stages = 9;
        assert_int_equal(ldar_config_format(&config, text, sizeof text), 0);
    }
}

/* One number for all stages, a list where the published form has a number, keys that we do not know. */
static void test_forms(void **state)
{
    struct ldar_config config, lists;
    struct ldar_error error;
    (void)state;
    assert_int_equal(parse(CONFIG(LAYOUT, "64", "\"d_conv\":[4,3],\"expand\":[2,1],\"d_state\":[16,8],\"x\":{\"y\":[]}",
                                  "\"num_heads\":2,\"rotary_emb_dim\":4,\"window_size\":-1,\"rope\":null",
                                  ",\"more\":{\"deep\":[1,{\"er\":2.5}]}"),
                           &config, &error),
                     LDAR_OK);
    assert_int_equal(parse(CONFIG(LAYOUT, "[64,64]", "\"d_conv\":[4,3],\"expand\":[2,1],\"d_state\":[16,8]",
                                  "\"num_heads\":[2,2],\"rotary_emb_dim\":[4,4],\"window_size\":[-1,-1]", ""),
                           &lists, &error),
                     LDAR_OK);
    assert_true(ldar_config_equal(&config, &lists));
    assert_int_equal(config.stage[1].conv, 3);
    assert_int_equal(config.stage[1].window, -1);
    assert_int_equal(config.tie_embeddings, 0);
    /* What no layer uses may be odd: no attention inside, so 3 heads of 128 columns are nobody's business. */
    assert_int_equal(
        parse(CONFIG(LAYOUT, WIDTH, SSM, "\"num_heads\":[2,3],\"rotary_emb_dim\":[32,5],\"window_size\":[7,-1]", ""),
              &config, &error),
        LDAR_OK);
}

static const struct {
    const char *json, *words;
} wrong[] = {
    {"", "no JSON"},
    {"{", "no JSON"},
    {"[]", "no JSON object"},
    {"{}{}", "something after the end"},
    {"{\"a\":01}", "a value expected"},
    {"{\"a\":-}", "a value expected"},
    {"{\"a\":1.}", "a fraction without digits"},
    {"{\"a\":1e+}", "an exponent without digits"},
    {"{\"a\":tru}", "a value expected"},
    {"{\"a\":[1,]}", "a value expected"},
    {"{\"a\" 1}", "':' expected"},
    {"{\"a\":\"\xff\"}", "no UTF-8"},
    {"{\"a\":{\"b\":-0.5e-3,\"c\":[true,false,null,{},[]]}}", "arch_layout is missing"},
    {"7", "no JSON object"},
    {CONFIG(LAYOUT, WIDTH, SSM, ATTN, "") "x", "no JSON"},
    {CONFIG(LAYOUT, WIDTH, SSM, ATTN, ",\"d_model\":[64,128]"), "d_model occurs twice"},
    {CONFIG("null", WIDTH, SSM, ATTN, ""), "arch_layout must be nested"},
    {CONFIG("\"m1\"", WIDTH, SSM, ATTN, ""), "arch_layout must be nested"},
    {CONFIG("[]", WIDTH, SSM, ATTN, ""), "arch_layout must be nested"},
    {CONFIG("[\"m1\",\"m1\"]", WIDTH, SSM, ATTN, ""), "arch_layout must be nested"},
    {CONFIG("[\"m1\",\"m1\",\"m1\"]", WIDTH, SSM, ATTN, ""), "arch_layout must be nested"},
    {CONFIG("[\"m1\",[\"m1\"],3]", WIDTH, SSM, ATTN, ""), "arch_layout must be nested"},
    {CONFIG("[\"m1\"]", "64", SSM, "\"num_heads\":2,\"rotary_emb_dim\":4,\"window_size\":1", ""),
     "d_intermediate must be"},
    {CONFIG("[\"m1\",[\"x1\"],\"m1\"]", WIDTH, SSM, ATTN, ""), "stage 1 is 'x1'"},
    {CONFIG("[\"m\",[\"m1\"],\"m1\"]", WIDTH, SSM, ATTN, ""), "stage 0 is 'm'"},
    {CONFIG("[\"m0\",[\"m1\"],\"m1\"]", WIDTH, SSM, ATTN, ""), "stage 0 is 'm0'"},
    {CONFIG("[\"m1\",[\"m1\"],\"\"]", WIDTH, SSM, ATTN, ""), "stage 0 is ''"},
    {CONFIG("[\"m-1\",[\"m1\"],\"m1\"]", WIDTH, SSM, ATTN, ""), "stage 0 is 'm-1'"},
    {CONFIG("[\"m257\",[\"m1\"],\"m1\"]", WIDTH, SSM, ATTN, ""), "stage 0 is 'm257'"},
    {CONFIG("[\"m18446744073709551617\",[\"m1\"],\"m1\"]", WIDTH, SSM, ATTN, ""), "m18446744073709551617"},
    {CONFIG("[\"m200\",[\"m50\"],\"m7\"]", WIDTH, SSM, ATTN, ""), "more than 256 layers"},
    {CONFIG("[\"m1\\u0000\",[\"m1\"],\"m1\"]", WIDTH, SSM, ATTN, ""), "no JSON"},
    {CONFIG("[\"m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1m1\",[\"m1\"],\"m1\"]", WIDTH, SSM, ATTN,
            ""),
     "at most 63 characters: a string that is too long"},
    {CONFIG(LAYOUT, "[64]", SSM, ATTN, ""), "one for each of the 2 stages"},
    {CONFIG(LAYOUT, "[64,128,256]", SSM, ATTN, ""), "one for each of the 2 stages"},
    {CONFIG(LAYOUT, "[64.0,128]", SSM, ATTN, ""), "d_model must be an integer"},
    {CONFIG(LAYOUT, "\"64\"", SSM, ATTN, ""), "d_model must be an integer"},
    {CONFIG(LAYOUT, "[0,128]", SSM, ATTN, ""), "d_model of stage 0 is 0, not within 1..16384"},
    {CONFIG(LAYOUT, "[64,16448]", SSM, ATTN, ""), "d_model of stage 1 is 16448"},
    {CONFIG(LAYOUT, "[64,99999999999]", SSM, ATTN, ""), "d_model must be an integer"},
    {CONFIG(LAYOUT, "[64,99999999999999999999]", SSM, ATTN, ""), "d_model must be an integer"},
    {CONFIG(LAYOUT, "[64,-64]", SSM, ATTN, ""), "d_model must be an integer"},
    {CONFIG(LAYOUT, "[128,64]", SSM, ATTN, ""), "d_model of stage 1 is 64, not within 128.."},
    {CONFIG(LAYOUT, "[64,100]", SSM, ATTN, ""), "no multiple of the head width 64"},
    {CONFIG(LAYOUT, WIDTH, "\"expand\":2,\"d_state\":16", ATTN, ""), "ssm_cfg.d_conv is missing"},
    {CONFIG(LAYOUT, WIDTH, "\"d_conv\":5,\"expand\":2,\"d_state\":16", ATTN, ""), "d_conv of stage 0 is 5"},
    {CONFIG(LAYOUT, WIDTH, "\"d_conv\":0,\"expand\":2,\"d_state\":16", ATTN, ""), "d_conv of stage 0 is 0"},
    {CONFIG(LAYOUT, WIDTH, "\"d_conv\":4,\"expand\":0,\"d_state\":16", ATTN, ""), "expand of stage 0 is 0"},
    {CONFIG(LAYOUT, WIDTH, "\"d_conv\":4,\"expand\":17,\"d_state\":16", ATTN, ""), "expand of stage 0 is 17"},
    {CONFIG(LAYOUT, WIDTH, "\"d_conv\":4,\"expand\":2,\"d_state\":1025", ATTN, ""), "d_state of stage 0 is 1025"},
    {CONFIG(LAYOUT, WIDTH, "\"d_conv\":4,\"expand\":2,\"d_state\":0", ATTN, ""), "d_state of stage 0 is 0"},
    {CONFIG(LAYOUT, WIDTH, SSM, "\"num_heads\":[2,4],\"window_size\":[7,-1]", ""), "rotary_emb_dim is missing"},
    {CONFIG(LAYOUT, WIDTH, SSM, "\"num_heads\":[0,4],\"rotary_emb_dim\":4,\"window_size\":7", ""), "num_heads"},
    {CONFIG(LAYOUT, WIDTH, SSM, "\"num_heads\":[3,4],\"rotary_emb_dim\":4,\"window_size\":7", ""), "no multiple of"},
    {CONFIG(LAYOUT, WIDTH, SSM, "\"num_heads\":[2,4],\"rotary_emb_dim\":34,\"window_size\":7", ""), "at most the head"},
    {CONFIG(LAYOUT, WIDTH, SSM, "\"num_heads\":[2,4],\"rotary_emb_dim\":7,\"window_size\":7", ""), "must be even"},
    {CONFIG(LAYOUT, WIDTH, SSM, "\"num_heads\":[2,4],\"rotary_emb_dim\":4,\"window_size\":-2", ""), "window_size must"},
    {CONFIG(LAYOUT, WIDTH, SSM, "\"num_heads\":[2,4],\"rotary_emb_dim\":4,\"window_size\":null", ""),
     "window_size must"},
    {CONFIG(LAYOUT, "[512,512]", SSM, "\"num_heads\":1,\"rotary_emb_dim\":4,\"window_size\":7", ""), "raise num_heads"},
    {CONFIG("[\"M1\",[\"m1\"],\"m1\"]", WIDTH, SSM, ATTN, ""), "its d_intermediate is 0"},
    {CONFIG(LAYOUT, WIDTH, SSM, ATTN, ",\"tie_embeddings\":1"), "tie_embeddings must be true or false"},
    {"{\"arch_layout\":" LAYOUT ",\"d_model\":64,\"d_intermediate\":64,\"vocab_size\":8,\"ssm_cfg\":{" SSM
     "},\"attn_cfg\":{" ATTN "}}",
     "vocab_size is 8, not 7"},
    {"{\"arch_layout\":" LAYOUT
     ",\"d_model\":64,\"d_intermediate\":64,\"vocab_size\":7,\"ssm_cfg\":3,\"attn_cfg\":{" ATTN "}}",
     "ssm_cfg.d_state is missing"},
    {"{\"arch_layout\":" LAYOUT ",\"d_model\":64,\"d_intermediate\":300000,\"vocab_size\":7,\"ssm_cfg\":{" SSM
     "},\"attn_cfg\":{" ATTN "}}",
     "d_intermediate of stage 0 is 300000"},
};

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct ldar_config config;
        struct ldar_error error = {LDAR_OK, ""};
        memset(&config, 0x5a, sizeof config);
        enum ldar_status status = parse(wrong[i].json, &config, &error);
        if (status != LDAR_ERROR_CONFIG || !strstr(error.message, wrong[i].words) || config.stages != 0x5a5a5a5a) {
            fail_msg("%s\n%d \"%s\"; expected \"%s\"", wrong[i].json, (int)status, error.message, wrong[i].words);
        }
    }
}

/* [[[[...: deep, long and wide texts end in an error, and nine stages do. */
static void test_large(void **state)
{
    struct ldar_config config;
    struct ldar_error error;
    (void)state;
    static char deep[2000001];
    memset(deep, '[', sizeof deep - 1);
    expect_failure(ldar_config_parse(deep, 1 << 16, &config, &error), &error, LDAR_ERROR_CONFIG, "no JSON");
    expect_failure(ldar_config_parse(deep, sizeof deep - 1, &config, &error), &error, LDAR_ERROR_CONFIG, "more than");
    struct bytes text = {NULL, 0};
    add_text(&text, "{\"arch_layout\":");
    for (int s = 0; s < 8; s++) {
        add_text(&text, "[\"m1\",");
    }
    add_text(&text, "[\"m1\"]");
    for (int s = 0; s < 8; s++) {
        add_text(&text, ",\"m1\"]");
    }
    add_text(&text, "}");
    expect_failure(ldar_config_parse((const char *)text.data, text.count, &config, &error), &error, LDAR_ERROR_CONFIG,
                   "more than 8 stages");
    free(text.data);
}

/* Structs that a caller filled by hand are hostile input too. */
static void test_structs(void **state)
{
    struct ldar_config good, config;
    struct ldar_error error;
    ldar_model *model;
    (void)state;
    assert_int_equal(ldar_config_preset("2m", &good, &error), LDAR_OK);
    config = good;
    config.stages = 1;
    expect_failure(ldar_model_create(&config, 0, &model, &error), &error, LDAR_ERROR_CONFIG, "1 stages");
    config.stages = UINT32_MAX;
    expect_failure(ldar_model_create(&config, 0, &model, &error), &error, LDAR_ERROR_CONFIG, "stages");
    assert_null(model);
    config = good;
    memset(config.stage[0].encoder, 'm', sizeof config.stage[0].encoder);
    expect_failure(ldar_model_create(&config, 0, &model, &error), &error, LDAR_ERROR_CONFIG, "stage 0");
    config = good;
    strcpy(config.stage[1].decoder, "m1");
    expect_failure(ldar_model_create(&config, 0, &model, &error), &error, LDAR_ERROR_CONFIG, "innermost");
    config = good;
    config.stage[0].window = INT32_MIN;
    expect_failure(ldar_model_create(&config, 0, &model, &error), &error, LDAR_ERROR_CONFIG, "window_size");
    expect_failure(ldar_model_create(&config, 0, &model, NULL), &error, LDAR_ERROR_CONFIG, "window_size");
}

static void test_layouts(void **state)
{
    char kinds[LDAR_MAX_LAYERS];
    (void)state;
    assert_int_equal(ldar_layout_kinds("m3t1", kinds), 4);
    assert_memory_equal(kinds, "mmmt", 4);
    assert_int_equal(ldar_layout_kinds("M2T02m1", kinds), 5);
    assert_memory_equal(kinds, "MMTTm", 5);
    assert_int_equal(ldar_layout_kinds("", kinds), 0);
    assert_int_equal(ldar_layout_kinds("m256", kinds), 256);
    static const char *const bad[] = {"m", "3", "m3t", "x1", "m257", "m200t57", "m1 t1", "m+1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ldar_layout_kinds(bad[i], kinds), SIZE_MAX);
    }
}

static void test_encode(void **state)
{
    static const char letters[] = "ACGTUacgtuRYSWKMBDHVNryswkmbdhvn-";
    static const uint8_t expected[] = {0, 1, 2, 3, 3, 0, 1, 2, 3, 3, 4, 4, 4, 4, 4, 4, 4,
                                       4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4};
    uint8_t ids[sizeof letters];
    size_t unknown = 100;
    (void)state;
    assert_int_equal(sizeof expected, sizeof letters - 1);
    assert_int_equal(ldar_encode(letters, sizeof letters - 1, ids, &unknown), sizeof letters - 1);
    assert_memory_equal(ids, expected, sizeof expected);
    assert_int_equal(unknown, 123);
    assert_int_equal(ldar_encode("", 0, ids, NULL), 0);
    for (int c = 0; c < 256; c++) {
        const char text[] = {'G', (char)c, 'G'};
        int legal = c != 0 && strchr(letters, c) != NULL;
        assert_int_equal(ldar_encode(text, 3, ids, NULL), legal ? 3 : 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presets), cmocka_unit_test(test_format), cmocka_unit_test(test_forms),
        cmocka_unit_test(test_wrong),   cmocka_unit_test(test_large),  cmocka_unit_test(test_structs),
        cmocka_unit_test(test_layouts), cmocka_unit_test(test_encode),
    };
    return cmocka_run_group_tests_name("io.config", tests, NULL, NULL);
}
