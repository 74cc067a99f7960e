/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/fixture.h"

#include "published.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *shipped_path(void)
{
    static char path[1000];
    const char *source = getenv("LDAR_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/models/published.json", source ? source : ".");
    return path;
}

static const struct published_result *result_of(const struct published_suite *suite, const char *task,
                                                const char *model)
{
    const struct published_task *found = published_task(suite, task);
    assert_non_null(found);
    for (size_t i = 0; i < suite->model_count; ++i) {
        if (strcmp(suite->models[i], model) == 0) {
            return &found->results[i];
        }
    }
    fail_msg("no model %s", model);
    return NULL;
}

/* The file that ships. */
static void test_shipped(void **state)
{
    (void)state;
    published *published;
    struct ldar_error error;
    assert_ok(published_read(shipped_path(), &published, &error), &error);
    const struct published_suite *nt = published_suite(published, "nt"), *gue = published_suite(published, "gue"),
                                 *gb = published_suite(published, "gb");
    assert_int_equal(nt->task_count, 18);
    assert_int_equal(gb->task_count, 9);
    assert_null(published_suite(published, "none"));
    assert_true(result_of(nt, "H3", "LDARNet 110M")->value == 0.817);
    assert_true(result_of(nt, "splice_sites_donors", "LDARNet 110M")->half == 0.019);
    assert_true(published_task(nt, "enhancers")->rate == 2e-5);
    assert_int_equal(published_task(nt, "enhancers")->test, 400);
    assert_true(result_of(gue, "tf/4", "DNABERT-2 117M")->value == 0.7743);
    assert_true(result_of(gue, "prom_core_tata", "CNN from scratch")->value == 0.761);
    assert_true(isnan(result_of(gue, "tf/4", "HyenaDNA")->half));
    assert_true(isnan(result_of(gue, "EMP/H3", "HyenaDNA")->value));
    assert_null(result_of(gue, "EMP/H3", "HyenaDNA")->source);
    assert_null(published_task(gue, "5"));
    assert_int_equal(published_task(gb, "human_ocr_ensembl")->metric, METRIC_ACCURACY);
    for (size_t i = 0; i < nt->task_count; ++i) {
        assert_true(nt->tasks[i].rate >= 2e-5 && nt->tasks[i].rate <= 2e-4);
        assert_true(nt->tasks[i].results[0].half > 0);
        assert_says(nt->tasks[i].results[0].source, "arXiv 2606.04552");
    }
    published_free(published);
}

#define HEAD "{\"format\": \"ldar published results\", \"version\": 1, \"sources\": {\"s\": \"a paper\"}, \"suites\": ["
#define TASK HEAD "{\"name\": \"x\", \"title\": \"X\", \"tasks\": [{\"name\": \"t\", "
#define RESULT TASK "\"metric\": \"mcc\", \"results\": [{\"model\": \"m\", "

static void test_refusals(void **state)
{
    (void)state;
    static const char *const refusals[][2] = {
        {"", "p.json:1: "},
        {"{\"format\": 1,\n\"format\": 1}", "p.json:2: "},
        {"[]", "p.json: is no file of published results"},
        {"{\"format\": \"ldar published results\", \"version\": 2}", "is no file of published results in version 1"},
        {HEAD "{\"title\": \"X\"}]}", "p.json: \"name\" is missing"},
        {HEAD "{\"name\": \"x\", \"title\": \"X\"}]}", "p.json: suite \"x\": has no tasks"},
        {TASK "\"metric\": \"loss\"}]}]}", "suite \"x\", task \"t\": the metric \"loss\" is none"},
        {TASK "\"metric\": \"mcc\", \"test\": -1}]}]}", "is negative"},
        {TASK "\"metric\": \"mcc\", \"test\": \"1\"}]}]}", "\"test\" is no number"},
        {RESULT "\"source\": \"s\"}]}]}]}", "the result of \"m\" is no fraction"},
        {RESULT "\"value\": 71.9, \"source\": \"s\"}]}]}]}", "the result of \"m\" is no fraction"},
        {RESULT "\"value\": 0.7, \"half\": -1, \"source\": \"s\"}]}]}]}", "the result of \"m\" is no fraction"},
        {RESULT "\"value\": 0.7}]}]}]}", "\"source\" is missing"},
        {RESULT "\"value\": 0.7, \"source\": \"q\"}]}]}]}", "the source \"q\" is not among"},
    };
    published *published;
    struct ldar_error error;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; ++i) {
        const char *path = file_write_text("p.json", refusals[i][0]);
        assert_int_equal(published_read(path, &published, &error), LDAR_ERROR_FORMAT);
        assert_says(error.message, refusals[i][1]);
        assert_null(published);
    }
    assert_ok(published_read(file_write_text("p.json", RESULT "\"value\": 0.7, \"source\": \"s\"}]}]}]}"), &published,
                             &error),
              &error);
    published_free(published);
    assert_int_equal(published_read(in_folder("absent.json"), &published, &error), LDAR_ERROR_FORMAT);
    assert_says(error.message, "absent.json");
    published_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shipped),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("tools.published", tests, folder_make, folder_remove);
}
