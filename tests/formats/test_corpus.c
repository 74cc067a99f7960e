/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/corpus.h"

#include <ldar/model.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW = 50, DRAWS = 20000 };

/*
 * A genome whose every window tells where it comes from: position p of its only record is digit p % 8 of the p / 8-th
 * word of eight letters, in base 4. Words differ, so that a window of 50 has six of them.
 */
static void spell(char *letters, size_t length, unsigned first)
{
    for (size_t p = 0; p < length; ++p) {
        const unsigned word = (first + (unsigned)(p / 8)) * 40503u;
        letters[p] = "ACGT"[(word >> (2 * (p % 8))) & 3];
    }
    letters[length] = '\0';
}

static const char *write_genome(const char *name, const char *const *names, char *const *letters, size_t records)
{
    char *text = calloc(1, 1 << 20), *at = text;
    for (size_t i = 0; i < records; ++i) {
        at += sprintf(at, ">%s\n%s\n", names[i], letters[i]);
    }
    const char *path = file_write_text(name, text);
    free(text);
    return path;
}

static corpus *open_corpus(const char *const *genomes, size_t count, const struct corpus_options *options)
{
    struct ldar_error error;
    corpus *corpus;
    assert_ok(corpus_create(NULL, &corpus, &error), &error);
    for (size_t i = 0; i < count; ++i) {
        assert_ok(corpus_add(corpus, genomes[i], &error), &error);
    }
    assert_ok(corpus_plan(corpus, options, &error), &error);
    return corpus;
}

/* Where a window stands in `letters`, and on which strand; fails the test when it stands nowhere. */
struct found {
    size_t at;
    int turned;
};

static char letter_of(uint8_t id)
{
    return "ACGTN"[id];
}

static struct found find_window(const uint8_t *ids, size_t count, const char *letters)
{
    char forward[WINDOW + 1] = "", backward[WINDOW + 1] = "";
    for (size_t i = 0; i < count; ++i) {
        assert_true(ids[i] <= LDAR_T);
        forward[i] = letter_of(ids[i]);
        backward[count - 1 - i] = letter_of((uint8_t)(3 - ids[i]));
    }
    const char *there = strstr(letters, forward), *turned = strstr(letters, backward);
    assert_true(!there != !turned);
    return there ? (struct found){(size_t)(there - letters), 0} : (struct found){(size_t)(turned - letters), 1};
}

/* Within 5 standard errors of a binomial's mean. */
static void assert_rate(size_t hits, size_t trials, double rate)
{
    const double n = (double)trials;
    if (fabs((double)hits - rate * n) > 5 * sqrt(n * rate * (1 - rate)) + 1e-9) {
        fail_msg("%zu of %zu are not %g", hits, trials, rate);
    }
}

/* ---- one genome ---- */

enum { LENGTH = 4000 };

/* N at 700..702 and 2500, 1000..1999 held out: windows begin in [0, 650], [703, 950], [2000, 2450], [2501, 3950]. */
static size_t stretch_of(size_t at)
{
    static const size_t bounds[][2] = {{0, 650}, {703, 950}, {2000, 2450}, {2501, 3950}};
    for (size_t i = 0; i < 4; ++i) {
        if (at >= bounds[i][0] && at <= bounds[i][1]) {
            return i;
        }
    }
    fail_msg("a window at %zu", at);
    return 0;
}

static corpus *open_one(char *letters, size_t validation)
{
    static const char *const names[] = {"one"}, *const held[] = {"one:1,001-1500", "one:1401-2000"};
    spell(letters, LENGTH, 1);
    memcpy(letters + 700, "NNN", 3);
    letters[2500] = 'R';
    const char *path = write_genome("one.fa", names, &letters, 1);
    const struct corpus_options options = {.window = WINDOW, .held = held, .held_count = 2, .validation = validation};
    return open_corpus(&path, 1, &options);
}

static void test_places(void **state)
{
    (void)state;
    char letters[LENGTH + 1];
    corpus *corpus = open_one(letters, 1000);
    const struct corpus_summary summary = corpus_summary(corpus);
    static const double lengths[4] = {700, 297, 500, 1499};
    size_t hits[4] = {0}, turned = 0, low = 0, ends = 0;
    assert_int_equal(summary.nucleotides, LENGTH);
    assert_int_equal(summary.unknown, 4);
    assert_int_equal(summary.trained, 700 + 297 + 500 + 1499);
    assert_int_equal(summary.held_out, 1000);
    assert_int_equal(summary.stretches, 4);
    for (uint64_t i = 0; i < DRAWS; ++i) {
        uint8_t ids[WINDOW];
        assert_int_equal(corpus_draw(corpus, 3, i / 7, i % 7, ids), WINDOW);
        const struct found found = find_window(ids, WINDOW, letters);
        const size_t stretch = stretch_of(found.at);
        ++hits[stretch];
        turned += (size_t)found.turned;
        low += stretch == 3 && found.at < 2501 + 725;
        ends += found.at == 650 || found.at == 2000;
    }
    for (size_t i = 0; i < 4; ++i) {
        assert_rate(hits[i], DRAWS, lengths[i] / 2996);
    }
    assert_rate(turned, DRAWS, 0.5);
    assert_rate(low, hits[3], 0.5);
    assert_true(ends > 0);
    corpus_destroy(corpus);
}

