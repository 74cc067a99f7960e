/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/contigs.h"
#include "formats/sequences.h"

#include <ldar/model.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static enum ldar_status read_path(const char *path, struct sequence_list *sequences, struct heard *heard,
                                  struct ldar_error *error)
{
    struct random random = random_start(random_seed());
    const struct warnings warnings = hear(heard);
    source *source;
    enum ldar_status status = sequences_open(path, &warnings, &source, error);
    if (!status) {
        status = read_all(source, &random, sequences, error);
        source_destroy(source);
    }
    return status;
}

/* ---- what is read ---- */

/* A record as "name:letters", letters as symbols' digits. */
struct reading {
    const char *text;
    const char *records; /* separated by blanks */
    size_t warnings;
};

static const struct reading readings[] = {
    {">a\nACGT\n", "a:0123", 0},
    {">a\nACGT", "a:0123", 0},
    {">a b c\r\nACGT\r\n\r\nTT\r\n", "a:012333", 0},
    {">a\tb\nacgtuU\n", "a:012333", 0},
    {"> a\nA\n", "a:0", 0},
    {">a\nRYSWKMBDHVN-ryswkmbdhvn\n", "a:44444444444444444444444", 0},
    {"\n\n>a\nA\n\n\nC\n>b\nG\n", "a:01 b:2", 0},
    {">a\n>b\nG\n>c\n", "a: b:2 c:", 2},
    {">a\n>a\nG\n", "a: a:2", 2},
    {">a", "a:", 1},
    {">a\r", "a:", 1},
    {"@r x\nACGT\n+\nIIII\n", "r:0123", 0},
    {"@r\nACGT\n+r x\nII@I", "r:0123", 0},
    {"@r\nAC\nGT\n+\n@I\nI+\n@s\nA\n+\n@\n", "r:0123 s:0", 0},
    {"@r\r\nACGT\r\n+\r\nIIII\r\n@s\r\n\r\n+\r\n\r\n@t\r\nA\r\n+\r\n!\r\n", "r:0123 s: t:0", 1},
    {"@r\n\n+\n", "r:", 1},
};

static void print_records(const struct sequence_list *sequences, char *text)
{
    for (size_t i = 0; i < sequences->count; ++i) {
        text += sprintf(text, "%s%s:", i ? " " : "", sequences->list[i].name);
        for (size_t j = 0; j < sequences->list[i].length; ++j) {
            text += sprintf(text, "%d", sequences->list[i].ids[j]);
        }
    }
}

static void test_forms(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof readings / sizeof *readings; ++i) {
        for (int packing = 0; packing < PACKINGS; ++packing) {
            const char *text = readings[i].text;
            const char *path = file_pack("forms", text, strlen(text), (enum packing)packing);
            struct sequence_list sequences = {0};
            struct heard heard = {0};
            struct ldar_error error;
            char records[200] = "";
            assert_ok(read_path(path, &sequences, &heard, &error), &error);
            print_records(&sequences, records);
            assert_string_equal(records, readings[i].records);
            assert_int_equal(heard.count, readings[i].warnings);
            sequences_free(&sequences);
        }
    }
}

/* ---- what is refused ---- */

struct refusal {
    const char *text;
    const char *says[3];
};

