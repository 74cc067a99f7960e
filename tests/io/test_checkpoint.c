/* SPDX-License-Identifier: Apache-2.0 */
/* test_io_checkpoint [FLIPS]: checkpoints as a caller sees them; FLIPS: how many random bits are flipped. */
#include "checkpoints.h"
#include "files.h"
#include "io/checkpoint_file.h"
#include "kit/random.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static size_t flips = 200;

static enum ldar_status save(ldar_checkpoints *checkpoints, const struct toy *toy, uint64_t step, int background,
                             struct ldar_error *error)
{
    return ldar_checkpoints_save(checkpoints, step, toy_config, toy->state, toy->tensor, TOY_TENSORS, background,
                                 error);
}

/* A reader finds this value as this step and generation, and has passed over what `skipped` names (NULL: nothing). */
static void expect_found(struct toy *toy, const char *folder, uint64_t value, uint64_t step, uint64_t generation,
                         const char *skipped)
{
    struct ldar_checkpoint found = {0};
    char text[4096];
    uint64_t got = toy_look(toy, folder, &found, text, sizeof text);
    if (got != value || found.step != step || found.generation != generation
        || (skipped ? !strstr(text, skipped) : text[0] != '\0')) {
        fail_msg("value %llu, step %llu, generation %llu, \"%s\"; expected %llu, %llu, %llu, \"%s\"",
                 (unsigned long long)got, (unsigned long long)found.step, (unsigned long long)found.generation, text,
                 (unsigned long long)value, (unsigned long long)step, (unsigned long long)generation,
                 skipped ? skipped : "");
    }
}

static void expect_load_failure(struct toy *toy, const char *folder, enum ldar_status status, const char *words)
{
    ldar_checkpoints *checkpoints;
    struct ldar_checkpoint checkpoint;
    struct ldar_error error = {LDAR_OK, ""};
    enum ldar_status got = ldar_checkpoints_open(folder, 0, &checkpoints, &error);
    if (!got) {
        got = ldar_checkpoints_load(checkpoints, toy->tensor, TOY_TENSORS, &checkpoint, &error);
    }
    expect_failure(got, &error, status, words);
    ldar_checkpoints_close(checkpoints);
}

/* A folder in which steps 10, 20, ... hold values 1, 2, ... */
static const char *filled_folder(struct toy *toy, uint64_t values)
{
    const char *folder = new_folder("checkpoints");
    ldar_checkpoints *checkpoints = open_writer(folder);
    for (uint64_t i = 1; i <= values; i++) {
        toy_save(toy, checkpoints, 10 * i, i);
    }
    ldar_checkpoints_close(checkpoints);
    return folder;
}

/* ---- saving and loading ---- */

static void test_generations(void **state)
{
    const char *folder = new_folder("a run, \xc3\xa9tude \xe2\x84\x96 1");
    struct toy toy;
    uint64_t step;
    (void)state;
    toy_begin(&toy, 300); /* more than one piece of a write */
    ldar_checkpoints *checkpoints = open_writer(folder);
    assert_int_equal(ldar_checkpoints_durable(checkpoints, NULL), 0);
    assert_int_equal(toy_look(&toy, folder, NULL, NULL, 0), 0);
    for (uint64_t i = 1; i <= 5; i++) {
        toy_save(&toy, checkpoints, 100 * i, i);
        assert_int_equal(ldar_checkpoints_durable(checkpoints, &step), i);
        assert_int_equal(step, 100 * i);
        expect_found(&toy, folder, i, 100 * i, i, NULL);
        assert_int_equal(count_named(folder, "checkpoint-"), i < 3 ? i : 3);
    }
    toy_save(&toy, checkpoints, 50, 6); /* generations count, not steps */
    expect_found(&toy, folder, 6, 50, 6, NULL);
    assert_int_equal(count_files(folder), 3 + 2); /* manifest and lock */
    ldar_checkpoints_close(checkpoints);
    ldar_checkpoints_close(NULL);
    toy_end(&toy);
}

