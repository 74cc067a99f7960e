/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/tracks.h"

#include <bigWig.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct provenance provenance = {"1.2.3", "ldar segment x", "m.safetensors", "abc"};

static track *create(const char *name, enum track_format format, const struct contigs *contigs)
{
    struct ldar_error error;
    track *track;
    assert_ok(track_create(in_folder(name), format, contigs, &provenance, &track, &error), &error);
    return track;
}

/* One record in one piece. */
static void write_record(track *track, const char *name, uint64_t start, const float *prob, const uint8_t *boundary,
                         size_t count)
{
    struct ldar_error error;
    assert_ok(track_record(track, name, start, &error), &error);
    assert_ok(track_write(track, prob, boundary, count, &error), &error);
    assert_ok(track_record_end(track, &error), &error);
}

static void commit(track *track)
{
    struct ldar_error error;
    assert_ok(track_commit(track, &error), &error);
}

static void assert_content(const char *name, const char *expected)
{
    size_t size;
    char *content = file_read(in_folder(name), &size);
    assert_string_equal(content, expected);
    free(content);
}

/* ---- text ---- */

static void test_bed(void **state)
{
    (void)state;
    static const float prob[] = {1, 0.2f, 0.7f, 0.4994f, 0.5016f, 0.51f};
    static const uint8_t boundary[] = {1, 0, 1, 0, 1, 1};
    track *track = create("tokens.bed", TRACK_BED, NULL);
    write_record(track, "a", 0, prob, boundary, 6);
    write_record(track, "empty", 5, prob, boundary, 0);
    write_record(track, "chr2", 1000, prob + 1, boundary + 1, 3);
    commit(track);
    assert_content("tokens.bed", "# ldar 1.2.3; ldar segment x; model m.safetensors sha256 abc\n"
                                 "a\t0\t2\t.\t1000\t.\n"
                                 "a\t2\t4\t.\t700\t.\n"
                                 "a\t4\t5\t.\t502\t.\n"
                                 "a\t5\t6\t.\t510\t.\n"
                                 "chr2\t1000\t1001\t.\t200\t.\n"
                                 "chr2\t1001\t1003\t.\t700\t.\n");
}

static void test_bedgraph(void **state)
{
    (void)state;
    static const float prob[] = {1, 0.25f, 0.25f, 0.25f, 0.1f, 0.1f, 0};
    track *track = create("prob.bedgraph", TRACK_BEDGRAPH, NULL);
    write_record(track, "a", 10, prob, NULL, 7);
    write_record(track, "b", 0, prob + 6, NULL, 1);
    write_record(track, "c", 0, prob + 6, NULL, 1);
    commit(track);
    assert_content("prob.bedgraph", "# ldar 1.2.3; ldar segment x; model m.safetensors sha256 abc\n"
                                    "a\t10\t11\t1\n"
                                    "a\t11\t14\t0.25\n"
                                    "a\t14\t16\t0.100000001\n"
                                    "a\t16\t17\t0\n"
                                    "b\t0\t1\t0\n"
                                    "c\t0\t1\t0\n");
}

/* Probabilities that are none do not become scores that are none. */
static void test_odd_scores(void **state)
{
    (void)state;
    static const float prob[] = {NAN, -1, 2, INFINITY};
    static const uint8_t boundary[] = {1, 1, 1, 1};
    track *track = create("odd.bed", TRACK_BED, NULL);
    write_record(track, "a", 0, prob, boundary, 4);
    commit(track);
    assert_content("odd.bed", "# ldar 1.2.3; ldar segment x; model m.safetensors sha256 abc\n"
                              "a\t0\t1\t.\t0\t.\na\t1\t2\t.\t0\t.\na\t2\t3\t.\t1000\t.\na\t3\t4\t.\t1000\t.\n");
}

/* The pieces in which values come do not show. */
static void test_pieces(void **state)
{
    (void)state;
    enum { LENGTH = 3000 };
    static float prob[LENGTH];
    static uint8_t boundary[LENGTH];
    struct random random = random_start(random_seed());
    for (size_t i = 0; i < LENGTH; ++i) {
        prob[i] = (float)random_below(&random, 4) / 4;
        boundary[i] = i == 0 || random_below(&random, 4) == 0;
    }
    for (int format = TRACK_BED; format <= TRACK_BEDGRAPH; ++format) {
        struct ldar_error error;
        track *whole = create("whole", (enum track_format)format, NULL);
        track *pieces = create("pieces", (enum track_format)format, NULL);
        write_record(whole, "a", 7, prob, boundary, LENGTH);
        assert_ok(track_record(pieces, "a", 7, &error), &error);
        for (size_t at = 0, run; at < LENGTH; at += run) {
            run = random_below(&random, 50);
            run = run < LENGTH - at ? run : LENGTH - at;
            assert_ok(track_write(pieces, prob + at, boundary + at, run, &error), &error);
        }
        assert_ok(track_record_end(pieces, &error), &error);
        commit(whole);
        commit(pieces);
        size_t size;
        char *expected = file_read(in_folder("whole"), &size);
        assert_content("pieces", expected);
        free(expected);
    }
}