/* The same numbers give the same window; any other seed, step or sample gives others. */
static void test_counters(void **state)
{
    (void)state;
    char letters[LENGTH + 1];
    corpus *corpus = open_one(letters, 0);
    static const uint64_t counters[][3] = {{3, 4, 5}, {4, 4, 5}, {3, 5, 5}, {3, 4, 6}, {5, 4, 3}, {4, 3, 5}, {0, 0, 0}};
    uint8_t first[WINDOW], again[WINDOW];
    (void)corpus_draw(corpus, 3, 4, 5, first);
    for (size_t i = 0; i < sizeof counters / sizeof *counters; ++i) {
        (void)corpus_draw(corpus, counters[i][0], counters[i][1], counters[i][2], again);
        assert_int_equal(memcmp(first, again, WINDOW) == 0, i == 0);
    }
    corpus_destroy(corpus);
}

static void test_validation(void **state)
{
    (void)state;
    char letters[LENGTH + 1];
    for (size_t most = 0; most <= 30; ++most) {
        corpus *corpus = open_one(letters, most);
        const size_t count = corpus_summary(corpus).validation, all = 1000 / WINDOW;
        assert_int_equal(count, most < all ? most : all);
        size_t before = 0;
        for (size_t i = 0; i < count; ++i) {
            uint8_t ids[WINDOW];
            assert_int_equal(corpus_validation(corpus, i, ids), WINDOW);
            const struct found found = find_window(ids, WINDOW, letters);
            assert_int_equal(found.turned, 0);
            assert_true(found.at >= 1000 && found.at + WINDOW <= 2000 && found.at % WINDOW == 0);
            assert_true(found.at > before);
            before = found.at;
        }
        corpus_destroy(corpus);
    }
}

/* ---- several genomes ---- */

static void write_two(char *one, char *two, const char **paths)
{
    static const char *const names[] = {"I", "short"}, *const others[] = {"I", "II"};
    static char rest[3][1001];
    paths[0] = (spell(one, 3000, 1), spell(rest[0], WINDOW - 1, 20000),
                write_genome("yeast.fa", names, (char *const[]){one, rest[0]}, 2));
    paths[1] = (spell(two, 1000, 30000), spell(rest[1], 1000, 40000),
                write_genome("pombe.fa", others, (char *const[]){two, rest[1]}, 2));
}

/* Draws in proportion to length times weight; records shorter than a window have none. */
static void test_weights(void **state)
{
    (void)state;
    char one[3001], two[1001];
    const char *paths[2], *weighted[2];
    char text[600];
    write_two(one, two, paths);
    snprintf(text, sizeof text, "%s:2.5", paths[1]);
    weighted[0] = paths[0];
    weighted[1] = text;
    const struct corpus_options options = {.window = WINDOW};
    for (int heavy = 0; heavy < 2; ++heavy) {
        corpus *corpus = open_corpus(heavy ? weighted : paths, 2, &options);
        size_t first = 0;
        for (uint64_t i = 0; i < DRAWS; ++i) {
            uint8_t ids[WINDOW];
            char letters[WINDOW + 1] = "", turned[WINDOW + 1] = "";
            (void)corpus_draw(corpus, 1, i, 0, ids);
            for (size_t k = 0; k < WINDOW; ++k) {
                letters[k] = letter_of(ids[k]);
                turned[WINDOW - 1 - k] = letter_of((uint8_t)(3 - ids[k]));
            }
            first += strstr(one, letters) || strstr(one, turned);
        }
        assert_rate(first, DRAWS, heavy ? 3000.0 / 8000 : 3000.0 / 5000);
        corpus_destroy(corpus);
    }
}

static enum ldar_status plan(const char *const *paths, const char *held, const char *windows, struct ldar_error *error)
{
    corpus *corpus;
    enum ldar_status status = corpus_create(NULL, &corpus, error);
    for (size_t i = 0; i < 2 && !status; ++i) {
        status = corpus_add(corpus, paths[i], error);
    }
    const struct corpus_options options = {
        .window = WINDOW, .windows = windows, .held = &held, .held_count = held != NULL, .validation = 100};
    status = status ? status : corpus_plan(corpus, &options, error);
    corpus_destroy(corpus);
    return status;
}

