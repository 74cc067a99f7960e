/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_io_checkpoint_kill [KILLS]: a process that loads, goes on and saves, over and over, is killed at a random moment
 * (kill -9) and started again. What it had said to be durable must load, and generations never go back.
 */
#include "checkpoints.h"
#include "kit/random.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static size_t kills = 20;

/* What the writer says, in memory that outlives it. */
struct said {
    _Atomic uint64_t generation, value, begun, fault;
};

/* The value is the step; each save is of the next one, by turns in the foreground and in the background. */
static void save_next(struct toy *toy, ldar_checkpoints *checkpoints, uint64_t value, struct said *said)
{
    struct ldar_error error;
    uint64_t durable;
    toy_set(toy, value);
    atomic_store(&said->begun, value);
    if (ldar_checkpoints_save(checkpoints, value, toy_config, toy->state, toy->tensor, TOY_TENSORS, value % 3 != 0,
                              &error)) {
        atomic_store(&said->fault, 2);
        _exit(1);
    }
    const uint64_t generation = ldar_checkpoints_durable(checkpoints, &durable);
    atomic_store(&said->value, durable);
    atomic_store(&said->generation, generation);
}

static void write_until_killed(struct toy *toy, const char *folder, struct said *said)
{
    ldar_checkpoints *checkpoints;
    struct ldar_checkpoint checkpoint;
    struct ldar_error error;
    if (ldar_checkpoints_open(folder, 1, &checkpoints, &error)
        || ldar_checkpoints_load(checkpoints, toy->tensor, TOY_TENSORS, &checkpoint, &error)
        || (checkpoint.generation && toy_value(toy, checkpoint.state) != checkpoint.step) || *checkpoint.skipped) {
        atomic_store(&said->fault, 1);
        _exit(1);
    }
    for (uint64_t value = checkpoint.step + 1;; value++) {
        save_next(toy, checkpoints, value, said);
    }
}

static void sleep_random(struct random *random)
{
    /* Short times as often as long ones: the moments after a start matter as much as any other. */
    const double seconds = 1e-4 * random_uniform(random, 0, 1) * (double)(UINT64_C(1) << random_below(random, 12));
    const struct timespec time = {0, (long)(1e9 * seconds)};
    nanosleep(&time, NULL);
}

static void test_kills(void **state)
{
    struct random random = random_start(random_seed());
    const char *folder = new_folder("checkpoints");
    struct said *said = mmap(NULL, sizeof *said, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    size_t halves = 0;
    uint64_t generation = 0, value = 0;
    struct toy toy;
    (void)state;
    assert_true(said != MAP_FAILED);
    toy_begin(&toy, 200);
    ldar_checkpoints_close(open_writer(folder));
    for (size_t i = 0; i < kills; i++) {
        int status;
        const pid_t child = fork();
        if (child == 0) {
            write_until_killed(&toy, folder, said);
        }
        assert_true(child > 0);
        sleep_random(&random);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status) || atomic_load(&said->fault)) {
            fail_msg("kill %zu: the writer ended by itself, fault %llu", i, (unsigned long long)said->fault);
        }
        halves += count_named(folder, ".tmp.");
        struct ldar_checkpoint found = {0};
        char skipped[4096];
        const uint64_t loaded = toy_look(&toy, folder, &found, skipped, sizeof skipped);
        if (loaded == UINT64_MAX || loaded < atomic_load(&said->value) || loaded > atomic_load(&said->begun)
            || found.generation < generation || loaded < value || *skipped) {
            fail_msg("kill %zu: value %llu, generation %llu are loaded; %llu was durable, %llu begun, before %llu and "
                     "%llu; \"%s\"",
                     i, (unsigned long long)loaded, (unsigned long long)found.generation,
                     (unsigned long long)said->value, (unsigned long long)said->begun, (unsigned long long)value,
                     (unsigned long long)generation, skipped);
        }
        value = loaded;
        generation = found.generation;
    }
    print_message("%zu kills, %zu within a write, %llu generations, seed %llu\n", kills, halves,
                  (unsigned long long)generation, (unsigned long long)random_seed());
    munmap(said, sizeof *said);
    toy_end(&toy);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kills),
    };
    kills = argc > 1 ? strtoull(argv[1], NULL, 10) : kills;
    return cmocka_run_group_tests_name("io.checkpoint.kill", tests, NULL, NULL);
}
