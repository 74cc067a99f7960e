/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/regions.h"
#include "formats/sites.h"

#include <ldar/model.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_anchors(void **state)
{
    (void)state;
    static const struct {
        struct site site;
        uint64_t centre, start, end;
    } cases[] = {
        {{0, 10, 11, false}, 10, 10, 10}, {{0, 10, 11, true}, 10, 10, 10}, {{0, 10, 12, false}, 11, 10, 11},
        {{0, 10, 12, true}, 10, 11, 10},  {{0, 0, 5, false}, 2, 0, 4},     {{0, 0, 5, true}, 2, 4, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        assert_int_equal(site_anchor(&cases[i].site, SITE_CENTRE), cases[i].centre);
        assert_int_equal(site_anchor(&cases[i].site, SITE_START), cases[i].start);
        assert_int_equal(site_anchor(&cases[i].site, SITE_END), cases[i].end);
    }
}

/* ---- BED ---- */

static reference *open_reference(const char *fasta)
{
    reference *reference;
    struct ldar_error error;
    remove(in_folder("genome.fa.fai"));
    assert_ok(reference_open(file_write_text("genome.fa", fasta), NULL, &reference, &error), &error);
    return reference;
}

/* The sites that are used as "contig:start-end+" separated by blanks. */
static void list_sites(const struct site_set *set, char *text)
{
    *text = '\0';
    for (size_t i = 0; i < set->used; ++i) {
        const struct site *site = sites_at(set, i);
        text += sprintf(text, "%s%zu:%" PRIu64 "-%" PRIu64 "%c", i > 0 ? " " : "", site->contig, site->start, site->end,
                        site->minus ? '-' : '+');
    }
}

static const char genome[] = ">chr1\nACGTACGTACGTACGTACGTACGTACGTACGT\n>chr2\nACGTACGTAC\n";

static void test_bed(void **state)
{
    (void)state;
    static const char bed[] = "chr1\t0\t5\tx\t0\t+\nchr1\t1\t4\tx\t0\t+\nchr1\t1\t4\tx\t0\t-\nchr3\t0\t1\n2\t3\t4\n"
                              "chr2\t9\t11\tx\t0\t-\nchr1\t20\t22\tx\t0\t.\nchr1\t21\t22\t\t\t+\nchr2\t8\t10\tx\t0\t\n";
    reference *reference = open_reference(genome);
    struct site_set set;
    struct ldar_error error;
    char text[1000];
    const char *path = file_write_text("sites.bed", bed);
    assert_ok(sites_from_bed(reference, path, SITE_CENTRE, NULL, 0, &set, &error), &error);
    list_sites(&set, text);
    assert_string_equal(text, "0:0-5+ 0:1-4- 1:3-4+ 0:20-22+ 1:8-10+");
    assert_int_equal(set.counts.given, 9);
    assert_int_equal(set.counts.absent, 1);
    assert_int_equal(set.counts.beyond, 1);
    assert_int_equal(set.counts.repeated, 2);
    assert_int_equal(set.counts.unstranded, 4);
    sites_free(&set);
    /* By their 5' ends none repeats another; spread over seven, three are the first, the third and the fifth. */
    assert_ok(sites_from_bed(reference, path, SITE_START, NULL, 3, &set, &error), &error);
    list_sites(&set, text);
    assert_int_equal(set.count, 7);
    assert_string_equal(text, "0:0-5+ 0:1-4- 0:20-22+");
    sites_free(&set);
    reference_close(reference);
}

static void test_within(void **state)
{
    (void)state;
    static const char *const regions_text[] = {"chr2:1-3", "chr1:6-10", "chr1:11-12", "chr2:3-4"};
    static const char bed[] = "chr1\t4\t5\na\t0\t1\nchr1\t5\t6\nchr1\t11\t12\nchr1\t12\t13\nchr2\t0\t1\nchr2\t3\t4\n"
                              "chr2\t4\t5\n";
    reference *reference = open_reference(genome);
    struct stretches within;
    struct site_set set;
    struct ldar_error error;
    source *regions;
    char text[1000];
    assert_ok(regions_parse(reference, regions_text, 4, &regions, &error), &error);
    regions_merge(regions);
    assert_ok(stretches_gather(reference, regions, &within, &error), &error);
    source_destroy(regions);
    assert_int_equal(within.count, 2);
    const char *path = file_write_text("sites.bed", bed);
    assert_ok(sites_from_bed(reference, path, SITE_CENTRE, &within, 0, &set, &error), &error);
    list_sites(&set, text);
    assert_string_equal(text, "0:5-6+ 0:11-12+ 1:0-1+ 1:3-4+");
    assert_int_equal(set.counts.outside, 3);
    sites_free(&set);
    stretches_free(&within);
    reference_close(reference);
}

static void test_strands(void **state)
{
    (void)state;
    static const char *const strands[] = {"++", "1", "-1", "forward", "\xff", " +"};
    reference *reference = open_reference(genome);
    struct site_set set;
    struct ldar_error error;
    for (size_t i = 0; i < sizeof strands / sizeof *strands; ++i) {
        char text[100];
        snprintf(text, sizeof text, "chr1\t0\t1\nchr1\t0\t1\tx\t0\t%s\n", strands[i]);
        const char *path = file_write_text("strands.bed", text);
        assert_int_equal(sites_from_bed(reference, path, SITE_CENTRE, NULL, 0, &set, &error), LDAR_ERROR_FORMAT);
        assert_says(error.message, "strands.bed:2: ");
        assert_says(error.message, "is no strand");
        sites_free(&set);
    }
    reference_close(reference);
}

/* ---- motifs ---- */

static void test_parse(void **state)
{
    (void)state;
    struct motif motif;
    char longest[MOTIF_MAX + 2];
    memset(longest, 'n', sizeof longest);
    longest[MOTIF_MAX] = '\0';
    assert_true(motif_parse(longest, &motif));
    longest[MOTIF_MAX] = 'n';
    longest[MOTIF_MAX + 1] = '\0';
    assert_false(motif_parse(longest, &motif));
    assert_false(motif_parse("", &motif));
    assert_false(motif_parse("ACX", &motif));
    assert_false(motif_parse("AC-", &motif));
    assert_true(motif_parse("gaattc", &motif) && motif.palindrome);
    assert_true(motif_parse("TATAWAWR", &motif) && !motif.palindrome);
    assert_true(motif_parse("WSN", &motif) && !motif.palindrome);
    assert_true(motif_parse("RYUA", &motif) && !motif.palindrome);
    /* R Y T A reads T A R Y on the other strand. */
    static const uint8_t minus[] = {1 << LDAR_T, 1 << LDAR_A, 1 << LDAR_A | 1 << LDAR_G, 1 << LDAR_C | 1 << LDAR_T};
    assert_memory_equal(motif.minus, minus, sizeof minus);
}

static void find(const char *fasta, const char *letters, size_t most, struct site_set *set)
{
    reference *reference = open_reference(fasta);
    struct motif motif;
    struct ldar_error error;
    source *regions;
    assert_true(motif_parse(letters, &motif));
    assert_ok(regions_all(reference, &regions, &error), &error);
    assert_ok(sites_from_motif(reference, &motif, regions, most, set, &error), &error);
    source_destroy(regions);
    reference_close(reference);
}

static void test_motif(void **state)
{
    (void)state;
    static const struct {
        const char *letters, *found;
    } cases[] = {
        {"AC", "0:0-2+ 0:2-4- 0:4-6+ 1:2-4-"}, /* ACGTAC TNGT */
        {"ACGT", "0:0-4+"},
        {"TN", "0:3-5+ 0:3-5-"},
        {"GT", "0:0-2- 0:2-4+ 0:4-6- 1:2-4+"},
        {"CCC", ""},
        {"ACGTACGT", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        struct site_set set;
        char text[1000];
        find(">a\nACGTAC\n>b\nTNGT\n", cases[i].letters, 0, &set);
        list_sites(&set, text);
        assert_string_equal(text, cases[i].found);
        sites_free(&set);
    }
}

/* Across the pieces in which a record is read, and with fewer held than there are. */
static void test_motif_long(void **state)
{
    (void)state;
    enum { LENGTH = 100000 };
    char *fasta = malloc(LENGTH + 10), *letters = fasta + 3;
    uint64_t word = 12345;
    assert_non_null(fasta);
    memcpy(fasta, ">a\n", 3);
    for (size_t i = 0; i < LENGTH; ++i) {
        word = word * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        letters[i] = "ACGT"[word >> 62];
    }
    memcpy(letters + LENGTH, "\n", 2);
    size_t count = 0;
    for (size_t i = 0; i + 3 <= LENGTH; ++i) {
        count += memcmp(letters + i, "TAC", 3) == 0;
        count += memcmp(letters + i, "GTA", 3) == 0;
    }
    struct site_set all, some;
    find(fasta, "TAC", 0, &all);
    assert_int_equal(all.count, count);
    for (size_t i = 0; i < all.count; ++i) {
        assert_memory_equal(letters + all.list[i].start, all.list[i].minus ? "GTA" : "TAC", 3);
    }
    find(fasta, "TAC", 100, &some);
    assert_int_equal(some.counts.given, count);
    assert_int_equal(some.used, 100);
    assert_in_range(some.count, 100, 200);
    for (size_t i = 0; i < some.used; ++i) {
        /* The i-th of 100 lies near i hundredths of the genome. */
        assert_in_range(sites_at(&some, i)->start + 3000, LENGTH / 100 * i, LENGTH / 100 * i + 6000);
        assert_true(i == 0 || sites_at(&some, i)->start > sites_at(&some, i - 1)->start);
    }
    sites_free(&all);
    sites_free(&some);
    free(fasta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_anchors),    cmocka_unit_test(test_bed),   cmocka_unit_test(test_within),
        cmocka_unit_test(test_strands),    cmocka_unit_test(test_parse), cmocka_unit_test(test_motif),
        cmocka_unit_test(test_motif_long),
    };
    return cmocka_run_group_tests_name("formats.sites", tests, folder_make, folder_remove);
}