/* Saved, loaded, saved again as the same step: the same bytes. */
static void test_round_trip(void **state)
{
    struct toy toy;
    struct ldar_checkpoint checkpoint;
    struct ldar_error error;
    (void)state;
    toy_begin(&toy, 20);
    const char *folder = filled_folder(&toy, 5);
    struct bytes first = read_file(step_path(folder, 50));
    ldar_checkpoints *checkpoints = open_writer(folder);
    memset(toy.numbers, 0, toy.count * sizeof *toy.numbers);
    assert_int_equal(ldar_checkpoints_load(checkpoints, toy.tensor, TOY_TENSORS, &checkpoint, &error), LDAR_OK);
    assert_int_equal(toy_value(&toy, checkpoint.state), 5);
    assert_int_equal(ldar_checkpoints_durable(checkpoints, NULL), 5);
    assert_int_equal(unlink(step_path(folder, 50)), 0);
    assert_int_equal(
        ldar_checkpoints_save(checkpoints, 50, checkpoint.config, checkpoint.state, toy.tensor, TOY_TENSORS, 0, &error),
        LDAR_OK);
    struct bytes second = read_file(step_path(folder, 50));
    assert_int_equal(second.count, first.count);
    assert_memory_equal(second.data, first.data, first.count);
    ldar_checkpoints_close(checkpoints);

    /* In any order, and without tensors. */
    const struct ldar_checkpoint_tensor last = toy.tensor[TOY_TENSORS - 1];
    assert_int_equal(ldar_checkpoints_open(folder, 0, &checkpoints, &error), LDAR_OK);
    memmove(toy.tensor + 1, toy.tensor, (TOY_TENSORS - 1) * sizeof *toy.tensor);
    toy.tensor[0] = last;
    memset(toy.numbers, 0, toy.count * sizeof *toy.numbers);
    assert_int_equal(ldar_checkpoints_load(checkpoints, toy.tensor, TOY_TENSORS, &checkpoint, &error), LDAR_OK);
    assert_int_equal(toy_value(&toy, checkpoint.state), 5);
    assert_int_equal(ldar_checkpoints_load(checkpoints, NULL, 0, &checkpoint, &error), LDAR_OK);
    assert_string_equal(checkpoint.state, toy.state);
    ldar_checkpoints_close(checkpoints);
    free(first.data);
    free(second.data);
    toy_end(&toy);
}

/* The file is one that any reader of safetensors takes. */
static void test_format(void **state)
{
    struct toy toy;
    struct ldar_error error;
    ldar_tensors *tensors;
    (void)state;
    toy_begin(&toy, 20);
    const char *folder = filled_folder(&toy, 1);
    assert_int_equal(ldar_tensors_open(step_path(folder, 10), 0, &tensors, &error), LDAR_OK);
    assert_int_equal(ldar_tensors_count(tensors), TOY_TENSORS);
    assert_string_equal(ldar_tensors_at(tensors, 0).name, "weight.a.w");
    assert_string_equal(ldar_tensors_at(tensors, 2).name, "moment2.a.w");
    assert_int_equal(ldar_tensors_at(tensors, 2).shape[1], 11);
    assert_string_equal(ldar_tensors_at(tensors, 6).name, "alone");
    assert_string_equal(ldar_tensors_metadata(tensors, "config"), toy_config);
    assert_string_equal(ldar_tensors_metadata(tensors, "state"), toy.state);
    assert_string_equal(ldar_tensors_metadata(tensors, "step"), "10");
    assert_memory_equal(ldar_tensors_at(tensors, 0).data, toy.tensor[0].data, 400 * sizeof(float));
    ldar_tensors_close(tensors);
    toy_end(&toy);
}

