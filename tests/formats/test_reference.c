/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/fai.h"
#include "formats/regions.h"
#include "formats/windows.h"

#include <ldar/model.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

/* ---- a genome ---- */

struct genome {
    struct sequence_list sequences;
    const char *path;
    struct heard heard;
    reference *reference;
};

static void add_contig(struct genome *genome, struct random *random, const char *name, size_t length)
{
    uint8_t *ids = malloc(length + 1);
    assert_non_null(ids);
    random_symbols(random, ids, length);
    sequences_add(&genome->sequences, name, 0, ids, length);
    free(ids);
}

static void remove_indexes(void)
{
    unlink(in_folder("genome.fa.fai"));
    unlink(in_folder("genome.fa.gzi"));
}

static void write_genome(struct genome *genome, size_t width, enum packing packing)
{
    char *text = malloc(2000000), *end = text;
    assert_non_null(text);
    for (size_t i = 0; i < genome->sequences.count; ++i) {
        const struct sequence *sequence = &genome->sequences.list[i];
        end += sprintf(end, ">%s some text\n", sequence->name);
        for (size_t j = 0; j < sequence->length; ++j) {
            *end++ = "ACGTN"[sequence->ids[j]];
            if ((j + 1) % width == 0 || j + 1 == sequence->length) {
                *end++ = '\n';
            }
        }
    }
    genome->path = in_folder("genome.fa");
    file_pack("genome.fa", text, (size_t)(end - text), packing);
    free(text);
}

static void open_genome(struct genome *genome, enum packing packing)
{
    struct random random = random_start(random_seed());
    struct ldar_error error;
    *genome = (struct genome){0};
    remove_indexes();
    add_contig(genome, &random, "1", 600000);
    add_contig(genome, &random, "chr2", 5000);
    add_contig(genome, &random, "HLA:01:01", 777);
    add_contig(genome, &random, "MT", 100);
    write_genome(genome, 61, packing);
    const struct warnings warnings = hear(&genome->heard);
    assert_ok(reference_open(genome->path, &warnings, &genome->reference, &error), &error);
}

static void close_genome(struct genome *genome)
{
    reference_close(genome->reference);
    sequences_free(&genome->sequences);
}

/* What the region [start, end) of contig i must be. */
static void expect(const struct genome *genome, struct sequence_list *expected, size_t i, size_t start, size_t end)
{
    const struct sequence *contig = &genome->sequences.list[i];
    sequences_add(expected, contig->name, start, contig->ids + start, end - start);
}

static void check_source(source *source, struct sequence_list *expected)
{
    struct random random = random_start(random_seed());
    struct sequence_list got = {0};
    struct ldar_error error;
    assert_ok(read_all(source, &random, &got, &error), &error);
    assert_same_sequences(expected, &got);
    const struct source_progress progress = source_progress(source);
    assert_int_equal(progress.done, progress.total);
    source_destroy(source);
    sequences_free(&got);
    sequences_free(expected);
}

/* ---- regions ---- */

static void test_whole(void **state)
{
    (void)state;
    for (int packing = PLAIN; packing <= BGZF_PACKED; packing += BGZF_PACKED) {
        struct genome genome;
        open_genome(&genome, (enum packing)packing);
        struct sequence_list expected = {0};
        struct ldar_error error;
        source *source;
        assert_true(folder_has("genome.fa.fai"));
        assert_int_equal(folder_has("genome.fa.gzi"), packing == BGZF_PACKED);
        assert_int_equal(reference_contigs(genome.reference)->count, 4);
        for (size_t i = 0; i < 4; ++i) {
            expect(&genome, &expected, i, 0, genome.sequences.list[i].length);
        }
        assert_ok(regions_all(genome.reference, &source, &error), &error);
        check_source(source, &expected);
        assert_int_equal(genome.heard.count, 0);
        close_genome(&genome);
    }
}

static void test_random_regions(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    for (int packing = PLAIN; packing <= BGZF_PACKED; packing += BGZF_PACKED) {
        struct genome genome;
        open_genome(&genome, (enum packing)packing);
        for (int round = 0; round < 100; ++round) {
            const size_t contig = random_below(&random, 4), length = genome.sequences.list[contig].length;
            const size_t start = random_below(&random, length), end = start + 1 + random_below(&random, length - start);
            char text[100];
            const char *texts[] = {text};
            struct sequence_list expected = {0};
            struct ldar_error error;
            source *source;
            snprintf(text, sizeof text, "%s:%zu-%zu", genome.sequences.list[contig].name, start + 1, end);
            expect(&genome, &expected, contig, start, end);
            assert_ok(regions_parse(genome.reference, texts, 1, &source, &error), &error);
            check_source(source, &expected);
        }
        close_genome(&genome);
    }
}

