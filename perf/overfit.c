/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Learning by heart: a new 2m model on one batch of random sequences, until its masked loss is below the goal. What
 * gradients, optimiser and schedule do together shows here within minutes.
 *
 *   build/perf/overfit [STEPS [RATE [fixed|fresh]]]
 *
 * fixed: the same positions are masked in every step; fresh: others in each.
 */
#include <ldar/ldar.h>
#include <ldar/train.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCES = 8, LENGTH = 512, ROWS = SEQUENCES * LENGTH, EVERY = 25 };

static const double goal = 0.05, masked = 0.15;
static const uint64_t seed = 1;

static uint8_t bases[ROWS], ids[ROWS], labels[ROWS];
static size_t offsets[SEQUENCES + 1];

/* Random A, C, G and T: xorshift (Marsaglia 2003). */
static void draw_sequences(void)
{
    uint64_t state = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < ROWS; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bases[i] = (uint8_t)(state >> 62);
    }
    for (size_t s = 0; s <= SEQUENCES; s++) {
        offsets[s] = s * LENGTH;
    }
}

static void mask(uint64_t step)
{
    memcpy(ids, bases, sizeof ids);
    for (size_t s = 0; s < SEQUENCES; s++) {
        ldar_mask(ids + s * LENGTH, labels + s * LENGTH, LENGTH, masked, seed, step, s);
    }
}

static enum ldar_status learn(ldar_trainer *trainer, double rate, struct ldar_loss *loss, struct ldar_step *step,
                              struct ldar_error *error)
{
    const struct ldar_batch batch = {ids, offsets, SEQUENCES};
    enum ldar_status status = ldar_trainer_begin(trainer, 1, NULL, NULL, error);
    if (status == LDAR_OK) {
        status = ldar_trainer_add(trainer, &batch, labels, NULL, loss, error);
    }
    return status == LDAR_OK ? ldar_trainer_step(trainer, rate, step, error) : status;
}

/* Returns the steps that it took, or 0. */
static uint64_t run(ldar_trainer *trainer, uint64_t steps, double rate, int fresh, struct ldar_error *error)
{
    for (uint64_t t = 0; t < steps; t++) {
        struct ldar_loss loss;
        struct ldar_step step;
        mask(fresh ? t : 0);
        if (learn(trainer, rate * ldar_schedule(t, steps, steps / 10, steps / 5), &loss, &step, error) != LDAR_OK) {
            return 0;
        }
        const int done = loss.mlm < goal;
        if (t % EVERY == 0 || done || t + 1 == steps) {
            printf("step %3llu  masked loss %.4f  ratio loss %.4f  nucleotides per token %.2f  gradient %.3f\n",
                   (unsigned long long)t, loss.mlm, loss.ratio, (double)ROWS / (double)loss.chunks[0],
                   step.gradient_norm);
            fflush(stdout);
        }
        if (done) {
            return t + 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const uint64_t steps = argc > 1 ? strtoull(argv[1], NULL, 10) : 500;
    const double rate = argc > 2 ? strtod(argv[2], NULL) : 5e-4;
    const int fresh = argc > 3 && strcmp(argv[3], "fresh") == 0;
    struct ldar_error error = {.message = "not below the goal"};
    struct ldar_config config;
    ldar_model *model = NULL;
    ldar_trainer *trainer = NULL;
    uint64_t taken = 0;
    draw_sequences();
    if (ldar_config_preset("2m", &config, &error) == LDAR_OK
        && ldar_model_create(&config, seed, &model, &error) == LDAR_OK
        && ldar_trainer_create(model, NULL, &trainer, &error) == LDAR_OK) {
        taken = run(trainer, steps, rate, fresh, &error);
    }
    if (taken > 0) {
        printf("masked loss below %g after %llu steps of at most %llu at the rate %g, %s masks\n", goal,
               (unsigned long long)taken, (unsigned long long)steps, rate, fresh ? "fresh" : "fixed");
    } else {
        fprintf(stderr, "overfit: %s\n", error.message);
    }
    ldar_trainer_destroy(trainer);
    ldar_model_destroy(model);
    return taken > 0 ? 0 : 1;
}