static void test_background(void **state)
{
    const char *folder = new_folder("checkpoints");
    struct toy toy;
    struct ldar_error error;
    uint64_t step;
    (void)state;
    toy_begin(&toy, 300);
    ldar_checkpoints *checkpoints = open_writer(folder);
    assert_int_equal(ldar_checkpoints_wait(checkpoints, &error), LDAR_OK);
    for (uint64_t i = 1; i <= 5; i++) {
        toy_set(&toy, i);
        assert_int_equal(save(checkpoints, &toy, i, 1, &error), LDAR_OK);
        toy_set(&toy, 77); /* the copy is what counts */
    }
    assert_int_equal(ldar_checkpoints_wait(checkpoints, &error), LDAR_OK);
    assert_int_equal(ldar_checkpoints_durable(checkpoints, &step), 5);
    expect_found(&toy, folder, 5, 5, 5, NULL);

    /* An error comes out of the next call, whichever that is, once; and that call has begun its own write. */
    toy_set(&toy, 6);
    toy.tensor[1].data[7] = NAN;
    assert_int_equal(save(checkpoints, &toy, 6, 1, &error), LDAR_OK);
    expect_failure(ldar_checkpoints_wait(checkpoints, &error), &error, LDAR_ERROR_TENSOR, "moment1.a.w");
    assert_int_equal(ldar_checkpoints_wait(checkpoints, &error), LDAR_OK);
    assert_int_equal(save(checkpoints, &toy, 6, 1, &error), LDAR_OK);
    toy_set(&toy, 7);
    expect_failure(save(checkpoints, &toy, 7, 1, &error), &error, LDAR_ERROR_TENSOR, "checkpoint-6.safetensors");
    assert_int_equal(ldar_checkpoints_wait(checkpoints, &error), LDAR_OK);
    expect_found(&toy, folder, 7, 7, 8, NULL);

    /* In the foreground what is durable makes it up for what was not. */
    toy_set(&toy, 8);
    toy.tensor[0].data[0] = INFINITY;
    assert_int_equal(save(checkpoints, &toy, 8, 1, &error), LDAR_OK);
    toy_save(&toy, checkpoints, 9, 9);
    assert_int_equal(ldar_checkpoints_wait(checkpoints, &error), LDAR_OK);
    toy_set(&toy, 10);
    assert_int_equal(save(checkpoints, &toy, 10, 1, &error), LDAR_OK);
    ldar_checkpoints_close(checkpoints); /* waits */
    assert_int_equal(toy_look(&toy, folder, NULL, NULL, 0), 10);
    toy_end(&toy);
}

static void test_refused(void **state)
{
    const char *folder = new_folder("checkpoints");
    struct toy toy;
    struct ldar_error error;
    char name[300];
    (void)state;
    toy_begin(&toy, 20);
    ldar_checkpoints *checkpoints = open_writer(folder);
    toy_save(&toy, checkpoints, 1, 1);
    for (size_t i = 0; i < TOY_TENSORS; i++) {
        static const float wrong[] = {NAN, INFINITY, -INFINITY};
        float *data = toy.tensor[i].data;
        if (i == 3) { /* empty */
            continue;
        }
        const float kept = *data;
        *data = wrong[i % 3];
        expect_failure(save(checkpoints, &toy, 2, 0, &error), &error, LDAR_ERROR_TENSOR, toy.tensor[i].name);
        *data = kept;
    }
    const struct ldar_checkpoint_tensor kept = toy.tensor[1];
    memset(name, 'x', 256);
    name[256] = '\0';
    toy.tensor[1].name = name; /* 256 and the group */
    expect_failure(save(checkpoints, &toy, 2, 0, &error), &error, LDAR_ERROR_ARGUMENT, "256 bytes");
    toy.tensor[1].name = "\xff";
    expect_failure(save(checkpoints, &toy, 2, 0, &error), &error, LDAR_ERROR_ARGUMENT, "UTF-8");
    toy.tensor[1] = toy.tensor[0];
    expect_failure(save(checkpoints, &toy, 2, 0, &error), &error, LDAR_ERROR_FORMAT, "occurs twice");
    toy.tensor[1].rank = 9;
    expect_failure(save(checkpoints, &toy, 2, 0, &error), &error, LDAR_ERROR_ARGUMENT, "dimensions");
    toy.tensor[1] = kept;
    toy.tensor[1].shape[0] = toy.tensor[1].shape[1] = (size_t)1 << 32;
    expect_failure(save(checkpoints, &toy, 2, 0, &error), &error, LDAR_ERROR_ARGUMENT, "too large");
    toy.tensor[1].shape[1] = (size_t)1 << 30;
    expect_failure(save(checkpoints, &toy, 2, 0, &error), &error, LDAR_ERROR_ARGUMENT, "too large");
    toy.tensor[1] = kept;
    static const char *const texts[] = {"", "{", "{} {}", "{\"a\":nan}", "\"\xc3\""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        expect_failure(ldar_checkpoints_save(checkpoints, 2, texts[i], "{}", toy.tensor, TOY_TENSORS, 0, &error),
                       &error, LDAR_ERROR_ARGUMENT, "JSON");
        expect_failure(ldar_checkpoints_save(checkpoints, 2, "{}", texts[i], toy.tensor, TOY_TENSORS, 1, &error),
                       &error, LDAR_ERROR_ARGUMENT, "JSON");
    }
    expect_failure(save(checkpoints, &toy, (UINT64_C(1) << 53) + 1, 0, &error), &error, LDAR_ERROR_ARGUMENT, "2^53");
    ldar_checkpoints_close(checkpoints);
    assert_int_equal(ldar_checkpoints_open(folder, 0, &checkpoints, &error), LDAR_OK);
    expect_failure(save(checkpoints, &toy, 2, 0, &error), &error, LDAR_ERROR_ARGUMENT, "reading");
    ldar_checkpoints_close(checkpoints);
    expect_failure(ldar_checkpoints_open(new_folder("none"), 0, &checkpoints, &error), &error, LDAR_ERROR_IO, "none");
    assert_null(checkpoints);
    expect_failure(ldar_checkpoints_open(new_folder("no/parent"), 1, &checkpoints, &error), &error, LDAR_ERROR_IO,
                   "make the folder");
    assert_null(checkpoints);
    expect_found(&toy, folder, 1, 1, 1, NULL);
    toy_end(&toy);
}

