/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/windows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the definition, word for word ---- */

/* Where the windows of a record of `length` begin; returns how many there are. */
static size_t define_starts(size_t length, size_t window, size_t overlap, size_t *starts)
{
    size_t count = 0;
    for (size_t start = 0; length > window && start + window < length; start += window - overlap) {
        starts[count++] = start;
    }
    starts[count++] = length > window ? length - window : 0;
    return count;
}

/* Distance of a base to the nearer end of the window, where the ends of the record do not count. */
static size_t depth(size_t base, size_t start, size_t end, size_t length)
{
    const size_t left = start == 0 ? SIZE_MAX : base - start;
    const size_t right = end == length ? SIZE_MAX : end - 1 - base;
    return left < right ? left : right;
}

/* The window that owns a base. */
static size_t define_owner(size_t base, size_t length, size_t window, const size_t *starts, size_t count)
{
    size_t owner = SIZE_MAX, deepest = 0;
    for (size_t i = 0; i < count; ++i) {
        const size_t end = starts[i] + window < length ? starts[i] + window : length;
        if (base >= starts[i] && base < end && (owner == SIZE_MAX || depth(base, starts[i], end, length) > deepest)) {
            owner = i;
            deepest = depth(base, starts[i], end, length);
        }
    }
    return owner;
}

/* ---- the cutter against it ---- */

struct cursor {
    size_t record, window; /* which comes next */
    size_t starts[512];
    size_t owned; /* the record's bases that have an owner so far */
};

static void check_window(const struct sequence_list *sequences, const struct window_plan *plan, struct cursor *cursor,
                         const struct window *window, const uint8_t *ids)
{
    const struct sequence *sequence = &sequences->list[cursor->record];
    const size_t count = define_starts(sequence->length, plan->window, plan->overlap, cursor->starts);
    const size_t start = cursor->starts[cursor->window];
    assert_string_equal(window->record.name, sequence->name);
    assert_int_equal(window->record.index, cursor->record);
    assert_int_equal(window->record.start, sequence->start);
    assert_int_equal(window->start, start);
    assert_int_equal(window->length, sequence->length < plan->window ? sequence->length : plan->window);
    assert_memory_equal(ids, sequence->ids + start, window->length);
    assert_int_equal(start + window->owned_begin, cursor->owned);
    for (size_t i = window->owned_begin; i < window->owned_end; ++i) {
        assert_int_equal(define_owner(start + i, sequence->length, plan->window, cursor->starts, count),
                         cursor->window);
    }
    cursor->owned = start + window->owned_end;
    assert_int_equal(window->first, cursor->window == 0);
    assert_int_equal(window->last, cursor->window + 1 == count);
    assert_int_equal(window_count(sequence->length, plan->window, plan->overlap), count);
    ++cursor->window;
    if (window->last) {
        assert_int_equal(cursor->owned, sequence->length);
        assert_int_equal(window->record.length, sequence->length);
        ++cursor->record;
        cursor->window = cursor->owned = 0;
    }
}

/* What a batch held when it was cut. */
struct copy {
    struct window_batch batch;
    uint8_t *ids;
    size_t *offsets;
    struct window *windows;
};

static void *duplicate(const void *data, size_t bytes)
{
    void *twin = malloc(bytes + 1);
    assert_non_null(twin);
    return memcpy(twin, data, bytes);
}

static struct copy copy_batch(const struct window_batch *batch)
{
    const size_t sequences = batch->input.sequences;
    return (struct copy){*batch, duplicate(batch->input.ids, batch->input.offsets[sequences]),
                         duplicate(batch->input.offsets, (sequences + 1) * sizeof(size_t)),
                         duplicate(batch->windows, sequences * sizeof(struct window))};
}

/* The batch is still what it was, now that the next is cut; then the copy is gone. */
static void check_copy(struct copy *copy)
{
    const struct ldar_batch *input = &copy->batch.input;
    if (copy->ids) {
        assert_memory_equal(input->ids, copy->ids, copy->offsets[input->sequences]);
        assert_memory_equal(input->offsets, copy->offsets, (input->sequences + 1) * sizeof(size_t));
        assert_memory_equal(copy->batch.windows, copy->windows, input->sequences * sizeof(struct window));
    }
    free(copy->ids);
    free(copy->offsets);
    free(copy->windows);
    *copy = (struct copy){0};
}