static void test_forms(void **state)
{
    (void)state;
    static const char *const texts[] = {"1:10-20",       "1:599,991", "1:100,001-100,010", "chr2",          "HLA:01:01",
                                        "HLA:01:01:7-9", "1:600000",  "MT:1-100",          "HLA:01:01:771-"};
    struct genome genome;
    open_genome(&genome, PLAIN);
    struct sequence_list expected = {0};
    struct ldar_error error;
    source *source;
    expect(&genome, &expected, 0, 9, 20);
    expect(&genome, &expected, 0, 599990, 600000);
    expect(&genome, &expected, 0, 100000, 100010);
    expect(&genome, &expected, 1, 0, 5000);
    expect(&genome, &expected, 2, 0, 777);
    expect(&genome, &expected, 2, 6, 9);
    expect(&genome, &expected, 0, 599999, 600000);
    expect(&genome, &expected, 3, 0, 100);
    expect(&genome, &expected, 2, 770, 777);
    assert_ok(regions_parse(genome.reference, texts, sizeof texts / sizeof *texts, &source, &error), &error);
    check_source(source, &expected);
    assert_int_equal(genome.heard.count, 0);
    close_genome(&genome);
}

static void test_refused_regions(void **state)
{
    (void)state;
    static const char *const refused[] = {"3",      "1:0-5",   "1:5-4", "1:1-600001", "1:-5",
                                          "1:a-b",  "1:1-2-3", "1:",    "1:600001",   "1:1-99999999999999999999",
                                          "chr3:1", "1:1 - 5", "",      ":1-5",       "1:1-+5"};
    struct genome genome;
    open_genome(&genome, PLAIN);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; ++i) {
        struct ldar_error error;
        source *source;
        assert_int_equal(regions_parse(genome.reference, &refused[i], 1, &source, &error), LDAR_ERROR_ARGUMENT);
        assert_null(source);
        assert_says(error.message, refused[i]);
        assert_says(error.message, "genome.fa");
    }
    close_genome(&genome);
}

static void test_renamed(void **state)
{
    (void)state;
    static const char *const texts[] = {"chr1:1-10", "2:1-10", "chrM:1-10", "M"};
    struct genome genome;
    open_genome(&genome, PLAIN);
    struct sequence_list expected = {0};
    struct ldar_error error;
    source *source;
    expect(&genome, &expected, 0, 0, 10);
    expect(&genome, &expected, 1, 0, 10);
    expect(&genome, &expected, 3, 0, 10);
    expect(&genome, &expected, 3, 0, 100);
    assert_ok(regions_parse(genome.reference, texts, 4, &source, &error), &error);
    check_source(source, &expected);
    assert_int_equal(genome.heard.count, 1);
    assert_says(genome.heard.last, "\"chr1\"; \"1\" is taken for it");
    close_genome(&genome);
}