/* Tensors that are not the file's. */
static void test_other_network(void **state)
{
    struct toy toy;
    (void)state;
    toy_begin(&toy, 20);
    const char *folder = filled_folder(&toy, 2);
    const struct ldar_checkpoint_tensor kept = toy.tensor[2];
    toy.tensor[2].name = "b.w";
    expect_load_failure(&toy, folder, LDAR_ERROR_TENSOR, "'moment2.b.w' is not in it");
    toy.tensor[2] = kept;
    toy.tensor[2].shape[1]--;
    expect_load_failure(&toy, folder, LDAR_ERROR_TENSOR, "'moment2.a.w' has another shape");
    toy.tensor[2] = kept;
    toy.tensor[2].rank = 1;
    expect_load_failure(&toy, folder, LDAR_ERROR_TENSOR, "'moment2.a.w' has another shape");
    toy.tensor[2] = kept;
    toy_end(&toy);
    struct ldar_checkpoint checkpoint;
    struct ldar_error error;
    ldar_checkpoints *checkpoints;
    assert_int_equal(ldar_checkpoints_open(folder, 0, &checkpoints, &error), LDAR_OK);
    expect_failure(ldar_checkpoints_load(checkpoints, toy.tensor, TOY_TENSORS - 1, &checkpoint, &error), &error,
                   LDAR_ERROR_TENSOR, "7 tensors where 6 are expected");
    assert_int_equal(checkpoint.generation, 0);
    ldar_checkpoints_close(checkpoints);
}

/* ---- damage ---- */

static void damage(const char *path, int kind, struct random *random)
{
    struct bytes file = read_file(path);
    switch (kind) {
    case 0:
        file.count = 0;
        break;
    case 1:
        file.count = random_below(random, file.count);
        break;
    case 2:
        add_bytes(&file, "\0\0\0", 1 + random_below(random, 3));
        break;
    case 3: /* a sector of zeros */
        memset(file.data + random_below(random, file.count / 512) * 512, 0, 512);
        break;
    default: /* the header's end and all numbers */
        for (size_t i = file.count / 3; i < file.count; i++) {
            file.data[i] = (unsigned char)random_bits(random);
        }
        break;
    }
    write_file(path, file.data, file.count);
    free(file.data);
}
enum { DAMAGES = 5 };

