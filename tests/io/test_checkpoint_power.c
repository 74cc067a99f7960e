/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_io_checkpoint_power [STATES]: loss of power, simulated. All that a run does to its folder is recorded. Then, for
 * a random moment, a disk is made as it may look after that: what was synced is there; of the rest each write is there,
 * or not, or torn at sectors of 512 bytes, in any order, and each rename, creation or removal is there or not. The
 * value that was last said to be durable, or a newer one, must load, whole.
 *
 * The simulation is itself tested: where it is told to forget the syncs, it must find losses.
 */
#include "checkpoints.h"
#include "files.h"
#include "kit/random.h"
#include "shim.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static size_t states = 300;

/* ---- the record ---- */

enum { MAX_EVENTS = 4000, NAME = 64, SECTOR = 512, MAX_FILES = 400 };

/* A durable value, beside what the shim tells. */
enum { SAID_DURABLE = 100, BEGUN };

struct record {
    int kind;
    size_t file; /* counts creations: a number of the file system may be used again */
    char name[NAME], new_name[NAME];
    uint64_t offset, value;
    unsigned char *data;
    size_t bytes;
};
static struct record record[MAX_EVENTS];
static size_t records, creations;
static struct {
    uint64_t inode;
    size_t file;
} open_files[MAX_FILES];

static void add_record(const struct record *one)
{
    assert_true(records < MAX_EVENTS);
    record[records++] = *one;
}

static size_t file_of(uint64_t inode)
{
    for (size_t i = creations; i-- > 0;) { /* the last that bore the number */
        if (open_files[i].inode == inode) {
            return open_files[i].file;
        }
    }
    return SIZE_MAX; /* the lock */
}

static void watch(const struct shim_event *event)
{
    struct record one = {.kind = (int)event->kind, .offset = event->offset, .bytes = event->bytes};
    snprintf(one.name, sizeof one.name, "%s", event->name ? event->name : "");
    snprintf(one.new_name, sizeof one.new_name, "%s", event->new_name ? event->new_name : "");
    if (event->kind == SHIM_CREATE) {
        assert_true(creations < MAX_FILES);
        open_files[creations].inode = event->inode;
        open_files[creations].file = creations;
        creations++;
    }
    if (event->kind == SHIM_CREATE || event->kind == SHIM_WRITE || event->kind == SHIM_SYNC) {
        one.file = file_of(event->inode);
        if (one.file == SIZE_MAX) {
            return;
        }
    }
    if (event->bytes > 0) {
        one.data = malloc(event->bytes);
        assert_non_null(one.data);
        memcpy(one.data, event->data, event->bytes);
    }
    add_record(&one);
}

static void say(int kind, uint64_t value)
{
    add_record(&(struct record){.kind = kind, .value = value});
}

/* A run of twelve saves in the foreground and in the background, one of them of a step that is there already. */
static void record_run(struct toy *toy)
{
    static const uint64_t steps[] = {10, 20, 30, 40, 50, 50, 60, 70, 65, 80, 90, 100};
    struct ldar_error error;
    ldar_checkpoints *checkpoints = open_writer(new_folder("checkpoints"));
    shim_watch(watch);
    for (uint64_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const uint64_t value = i + 1;
        say(BEGUN, value);
        toy_set(toy, value);
        const int background = value % 3 == 0;
        assert_int_equal(ldar_checkpoints_save(checkpoints, steps[i], toy_config, toy->state, toy->tensor, TOY_TENSORS,
                                               background, &error),
                         LDAR_OK);
        if (background) {
            assert_int_equal(ldar_checkpoints_wait(checkpoints, &error), LDAR_OK);
        }
        say(SAID_DURABLE, value);
    }
    shim_watch(NULL);
    ldar_checkpoints_close(checkpoints);
}

/* ---- a disk after the loss of power ---- */

struct disk_file {
    struct bytes content;
    size_t pending[MAX_EVENTS], pendings; /* writes that are not synced */
};
struct entry {
    char name[NAME];
    size_t file;
};
struct disk {
    struct disk_file *file; /* (MAX_FILES) */
    struct entry entry[MAX_FILES];
    size_t entries;
    size_t pending[MAX_EVENTS], pendings; /* of the folder */
};

static size_t find_entry(const struct disk *disk, const char *name)
{
    size_t i = 0;
    while (i < disk->entries && strcmp(disk->entry[i].name, name) != 0) {
        i++;
    }
    return i;
}

static void set_entry(struct disk *disk, const char *name, size_t file)
{
    const size_t i = find_entry(disk, name);
    assert_true(i < MAX_FILES);
    disk->entries += i == disk->entries;
    snprintf(disk->entry[i].name, NAME, "%s", name);
    disk->entry[i].file = file;
}

