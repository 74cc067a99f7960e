/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the N-th call of the system, and the N-th allocation, fail, once or from there on, for N = 1, 2, ... until an
 * operation gets through; and the disk full at every 4 KiB. What was durable must load, nothing may leak, and the next
 * save must work.
 */
#include "checkpoints.h"
#include "files.h"
#include "shim.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct toy toy, seen;

/* ---- the operations ---- */

/* Each begins with a folder in which values 1, 2, 3 are the steps 10, 20, 30. */
struct scene {
    const char *folder;
    ldar_checkpoints *writer; /* open before anything fails; NULL for operations that open */
};

static enum ldar_status save(const struct scene *scene, int background, struct ldar_error *error)
{
    return ldar_checkpoints_save(scene->writer, 40, toy_config, toy.state, toy.tensor, TOY_TENSORS, background, error);
}

static enum ldar_status do_save(struct scene *scene, struct ldar_error *error)
{
    return save(scene, 0, error);
}

static enum ldar_status do_save_background(struct scene *scene, struct ldar_error *error)
{
    enum ldar_status status = save(scene, 1, error);
    return status ? status : ldar_checkpoints_wait(scene->writer, error);
}

static enum ldar_status do_open(struct scene *scene, struct ldar_error *error)
{
    return ldar_checkpoints_open(scene->folder, 1, &scene->writer, error);
}

/* To pass over a checkpoint and say so is as good as an error. */
static enum ldar_status do_load(struct scene *scene, struct ldar_error *error)
{
    ldar_checkpoints *reader;
    struct ldar_checkpoint checkpoint;
    enum ldar_status status = ldar_checkpoints_open(scene->folder, 0, &reader, error);
    if (status) {
        return status;
    }
    status = ldar_checkpoints_load(reader, seen.tensor, TOY_TENSORS, &checkpoint, error);
    if (!status && checkpoint.generation < 3 && !*checkpoint.skipped) {
        fail_msg("generation %llu was loaded, and nothing was said", (unsigned long long)checkpoint.generation);
    }
    if (!status && toy_value(&seen, checkpoint.state) != checkpoint.generation) {
        fail_msg("generation %llu is not what was saved", (unsigned long long)checkpoint.generation);
    }
    if (!status && *checkpoint.skipped) {
        status = LDAR_ERROR_FORMAT;
        *error = (struct ldar_error){status, "skipped"};
    }
    ldar_checkpoints_close(reader);
    return status;
}

static const struct {
    const char *name;
    enum ldar_status (*run)(struct scene *scene, struct ldar_error *error);
    int opened, saves;
    int tolerant[2]; /* may get through although a call, or an allocation, failed */
} operations[] = {
    {"save", do_save, 1, 1, {0, 1}},
    {"save in the background", do_save_background, 1, 1, {0, 1}},
    {"open", do_open, 0, 0, {1, 0}},
    {"load", do_load, 0, 0, {1, 0}},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

static void fill(const struct scene *scene)
{
    ldar_checkpoints *checkpoints = open_writer(scene->folder);
    for (uint64_t i = 1; i <= 3; i++) {
        toy_save(&toy, checkpoints, 10 * i, i);
    }
    ldar_checkpoints_close(checkpoints);
    toy_set(&toy, 4);
}

/* After the operation: what loads, and that all goes on. */
static void judge(struct scene *scene, size_t operation, enum ldar_status status, const char *where)
{
    const int saves = operations[operation].saves;
    char skipped[4096];
    const uint64_t value = toy_look(&seen, scene->folder, NULL, skipped, sizeof skipped);
    if ((value != 3 && !(saves && value == 4)) || (saves && !status && value != 4) || *skipped) {
        fail_msg("%s: status %d, value %llu is loaded, \"%s\"", where, (int)status, (unsigned long long)value, skipped);
    }
    if (!scene->writer) {
        scene->writer = open_writer(scene->folder);
    }
    if (saves && status && ldar_checkpoints_durable(scene->writer, NULL) == 0 && value != 3 && value != 4) {
        fail_msg("%s: nothing is durable", where);
    }
    if (count_named(scene->folder, ".tmp.") != 0) {
        fail_msg("%s: a temporary file stays", where);
    }
    struct ldar_error error;
    (void)!ldar_checkpoints_wait(scene->writer, &error);
    toy_save(&toy, scene->writer, 50, 5);
    assert_int_equal(toy_look(&seen, scene->folder, NULL, skipped, sizeof skipped), 5);
    assert_string_equal(skipped, "");
    ldar_checkpoints_close(scene->writer);
    toy_set(&toy, 4);
}

static void begin_fault(int allocation, long n, int lasting, int reason)
{
    if (allocation) {
        shim_fail_allocation(n, lasting);
    } else {
        shim_fail_call(n, lasting, reason);
    }
}

/* Returns 1 when the operation got through untouched. */
static int run_once(size_t operation, int allocation, long n, int lasting, int reason)
{
    struct scene scene = {new_folder("checkpoints"), NULL};
    struct ldar_error error = {LDAR_OK, ""};
    char where[200];
    fill(&scene);
    const long blocks = shim_blocks();
    const size_t descriptors = count_descriptors();
    if (operations[operation].opened) {
        scene.writer = open_writer(scene.folder);
    }
    begin_fault(allocation, n, lasting, reason);
    const enum ldar_status status = operations[operation].run(&scene, &error);
    const int hit = shim_hit();
    snprintf(where, sizeof where, "%s, %s %ld%s, %s", operations[operation].name, allocation ? "allocation" : "call", n,
             lasting ? " and on" : "", strerror(reason));
    if ((!hit && status) || (hit && !status && !operations[operation].tolerant[allocation])
        || (status && (error.status != status || !error.message[0]))) {
        fail_msg("%s: %d \"%s\"", where, (int)status, error.message);
    }
    judge(&scene, operation, status, where);
    if (shim_blocks() != blocks || count_descriptors() != descriptors) {
        fail_msg("%s: %ld blocks and %zd descriptors leaked", where, shim_blocks() - blocks,
                 (ssize_t)(count_descriptors() - descriptors));
    }
    return !hit;
}

static void sweep(int allocation, int reason)
{
    for (size_t i = 0; i < OPERATIONS; i++) {
        for (int lasting = 0; lasting < 2; lasting++) {
            long n = 0;
            while (!run_once(i, allocation, n, lasting, reason)) {
                n++;
            }
            print_message("%s: %ld %s failed in turn%s, %s\n", operations[i].name, n,
                          allocation ? "allocations" : "calls", lasting ? " and all after" : "", strerror(reason));
            assert_true(n > 4);
        }
    }
}

static void test_calls(void **state)
{
    static const int reasons[] = {EIO, ENOSPC};
    (void)state;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        sweep(0, reasons[i]);
    }
}