/* Each falls back to the one before; none is removed for it, nor counted among the good ones. */
static void test_damage(void **state)
{
    struct random random = random_start(random_seed());
    struct toy toy;
    struct ldar_checkpoint checkpoint;
    struct ldar_error error;
    (void)state;
    toy_begin(&toy, 20);
    for (int kind = 0; kind < DAMAGES; kind++) {
        const char *folder = filled_folder(&toy, 4);
        damage(step_path(folder, 40), kind, &random);
        expect_found(&toy, folder, 3, 30, 3, "checkpoint-40.safetensors");
        ldar_checkpoints *checkpoints = open_writer(folder);
        assert_int_equal(ldar_checkpoints_load(checkpoints, toy.tensor, TOY_TENSORS, &checkpoint, &error), LDAR_OK);
        assert_int_equal(ldar_checkpoints_durable(checkpoints, NULL), 3);
        toy_save(&toy, checkpoints, 41, 5); /* beside 30, 20 and the damaged one */
        assert_int_equal(count_named(folder, "checkpoint-"), 4);
        damage(step_path(folder, 41), kind, &random);
        assert_int_equal(toy_look(&toy, folder, NULL, NULL, 0), 3);
        damage(step_path(folder, 30), kind, &random);
        assert_int_equal(toy_look(&toy, folder, NULL, NULL, 0), 2);
        damage(step_path(folder, 20), kind, &random);
        ldar_checkpoints_close(checkpoints);
        expect_load_failure(&toy, folder, LDAR_ERROR_FORMAT, "no checkpoint is whole");
        assert_int_equal(count_named(folder, "checkpoint-"), 4);
        checkpoints = open_writer(folder);
        toy_save(&toy, checkpoints, 40, 6);
        assert_int_equal(toy_look(&toy, folder, NULL, NULL, 0), 6);
        ldar_checkpoints_close(checkpoints);
    }
    toy_end(&toy);
}

/* One that cannot be read for a while does not pass for the newest when it comes back. */
static void test_returned(void **state)
{
    struct toy toy;
    (void)state;
    toy_begin(&toy, 20);
    const char *folder = filled_folder(&toy, 2);
    char manifest[1024];
    snprintf(manifest, sizeof manifest, "%s/manifest.json", folder);
    struct bytes before = read_file(manifest);
    ldar_checkpoints *checkpoints = open_writer(folder);
    toy_save(&toy, checkpoints, 30, 3);
    ldar_checkpoints_close(checkpoints);
    write_file(manifest, before.data, before.count); /* as after a kill between the checkpoint and the manifest */
    struct bytes file = read_file(step_path(folder, 30));
    write_file(step_path(folder, 30), file.data, 5);
    checkpoints = open_writer(folder);
    toy_save(&toy, checkpoints, 25, 4);
    ldar_checkpoints_close(checkpoints);
    write_file(step_path(folder, 30), file.data, file.count);
    expect_found(&toy, folder, 4, 25, 4, NULL);
    free(before.data);
    free(file.data);
    toy_end(&toy);
}

/* What bears the name and is no file of ours, or that of another step. */
static void test_impostors(void **state)
{
    struct toy toy;
    (void)state;
    toy_begin(&toy, 20);
    const char *folder = filled_folder(&toy, 1);
    assert_int_equal(mkdir(step_path(folder, 11), 0777), 0);
    expect_found(&toy, folder, 1, 10, 1, "no regular file");
    assert_int_equal(rmdir(step_path(folder, 11)), 0);
    assert_int_equal(link(step_path(folder, 10), step_path(folder, 12)), 0);
    expect_found(&toy, folder, 1, 10, 1, "it holds step 10");
    assert_int_equal(unlink(step_path(folder, 12)), 0);
    struct bytes other = safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[64],\"data_offsets\":[0,64]}}", 64);
    write_file(step_path(folder, 13), other.data, other.count);
    expect_found(&toy, folder, 1, 10, 1, "begins otherwise");
    assert_int_equal(unlink(step_path(folder, 13)), 0);
    assert_int_equal(symlink("nowhere", step_path(folder, 14)), 0);
    expect_found(&toy, folder, 1, 10, 1, "No such file");
    static const char *const foreign[] = {"checkpoint-.safetensors", "checkpoint-01.safetensors",
                                          "checkpoint-18446744073709551616.safetensors", "checkpoint-3.safetensors~",
                                          "checkpoint-3"};
    assert_int_equal(unlink(step_path(folder, 14)), 0);
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, foreign[i]);
        write_file(path, "x", 1);
    }
    expect_found(&toy, folder, 1, 10, 1, NULL);
    free(other.data);
    toy_end(&toy);
}