static size_t check_cutter(const struct sequence_list *sequences, const struct window_plan *plan)
{
    const size_t most = plan->batch > plan->window ? plan->batch : plan->window;
    struct cursor cursor = {0};
    struct copy last = {0};
    struct ldar_error error;
    struct window_batch batch;
    window_cutter *cutter;
    size_t batches = 0;
    source *source = source_of(sequences);
    assert_ok(window_cutter_create(source, plan, &cutter, &error), &error);
    for (;; ++batches) {
        assert_ok(window_cutter_next(cutter, &batch, &error), &error);
        check_copy(&last);
        if (batch.input.sequences == 0) {
            break;
        }
        last = copy_batch(&batch);
        assert_int_equal(batch.input.offsets[0], 0);
        assert_true(batch.input.offsets[batch.input.sequences] <= most);
        for (size_t i = 0; i < batch.input.sequences; ++i) {
            const size_t offset = batch.input.offsets[i];
            assert_int_equal(batch.input.offsets[i + 1] - offset, batch.windows[i].length);
            check_window(sequences, plan, &cursor, &batch.windows[i], batch.input.ids + offset);
        }
    }
    assert_int_equal(cursor.record, sequences->count);
    window_cutter_destroy(cutter);
    source_destroy(source);
    return batches;
}

/* ---- tests ---- */

static void add_random(struct sequence_list *sequences, struct random *random, size_t length)
{
    uint8_t *ids = malloc(length + 1);
    char name[32];
    assert_non_null(ids);
    random_symbols(random, ids, length);
    snprintf(name, sizeof name, "r%zu", sequences->count);
    sequences_add(sequences, name, 100 * sequences->count, ids, length);
    free(ids);
}

/* Every length up to 40 with every window up to 12 and every overlap. */
static void test_all_small(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    struct sequence_list sequences = {0};
    for (size_t length = 0; length <= 40; ++length) {
        add_random(&sequences, &random, length);
    }
    for (size_t window = 1; window <= 12; ++window) {
        for (size_t overlap = 0; overlap < window; ++overlap) {
            check_cutter(&sequences, &(struct window_plan){window, overlap, random_below(&random, 60)});
        }
    }
    sequences_free(&sequences);
}

static void test_random(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    for (int round = 0; round < 200; ++round) {
        struct sequence_list sequences = {0};
        const size_t window = 1 + random_below(&random, 1000);
        const size_t overlap = random_below(&random, window);
        const size_t most = 400 * (window - overlap) < 5000 ? 400 * (window - overlap) : 5000;
        for (size_t i = random_below(&random, 12); i > 0; --i) {
            add_random(&sequences, &random, random_below(&random, most));
        }
        check_cutter(&sequences, &(struct window_plan){window, overlap, random_below(&random, 4000)});
        sequences_free(&sequences);
    }
}

/* ---- pieces of the whole ---- */

/* The windows of records `list`, from the first that neither of `before` forbids to the last that `stop` allows. */
static size_t cut_piece(const struct sequence_list *sequences, const struct window_plan *plan,
                        struct window_position before, uint64_t stop, struct window *list)
{
    struct ldar_error error;
    struct window_batch batch;
    window_cutter *cutter;
    size_t count = 0;
    source *source = source_of(sequences);
    assert_ok(window_cutter_create(source, plan, &cutter, &error), &error);
    assert_ok(window_cutter_pass(cutter, before, &error), &error);
    window_cutter_stop(cutter, stop);
    do {
        assert_ok(window_cutter_next(cutter, &batch, &error), &error);
        for (size_t i = 0; i < batch.input.sequences; ++i, ++count) {
            list[count] = batch.windows[i];
            list[count].record.name = NULL;
            list[count].record.length = batch.windows[i].last ? batch.windows[i].record.length : 0;
        }
    } while (batch.input.sequences > 0);
    window_cutter_destroy(cutter);
    source_destroy(source);
    return count;
}

static void assert_same_windows(const struct window *a, const struct window *b, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        assert_int_equal(a[i].record.index, b[i].record.index);
        assert_int_equal(a[i].record.length, b[i].record.length);
        assert_int_equal(a[i].start, b[i].start);
        assert_int_equal(a[i].length, b[i].length);
        assert_int_equal(a[i].owned_begin, b[i].owned_begin);
        assert_int_equal(a[i].owned_end, b[i].owned_end);
        assert_true(a[i].first == b[i].first && a[i].last == b[i].last);
    }
}