static void drop_entry(struct disk *disk, const char *name)
{
    const size_t i = find_entry(disk, name);
    if (i < disk->entries) {
        disk->entry[i] = disk->entry[--disk->entries];
    }
}

/* The file that a name means in the course of things, whatever of it is on the disk. */
static size_t meant(const char *name, size_t until)
{
    for (size_t i = until; i-- > 0;) {
        if (record[i].kind == SHIM_CREATE && strcmp(record[i].name, name) == 0) {
            return record[i].file;
        }
    }
    fail_msg("%s was never created", name);
    return 0;
}

static void apply_name(struct disk *disk, size_t index)
{
    const struct record *one = &record[index];
    if (one->kind == SHIM_CREATE) {
        set_entry(disk, one->name, one->file);
    } else if (one->kind == SHIM_RENAME) {
        drop_entry(disk, one->name);
        set_entry(disk, one->new_name, meant(one->name, index));
    } else {
        drop_entry(disk, one->name);
    }
}

static void put(struct bytes *content, uint64_t offset, const unsigned char *data, size_t bytes)
{
    static const unsigned char zeros[SECTOR];
    while (content->count < offset + bytes) {
        const size_t missing = offset + bytes - content->count;
        add_bytes(content, zeros, missing < SECTOR ? missing : SECTOR);
    }
    memcpy(content->data + offset, data, bytes);
}

/* All of it, or the sectors that reached the disk. */
static void apply_write(struct disk_file *file, size_t index, int torn, struct random *random)
{
    const struct record *one = &record[index];
    for (size_t done = 0; done < one->bytes;) {
        const size_t room = SECTOR - (size_t)((one->offset + done) % SECTOR);
        const size_t bytes = one->bytes - done < room ? one->bytes - done : room;
        if (!torn || random_below(random, 2)) {
            put(&file->content, one->offset + done, one->data + done, bytes);
        }
        done += bytes;
    }
}

static void shuffle(size_t *items, size_t count, struct random *random)
{
    for (size_t i = count; i > 1; i--) {
        const size_t other = random_below(random, i), kept = items[i - 1];
        items[i - 1] = items[other];
        items[other] = kept;
    }
}

/* What was never synced: some of it, in some order, and perhaps a tail of garbage. */
static void lose_writes(struct disk_file *file, struct random *random)
{
    const size_t before = file->content.count, kept = random_below(random, 4); /* of 3: none to all */
    shuffle(file->pending, random_below(random, 2) ? file->pendings : 0, random);
    for (size_t i = 0; i < file->pendings; i++) {
        if (random_below(random, 3) < kept) {
            apply_write(file, file->pending[i], random_below(random, 2) == 0, random);
        }
    }
    if (file->pendings > 0 && random_below(random, 4) == 0) {
        for (size_t i = random_below(random, 400); i > 0; i--) {
            const uint64_t garbage = random_bits(random);
            add_bytes(&file->content, &garbage, 1 + i % sizeof garbage);
        }
    }
    if (file->pendings > 0 && random_below(random, 8) == 0 && file->content.count > before) {
        file->content.count = before + random_below(random, file->content.count - before);
    }
    file->pendings = 0;
}

/* What the simulation forgets, to see that it matters. */
struct forgotten {
    int syncs, folder_syncs;
};

static void replay(struct disk *disk, size_t until, struct forgotten forgotten, struct random *random)
{
    for (size_t i = 0; i < until; i++) {
        struct disk_file *file = &disk->file[record[i].file];
        switch (record[i].kind) {
        case SHIM_WRITE:
            file->pending[file->pendings++] = i;
            break;
        case SHIM_SYNC:
            for (size_t k = 0; k < file->pendings && !forgotten.syncs; k++) {
                apply_write(file, file->pending[k], 0, random);
            }
            file->pendings = forgotten.syncs ? file->pendings : 0;
            break;
        case SHIM_SYNC_FOLDER:
            for (size_t k = 0; k < disk->pendings && !forgotten.folder_syncs; k++) {
                apply_name(disk, disk->pending[k]);
            }
            disk->pendings = forgotten.folder_syncs ? disk->pendings : 0;
            break;
        case SHIM_CREATE:
        case SHIM_RENAME:
        case SHIM_REMOVE:
            disk->pending[disk->pendings++] = i;
            break;
        default:
            break;
        }
    }
}