static void test_names(void **state)
{
    (void)state;
    char one[3001], two[1001];
    const char *paths[2];
    write_two(one, two, paths);
    struct ldar_error error;
    char text[600];
    static const char *const good[] = {"II",    "short",    "yeast.fa:I:5-99", "pombe.fa:I:1-100",  "II:5",
                                       "II:5-", "pombe.fa", "chrII",           "yeast.fa:chrI:5-99"};
    for (size_t i = 0; i < sizeof good / sizeof *good; ++i) {
        assert_ok(plan(paths, good[i], NULL, &error), &error);
    }
    snprintf(text, sizeof text, "%s:I:7-900", paths[0]);
    assert_ok(plan(paths, text, NULL, &error), &error);
    static const char *const bad[][2] = {
        {"I", "2 sequences are called \"I\"; put the file before it, as in \"yeast.fa:I\""},
        {"I:1-5", "2 sequences"},
        {"III", "no genome has a sequence \"III\""},
        {"pombe.fa:short", "no genome has"},
        {"II:0-5", "1 <= FROM"},
        {"II:5-1001", "<= 1000"},
        {"II:x", "NAME:FROM-TO"},
        {"yeast.fa:III", "no genome has"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        assert_int_equal(plan(paths, bad[i][0], NULL, &error), LDAR_ERROR_ARGUMENT);
        assert_says(error.message, bad[i][1]);
    }
}

/* ---- a BED file of windows ---- */

static void test_windows(void **state)
{
    (void)state;
    char one[3001], two[1001];
    const char *paths[2];
    write_two(one, two, paths);
    /* A long interval, one shorter than a window, one that touches what is tested with, and one to validate with. */
    const char *bed = file_write_text("w.bed", "yeast.fa:I\t0\t200\ttrain\nyeast.fa:I\t300\t330\ttrain\n"
                                               "yeast.fa:I\t500\t640\nyeast.fa:I\t600\t700\ttest\n"
                                               "yeast.fa:I\t2000\t2100\tvalid\n");
    const struct corpus_options options = {.window = WINDOW, .windows = bed, .validation = 100};
    corpus *corpus = open_corpus(paths, 2, &options);
    const struct corpus_summary summary = corpus_summary(corpus);
    assert_int_equal(summary.trained, 200 + 30 + 100 + 2000); /* pombe is not in the file: all of it is trained on */
    assert_int_equal(summary.held_out, 200);
    assert_int_equal(summary.validation, 2);
    assert_true(fabs(summary.mean_window - (2300.0 * WINDOW + 30 * 30) / 2330) < 1e-9);
    size_t shorter = 0;
    for (uint64_t i = 0; i < DRAWS; ++i) {
        uint8_t ids[WINDOW];
        const size_t count = corpus_draw(corpus, 1, i, 0, ids);
        assert_true(count == WINDOW || count == 30);
        if (count == 30) {
            assert_int_equal(find_window(ids, count, one).at, 300);
            ++shorter;
        }
    }
    assert_rate(shorter, DRAWS, 30.0 / 2330);
    corpus_destroy(corpus);
    struct ldar_error error;
    static const char *const bad[][2] = {
        {"I\t0\t100\n", "w.bed:1: 2 sequences are called"},
        {"II\t0\t1000\nII\t0\t1001\n", "w.bed:2: end 1001 lies beyond the 1000"},
        {"II\t0\t100\ttraining\n", "w.bed:1: the fourth column is train, valid or test, not \"training\""},
        {"II\t0\t100\tvalid\n", "pombe.fa: no window"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        bed = file_write_text("w.bed", bad[i][0]);
        assert_int_not_equal(plan(paths, NULL, bed, &error), LDAR_OK);
        assert_says(error.message, bad[i][1]);
    }
}

/* ---- the hash ---- */

/* What draws the same windows has the same hash, whatever the files are called; one base or bound more has another. */
static void test_hash(void **state)
{
    (void)state;
    char letters[LENGTH + 1];
    uint64_t seen[6];
    static const char *const names[] = {"x"}, *const held[] = {"x:101-200", "x:101-201"};
    for (size_t i = 0; i < 6; ++i) {
        struct corpus_options options = {
            .window = i == 5 ? WINDOW + 1 : WINDOW, .held = &held[i == 3], .held_count = i >= 2, .validation = i >= 4};
        char *const record = letters;
        spell(letters, LENGTH, 1);
        letters[LENGTH - 1] = i == 1 ? 'A' : 'C';
        const char *path = write_genome(i % 2 ? "p.fa" : "q.fa", names, &record, 1);
        for (int packing = 0; packing < PACKINGS; ++packing) {
            char *text = calloc(1, LENGTH + 20);
            const int length = sprintf(text, ">y z\n%s", letters);
            corpus *corpus = open_corpus(&path, 1, &options);
            const uint64_t hash = corpus_summary(corpus).hash;
            assert_true(packing == 0 || hash == seen[i]);
            seen[i] = hash;
            corpus_destroy(corpus);
            text[1] = 'x';
            text[2] = ' ';
            path = file_pack("packed", text, (size_t)length, (enum packing)packing);
            free(text);
        }
        for (size_t k = 0; k < i; ++k) {
            assert_true(seen[k] != seen[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),  cmocka_unit_test(test_counters), cmocka_unit_test(test_validation),
        cmocka_unit_test(test_weights), cmocka_unit_test(test_names),    cmocka_unit_test(test_windows),
        cmocka_unit_test(test_hash),
    };
    return cmocka_run_group_tests_name("formats.corpus", tests, folder_make, folder_remove);
}