static const struct refusal refusals[] = {
    {"", {"holds no record"}},
    {"\n\r\n", {"holds no record"}},
    {"ACGT\n", {"neither FASTA nor FASTQ", "'A'"}},
    {"\xef\xbb\xbf>a\nA\n", {"neither FASTA nor FASTQ", "0xef"}},
    {">\nACGT\n", {"record 1", "no name"}},
    {">a\nA\n> \t\nACGT\n", {"record 2", "no name"}},
    {">a\x01"
     "b\nACGT\n",
     {"record 1", "control character", "0x01"}},
    {">a\nACGT\nACJT\n", {"record \"a\"", "position 7", "'J'"}},
    {">a\nAC GT\n", {"record \"a\"", "position 3", "0x20"}},
    {">a\nACGT*\n", {"position 5", "'*'"}},
    {">a\nAC>GT\n", {"position 3", "'>'"}},
    {">a\nAC\rGT\n", {"position 3", "carriage return"}},
    {">a\nA\x80\n", {"position 2", "0x80"}},
    {">a\nA\n>b\nCC.C\n", {"record \"b\"", "position 3", "'.'"}},
    {"@r\nACGT\n+\nIII\n", {"record \"r\"", "only 3 qualities for 4"}},
    {"@r\nACGT\n+\nIIIII\n", {"record \"r\"", "at least 5 qualities for 4"}},
    {"@r\nACGT\n+\nIII\n@s\nA\n+\nI\n", {"record \"r\"", "only 3 qualities for 4"}},
    {"@r\nACGT\n+\n", {"record \"r\"", "only 0 qualities for 4"}},
    {"@r\nACGT\n", {"record \"r\"", "only 0 qualities for 4"}},
    {"@r\nACGT", {"record \"r\"", "only 0 qualities for 4"}},
    {"@r\nACGT\n+\nII I\n", {"record \"r\"", "0x20 among its qualities"}},
    {"@r\nACGT\n+\nII\rI\n", {"record \"r\"", "position 3", "carriage return"}},
    {"@r\nACGT\n+\nIIII\n>s\nA\n", {"after record \"r\"", "'>'", "'@'"}},
    {"@r\nAC\n\n>GT\n", {"position 3", "'>'"}},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; ++i) {
        const char *path = file_write_text("refused", refusals[i].text);
        struct sequence_list sequences = {0};
        struct heard heard = {0};
        struct ldar_error error;
        assert_int_equal(read_path(path, &sequences, &heard, &error), LDAR_ERROR_FORMAT);
        assert_int_equal(error.status, LDAR_ERROR_FORMAT);
        assert_says(error.message, path);
        for (size_t j = 0; j < 3 && refusals[i].says[j]; ++j) {
            assert_says(error.message, refusals[i].says[j]);
        }
        sequences_free(&sequences);
    }
}

static void test_nul_bytes(void **state)
{
    (void)state;
    struct sequence_list sequences = {0};
    struct heard heard = {0};
    struct ldar_error error;
    assert_int_equal(read_path(file_write("nul", ">a\nAC\0GT\n", 9), &sequences, &heard, &error), LDAR_ERROR_FORMAT);
    assert_says(error.message, "position 3: 0x00");
    assert_int_equal(read_path(file_write("nul", ">a\0b\nACGT\n", 10), &sequences, &heard, &error), LDAR_ERROR_FORMAT);
    assert_says(error.message, "control character 0x00");
    sequences_free(&sequences);
}

static void test_long_name(void **state)
{
    (void)state;
    struct sequence_list sequences = {0};
    struct heard heard = {0};
    struct ldar_error error;
    char *text = malloc(SEQUENCES_NAME_MAX + 8);
    assert_non_null(text);
    memset(text, 'x', SEQUENCES_NAME_MAX + 8);
    text[0] = '>';
    memcpy(text + 1 + SEQUENCES_NAME_MAX, "\nA\n", 4);
    assert_ok(read_path(file_write_text("name", text), &sequences, &heard, &error), &error);
    assert_int_equal(strlen(sequences.list[0].name), SEQUENCES_NAME_MAX);
    memcpy(text + 1 + SEQUENCES_NAME_MAX, "x\nA\n", 5);
    assert_int_equal(read_path(file_write_text("name", text), &sequences, &heard, &error), LDAR_ERROR_FORMAT);
    assert_says(error.message, "record 1: a name longer");
    free(text);
    sequences_free(&sequences);
}

static void test_missing_file(void **state)
{
    (void)state;
    struct sequence_list sequences = {0};
    struct heard heard = {0};
    struct ldar_error error;
    assert_int_equal(read_path(in_folder("absent"), &sequences, &heard, &error), LDAR_ERROR_IO);
    assert_says(error.message, "absent: No such file");
    assert_int_equal(read_path("/tmp", &sequences, &heard, &error), LDAR_ERROR_IO);
    assert_says(error.message, "/tmp: is a directory");
    assert_int_equal(sequences_open(in_folder("absent"), NULL, &(source *){NULL}, NULL), LDAR_ERROR_IO);
}