/* The disk after the power went before record `until`, as a folder. */
static void lose_power(size_t until, const char *folder, struct forgotten forgotten, struct random *random)
{
    struct disk *disk = calloc(1, sizeof *disk);
    assert_non_null(disk);
    disk->file = calloc(MAX_FILES, sizeof *disk->file);
    assert_non_null(disk->file);
    replay(disk, until, forgotten, random);
    const size_t kept = random_below(random, 5); /* of 4: none to all */
    for (size_t i = 0; i < disk->pendings; i++) {
        if (random_below(random, 4) < kept) {
            apply_name(disk, disk->pending[i]);
        }
    }
    assert_int_equal(mkdir(folder, 0777), 0);
    for (size_t i = 0; i < disk->entries; i++) {
        char path[1024];
        struct disk_file *file = &disk->file[disk->entry[i].file];
        lose_writes(file, random);
        snprintf(path, sizeof path, "%s/%s", folder, disk->entry[i].name);
        write_file(path, file->content.data ? file->content.data : (const unsigned char *)"", file->content.count);
    }
    for (size_t i = 0; i < creations; i++) {
        free(disk->file[i].content.data);
    }
    free(disk->file);
    free(disk);
}

/* ---- what must hold ---- */

/* The value that was durable by then, and the newest that may be there. */
static void bounds(size_t until, uint64_t *durable, uint64_t *newest)
{
    *durable = *newest = 0;
    for (size_t i = 0; i < until; i++) {
        *durable = record[i].kind == SAID_DURABLE ? record[i].value : *durable;
        *newest = record[i].kind == BEGUN ? record[i].value : *newest;
    }
}

/* The run goes on: what is half there must not stand in the way. */
static int goes_on(struct toy *toy, const char *folder)
{
    ldar_checkpoints *checkpoints = open_writer(folder);
    struct ldar_checkpoint checkpoint;
    struct ldar_error error;
    int right = count_named(folder, ".tmp.") == 0
                && ldar_checkpoints_load(checkpoints, toy->tensor, TOY_TENSORS, &checkpoint, &error) == LDAR_OK;
    for (uint64_t i = 0; i < 2; i++) {
        toy_save(toy, checkpoints, 1000 + i, 1000 + i);
    }
    right = right && count_named(folder, "checkpoint-") <= 3;
    ldar_checkpoints_close(checkpoints);
    return right && toy_look(toy, folder, NULL, NULL, 0) == 1001;
}

/* Loses power once, at a random moment. Returns 1 when all is well. */
static int try_state(struct toy *toy, uint64_t number, struct forgotten forgotten, int tell)
{
    struct random random = random_start(random_seed() * UINT64_C(1000000007) + number);
    const char *folder = new_folder("checkpoints");
    char skipped[4096];
    uint64_t durable, newest;
    const size_t until = random_below(&random, records + 1);
    lose_power(until, folder, forgotten, &random);
    bounds(until, &durable, &newest);
    const uint64_t value = toy_look(toy, folder, NULL, skipped, sizeof skipped);
    const int right = value >= durable && value <= newest && !*skipped;
    if (!right && tell) {
        print_message("state %llu, before record %zu of %zu: value %llu loads, %llu was durable, %llu begun; \"%s\"\n",
                      (unsigned long long)number, until, records, (unsigned long long)value,
                      (unsigned long long)durable, (unsigned long long)newest, skipped);
    }
    const int going = !right || number % 4 != 0 || goes_on(toy, folder);
    remove_tree(folder);
    return right && going;
}

static void test_states(void **state)
{
    struct toy *toy = *state;
    size_t losses = 0;
    for (uint64_t i = 0; i < states; i++) {
        losses += !try_state(toy, i, (struct forgotten){0, 0}, 1);
    }
    print_message("%zu states of the disk, %zu losses\n", states, losses);
    assert_int_equal(losses, 0);
}

/* Without its syncs the same run loses what it said was durable, and the simulation sees it. */
static void test_forgotten(void **state)
{
    static const struct forgotten kinds[] = {{1, 0}, {0, 1}, {1, 1}};
    struct toy *toy = *state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        size_t losses = 0;
        for (uint64_t i = 0; i < 100; i++) {
            losses += !try_state(toy, i, kinds[k], 0);
        }
        print_message("without%s%s: %zu losses in 100 states\n", kinds[k].syncs ? " syncs" : "",
                      kinds[k].folder_syncs ? " syncs of the folder" : "", losses);
        assert_true(losses > 10);
    }
}

static int setup(void **state)
{
    static struct toy toy;
    toy_begin(&toy, 20);
    shim_sync(0); /* only the order counts */
    record_run(&toy);
    print_message("%zu records, seed %llu\n", records, (unsigned long long)random_seed());
    *state = &toy;
    return 0;
}

static int teardown(void **state)
{
    for (size_t i = 0; i < records; i++) {
        free(record[i].data);
    }
    toy_end(*state);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_forgotten),
    };
    states = argc > 1 ? strtoull(argv[1], NULL, 10) : states;
    return cmocka_run_group_tests_name("io.checkpoint.power", tests, setup, teardown);
}
