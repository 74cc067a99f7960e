/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/journal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char header[] = "{\"a\": \"whose results\"}";

enum { BLOBS = 5 };
static const size_t sizes[BLOBS] = {3, 0, 1, 2000, 70};

static void fill(unsigned char *blob, size_t index)
{
    for (size_t i = 0; i < sizes[index]; ++i) {
        blob[i] = (unsigned char)(17 * index + 31 * i);
    }
}

static void append(journal *journal, size_t from, size_t until)
{
    struct ldar_error error;
    unsigned char blob[2000];
    for (size_t i = from; i < until; ++i) {
        fill(blob, i);
        assert_ok(journal_append(journal, blob, sizes[i], &error), &error);
    }
}

static enum ldar_status same_header(void *user, const char *text, struct ldar_error *error)
{
    return strcmp(text, user) == 0 ? LDAR_OK : (fail)(error, LDAR_ERROR_ARGUMENT, "of another run");
}

static const struct journal_check check = {same_header, (char *)header};

/* A journal of the first `count` blobs; its bytes. */
static char *written(const char *name, size_t count, bool ended, size_t *bytes)
{
    struct ldar_error error;
    journal *journal;
    assert_ok(journal_create(in_folder(name), header, &journal, &error), &error);
    append(journal, 0, count);
    if (ended) {
        assert_ok(journal_end(journal, &error), &error);
    }
    assert_ok(journal_close(journal, &error), &error);
    return file_read(in_folder(name), bytes);
}

/* How many blobs are read, all as they were; then *status is what came. */
static size_t read_back(const char *path, enum ldar_status *status, bool *ended, struct ldar_error *error)
{
    journal_reader *reader;
    const void *blob;
    size_t bytes, count = 0;
    unsigned char expected[2000];
    *ended = false;
    *status = journal_open(path, &reader, error);
    if (*status) {
        return 0;
    }
    assert_string_equal(journal_header(reader), header);
    while (!(*status = journal_next(reader, &blob, &bytes, error)) && blob) {
        assert_true(count < BLOBS);
        fill(expected, count);
        assert_int_equal(bytes, sizes[count]);
        assert_memory_equal(blob, expected, bytes);
        ++count;
    }
    *ended = journal_ended(reader);
    journal_reader_close(reader);
    return count;
}

static void test_whole(void **state)
{
    (void)state;
    struct ldar_error error;
    enum ldar_status status;
    bool ended;
    size_t bytes;
    free(written("j", BLOBS, true, &bytes));
    assert_int_equal(read_back(in_folder("j"), &status, &ended, &error), BLOBS);
    assert_ok(status, &error);
    assert_true(ended);
    free(written("j", 0, true, &bytes));
    assert_int_equal(read_back(in_folder("j"), &status, &ended, &error), 0);
    assert_true(!status && ended);
}

/* Cut anywhere, a journal gives what is whole, does not call itself complete, and is gone on with to the same bytes. */
static void test_cut(void **state)
{
    (void)state;
    struct ldar_error error;
    size_t bytes;
    char *all = written("all", BLOBS, true, &bytes);
    for (size_t cut = 0; cut < bytes; ++cut) {
        enum ldar_status status;
        bool ended;
        uint64_t blobs;
        journal *journal;
        const char *path = file_write("cut", all, cut);
        const size_t count = read_back(path, &status, &ended, &error);
        assert_false(ended);
        assert_true(!status || count == 0);
        assert_ok(journal_continue(path, &check, &journal, &blobs, &error), &error);
        assert_int_equal(blobs, count);
        if (!journal) {
            assert_int_equal(count, 0);
            assert_ok(journal_create(path, header, &journal, &error), &error);
        }
        append(journal, (size_t)blobs, BLOBS);
        assert_ok(journal_end(journal, &error), &error);
        assert_ok(journal_close(journal, &error), &error);
        size_t again;
        char *got = file_read(path, &again);
        assert_int_equal(again, bytes);
        assert_memory_equal(got, all, bytes);
        free(got);
    }
    free(all);
}

/* No bit may be another: it is an error, or the journal is not complete; what is gone on with comes out right. */
static void test_flipped(void **state)
{
    (void)state;
    struct ldar_error error;
    size_t bytes;
    char *all = written("all", BLOBS, true, &bytes);
    for (size_t at = 0; at < bytes; ++at) {
        enum ldar_status status;
        bool ended;
        all[at] = (char)(all[at] ^ (1 << at % 8));
        const char *path = file_write("flipped", all, bytes);
        read_back(path, &status, &ended, &error);
        assert_true(status || !ended);
        all[at] = (char)(all[at] ^ (1 << at % 8));
    }
    all[bytes - 40] ^= 1;
    const char *path = file_write("flipped", all, bytes);
    all[bytes - 40] ^= 1;
    journal *journal;
    uint64_t blobs;
    assert_ok(journal_continue(path, &check, &journal, &blobs, &error), &error);
    assert_int_equal(blobs, BLOBS - 1);
    append(journal, BLOBS - 1, BLOBS);
    assert_ok(journal_end(journal, &error), &error);
    assert_ok(journal_close(journal, &error), &error);
    size_t again;
    char *got = file_read(path, &again);
    assert_int_equal(again, bytes);
    assert_memory_equal(got, all, bytes);
    free(got);
    free(all);
}