/* Cut anywhere into pieces, by windows or by bases, records have the windows that they have whole. */
static void test_pieces(void **state)
{
    (void)state;
    enum { MOST = 4096 };
    struct random random = random_start(random_seed());
    struct window *whole = malloc(MOST * sizeof *whole), *piece = malloc(MOST * sizeof *piece);
    assert_non_null(whole);
    assert_non_null(piece);
    for (int round = 0; round < 100; ++round) {
        struct sequence_list sequences = {0};
        const size_t window = 1 + random_below(&random, 30), overlap = random_below(&random, (window + 1) / 2);
        const struct window_plan plan = {window, overlap, random_below(&random, 100)};
        uint64_t bases = 0;
        for (size_t i = random_below(&random, 12); i > 0; --i) {
            add_random(&sequences, &random, random_below(&random, 3) ? random_below(&random, 200) : 0);
            bases += sequences.list[sequences.count - 1].length;
        }
        const size_t all = cut_piece(&sequences, &plan, (struct window_position){0}, UINT64_MAX, whole);
        const size_t from = random_below(&random, all + 1);
        const struct window_position some = {from, 0};
        assert_int_equal(cut_piece(&sequences, &plan, some, UINT64_MAX, piece), all - from);
        assert_same_windows(piece, whole + from, all - from);
        const uint64_t pieces = 1 + random_below(&random, 6);
        size_t done = 0;
        for (uint64_t i = 0; i < pieces; ++i) {
            const uint64_t stop = i + 1 < pieces ? bases * (i + 1) / pieces : UINT64_MAX;
            const struct window_position before = {0, bases * i / pieces};
            const size_t count = cut_piece(&sequences, &plan, before, stop, piece);
            assert_true(done + count <= all);
            assert_same_windows(piece, whole + done, count);
            done += count;
        }
        assert_int_equal(done, all);
        sequences_free(&sequences);
    }
    free(whole);
    free(piece);
}

/* Records fill a batch before another begins. */
static void test_packing(void **state)
{
    (void)state;
    struct random random = random_start(random_seed());
    struct sequence_list sequences = {0};
    for (int i = 0; i < 100; ++i) {
        add_random(&sequences, &random, 10);
    }
    assert_int_equal(check_cutter(&sequences, &(struct window_plan){100, 10, 250}), 4);
    assert_int_equal(check_cutter(&sequences, &(struct window_plan){100, 10, 0}), 10);
    assert_int_equal(check_cutter(&sequences, &(struct window_plan){10, 0, 1000}), 1);
    sequences_free(&sequences);
}

/* A multitude of empty records, and of very long names, comes in batches too. */
static void test_many(void **state)
{
    (void)state;
    struct sequence_list sequences = {0};
    struct ldar_error error;
    struct window_batch batch;
    window_cutter *cutter;
    size_t windows = 0, batches = 0;
    char *name = malloc(60001);
    assert_non_null(name);
    memset(name, 'x', 60000);
    name[60000] = '\0';
    for (int i = 0; i < 9000; ++i) {
        sequences_add(&sequences, i < 8990 ? "empty" : name, 0, NULL, 0);
    }
    source *source = source_of(&sequences);
    assert_ok(window_cutter_create(source, &(struct window_plan){10, 2, 1000}, &cutter, &error), &error);
    do {
        assert_ok(window_cutter_next(cutter, &batch, &error), &error);
        for (size_t i = 0; i < batch.input.sequences; ++i, ++windows) {
            assert_string_equal(batch.windows[i].record.name, sequences.list[windows].name);
            assert_true(batch.windows[i].first && batch.windows[i].last);
        }
        ++batches;
    } while (batch.input.sequences > 0);
    assert_int_equal(windows, 9000);
    assert_true(batches > 4);
    window_cutter_destroy(cutter);
    source_destroy(source);
    sequences_free(&sequences);
    free(name);
}

static void test_plans(void **state)
{
    (void)state;
    static const struct window_plan bad[] = {
        {0, 0, 10}, {10, 10, 100}, {10, 11, 100}, {SIZE_MAX, 0, 100}, {10, 1, SIZE_MAX / 2}};
    struct sequence_list sequences = {0};
    struct ldar_error error;
    window_cutter *cutter;
    source *source = source_of(&sequences);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        assert_int_equal(window_cutter_create(source, &bad[i], &cutter, &error), LDAR_ERROR_ARGUMENT);
        assert_null(cutter);
    }
    assert_int_equal(window_count(0, 10, 2), 1);
    assert_int_equal(window_count(10, 10, 2), 1);
    assert_int_equal(window_count(11, 10, 2), 2);
    assert_int_equal(window_count(18, 10, 2), 2);
    assert_int_equal(window_count(19, 10, 2), 3);
    assert_int_equal(window_count(UINT64_MAX, 1, 0), UINT64_MAX);
    window_cutter_destroy(NULL);
    source_destroy(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_small), cmocka_unit_test(test_random), cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_packing),   cmocka_unit_test(test_many),   cmocka_unit_test(test_plans),
    };
    return cmocka_run_group_tests_name("formats.windows", tests, folder_make, folder_remove);
}
