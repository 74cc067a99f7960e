/* SPDX-License-Identifier: Apache-2.0 */
#include "formats/fixture.h"

#include "suite_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct class_metrics folds[] = {
    {0.90, 0.89, 0.80, 0.95}, {0.92, 0.90, 0.84, 0.95}, {0.91, 0.91, 0.82, 0.95}};
static const struct class_metrics poor[] = {{0.45, 0.44, -0.12, NAN}};
static const struct provenance provenance = {"0.1.0", "ldar evaluate --suite x", "m.safetensors", "ab"};

static struct published_task published_tasks[] = {
    {"group/one", METRIC_MCC, 10, 0, {{0.817, 0.008, "paper <1>"}, {0.5, NAN, "paper 2"}, {NAN, NAN, NULL}}},
    {"two", METRIC_ACCURACY, 10, 0, {{NAN, NAN, NULL}, {0.75, NAN, "paper 2"}, {NAN, NAN, NULL}}},
    {"other", METRIC_MCC, 10, 0, {{NAN, NAN, NULL}, {NAN, NAN, NULL}, {0.3, NAN, "paper 3"}}},
};
static const struct published_suite suite = {"x", "X", 3, {"Model A", "B|C", "elsewhere"}, 3, published_tasks};

static const struct suite_task tasks[] = {{"one", folds, 3}, {"two", poor, 1}, {"new & odd", folds, 2}};

static struct suite_results results_of(const struct published_suite *published)
{
    return (struct suite_results){"Suite X", "ldar, frozen", published, &provenance, tasks, 3};
}

static char *report_file(const char *name)
{
    size_t count;
    return file_read(in_folder(name), &count);
}

static void check(const char *name, const char *const *parts)
{
    char *text = report_file(name);
    for (; *parts; ++parts) {
        if (!strstr(text, *parts)) {
            fail_msg("%s does not hold \"%s\":\n%s", name, *parts, text);
        }
    }
    free(text);
}

static void write_report(const struct published_suite *published)
{
    const struct suite_results results = results_of(published);
    struct ldar_error error;
    char folder[500];
    snprintf(folder, sizeof folder, "%s", in_folder(""));
    assert_ok(suite_report(&results, folder, &error), &error);
    assert_int_equal(folder_count(), 4);
}

static void test_tsv(void **state)
{
    (void)state;
    write_report(&suite);
    /* 4.302652729749463 x 0.02 / sqrt(3) of three folds; none of one; 12.7062 x 0.02828 / sqrt(2) of two. */
    static const char *const parts[] = {
        "# ldar 0.1.0; ldar evaluate --suite x; model m.safetensors sha256 ab\n"
        "task\tmetric\tfolds\taccuracy\taccuracy_half\tf1\tf1_half\tmcc\tmcc_half\tauroc\tauroc_half\t"
        "Model A\tModel A_half\tB|C\telsewhere\n",
        "one\tmcc\t3\t0.910000\t0.024841\t0.900000\t0.024841\t0.820000\t0.049683\t0.950000\t0.000000\t"
        "0.817000\t0.008000\t0.500000\tNA\n",
        "two\taccuracy\t1\t0.450000\tNA\t0.440000\tNA\t-0.120000\tNA\tNA\tNA\tNA\tNA\t0.750000\tNA\n",
        "new & odd\tmcc\t2\t0.910000\t0.127062\t", NULL};
    check("results.tsv", parts);
}

static void test_markdown(void **state)
{
    (void)state;
    write_report(&suite);
    static const char *const parts[] = {"# Suite X\n\n| task | metric | folds | ldar, frozen | Model A | B\\|C | "
                                        "elsewhere |\n|---|---|---|---|---|---|---|\n",
                                        "| one | mcc | 3 | 82.0 \u00b1 5.0 | 81.7 \u00b1 0.8 | 50.0 | - |\n",
                                        "| two | accuracy | 1 | 45.0 | - | 75.0 | - |\n",
                                        "| task | accuracy | f1 | mcc | auroc |\n",
                                        "| two | 45.0 | 44.0 | -12.0 | - |\n",
                                        "- Model A: paper <1>\n- B\\|C: paper 2\n\n",
                                        NULL};
    check("results.md", parts);
}

static void test_page(void **state)
{
    (void)state;
    write_report(&suite);
    static const char *const parts[] = {"<title>Suite X</title>",
                                        "<svg ",
                                        "ldar, frozen",
                                        "<title>Model A: 81.7</title>",
                                        "<title>B|C: 75.0</title>",
                                        "<td>82.0 \u00b1 5.0</td><td>81.7 \u00b1 0.8</td><td>50.0</td><td>-</td></tr>",
                                        "<td>new &amp; odd<",
                                        "Model A: paper &lt;1&gt;",
                                        "</html>",
                                        NULL};
    check("report.html", parts);
    char *page = report_file("report.html"), *drawing = report_file("results.svg");
    assert_null(strstr(page, "src="));
    assert_null(strstr(page, "href="));
    assert_null(strstr(page, "elsewhere: "));
    assert_null(strstr(page, "nan"));
    assert_null(strstr(drawing, "nan"));
    assert_ptr_equal(strstr(drawing, "<svg xmlns"), drawing);
    free(page);
    free(drawing);
}

/* A suite of which nothing was published. */
static void test_alone(void **state)
{
    (void)state;
    write_report(NULL);
    static const char *const parts[] = {"| task | metric | folds | ldar, frozen |\n", "| two | mcc | 1 | -12.0 |\n",
                                        NULL};
    check("results.md", parts);
    char *page = report_file("report.html");
    assert_null(strstr(page, "<circle"));
    free(page);
}

static void test_refusals(void **state)
{
    (void)state;
    const struct suite_results results = results_of(&suite);
    struct ldar_error error;
    assert_int_equal(suite_report(&results, in_folder("absent"), &error), LDAR_ERROR_IO);
    assert_says(error.message, "absent/results.tsv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tsv),   cmocka_unit_test(test_markdown), cmocka_unit_test(test_page),
        cmocka_unit_test(test_alone), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests_name("tools.suite_report", tests, folder_make, folder_remove);
}