static void test_flips(void **state)
{
    struct random random = random_start(random_seed());
    struct toy toy;
    (void)state;
    toy_begin(&toy, 12);
    const char *folder = filled_folder(&toy, 2);
    struct bytes file = read_file(step_path(folder, 20));
    for (size_t i = 0; i < flips; i++) {
        const size_t byte = random_below(&random, file.count), bit = random_below(&random, 8);
        file.data[byte] ^= (unsigned char)(1 << bit);
        write_file(step_path(folder, 20), file.data, file.count);
        file.data[byte] ^= (unsigned char)(1 << bit);
        struct ldar_checkpoint found = {0};
        char skipped[4096];
        if (toy_look(&toy, folder, &found, skipped, sizeof skipped) != 1 || !strstr(skipped, "checkpoint-20.")) {
            fail_msg("bit %zu of byte %zu of %zu: step %llu, \"%s\"", bit, byte, file.count,
                     (unsigned long long)found.step, skipped);
        }
    }
    print_message("%zu flipped bits of a file of %zu bytes\n", flips, file.count);
    write_file(step_path(folder, 20), file.data, file.count);
    expect_found(&toy, folder, 2, 20, 2, NULL);
    free(file.data);
    toy_end(&toy);
}

/* A generation that the manifest names is gone; a manifest that is damaged, missing, or alone. */
static void test_manifest(void **state)
{
    struct toy toy;
    char manifest[1024];
    (void)state;
    toy_begin(&toy, 12);
    const char *folder = filled_folder(&toy, 3);
    snprintf(manifest, sizeof manifest, "%s/manifest.json", folder);
    struct bytes file = read_file(manifest);
    assert_int_equal(unlink(step_path(folder, 30)), 0);
    expect_found(&toy, folder, 2, 20, 2, "checkpoint-30.safetensors: missing");
    for (size_t byte = 0; byte < file.count; byte++) {
        file.data[byte] ^= 1;
        write_file(manifest, file.data, file.count);
        file.data[byte] ^= 1;
        expect_found(&toy, folder, 2, 20, 2, "manifest.json: damaged");
    }
    for (size_t bytes = 0; bytes < file.count; bytes++) {
        write_file(manifest, file.data, bytes);
        expect_found(&toy, folder, 2, 20, 2, "manifest.json: damaged");
    }
    assert_int_equal(unlink(manifest), 0);
    expect_found(&toy, folder, 2, 20, 2, NULL);
    write_file(manifest, file.data, file.count);
    assert_int_equal(unlink(step_path(folder, 20)), 0);
    assert_int_equal(unlink(step_path(folder, 10)), 0);
    expect_load_failure(&toy, folder, LDAR_ERROR_FORMAT, "missing");
    free(file.data);
    toy_end(&toy);
}

/* ---- versions ---- */

/* Puts another text of the same length into a header and, with `rehash`, makes it whole again. */
static void edit_header(const char *path, const char *from, const char *to, int rehash)
{
    struct bytes file = read_file(path);
    const size_t header = 8 + file.data[0] + 256u * file.data[1];
    for (size_t i = 8; i + strlen(from) <= header; i++) {
        if (memcmp(file.data + i, from, strlen(from)) == 0) {
            memcpy(file.data + i, to, strlen(to));
            if (rehash) {
                char hash[LDAR_HASH_DIGITS + 1];
                ldar_checkpoint_header_hash(file.data, header, hash);
                memcpy(file.data + 8 + LDAR_CHECKPOINT_OPENING, hash, LDAR_HASH_DIGITS);
            }
            write_file(path, file.data, file.count);
            free(file.data);
            return;
        }
    }
    fail_msg("no %s in the header", from);
}