/* Of each kind of warning five are given, and then a last one. */
static void test_few_warnings(void **state)
{
    (void)state;
    char text[1000] = "";
    for (int i = 0; i < 100; ++i) {
        strcat(text, ">a\nA\n");
    }
    struct sequence_list sequences = {0};
    struct heard heard = {0};
    struct ldar_error error;
    assert_ok(read_path(file_write_text("repeated", text), &sequences, &heard, &error), &error);
    assert_int_equal(heard.count, 6);
    assert_says(heard.last, "no more is said");
    sequences_free(&sequences);
}

/* The first names are remembered, of a file with more of them. */
static void test_many_names(void **state)
{
    (void)state;
    const char *path = in_folder("names");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < SEQUENCES_NAMES_KEPT + 10; ++i) {
        fprintf(file, ">%d\nA\n", i);
    }
    fprintf(file, ">%d\nA\n>%d\nA\n", SEQUENCES_NAMES_KEPT + 1, SEQUENCES_NAMES_KEPT - 1);
    fclose(file);
    struct heard heard = {0};
    struct ldar_error error;
    const struct warnings warnings = hear(&heard);
    source *source;
    struct record record = {.name = ""};
    assert_ok(sequences_open(path, &warnings, &source, &error), &error);
    while (record.name) {
        assert_ok(source_next(source, &record, &error), &error);
    }
    assert_int_equal(source_progress(source).records, SEQUENCES_NAMES_KEPT + 12);
    assert_int_equal(heard.count, 1);
    assert_says(heard.last, "524287");
    source_destroy(source);
}

/* ---- random files ---- */

struct text {
    char *bytes;
    size_t length, capacity;
};

static void append(struct text *text, const char *bytes, size_t count)
{
    if (text->length + count > text->capacity) {
        text->capacity = 2 * (text->length + count);
        text->bytes = realloc(text->bytes, text->capacity);
        assert_non_null(text->bytes);
    }
    memcpy(text->bytes + text->length, bytes, count);
    text->length += count;
}

static void append_line_end(struct text *text, struct random *random)
{
    append(text, "\r\n", 2);
    if (random_below(random, 2)) {
        text->bytes[--text->length - 1] = '\n';
    }
}

static char random_letter(struct random *random, uint8_t id)
{
    static const char *const letters[] = {"Aa", "Cc", "Gg", "TtUu", "NnRrYySsWwKkMmBbDdHhVv-"};
    return letters[id][random_below(random, strlen(letters[id]))];
}

/* Letters, or qualities, broken into lines of `width`. */
static void append_lines(struct text *text, struct random *random, const struct sequence *sequence, size_t width,
                         bool qualities)
{
    for (size_t i = 0; i < sequence->length; ++i) {
        const char byte = qualities ? (char)('!' + random_below(random, 94)) : random_letter(random, sequence->ids[i]);
        if (i > 0 && i % width == 0) {
            append_line_end(text, random);
        }
        append(text, &byte, 1);
    }
    append_line_end(text, random);
}

static void append_record(struct text *text, struct random *random, const struct sequence *sequence, bool fastq)
{
    const size_t width = random_below(random, 2) ? 1 + random_below(random, 100) : SIZE_MAX;
    append(text, fastq ? "@" : ">", 1);
    append(text, sequence->name, strlen(sequence->name));
    append(text, " about it", random_below(random, 2) ? 9 : 0);
    append_line_end(text, random);
    append_lines(text, random, sequence, width, false);
    if (fastq) {
        append(text, "+", 1);
        append_line_end(text, random);
        append_lines(text, random, sequence, width, true);
    }
}

static void random_records(struct random *random, struct sequence_list *sequences, struct text *text)
{
    const size_t count = 1 + random_below(random, 20);
    const bool fastq = random_below(random, 2);
    for (size_t i = 0; i < count; ++i) {
        const size_t length = random_below(random, random_below(random, 12) ? 300 : 200000);
        uint8_t *ids = malloc(length + 1);
        char name[32];
        assert_non_null(ids);
        random_symbols(random, ids, length);
        snprintf(name, sizeof name, "record|%zu", i);
        sequences_add(sequences, name, 0, ids, length);
        append_record(text, random, &sequences->list[i], fastq);
        free(ids);
    }
}