static void test_abandoned(void **state)
{
    (void)state;
    struct contigs contigs = {0};
    struct ldar_error error;
    const size_t files = folder_count();
    assert_ok(contigs_add(&contigs, "a", 10, &error), &error);
    for (int format = TRACK_BED; format <= TRACK_BIGWIG; ++format) {
        track_abandon(create("abandoned", (enum track_format)format, &contigs));
        assert_int_equal(folder_count(), files);
    }
    track_abandon(NULL);
    contigs_free(&contigs);
}

static void test_formats(void **state)
{
    (void)state;
    struct ldar_error error;
    enum track_format format;
    assert_ok(track_format_parse("bigwig", &format, &error), &error);
    assert_int_equal(format, TRACK_BIGWIG);
    assert_string_equal(track_format_name(TRACK_BEDGRAPH), "bedgraph");
    assert_int_equal(track_format_parse("wig", &format, &error), LDAR_ERROR_ARGUMENT);
    assert_says(error.message, "bed, bedgraph and bigwig");
}

/* ---- bigWig, read back by another's reader ---- */

struct span {
    size_t contig, start, end;
};

struct genome_values {
    struct contigs contigs;
    float **values; /* (count) each (length); NaN: none */
};

static void add_contig(struct genome_values *genome, const char *name, size_t length)
{
    struct ldar_error error;
    assert_ok(contigs_add(&genome->contigs, name, length, &error), &error);
    genome->values = realloc(genome->values, genome->contigs.count * sizeof *genome->values);
    assert_non_null(genome->values);
    float *values = malloc((length + 1) * sizeof *values);
    assert_non_null(values);
    genome->values[genome->contigs.count - 1] = values;
    for (size_t i = 0; i < length; ++i) {
        values[i] = NAN;
    }
}

static void write_span(struct genome_values *genome, struct random *random, track *track, struct span span)
{
    struct ldar_error error;
    float *values = genome->values[span.contig];
    for (size_t i = span.start; i < span.end; ++i) {
        values[i] = (float)random_uniform(random, 0, 1);
    }
    assert_ok(track_record(track, genome->contigs.names[span.contig], span.start, &error), &error);
    for (size_t at = span.start, run; at < span.end; at += run) {
        run = 1 + random_below(random, 20000);
        run = run < span.end - at ? run : span.end - at;
        assert_ok(track_write(track, values + at, NULL, run, &error), &error);
    }
    assert_ok(track_record_end(track, &error), &error);
}

static void check_values(bigWigFile_t *file, const struct genome_values *genome, size_t contig)
{
    const uint64_t length = genome->contigs.lengths[contig];
    size_t expected = 0;
    for (size_t i = 0; i < length; ++i) {
        expected += !isnan(genome->values[contig][i]);
    }
    assert_int_equal(bwGetTid(file, genome->contigs.names[contig]), contig);
    assert_int_equal(file->cl->len[contig], length);
    if (expected == 0) {
        return;
    }
    bwOverlappingIntervals_t *got = bwGetOverlappingIntervals(file, genome->contigs.names[contig], 0, (uint32_t)length);
    assert_non_null(got);
    assert_int_equal(got->l, expected);
    for (size_t i = 0; i < got->l; ++i) {
        assert_int_equal(got->end[i], got->start[i] + 1);
        assert_true(got->value[i] == genome->values[contig][got->start[i]]);
    }
    bwDestroyOverlappingIntervals(got);
}