static void test_bed(void **state)
{
    (void)state;
    struct genome genome;
    open_genome(&genome, PLAIN);
    struct sequence_list expected = {0};
    struct ldar_error error;
    source *source;
    const char *path = file_write_text("regions.bed", "# regions\nchr2\t0\t5000\n1\t99\t100\tx\nMT\t0\t1\n");
    expect(&genome, &expected, 1, 0, 5000);
    expect(&genome, &expected, 0, 99, 100);
    expect(&genome, &expected, 3, 0, 1);
    assert_ok(regions_from_bed(genome.reference, path, &source, &error), &error);
    check_source(source, &expected);
    static const char *const refused[][2] = {
        {"1\t0\t10\n\nX\t0\t10\n", "regions.bed:3: no sequence \"X\""},
        {"chr2\t0\t5001\n", "regions.bed:1: end 5001 lies beyond the 5000"},
        {"chr2\t9\t9\n", "regions.bed:1: start"},
        {"# nothing\n", "regions.bed: holds no interval"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; ++i) {
        file_write_text("regions.bed", refused[i][0]);
        assert_int_equal(regions_from_bed(genome.reference, path, &source, &error), LDAR_ERROR_FORMAT);
        assert_null(source);
        assert_says(error.message, refused[i][1]);
    }
    assert_int_equal(regions_from_bed(genome.reference, in_folder("absent"), &source, &error), LDAR_ERROR_IO);
    close_genome(&genome);
}

/* ---- indexes ---- */

static void test_hostile_indexes(void **state)
{
    (void)state;
    static const char *const indexes[][2] = {
        {"", "is empty"},
        {"a\t4\t3\t4\n", ":1: not the five columns"},
        {"a\t4\t3\t4\t5\t6\n", "FASTQ"},
        {"a\t4\t3\t4\t5\t6\t7\n", "not the five columns"},
        {"\t4\t3\t4\t5\n", "not the five columns"},
        {"a\t4\t3\t0\t5\n", "impossible line width"},
        {"a\t4\t3\t4\t3\n", "impossible line width"},
        {"a\t4\t3\t4\t0\n", "impossible line width"},
        {"a\t4\t3\t4\t-5\n", "no number"},
        {"a\tx\t3\t4\t5\n", "no number"},
        {"a\t4\t3\t4\t5\na\t4\t3\t4\t5\n", ":2: a name that stands"},
        {"a\t4\t1000\t4\t5\n", "beyond the end"},
        {"a\t100\t3\t4\t5\n", "beyond the end"},
        {"a\t9223372036854775807\t3\t1\t2\n", "beyond the end"},
        {"a\t9223372036854775807\t9223372036854775807\t2147483647\t2147483647\n", "beyond the end"},
        {"a\t4\t3\t4\t9223372036854775807\n", "impossible line width"},
    };
    file_write_text("hostile.fa", ">a\nACGT\n");
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; ++i) {
        struct ldar_error error;
        reference *reference;
        file_write_text("hostile.fa.fai", indexes[i][0]);
        assert_int_equal(reference_open(in_folder("hostile.fa"), NULL, &reference, &error), LDAR_ERROR_FORMAT);
        assert_null(reference);
        assert_says(error.message, "hostile.fa.fai");
        assert_says(error.message, indexes[i][1]);
    }
}

/* An index that agrees with the file's size and not with its content is found out where it matters. */
static void test_foreign_index(void **state)
{
    (void)state;
    static const char *const indexes[][2] = {{"a\t8\t3\t4\t5\n", "'>' is no nucleotide"},
                                             {"a\t9\t0\t9\t9\n", "position 1: '>'"},
                                             {"a\t12\t3\t12\t12\n", "ends before"}};
    file_write_text("foreign.fa", ">a\nACGT\n>b\nACGT\n");
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; ++i) {
        struct random random = random_start(random_seed());
        struct sequence_list got = {0};
        struct ldar_error error;
        reference *reference;
        source *source;
        file_write_text("foreign.fa.fai", indexes[i][0]);
        assert_ok(reference_open(in_folder("foreign.fa"), NULL, &reference, &error), &error);
        assert_ok(regions_all(reference, &source, &error), &error);
        assert_int_equal(read_all(source, &random, &got, &error), LDAR_ERROR_FORMAT);
        source_destroy(source);
        reference_close(reference);
        sequences_free(&got);
    }
}

static void test_old_index(void **state)
{
    (void)state;
    struct heard heard = {0};
    struct ldar_error error;
    reference *reference;
    const struct warnings warnings = hear(&heard);
    const struct utimbuf past = {time(NULL) - 1000, time(NULL) - 1000};
    file_write_text("old.fa", ">a\nACGT\n");
    file_write_text("old.fa.fai", "a\t4\t3\t4\t5\n");
    assert_int_equal(utime(in_folder("old.fa.fai"), &past), 0);
    assert_ok(reference_open(in_folder("old.fa"), &warnings, &reference, &error), &error);
    assert_int_equal(heard.count, 1);
    assert_says(heard.last, "is older than");
    reference_close(reference);
}

static void test_refused_genomes(void **state)
{
    (void)state;
    struct ldar_error error;
    reference *reference;
    const char *path = file_pack("packed.fa.gz", ">a\nACGTACGTACGT\n", 16, GZIP);
    assert_int_equal(reference_open(path, NULL, &reference, &error), LDAR_ERROR_FORMAT);
    assert_says(error.message, "bgzip");
    const size_t files = folder_count();
    path = file_write_text("packed.fa.gz", ">a\nACGT\nAC\nACGT\n");
    assert_int_equal(reference_open(path, NULL, &reference, &error), LDAR_ERROR_FORMAT);
    assert_says(error.message, "cannot be indexed");
    assert_int_equal(folder_count(), files);
    assert_int_equal(reference_open(in_folder("absent"), NULL, &reference, &error), LDAR_ERROR_IO);
    assert_int_equal(reference_open("/tmp", NULL, &reference, &error), LDAR_ERROR_ARGUMENT);
    reference_close(NULL);
}

