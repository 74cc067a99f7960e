/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/tabix.h"

#include <htslib/bgzf.h>
#include <htslib/hts.h>
#include <htslib/kstring.h>
#include <htslib/tbx.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 30000, CONTIGS = 4 };

static const char *const names[CONTIGS] = {"chrI", "HLA:01", "empty", "chr2"};

struct row {
    size_t contig;
    uint64_t position;
    char line[64];
};

static struct row rows[ROWS];

static struct contigs make_contigs(uint64_t length)
{
    struct contigs contigs = {0};
    struct ldar_error error;
    for (size_t i = 0; i < CONTIGS; ++i) {
        assert_ok(contigs_add(&contigs, names[i], length, &error), &error);
    }
    return contigs;
}

/* Rows of all contigs but the empty one, some of them at one position. */
static void make_rows(uint64_t length)
{
    struct random random = random_start(random_seed());
    size_t contig = 0;
    uint64_t position = 0;
    for (size_t i = 0; i < ROWS; ++i) {
        if (i == ROWS / 3 || i == ROWS / 2) {
            contig = i == ROWS / 3 ? 1 : 3;
            position = 0;
        }
        position += random_below(&random, 3) ? random_below(&random, (size_t)(length / ROWS)) : 0;
        rows[i].contig = contig;
        rows[i].position = position;
        snprintf(rows[i].line, sizeof rows[i].line, "%s\t%" PRIu64 "\t%" PRIu64 "\n", names[contig], position + 1,
                 random_bits(&random));
    }
}

static const char header[] = "## made by a test\n#chrom\tpos\tnumber\n";

static void write_table(const char *path, uint64_t length)
{
    struct contigs contigs = make_contigs(length);
    struct ldar_error error;
    tabix *table;
    assert_ok(tabix_create(path, &contigs, &table, &error), &error);
    contigs_free(&contigs);
    assert_ok(tabix_text(table, header, strlen(header), &error), &error);
    for (size_t i = 0; i < ROWS; ++i) {
        assert_ok(tabix_sequence(table, names[rows[i].contig], &error), &error);
        assert_ok(tabix_line(table, rows[i].position, rows[i].line, strlen(rows[i].line), &error), &error);
    }
    assert_ok(tabix_commit(table, &error), &error);
}

/* The rows of a region, as the index finds them, are those that lie there. */
static void check_query(htsFile *file, tbx_t *index, size_t contig, uint64_t start, uint64_t end)
{
    kstring_t line = {0, 0, NULL};
    hts_itr_t *query = tbx_itr_queryi(index, tbx_name2id(index, names[contig]), (hts_pos_t)start, (hts_pos_t)end);
    assert_non_null(query);
    for (size_t i = 0; i < ROWS; ++i) {
        if (rows[i].contig == contig && rows[i].position >= start && rows[i].position < end) {
            assert_true(tbx_itr_next(file, index, query, &line) >= 0);
            assert_int_equal(line.l + 1, strlen(rows[i].line));
            assert_memory_equal(line.s, rows[i].line, line.l);
        }
    }
    assert_int_equal(tbx_itr_next(file, index, query, &line), -1);
    tbx_itr_destroy(query);
    free(line.s);
}

static void check_queries(const char *path, const char *index_path, uint64_t length)
{
    struct random random = random_start(random_seed());
    htsFile *file = hts_open(path, "r");
    tbx_t *index = tbx_index_load2(path, index_path);
    assert_non_null(file);
    assert_non_null(index);
    assert_int_equal(tbx_name2id(index, "empty"), -1);
    for (int i = 0; i < 100; ++i) {
        static const size_t present[] = {0, 1, 3};
        const uint64_t start = random_below(&random, (size_t)length);
        check_query(file, index, present[random_below(&random, 3)], start, start + random_below(&random, 100000));
    }
    tbx_destroy(index);
    hts_close(file);
}

/* The whole of a BGZF file, unpacked; the caller frees it. */
static char *unpack(const char *path, size_t *count)
{
    enum { MOST = 1 << 24 };
    char *bytes = malloc(MOST);
    BGZF *file = bgzf_open(path, "r");
    assert_non_null(bytes);
    assert_non_null(file);
    const ssize_t read = bgzf_read(file, bytes, MOST);
    assert_true(read > 0 && read < MOST);
    assert_int_equal(bgzf_check_EOF(file), 1);
    assert_int_equal(bgzf_close(file), 0);
    *count = (size_t)read;
    return bytes;
}