/* Mean and extremes of [start, end), which lie on bins of the zoom levels. */
static void check_summary(bigWigFile_t *file, const struct genome_values *genome, struct span span)
{
    static const enum bwStatsType kinds[] = {mean, max, min};
    double total = 0, count = 0, expected[] = {0, -INFINITY, INFINITY};
    for (size_t i = span.start; i < span.end; ++i) {
        const float value = genome->values[span.contig][i];
        if (!isnan(value)) {
            total += value;
            count += 1;
            expected[1] = fmax(expected[1], value);
            expected[2] = fmin(expected[2], value);
        }
    }
    expected[0] = total / count;
    for (size_t i = 0; i < 3 && count > 0; ++i) {
        double *got =
            bwStats(file, genome->contigs.names[span.contig], (uint32_t)span.start, (uint32_t)span.end, 1, kinds[i]);
        assert_non_null(got);
        assert_true(fabs(*got - expected[i]) < 1e-5);
        free(got);
    }
}

static void check_bigwig(const char *name, const struct genome_values *genome)
{
    bigWigFile_t *file = bwOpen(in_folder(name), NULL, "r");
    assert_non_null(file);
    assert_int_equal(file->cl->nKeys, genome->contigs.count);
    for (size_t i = 0; i < genome->contigs.count; ++i) {
        const size_t length = genome->contigs.lengths[i];
        check_values(file, genome, i);
        check_summary(file, genome, (struct span){i, 0, length});
        if (length > 100000) {
            check_summary(file, genome, (struct span){i, 32768, 65536});
        }
    }
    bwClose(file);
}

static void free_genome(struct genome_values *genome)
{
    for (size_t i = 0; i < genome->contigs.count; ++i) {
        free(genome->values[i]);
    }
    free(genome->values);
    contigs_free(&genome->contigs);
}

static void test_bigwig(void **state)
{
    (void)state;
    static const size_t lengths[] = {300000, 8192, 8193, 0, 1, 31, 32, 33, 70000};
    static const char *const names[] = {"chr2", "chr10", "chr1", "empty", "z", "a", "b", "c", "MT"};
    struct random random = random_start(random_seed());
    struct genome_values genome = {0};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; ++i) {
        add_contig(&genome, names[i], lengths[i]);
    }
    track *track = create("whole.bw", TRACK_BIGWIG, &genome.contigs);
    for (size_t i = 0; i < genome.contigs.count; ++i) {
        write_span(&genome, &random, track, (struct span){i, 0, lengths[i]});
    }
    commit(track);
    assert_true(folder_has("whole.bw.json"));
    check_bigwig("whole.bw", &genome);
    free_genome(&genome);
}

/* Regions with gaps, neighbours that touch, contigs without any. */
static void test_bigwig_regions(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    for (int round = 0; round < 20; ++round) {
        struct genome_values genome = {0};
        for (size_t i = 0; i < 6; ++i) {
            char name[16];
            snprintf(name, sizeof name, "c%zu", i * 7 % 6);
            add_contig(&genome, name, 1 + random_below(&random, 50000));
        }
        track *track = create("regions.bw", TRACK_BIGWIG, &genome.contigs);
        for (size_t i = 0; i < 6; ++i) {
            const size_t length = genome.contigs.lengths[i];
            for (size_t at = random_below(&random, 2 * length); at < length;) {
                const size_t end = at + 1 + random_below(&random, length - at);
                write_span(&genome, &random, track, (struct span){i, at, end});
                at = end + (random_below(&random, 2) ? random_below(&random, 5000) : 0);
            }
        }
        commit(track);
        check_bigwig("regions.bw", &genome);
        free_genome(&genome);
    }
}

/* More names than one node of the tree holds, and more than two levels hold. */
static void test_bigwig_many_names(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    for (size_t count = 255; count < 100000; count = count < 257 ? count + 1 : count * 16) {
        struct genome_values genome = {0};
        for (size_t i = 0; i < count; ++i) {
            char name[32];
            snprintf(name, sizeof name, "scaffold_%zu", i * 99991 % count);
            add_contig(&genome, name, 3);
        }
        track *track = create("names.bw", TRACK_BIGWIG, &genome.contigs);
        for (size_t i = 0; i < count; i += 100) {
            write_span(&genome, &random, track, (struct span){i, 0, 3});
        }
        commit(track);
        bigWigFile_t *file = bwOpen(in_folder("names.bw"), NULL, "r");
        assert_non_null(file);
        for (size_t i = 0; i < count; i += 100) {
            assert_string_equal(file->cl->chrom[i], genome.contigs.names[i]);
            bwOverlappingIntervals_t *got = bwGetOverlappingIntervals(file, file->cl->chrom[i], 0, 3);
            assert_int_equal(got->l, 3);
            assert_true(got->value[2] == genome.values[i][2]);
            bwDestroyOverlappingIntervals(got);
        }
        bwClose(file);
        free_genome(&genome);
    }
}

