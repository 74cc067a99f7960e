/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/hub.h"

#include <stdlib.h>
#include <string.h>

static const struct provenance provenance = {"1.2.3", "ldar scan x", "m.safetensors", "abc"};

static const struct hub_track tracks[] = {
    {".A.bw", "A", "of A", "0,150,0", "0:1", NULL, true},
    {".C.bw", "C", "of C", "0,0,255", "0:1", NULL, true},
    {".b.bw", "b", "of b", "1,2,3", "0:2", "0.5", false},
};

static void write_hub(const char *prefix, size_t count)
{
    struct ldar_error error;
    output *output;
    const struct hub hub = {in_folder(prefix), "sacCer3", "all", tracks, count, &provenance};
    assert_ok(hub_begin(&hub, &output, &error), &error);
    assert_ok(output_commit(output, &error), &error);
}

static void test_hub(void **state)
{
    (void)state;
    size_t count;
    write_hub("yeast 1%", 3);
    char *text = file_read(in_folder("yeast 1%.hub.txt"), &count);
    assert_string_equal(
        text, "# ldar 1.2.3; ldar scan x; model m.safetensors sha256 abc\n"
              "hub ldar_yeast_1_\nshortLabel ldar yeast 1%\nlongLabel LDARNet along the genome: yeast 1%\n"
              "useOneFile on\n\ngenome sacCer3\n\n"
              "track ldar_yeast_1__overlay\nshortLabel yeast 1% letters\nlongLabel all\ntype bigWig\n"
              "container multiWig\naggregate stacked\nshowSubtrackColorOnUi on\nautoScale off\nviewLimits 0:1\n"
              "maxHeightPixels 128:64:16\nvisibility full\n\n"
              "    track ldar_yeast_1__A\n    parent ldar_yeast_1__overlay\n    shortLabel A\n    longLabel of A\n"
              "    type bigWig\n    bigDataUrl yeast%201%25.A.bw\n    color 0,150,0\n\n"
              "    track ldar_yeast_1__C\n    parent ldar_yeast_1__overlay\n    shortLabel C\n    longLabel of C\n"
              "    type bigWig\n    bigDataUrl yeast%201%25.C.bw\n    color 0,0,255\n\n"
              "track ldar_yeast_1__b\nshortLabel yeast 1% b\nlongLabel of b\ntype bigWig\n"
              "bigDataUrl yeast%201%25.b.bw\ncolor 1,2,3\nautoScale off\nviewLimits 0:2\n"
              "maxHeightPixels 128:48:16\nwindowingFunction mean\nyLineMark 0.5\nyLineOnOff on\nvisibility full\n\n");
    free(text);
}

/* Of the tracks none is named that is not there. */
static void test_parts(void **state)
{
    (void)state;
    size_t count;
    write_hub("part", 1);
    char *text = file_read(in_folder("part.hub.txt"), &count);
    assert_non_null(strstr(text, "part.A.bw"));
    assert_null(strstr(text, ".C.bw"));
    assert_null(strstr(text, ".b.bw"));
    free(text);
}

static void test_failure(void **state)
{
    (void)state;
    struct ldar_error error;
    output *output;
    const struct hub hub = {in_folder("absent/x"), "g", "all", tracks, 3, &provenance};
    assert_int_equal(hub_begin(&hub, &output, &error), LDAR_ERROR_IO);
    assert_null(output);
}

static void test_genomes(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"hg38.fa", "hg38"},
                                           {"a/b.c/sacCer3.fa.gz", "sacCer3"},
                                           {"S.R64-1-1.fasta", "S.R64-1-1"},
                                           {"x.fna.bgz", "x"},
                                           {"plain", "plain"},
                                           {".fa", ".fa"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i) {
        char *genome = hub_genome(names[i][0]);
        assert_string_equal(genome, names[i][1]);
        free(genome);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hub), cmocka_unit_test(test_parts),
                                       cmocka_unit_test(test_failure), cmocka_unit_test(test_genomes)};
    return cmocka_run_group_tests_name("formats.hub", tests, folder_make, folder_remove);
}
