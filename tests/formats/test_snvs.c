/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/snvs.h"

#include <ldar/model.h>

#include <htslib/bgzf.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct provenance provenance = {"1.2.3", "ldar scan x", "m.safetensors", "abc"};

static snvs *create(const char *name)
{
    struct contigs contigs = {0};
    struct ldar_error error;
    snvs *snvs;
    assert_ok(contigs_add(&contigs, "chr1", 1000, &error), &error);
    assert_ok(contigs_add(&contigs, "chr2", 1000, &error), &error);
    assert_ok(snvs_create(in_folder(name), &contigs, &provenance, "made by hand", &snvs, &error), &error);
    contigs_free(&contigs);
    return snvs;
}

static void assert_content(const char *name, const char *expected)
{
    char text[4096];
    BGZF *file = bgzf_open(in_folder(name), "r");
    assert_non_null(file);
    const ssize_t count = bgzf_read(file, text, sizeof text - 1);
    assert_true(count >= 0);
    text[count] = '\0';
    assert_int_equal(bgzf_close(file), 0);
    assert_string_equal(text, expected);
}

#define HEADER                                                                                                         \
    "## ldar 1.2.3; ldar scan x; model m.safetensors sha256 abc\n"                                                     \
    "## llr: natural logarithm of p_alt / p_ref; made by hand\n"                                                       \
    "#chrom\tpos\tref\talt\tllr\tp_ref\tp_alt\n"

static void test_rows(void **state)
{
    (void)state;
    static const uint8_t ids[] = {LDAR_N, LDAR_G, LDAR_A, LDAR_T, LDAR_MASK};
    const float p[4] = {0.5f, 0.25f, 0.125f, 0.125f}, nan = NAN;
    float log_p[5][4];
    struct ldar_error error;
    for (int i = 0; i < 5; ++i) {
        for (int a = 0; a < 4; ++a) {
            log_p[i][a] = i == 3 ? nan : logf(p[a]);
        }
    }
    log_p[0][0] = nan;
    snvs *snvs = create("rows.gz");
    assert_ok(snvs_seek(snvs, "chr1", 9, &error), &error);
    assert_ok(snvs_write(snvs, ids, log_p[0], 2, &error), &error);
    assert_ok(snvs_write(snvs, ids + 2, log_p[2], 1, &error), &error);
    assert_ok(snvs_seek(snvs, "chr1", 99, &error), &error);
    assert_ok(snvs_write(snvs, ids, log_p[0], 1, &error), &error);
    assert_ok(snvs_seek(snvs, "chr2", 0, &error), &error);
    assert_ok(snvs_write(snvs, ids + 3, log_p[3], 2, &error), &error);
    assert_ok(snvs_commit(snvs, &error), &error);
    assert_content("rows.gz", HEADER "chr1\t11\tG\tA\t1.3863\t0.12500\t0.50000\n"
                                     "chr1\t11\tG\tC\t0.6931\t0.12500\t0.25000\n"
                                     "chr1\t11\tG\tT\t0.0000\t0.12500\t0.12500\n"
                                     "chr1\t12\tA\tC\t-0.6931\t0.50000\t0.25000\n"
                                     "chr1\t12\tA\tG\t-1.3863\t0.50000\t0.12500\n"
                                     "chr1\t12\tA\tT\t-1.3863\t0.50000\t0.12500\n"
                                     "chr2\t1\tT\tA\t.\t.\t.\n"
                                     "chr2\t1\tT\tC\t.\t.\t.\n"
                                     "chr2\t1\tT\tG\t.\t.\t.\n");
    assert_true(folder_has("rows.gz.tbi"));
}

static void test_nothing(void **state)
{
    (void)state;
    struct ldar_error error;
    const size_t files = folder_count();
    snvs_abandon(create("gone.gz"));
    snvs_abandon(NULL);
    assert_int_equal(folder_count(), files);
    snvs *snvs = create("none.gz");
    assert_ok(snvs_commit(snvs, &error), &error);
    assert_content("none.gz", HEADER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_nothing)};
    return cmocka_run_group_tests_name("formats.snvs", tests, folder_make, folder_remove);
}