/* What stands behind the end, and a blob that is missing, are found. */
static void test_spliced(void **state)
{
    (void)state;
    struct ldar_error error;
    enum ldar_status status;
    bool ended;
    size_t bytes;
    char *all = written("all", BLOBS, true, &bytes);
    char *longer = malloc(bytes + 1);
    assert_non_null(longer);
    memcpy(longer, all, bytes);
    longer[bytes] = 0;
    assert_int_equal(read_back(file_write("longer", longer, bytes + 1), &status, &ended, &error), BLOBS);
    assert_int_equal(status, LDAR_ERROR_FORMAT);
    assert_says(error.message, "damaged");
    const size_t first = 16 + strlen(header) + 4, size = 8 + sizes[0] + 4;
    memmove(all + first, all + first + size, bytes - first - size);
    assert_int_equal(read_back(file_write("shorter", all, bytes - size), &status, &ended, &error), 0);
    assert_int_equal(status, LDAR_ERROR_FORMAT);
    free(longer);
    free(all);
}

static void assert_untouched(const char *path, const char *expected, size_t bytes)
{
    size_t size;
    char *got = file_read(path, &size);
    assert_int_equal(size, bytes);
    assert_memory_equal(got, expected, bytes);
    free(got);
}

static void test_refused(void **state)
{
    (void)state;
    static const char other[] = "chr1\t0\t10\n";
    struct ldar_error error;
    journal *journal, *second;
    journal_reader *reader;
    uint64_t blobs;
    size_t bytes;
    const char *path = file_write_text("other", other);
    assert_int_equal(journal_create(path, header, &journal, &error), LDAR_ERROR_FORMAT);
    assert_says(error.message, "another kind of file");
    assert_int_equal(journal_continue(path, &check, &journal, &blobs, &error), LDAR_ERROR_FORMAT);
    assert_null(journal);
    assert_int_equal(journal_open(path, &reader, &error), LDAR_ERROR_FORMAT);
    assert_null(reader);
    assert_untouched(path, other, strlen(other));
    char *all = written("all", BLOBS, true, &bytes);
    const struct journal_check stranger = {same_header, "{}"};
    assert_int_equal(journal_continue(in_folder("all"), &stranger, &journal, &blobs, &error), LDAR_ERROR_ARGUMENT);
    assert_untouched(in_folder("all"), all, bytes);
    all[8] = 2;
    assert_int_equal(journal_open(file_write("newer", all, bytes), &reader, &error), LDAR_ERROR_FORMAT);
    assert_says(error.message, "version 2");
    free(all);
    assert_int_equal(journal_open(in_folder("none"), &reader, &error), LDAR_ERROR_IO);
    assert_ok(journal_continue(in_folder("none"), &check, &journal, &blobs, &error), &error);
    assert_null(journal);
    assert_int_equal(journal_create(in_folder("none/j"), header, &journal, &error), LDAR_ERROR_IO);
    assert_ok(journal_create(in_folder("locked"), header, &journal, &error), &error);
    assert_int_equal(journal_create(in_folder("locked"), header, &second, &error), LDAR_ERROR_IO);
    assert_says(error.message, "another process");
    assert_int_equal(journal_continue(in_folder("locked"), &check, &second, &blobs, &error), LDAR_ERROR_IO);
    assert_ok(journal_close(journal, &error), &error);
}

/* A disk that is full is an error, and what was whole before stays. */
static void test_full(void **state)
{
    (void)state;
    struct ldar_error error;
    struct rlimit before, limit;
    journal *journal;
    uint64_t blobs;
    enum ldar_status closed;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){1000, before.rlim_max};
    assert_ok(journal_create(in_folder("full"), header, &journal, &error), &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    append(journal, 0, BLOBS);
    closed = journal_close(journal, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(closed, LDAR_ERROR_IO);
    assert_says(error.message, "cannot be written");
    assert_ok(journal_continue(in_folder("full"), &check, &journal, &blobs, &error), &error);
    assert_int_equal(blobs, 3);
    assert_ok(journal_close(journal, &error), &error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),   cmocka_unit_test(test_cut),     cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_spliced), cmocka_unit_test(test_refused), cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests_name("formats.journal", tests, folder_make, folder_remove);
}