static void test_bigwig_empty(void **state)
{
    (void)state;
    struct genome_values genome = {0};
    add_contig(&genome, "a", 10);
    commit(create("empty.bw", TRACK_BIGWIG, &genome.contigs));
    bigWigFile_t *file = bwOpen(in_folder("empty.bw"), NULL, "r");
    assert_non_null(file);
    assert_int_equal(file->hdr->nBasesCovered, 0);
    bwClose(file);
    free_genome(&genome);
}

static void test_bigwig_order(void **state)
{
    (void)state;
    static const float values[20] = {0};
    struct genome_values genome = {0};
    struct ldar_error error;
    add_contig(&genome, "b", 100);
    add_contig(&genome, "a", 15);
    track *track = create("order.bw", TRACK_BIGWIG, &genome.contigs);
    write_record(track, "b", 50, values, NULL, 10);
    assert_int_equal(track_record(track, "b", 59, &error), LDAR_ERROR_ARGUMENT);
    assert_says(error.message, "\"b\" from 60 on comes too late");
    write_record(track, "a", 0, values, NULL, 10);
    assert_int_equal(track_record(track, "b", 90, &error), LDAR_ERROR_ARGUMENT);
    assert_int_equal(track_record(track, "c", 0, &error), LDAR_ERROR_ARGUMENT);
    assert_says(error.message, "no sequence \"c\"");
    assert_ok(track_record(track, "a", 10, &error), &error);
    assert_int_equal(track_write(track, values, NULL, 6, &error), LDAR_ERROR_ARGUMENT);
    assert_says(error.message, "beyond the end");
    track_abandon(track);
    free_genome(&genome);
}

static void test_bigwig_refusals(void **state)
{
    (void)state;
    struct contigs contigs = {0};
    struct ldar_error error;
    track *track;
    char name[300];
    const char *path = in_folder("refused.bw");
    memset(name, 'x', sizeof name);
    name[256] = '\0';
    assert_ok(contigs_add(&contigs, "a", UINT64_C(1) << 32, &error), &error);
    assert_int_equal(track_create(path, TRACK_BIGWIG, &contigs, &provenance, &track, &error), LDAR_ERROR_ARGUMENT);
    assert_says(error.message, "longer than 2^32");
    contigs.lengths[0] = 10;
    assert_int_equal(track_create("-", TRACK_BIGWIG, &contigs, &provenance, &track, &error), LDAR_ERROR_ARGUMENT);
    assert_says(error.message, "give -o FILE");
    assert_ok(contigs_add(&contigs, name, 1, &error), &error);
    assert_int_equal(track_create(path, TRACK_BIGWIG, &contigs, &provenance, &track, &error), LDAR_ERROR_ARGUMENT);
    assert_says(error.message, "more than 255 bytes");
    strcpy(contigs.names[1], "a");
    assert_int_equal(track_create(path, TRACK_BIGWIG, &contigs, &provenance, &track, &error), LDAR_ERROR_ARGUMENT);
    assert_says(error.message, "two sequences of one name");
    contigs_free(&contigs);
}

static void test_full_disk(void **state)
{
    (void)state;
    static const float values[10000] = {0};
    static const uint8_t boundary[10000] = {1};
    struct contigs contigs = {0};
    struct ldar_error error;
    if (access("/dev/full", W_OK) != 0) {
        skip();
    }
    assert_ok(contigs_add(&contigs, "a", 10000, &error), &error);
    for (int format = TRACK_BED; format <= TRACK_BIGWIG; ++format) {
        track *track;
        assert_ok(track_create("/dev/full", (enum track_format)format, &contigs, &provenance, &track, &error), &error);
        write_record(track, "a", 0, values, boundary, 10000);
        assert_int_equal(track_commit(track, &error), LDAR_ERROR_IO);
        assert_says(error.message, "No space left");
    }
    contigs_free(&contigs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bed),
        cmocka_unit_test(test_bedgraph),
        cmocka_unit_test(test_odd_scores),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_abandoned),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_bigwig),
        cmocka_unit_test(test_bigwig_regions),
        cmocka_unit_test(test_bigwig_many_names),
        cmocka_unit_test(test_bigwig_empty),
        cmocka_unit_test(test_bigwig_order),
        cmocka_unit_test(test_bigwig_refusals),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests_name("formats.tracks", tests, folder_make, folder_remove);
}