static void test_random(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    for (int round = 0; round < 60; ++round) {
        struct sequence_list expected = {0}, got = {0};
        struct text text = {0};
        struct heard heard = {0};
        struct ldar_error error;
        random_records(&random, &expected, &text);
        const char *path = file_pack("random", text.bytes, text.length, (enum packing)(round % PACKINGS));
        assert_ok(read_path(path, &got, &heard, &error), &error);
        assert_same_sequences(&expected, &got);
        sequences_free(&expected);
        sequences_free(&got);
        free(text.bytes);
    }
}

/* ---- damage ---- */

/* A packed file that ends anywhere but at its end is refused: none of its records is the last one by mistake. */
static void check_cuts(enum packing packing)
{
    struct random random = random_start(random_seed());
    struct sequence_list expected = {0};
    struct text text = {0};
    size_t size;
    while (text.length < 200000) {
        sequences_free(&expected);
        free(text.bytes);
        text = (struct text){0};
        random_records(&random, &expected, &text);
    }
    char *packed = file_read(file_pack("whole", text.bytes, text.length, packing), &size);
    for (size_t cut = 0; cut < size; cut += cut < 40 || cut + 60 > size ? 1 : 1 + random_below(&random, 4000)) {
        struct sequence_list got = {0};
        struct heard heard = {0};
        struct ldar_error error;
        const char *path = file_write("cut", packed, cut);
        if (read_path(path, &got, &heard, &error) != LDAR_ERROR_FORMAT) {
            fail_msg("cut at %zu of %zu bytes and not noticed", cut, size);
        }
        assert_says(error.message, path);
        sequences_free(&got);
    }
    free(packed);
    free(text.bytes);
    sequences_free(&expected);
}

static void test_cut_gzip(void **state)
{
    (void)state;
    check_cuts(GZIP);
}

static void test_cut_bgzf(void **state)
{
    (void)state;
    check_cuts(BGZF_PACKED);
}

/* One bit turned over: both formats hold a check sum, so that it is an error and never other letters. */
static void test_damage(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    struct sequence_list expected = {0};
    struct text text = {0};
    size_t size;
    random_records(&random, &expected, &text);
    for (int packing = GZIP; packing <= BGZF_PACKED; ++packing) {
        char *packed = file_read(file_pack("whole", text.bytes, text.length, (enum packing)packing), &size);
        for (int round = 0; round < 200; ++round) {
            const size_t at = 18 + random_below(&random, size - 18);
            const char flip = (char)(1 << random_below(&random, 8));
            struct sequence_list got = {0};
            struct heard heard = {0};
            packed[at] ^= flip;
            if (read_path(file_write("damaged", packed, size), &got, &heard, NULL) == LDAR_OK) {
                assert_same_sequences(&expected, &got);
            }
            packed[at] ^= flip;
            sequences_free(&got);
        }
        free(packed);
    }
    free(text.bytes);
    sequences_free(&expected);
}

/* Whatever the bytes: a status, and no fault. */
static void test_noise(void **state)
{
    (void)state;
    static const char alphabet[] = ">@+\n\n\n\rACGTNacgt IJ\t-*\0\xff";
    struct random random = random_start(random_seed());
    for (int round = 0; round < 3000; ++round) {
        char bytes[200];
        const size_t count = random_below(&random, sizeof bytes);
        for (size_t i = 0; i < count; ++i) {
            bytes[i] = alphabet[random_below(&random, sizeof alphabet - 1)];
        }
        if (count > 0 && random_below(&random, 4)) {
            bytes[0] = ">@"[random_below(&random, 2)];
        }
        struct sequence_list got = {0};
        struct heard heard = {0};
        struct ldar_error error = {0};
        if (read_path(file_write("noise", bytes, count), &got, &heard, &error)) {
            assert_true(strlen(error.message) > 0);
        }
        sequences_free(&got);
    }
}

/* ---- skipping, counting, standard input ---- */

