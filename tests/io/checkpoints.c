/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoints.h"

#include "files.h"
#include "kit/random.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

const char toy_config[] = "{\"d_model\":[8,16],\"text\":\"\\u00e9 \\\\ \\\"\"}";

void toy_begin(struct toy *toy, size_t scale)
{
    static const char *const groups[TOY_TENSORS] = {"weight", "moment1", "moment2", "weight",
                                                    "weight", "moment1", NULL};
    static const char *const names[TOY_TENSORS] = {"a.w", "a.w", "a.w", "empty", "scalar", "some \"\xc3\xa9", "alone"};
    const size_t sides[TOY_TENSORS] = {scale, scale, scale / 2 + 1, 0, 1, 3, 5};
    static const size_t ranks[TOY_TENSORS] = {2, 2, 2, 3, 0, 1, 8};
    *toy = (struct toy){.count = 0};
    for (size_t i = 0; i < TOY_TENSORS; i++) {
        struct ldar_checkpoint_tensor *tensor = &toy->tensor[i];
        *tensor = (struct ldar_checkpoint_tensor){groups[i], names[i], ranks[i], {0}, NULL};
        size_t count = 1;
        for (size_t k = 0; k < ranks[i]; k++) {
            tensor->shape[k] = k < 2 ? sides[i] : 1;
            count *= tensor->shape[k];
        }
        toy->count += count;
    }
    toy->numbers = malloc(toy->count * sizeof *toy->numbers);
    assert_non_null(toy->numbers);
    float *at = toy->numbers;
    for (size_t i = 0; i < TOY_TENSORS; i++) {
        toy->tensor[i].data = at;
        for (size_t k = 0, count = 1; k <= ranks[i]; k++) {
            at += k == ranks[i] ? count : 0;
            count *= k < ranks[i] ? toy->tensor[i].shape[k] : 1;
        }
    }
    toy_set(toy, 0);
}

void toy_end(struct toy *toy)
{
    free(toy->numbers);
    toy->numbers = NULL;
}

static void toy_state(uint64_t value, char state[128])
{
    snprintf(state, 128, "{\"value\":%llu,\"text\":\"line\\n \\\"\xc3\xa9\\\"\"}", (unsigned long long)value);
}

static float number_of(uint64_t value, size_t index)
{
    struct random random = random_start(value * UINT64_C(1000003) + index);
    return (float)(random_bits(&random) >> 40) / 16777216 - 0.5f;
}

void toy_set(struct toy *toy, uint64_t value)
{
    for (size_t i = 0; i < toy->count; i++) {
        toy->numbers[i] = number_of(value, i);
    }
    toy_state(value, toy->state);
}

uint64_t toy_value(const struct toy *toy, const char *state)
{
    unsigned long long value;
    char expected[sizeof toy->state];
    if (sscanf(state, "{\"value\":%llu", &value) != 1) {
        return UINT64_MAX;
    }
    toy_state(value, expected);
    if (strcmp(state, expected) != 0) {
        return UINT64_MAX;
    }
    for (size_t i = 0; i < toy->count; i++) {
        if (toy->numbers[i] != number_of(value, i)) {
            return UINT64_MAX;
        }
    }
    return value;
}

void toy_save(struct toy *toy, ldar_checkpoints *checkpoints, uint64_t step, uint64_t value)
{
    struct ldar_error error = {LDAR_OK, ""};
    toy_set(toy, value);
    if (ldar_checkpoints_save(checkpoints, step, toy_config, toy->state, toy->tensor, TOY_TENSORS, 0, &error)) {
        fail_msg("%s", error.message);
    }
}

uint64_t toy_look(struct toy *toy, const char *folder, struct ldar_checkpoint *found, char *skipped, size_t capacity)
{
    ldar_checkpoints *checkpoints;
    struct ldar_checkpoint checkpoint;
    struct ldar_error error = {LDAR_OK, ""};
    uint64_t value = UINT64_MAX;
    enum ldar_status status = ldar_checkpoints_open(folder, 0, &checkpoints, &error);
    if (!status) {
        memset(toy->numbers, 0, toy->count * sizeof *toy->numbers);
        status = ldar_checkpoints_load(checkpoints, toy->tensor, TOY_TENSORS, &checkpoint, &error);
    }
    if (!status) {
        value = checkpoint.generation ? toy_value(toy, checkpoint.state) : 0;
        value = checkpoint.generation && strcmp(checkpoint.config, toy_config) != 0 ? UINT64_MAX : value;
        if (found) {
            *found = (struct ldar_checkpoint){checkpoint.generation, checkpoint.step, NULL, NULL, NULL};
        }
    }
    if (skipped) {
        snprintf(skipped, capacity, "%s", status ? error.message : checkpoint.skipped);
    }
    ldar_checkpoints_close(checkpoints);
    return value;
}

/* ---- folders ---- */

void remove_tree(const char *path)
{
    DIR *listing = opendir(path);
    if (!listing) {
        unlink(path);
        return;
    }
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        char inner[4096];
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
            remove_tree(inner);
        }
    }
    closedir(listing);
    rmdir(path);
}

static char tree[256];
static pid_t tree_owner;

static void remove_at_exit(void)
{
    if (getpid() == tree_owner) {
        remove_tree(tree);
    }
}

const char *new_folder(const char *name)
{
    static char paths[32][1024];
    static int number;
    char path[512], *out = paths[number % 32];
    if (!tree_owner) {
        snprintf(tree, sizeof tree, "%s/runs", scratch_folder());
        assert_int_equal(mkdir(tree, 0777), 0);
        tree_owner = getpid();
        atexit(remove_at_exit); /* before the scratch folder goes, since it comes after it here */
    }
    snprintf(path, sizeof path, "runs/%d", number++);
    assert_int_equal(mkdir(scratch(path), 0777), 0);
    snprintf(out, sizeof *paths, "%s/%s", scratch(path), name);
    return out;
}

ldar_checkpoints *open_writer(const char *folder)
{
    ldar_checkpoints *checkpoints;
    struct ldar_error error = {LDAR_OK, ""};
    if (ldar_checkpoints_open(folder, 1, &checkpoints, &error)) {
        fail_msg("%s", error.message);
    }
    return checkpoints;
}

size_t count_named(const char *folder, const char *part)
{
    size_t count = 0;
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        count += strstr(entry->d_name, part) != NULL;
    }
    closedir(listing);
    return count;
}

const char *step_path(const char *folder, uint64_t step)
{
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof *paths, "%s/checkpoint-%llu.safetensors", folder, (unsigned long long)step);
    return path;
}