static void test_versions(void **state)
{
    struct toy toy;
    struct ldar_error error;
    ldar_checkpoints *checkpoints;
    (void)state;
    toy_begin(&toy, 12);
    const char *folder = filled_folder(&toy, 2);
    edit_header(step_path(folder, 20), "\"version\":\"1\"", "\"version\":\"2\"", 0); /* damaged, not newer */
    expect_found(&toy, folder, 1, 10, 1, "hash");
    edit_header(step_path(folder, 20), "\"version\":\"2\"", "\"version\":\"2\"", 1);
    expect_load_failure(&toy, folder, LDAR_ERROR_UNSUPPORTED, "newer ldar");
    expect_failure(ldar_checkpoints_open(folder, 1, &checkpoints, &error), &error, LDAR_ERROR_UNSUPPORTED, "version 2");
    edit_header(step_path(folder, 20), "\"version\":\"2\"", "\"version\":\"1\"", 1);
    expect_found(&toy, folder, 2, 20, 2, NULL);

    /* Whole headers that say what is not so. */
    static const char *const lies[][2] = {
        {"\"format\":\"ldarnet c", "\"format\":\"ldarnet d"},
        {"\"version\":\"1\"", "\"version\":\"x\""},
        {"\"bytes\":\"00", "\"bytes\":\"01"},
        {"\"xxh64\"", "\"xxh65\""},
        {"\"generation\":\"2", "\"generation\":\"-"},
        {"\"F32\",\"shape\":[3]", "\"I32\",\"shape\":[3]"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        edit_header(step_path(folder, 20), lies[i][0], lies[i][1], 1);
        if (i < 5) {
            expect_found(&toy, folder, 1, 10, 1, "checkpoint-20.safetensors");
        } else {
            expect_load_failure(&toy, folder, LDAR_ERROR_TENSOR, "another shape or type");
        }
        edit_header(step_path(folder, 20), lies[i][1], lies[i][0], 1);
    }
    expect_found(&toy, folder, 2, 20, 2, NULL);
    toy_end(&toy);
}

/* ---- writers ---- */

static void test_two_writers(void **state)
{
    const char *folder = new_folder("checkpoints");
    struct toy toy;
    struct ldar_error error;
    ldar_checkpoints *second;
    char process[64];
    int pipes[2], status;
    char byte = 0;
    (void)state;
    toy_begin(&toy, 12);
    assert_int_equal(pipe(pipes), 0);
    const pid_t child = fork();
    if (child == 0) {
        ldar_checkpoints *first;
        alarm(60); /* should the test fail, nobody ends it */
        byte = ldar_checkpoints_open(folder, 1, &first, &error) == LDAR_OK;
        _exit(write(pipes[1], &byte, 1) == 1 && pause());
    }
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    snprintf(process, sizeof process, "process %ld on ", (long)child);
    expect_failure(ldar_checkpoints_open(folder, 1, &second, &error), &error, LDAR_ERROR_IO, process);
    assert_null(second);
    assert_int_equal(toy_look(&toy, folder, NULL, NULL, 0), 0); /* readers are free */
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    second = open_writer(folder); /* the lock ends with its holder */
    toy_save(&toy, second, 1, 1);
    ldar_checkpoints *third;
    snprintf(process, sizeof process, "process %ld on ", (long)getpid());
    expect_failure(ldar_checkpoints_open(folder, 1, &third, &error), &error, LDAR_ERROR_IO, process);
    toy_save(&toy, second, 2, 2);
    ldar_checkpoints_close(second);
    second = open_writer(folder);
    ldar_checkpoints_close(second);
    close(pipes[0]);
    close(pipes[1]);
    toy_end(&toy);
}

/* Temporary files of the dead go, and nothing else does. */
static void test_stale(void **state)
{
    static const char *const stale[] = {"checkpoint-7.safetensors.tmp.1.0", "manifest.json.tmp.99999.12",
                                        "checkpoint-0.safetensors.tmp.4194304.99"};
    static const char *const kept[] = {"notes.tmp.1.0", "checkpoint-7.safetensors.tmp.1", "manifest.json.tmp.1.0.bak",
                                       "checkpoint-x.safetensors.tmp.1.0", "manifest.json.tmp.-1.0"};
    struct toy toy;
    char path[1024];
    (void)state;
    toy_begin(&toy, 12);
    const char *folder = filled_folder(&toy, 1);
    for (size_t i = 0; i < 8; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, i < 3 ? stale[i] : kept[i - 3]);
        write_file(path, "x", 1);
    }
    expect_found(&toy, folder, 1, 10, 1, NULL); /* a reader leaves all as it is */
    assert_int_equal(count_files(folder), 3 + 8);
    ldar_checkpoints_close(open_writer(folder));
    assert_int_equal(count_files(folder), 3 + 5);
    expect_found(&toy, folder, 1, 10, 1, NULL);
    toy_end(&toy);
}