static void test_skip(void **state)
{
    (void)state;
    const char *path = file_write_text("skip", ">a\nACGT\n>b\nACNT\n>c\nAJ\n");
    source *source;
    struct record record;
    struct ldar_error error;
    assert_ok(sequences_open(path, NULL, &source, &error), &error);
    assert_ok(source_next(source, &record, &error), &error);
    assert_ok(source_next(source, &record, &error), &error);
    assert_string_equal(record.name, "b");
    assert_int_equal(record.index, 1);
    assert_ok(source_next(source, &record, &error), &error);
    const struct source_progress progress = source_progress(source);
    assert_int_equal(progress.records, 3);
    assert_int_equal(progress.nucleotides, 8);
    assert_int_equal(progress.unknown, 1);
    assert_int_equal(progress.total, 22);
    assert_int_equal(source_next(source, &record, &error), LDAR_ERROR_FORMAT);
    assert_null(record.name);
    source_destroy(source);
    source_destroy(NULL);
}

static void test_standard_input(void **state)
{
    (void)state;
    const char *path = file_pack("stdin", ">a\nACGT\n", 8, BGZF_PACKED);
    const int saved = dup(STDIN_FILENO), file = open(path, O_RDONLY);
    struct sequence_list got = {0};
    struct heard heard = {0};
    struct ldar_error error;
    struct contigs contigs;
    dup2(file, STDIN_FILENO);
    assert_ok(read_path("-", &got, &heard, &error), &error);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.list[0].length, 4);
    dup2(saved, STDIN_FILENO);
    close(saved);
    close(file);
    assert_int_equal(contigs_scan("-", &contigs, &error), LDAR_ERROR_ARGUMENT);
    assert_says(error.message, "standard input");
    sequences_free(&got);
}

static void test_contigs(void **state)
{
    (void)state;
    struct contigs contigs;
    struct ldar_error error;
    assert_ok(contigs_scan(file_write_text("contigs", ">b\nACGT\nA\n>a\n>c\nGG\n"), &contigs, &error), &error);
    assert_int_equal(contigs.count, 3);
    assert_string_equal(contigs.names[0], "b");
    assert_int_equal(contigs.lengths[0], 5);
    assert_int_equal(contigs.lengths[1], 0);
    assert_int_equal(contigs.lengths[2], 2);
    struct contig_name *sorted = contigs_sort(&contigs);
    assert_non_null(sorted);
    assert_int_equal(contigs_find(sorted, contigs.count, "c")->contig, 2);
    assert_null(contigs_find(sorted, contigs.count, "d"));
    free(sorted);
    contigs_free(&contigs);
    assert_int_equal(contigs_scan(file_write_text("contigs", ">b\nJ\n"), &contigs, &error), LDAR_ERROR_FORMAT);
    assert_null(contigs.names);
}

/* A line of 64 MiB is read in less than 2 MiB. */
static void test_memory(void **state)
{
    (void)state;
    enum { LINE = 64 << 20, PART = 1 << 16 };
    static char letters[PART];
    static uint8_t ids[PART];
    const char *path = in_folder("line");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    memset(letters, 'G', PART);
    fputs(">line\n", file);
    for (size_t i = 0; i < LINE / PART; ++i) {
        fwrite(letters, 1, PART, file);
    }
    fclose(file);
    struct rusage before, after;
    struct record record;
    struct ldar_error error;
    source *source;
    size_t count, total = 0;
    getrusage(RUSAGE_SELF, &before);
    assert_ok(sequences_open(path, NULL, &source, &error), &error);
    assert_ok(source_next(source, &record, &error), &error);
    do {
        assert_ok(source_read(source, ids, PART, &count, &error), &error);
        total += count;
    } while (count > 0);
    source_destroy(source);
    getrusage(RUSAGE_SELF, &after);
    assert_int_equal(total, LINE);
    assert_true(after.ru_maxrss - before.ru_maxrss < 2048);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),      cmocka_unit_test(test_refusals),     cmocka_unit_test(test_nul_bytes),
        cmocka_unit_test(test_long_name),  cmocka_unit_test(test_missing_file), cmocka_unit_test(test_few_warnings),
        cmocka_unit_test(test_many_names), cmocka_unit_test(test_random),       cmocka_unit_test(test_cut_gzip),
        cmocka_unit_test(test_cut_bgzf),   cmocka_unit_test(test_damage),       cmocka_unit_test(test_noise),
        cmocka_unit_test(test_skip),       cmocka_unit_test(test_contigs),      cmocka_unit_test(test_standard_input),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("formats.sequences", tests, folder_make, folder_remove);
}