/* The genome is cut off after its index was made. */
static void test_cut_genome(void **state)
{
    (void)state;
    struct genome genome;
    open_genome(&genome, BGZF_PACKED);
    struct random random = random_start(random_seed());
    struct sequence_list got = {0};
    struct ldar_error error;
    reference *reference;
    source *source;
    size_t size;
    char *bytes = file_read(genome.path, &size);
    file_write("genome.fa", bytes, size / 2);
    assert_ok(reference_open(in_folder("genome.fa"), NULL, &reference, &error), &error);
    assert_ok(regions_all(reference, &source, &error), &error);
    assert_int_equal(read_all(source, &random, &got, &error), LDAR_ERROR_FORMAT);
    assert_says(error.message, "cut off");
    source_destroy(source);
    reference_close(reference);
    sequences_free(&got);
    free(bytes);
    close_genome(&genome);
}

/* ---- regions in the genome's order, with context ---- */

static void test_merged(void **state)
{
    (void)state;
    static const char *const texts[] = {"MT:50-60", "1:100-200",  "chr2:10-20", "1:150-160", "1:201-300",
                                        "1:50-90",  "chr2:10-15", "1:302-302",  "MT:61-61"};
    struct genome genome;
    open_genome(&genome, PLAIN);
    struct sequence_list expected = {0};
    struct ldar_error error;
    source *source;
    expect(&genome, &expected, 0, 49, 90);
    expect(&genome, &expected, 0, 99, 300);
    expect(&genome, &expected, 0, 301, 302);
    expect(&genome, &expected, 1, 9, 20);
    expect(&genome, &expected, 3, 49, 61);
    assert_ok(regions_parse(genome.reference, texts, sizeof texts / sizeof *texts, &source, &error), &error);
    regions_merge(source);
    check_source(source, &expected);
    close_genome(&genome);
}

/* Owned ranges cover the region, and none of its context, in windows of the letters that lie there. */
static void check_owned(const struct genome *genome, size_t contig, size_t start, size_t end, size_t flank,
                        const struct window_plan *plan)
{
    const struct sequence *letters = &genome->sequences.list[contig];
    char text[100];
    const char *texts[] = {text};
    struct ldar_error error;
    struct window_batch batch;
    source *source;
    window_cutter *cutter;
    size_t owned = start;
    snprintf(text, sizeof text, "%s:%zu-%zu", letters->name, start + 1, end);
    assert_ok(regions_parse(genome->reference, texts, 1, &source, &error), &error);
    regions_widen(source, flank);
    assert_ok(window_cutter_create(source, plan, &cutter, &error), &error);
    do {
        assert_ok(window_cutter_next(cutter, &batch, &error), &error);
        for (size_t s = 0; s < batch.input.sequences; ++s) {
            const struct window *window = &batch.windows[s];
            const size_t at = (size_t)(window->record.start + window->start);
            assert_memory_equal(batch.input.ids + batch.input.offsets[s], letters->ids + at, window->length);
            assert_int_equal(window->record.start, start < flank ? 0 : start - flank);
            if (window->owned_begin < window->owned_end) {
                assert_int_equal(at + window->owned_begin, owned);
                owned = at + window->owned_end;
            }
        }
    } while (batch.input.sequences > 0);
    assert_int_equal(owned, end);
    window_cutter_destroy(cutter);
    source_destroy(source);
}

static void test_context(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    struct genome genome;
    open_genome(&genome, PLAIN);
    for (int round = 0; round < 500; ++round) {
        const size_t contig = 1 + random_below(&random, 3), length = genome.sequences.list[contig].length;
        const size_t start = random_below(&random, length), end = start + 1 + random_below(&random, length - start);
        const size_t window = 1 + random_below(&random, 300);
        check_owned(&genome, contig, start, end, random_below(&random, 400),
                    &(struct window_plan){window, random_below(&random, window), random_below(&random, 1000)});
    }
    close_genome(&genome);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),           cmocka_unit_test(test_random_regions), cmocka_unit_test(test_forms),
        cmocka_unit_test(test_refused_regions), cmocka_unit_test(test_renamed),        cmocka_unit_test(test_bed),
        cmocka_unit_test(test_hostile_indexes), cmocka_unit_test(test_foreign_index),  cmocka_unit_test(test_old_index),
        cmocka_unit_test(test_refused_genomes), cmocka_unit_test(test_cut_genome),     cmocka_unit_test(test_merged),
        cmocka_unit_test(test_context),
    };
    return cmocka_run_group_tests_name("formats.reference", tests, folder_make, folder_remove);
}