/* The text comes back, and the index is the one that htslib makes of the finished file. */
static void test_table(void **state)
{
    (void)state;
    static const tbx_conf_t columns = {TBX_GENERIC, 1, 2, 2, '#', 0};
    const uint64_t length = 20000000;
    size_t ours_bytes, theirs_bytes, text_bytes, at = strlen(header);
    make_rows(length);
    write_table(in_folder("rows.gz"), length);
    char *text = unpack(in_folder("rows.gz"), &text_bytes);
    assert_memory_equal(text, header, at);
    for (size_t i = 0; i < ROWS; at += strlen(rows[i].line), ++i) {
        assert_true(text_bytes - at >= strlen(rows[i].line));
        assert_memory_equal(text + at, rows[i].line, strlen(rows[i].line));
    }
    assert_int_equal(at, text_bytes);
    check_queries(in_folder("rows.gz"), in_folder("rows.gz.tbi"), length);
    char *ours = unpack(in_folder("rows.gz.tbi"), &ours_bytes);
    assert_int_equal(tbx_index_build2(in_folder("rows.gz"), in_folder("theirs.tbi"), 0, &columns), 0);
    char *theirs = unpack(in_folder("theirs.tbi"), &theirs_bytes);
    assert_int_equal(ours_bytes, theirs_bytes);
    assert_memory_equal(ours, theirs, ours_bytes);
    free(text);
    free(ours);
    free(theirs);
}

/* A .tbi cannot address what lies beyond 2^29. */
static void test_long_contigs(void **state)
{
    (void)state;
    const uint64_t length = UINT64_C(3) << 30;
    make_rows(length);
    write_table(in_folder("long.gz"), length);
    assert_true(folder_has("long.gz.csi"));
    assert_false(folder_has("long.gz.tbi"));
    check_queries(in_folder("long.gz"), in_folder("long.gz.csi"), length);
}

static void test_no_rows(void **state)
{
    (void)state;
    struct contigs contigs = make_contigs(100);
    struct ldar_error error;
    tabix *table;
    size_t count;
    assert_ok(tabix_create(in_folder("none.gz"), &contigs, &table, &error), &error);
    assert_ok(tabix_text(table, header, strlen(header), &error), &error);
    assert_ok(tabix_commit(table, &error), &error);
    char *text = unpack(in_folder("none.gz"), &count);
    assert_int_equal(count, strlen(header));
    tbx_t *index = tbx_index_load(in_folder("none.gz"));
    assert_non_null(index);
    tbx_destroy(index);
    contigs_free(&contigs);
    free(text);
}

/* What is not sorted is refused, and what is abandoned leaves nothing. */
static void test_order(void **state)
{
    (void)state;
    static const char line[] = "chrI\t10\tx\n";
    struct contigs contigs = make_contigs(100);
    struct ldar_error error;
    const size_t files = folder_count();
    for (int fault = 0; fault < 3; ++fault) {
        tabix *table;
        assert_ok(tabix_create(in_folder("bad.gz"), &contigs, &table, &error), &error);
        assert_ok(tabix_sequence(table, "chrI", &error), &error);
        assert_ok(tabix_line(table, 9, line, strlen(line), &error), &error);
        assert_ok(tabix_line(table, 9, line, strlen(line), &error), &error);
        if (fault == 0) {
            assert_int_equal(tabix_line(table, 8, line, strlen(line), &error), LDAR_ERROR_ARGUMENT);
            assert_says(error.message, "comes too late");
        } else if (fault == 1) {
            assert_ok(tabix_sequence(table, "chr2", &error), &error);
            assert_ok(tabix_line(table, 0, line, strlen(line), &error), &error);
            assert_int_equal(tabix_sequence(table, "chrI", &error), LDAR_ERROR_ARGUMENT);
            assert_says(error.message, "do not follow one another");
        }
        tabix_abandon(table);
        assert_int_equal(folder_count(), files);
    }
    tabix *table;
    assert_int_equal(tabix_create("-", &contigs, &table, &error), LDAR_ERROR_ARGUMENT);
    assert_null(table);
    assert_int_equal(tabix_create(in_folder("absent/x.gz"), &contigs, &table, &error), LDAR_ERROR_IO);
    assert_null(table);
    tabix_abandon(NULL);
    contigs_free(&contigs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_long_contigs),
        cmocka_unit_test(test_no_rows),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests_name("formats.tabix", tests, folder_make, folder_remove);
}