static void test_allocations(void **state)
{
    (void)state;
    sweep(1, ENOMEM);
}

/* The disk is full at every 4 KiB of a save, and everywhere in its first and last 600 bytes. */
static void test_full(void **state)
{
    struct scene scene = {new_folder("checkpoints"), NULL};
    struct ldar_error error;
    size_t full = 0, at = 0;
    int through = 0;
    (void)state;
    fill(&scene);
    struct bytes file = read_file(step_path(scene.folder, 30));
    scene.writer = open_writer(scene.folder);
    while (!through) {
        const int background = (int)(full++ % 2);
        shim_disk(at);
        enum ldar_status status = save(&scene, background, &error);
        status = status ? status : ldar_checkpoints_wait(scene.writer, &error);
        shim_disk(SIZE_MAX);
        through = !status;
        if (status) {
            expect_failure(status, &error, LDAR_ERROR_IO, "No space left on device");
        }
        const uint64_t value = toy_look(&seen, scene.folder, NULL, NULL, 0);
        if (count_named(scene.folder, ".tmp.") != 0 || value != (at < file.count ? 3 : 4)) {
            fail_msg("full at %zu of %zu: value %llu", at, file.count, (unsigned long long)value);
        }
        at += at < 600 || at > file.count - 600 ? 37 : 4096;
    }
    print_message("full at %zu places of a file of %zu bytes\n", full - 1, file.count);
    assert_true(full > 30);
    ldar_checkpoints_close(scene.writer);
    free(file.data);
}

/* Calls that are interrupted or do a part of what they were asked. */
static void test_disturbed(void **state)
{
    struct scene scene = {new_folder("checkpoints"), NULL};
    struct ldar_error error;
    char skipped[4096];
    (void)state;
    fill(&scene);
    shim_disturb(1);
    scene.writer = open_writer(scene.folder);
    assert_int_equal(save(&scene, 0, &error), LDAR_OK);
    assert_int_equal(toy_look(&seen, scene.folder, NULL, skipped, sizeof skipped), 4);
    assert_string_equal(skipped, "");
    ldar_checkpoints_close(scene.writer);
    shim_disturb(0);
    assert_int_equal(toy_look(&seen, scene.folder, NULL, NULL, 0), 4);
}

static int setup(void **state)
{
    (void)state;
    toy_begin(&toy, 100);
    toy_begin(&seen, 100);
    shim_sync(0); /* what is durable is for test_checkpoint_power.c to ask */
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_end(&toy);
    toy_end(&seen);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_disturbed),
    };
    return cmocka_run_group_tests_name("io.checkpoint.failure", tests, setup, teardown);
}