/* A folder that is removed, and one that another writer has made anew. */
static void test_removed(void **state)
{
    const char *folder = new_folder("checkpoints");
    struct toy toy;
    struct ldar_error error;
    (void)state;
    toy_begin(&toy, 12);
    ldar_checkpoints *checkpoints = open_writer(folder);
    toy_save(&toy, checkpoints, 1, 1);
    remove_tree(folder);
    expect_failure(save(checkpoints, &toy, 2, 0, &error), &error, LDAR_ERROR_IO, "removed or replaced");
    assert_int_equal(save(checkpoints, &toy, 3, 1, &error), LDAR_OK);
    expect_failure(ldar_checkpoints_wait(checkpoints, &error), &error, LDAR_ERROR_IO, "removed or replaced");
    ldar_checkpoints *second = open_writer(folder);
    toy_save(&toy, second, 4, 4);
    expect_failure(save(checkpoints, &toy, 5, 0, &error), &error, LDAR_ERROR_IO, "removed or replaced");
    expect_found(&toy, folder, 4, 4, 1, NULL);
    ldar_checkpoints_close(checkpoints);
    ldar_checkpoints_close(second);
    toy_end(&toy);
}

/* By a path as long as the system takes it. */
static void test_long_path(void **state)
{
    struct toy toy;
    char folder[3000];
    (void)state;
    toy_begin(&toy, 12);
    snprintf(folder, sizeof folder, "%s", new_folder("x"));
    while (strlen(folder) < 2700) {
        assert_int_equal(mkdir(folder, 0777), 0);
        memset(folder + strlen(folder) + 1, '\0', 1);
        strcat(folder, "/");
        const size_t length = strlen(folder);
        memset(folder + length, 'y', 200);
        folder[length + 200] = '\0';
    }
    ldar_checkpoints *checkpoints = open_writer(folder);
    toy_save(&toy, checkpoints, 1, 1);
    ldar_checkpoints_close(checkpoints);
    expect_found(&toy, folder, 1, 1, 1, NULL);
    toy_end(&toy);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generations), cmocka_unit_test(test_round_trip), cmocka_unit_test(test_format),
        cmocka_unit_test(test_background),  cmocka_unit_test(test_refused),    cmocka_unit_test(test_other_network),
        cmocka_unit_test(test_damage),      cmocka_unit_test(test_returned),   cmocka_unit_test(test_impostors),
        cmocka_unit_test(test_flips),       cmocka_unit_test(test_manifest),   cmocka_unit_test(test_versions),
        cmocka_unit_test(test_two_writers), cmocka_unit_test(test_stale),      cmocka_unit_test(test_removed),
        cmocka_unit_test(test_long_path),
    };
    flips = argc > 1 ? strtoull(argv[1], NULL, 10) : flips;
    return cmocka_run_group_tests_name("io.checkpoint", tests, NULL, NULL);
}
