/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rank words | sums | examples | run PATIENCE: one process of a job, started by an MPI launcher. `words` gathers and
 * broadcasts; `sums` compares the bits of many sums; `examples` fine-tunes together and alone; `run` makes steps until
 * it is stopped, and says which process each rank is.
 */
#include <ldar/train.h>

#include "summed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAILED = 1, LOST = 3 };

static void lost(void *user, ldar_peers *peers, const char *message)
{
    (void)user;
    fprintf(stderr, "lost: %s\n", message);
    ldar_peers_end(peers, LOST);
}

/* Returns 0 when all is well in this rank. */
static int sum(ldar_peers *peers, const struct summed *summed, size_t steps, struct random *random)
{
    struct ldar_gradient_tree *tree;
    struct ldar_error error;
    if (ldar_gradient_tree_create(summed->floats, peers, &tree, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return FAILED;
    }
    const char *failure = NULL;
    for (size_t step = 0; step < steps && !failure; step++)
        failure = summed_step(tree, summed, random);
    ldar_gradient_tree_destroy(tree);
    if (failure)
        fprintf(stderr, "rank %zu: %s\n", ldar_peers_rank(peers), failure);
    return failure ? FAILED : 0;
}

static int sums(ldar_peers *peers)
{
    static const struct summed jobs[] = {
        {.floats = 1, .micro_batches = 1},
        {.floats = 1023, .micro_batches = 2, .pause = 300},
        {.floats = 1500, .micro_batches = 3},
        {.floats = 40000, .micro_batches = 4, .pause = 1000},
        {.floats = 40001, .micro_batches = 5, .pause = 100},
        {.floats = 3000, .micro_batches = 7, .pause = 3000},
        {.floats = 5000, .micro_batches = 13},
        {.floats = 5000, .micro_batches = 16, .pause = 100},
        {.floats = 1200000, .micro_batches = 4},
        {.floats = 900000, .micro_batches = 6, .pause = 100},
    };
    struct random random = random_start(random_seed() + 1000 * ldar_peers_rank(peers));
    int failed = 0;
    for (size_t j = 0; j < sizeof jobs / sizeof *jobs && !failed; j++)
        failed = sum(peers, &jobs[j], jobs[j].floats < 100000 ? 5 : 2, &random);
    return failed;
}

/* What every rank knows of all, and what rank 0 says, is the same everywhere. */
static int words(ldar_peers *peers)
{
    enum { MOST = 64 };
    size_t own = 10 + ldar_peers_rank(peers), all[MOST], told[1000];
    if (ldar_peers_ranks(peers) > MOST || ldar_peers_gather(peers, &own, sizeof own, all, NULL))
        return FAILED;
    for (size_t r = 0; r < ldar_peers_ranks(peers); r++)
        if (all[r] != 10 + r)
            return FAILED;
    for (size_t i = 0; i < 1000; i++)
        told[i] = ldar_peers_rank(peers) ? 0 : i * i;
    if (ldar_peers_broadcast(peers, told, sizeof told, NULL))
        return FAILED;
    for (size_t i = 0; i < 1000; i++)
        if (told[i] != i * i)
            return FAILED;
    return 0;
}

/* ---- learning from examples ---- */

enum { BATCHES = 5, EXAMPLES = 3, LENGTH = 20 };

/* Micro-batch m: three sequences and their classes. */
static enum ldar_status add(ldar_trainer *trainer, size_t m, struct ldar_error *error)
{
    static const size_t offsets[EXAMPLES + 1] = {0, 7, 8, LENGTH};
    struct random random = random_start(m);
    struct ldar_example_loss loss;
    uint8_t ids[LENGTH];
    float targets[EXAMPLES];
    for (size_t i = 0; i < LENGTH; i++)
        ids[i] = (uint8_t)random_below(&random, 4);
    for (size_t i = 0; i < EXAMPLES; i++)
        targets[i] = (float)random_below(&random, 2);
    const struct ldar_batch batch = {ids, offsets, EXAMPLES};
    return ldar_trainer_add_examples(trainer, &batch, targets, &loss, error);
}

/* Two steps of a trainer of these peers, or of nobody else. NULL: a failure, which `error` tells. */
static ldar_trainer *course(const ldar_model *model, ldar_peers *peers, size_t last, struct ldar_error *error)
{
    const struct ldar_trainer_options options = {.size = sizeof options,
                                                 .context = {.size = sizeof options.context, .threads = 1},
                                                 .examples = 1,
                                                 .last = last,
                                                 .peers = peers};
    ldar_trainer *trainer;
    enum ldar_status status = ldar_trainer_create(model, &options, &trainer, error);
    for (size_t step = 0; step < 2 && !status; step++) {
        struct ldar_step done;
        size_t first, count;
        status = ldar_trainer_begin(trainer, BATCHES, &first, &count, error);
        for (size_t m = 0; m < count && !status; m++)
            status = add(trainer, first + m, error);
        if (!status)
            status = ldar_trainer_step(trainer, 1e-3, &done, error);
    }
    if (status) {
        ldar_trainer_destroy(trainer);
        return NULL;
    }
    return trainer;
}

/* 1 when both hold the same weights, moments and gradients, to the bit. */
static int same(const ldar_trainer *a, const ldar_trainer *b)
{
    for (size_t i = 0; i < ldar_trainer_tensors(a); i++) {
        struct ldar_trainer_tensor x, y;
        ldar_trainer_tensor(a, i, &x);
        ldar_trainer_tensor(b, i, &y);
        const size_t bytes = x.count * sizeof *x.weight;
        if (memcmp(x.weight, y.weight, bytes) || memcmp(x.moment2, y.moment2, bytes)
            || memcmp(x.gradient, y.gradient, bytes)) {
            fprintf(stderr, "%s differs\n", x.name);
            return 0;
        }
    }
    return 1;
}

static int examples(ldar_peers *peers)
{
    static const char *const names[] = {"no", "yes"};
    const struct ldar_head head = {.kind = LDAR_HEAD_CLASSES, .outputs = 2, .names = names};
    struct ldar_stage_config stage = {
        .encoder = "m1", .width = 32, .attention_heads = 1, .state = 16, .conv = 4, .expand = 2, .window = -1};
    struct ldar_config config = {.stages = 2, .stage = {stage, stage}};
    struct ldar_error error = {.message = ""};
    ldar_model *bare = NULL, *model = NULL;
    memcpy(config.stage[0].decoder, "m1", 3);
    int failed = ldar_model_create(&config, 1, &bare, &error) || ldar_model_with_head(bare, &head, 1, &model, &error);
    for (size_t last = 0; last <= 2 && !failed; last++) {
        ldar_trainer *together = course(model, peers, last, &error),
                     *alone = together ? course(model, NULL, last, &error) : NULL;
        failed = !alone || !same(together, alone);
        ldar_trainer_destroy(alone);
        ldar_trainer_destroy(together);
    }
    if (failed)
        fprintf(stderr, "rank %zu: learning from examples failed: %s\n", ldar_peers_rank(peers), error.message);
    ldar_model_destroy(model);
    ldar_model_destroy(bare);
    return failed;
}

static int run(ldar_peers *peers)
{
    const struct summed summed = {.floats = 300000, .micro_batches = 5, .pause = 1000};
    struct random random = random_start(ldar_peers_rank(peers));
    printf("rank %zu is process %ld\n", ldar_peers_rank(peers), (long)getpid());
    fflush(stdout);
    return sum(peers, &summed, (size_t)-1, &random);
}

int main(int argc, char **argv)
{
    struct ldar_error error;
    ldar_peers *peers;
    const int running = argc == 3 && !strcmp(argv[1], "run");
    const struct ldar_peers_options options = {
        .size = sizeof options, .patience = running ? strtod(argv[2], NULL) : 0, .lost = lost};
    const int summing = argc == 2 && !strcmp(argv[1], "sums"), learning = argc == 2 && !strcmp(argv[1], "examples");
    if (!running && !summing && !learning && (argc != 2 || strcmp(argv[1], "words") != 0)) {
        fprintf(stderr, "usage: rank words | sums | examples | run PATIENCE\n");
        return 2;
    }
    if (ldar_peers_join(&options, &peers, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return FAILED;
    }
    int failed = running ? run(peers) : summing ? sums(peers) : learning ? examples(peers) : words(peers);
    if (!failed)
        printf("rank %zu of %zu: well\n", ldar_peers_rank(peers), ldar_peers_ranks(peers));
    if (failed)
        ldar_peers_end(peers, failed);
    ldar_peers_leave(peers);
    return failed;
}
