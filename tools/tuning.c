/* SPDX-License-Identifier: Apache-2.0 */
#include "tuning.h"
#include "interrupt.h"
#include "message.h"

#include "formats/members.h"
#include "formats/mixing.h"
#include "formats/number.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STATE_TEXT = 768, SCORED_AT_ONCE = 16384 };

static const double checkpoint_seconds = 600; /* what a crash may cost where nobody said otherwise */
static const double pi = 3.14159265358979323846;

static uint64_t steps_of_epoch(const struct tuning *tuning)
{
    return (tuning->train.count + tuning->plan->batch - 1) / tuning->plan->batch;
}

void tuning_begin(struct tuning *tuning)
{
    const size_t count = tuning->train.count;
    double mean = 0, square = 0;
    tuning->shift = 0;
    tuning->scale = 1;
    tuning->state = (struct tuning_state){.best = -INFINITY, .rate = 1};
    if (tuning->kind == LDAR_HEAD_CLASSES)
        return;
    for (size_t i = 0; i < count; i++)
        mean += examples_target(&tuning->train, i) / (double)count;
    for (size_t i = 0; i < count; i++)
        square += pow(examples_target(&tuning->train, i) - mean, 2) / (double)count;
    tuning->shift = mean;
    tuning->scale = square > 0 ? sqrt(square) : 1;
}

int tuning_ended(const struct tuning *tuning)
{
    const struct tuning_state *state = &tuning->state;
    return state->epoch == tuning->plan->epochs
           || (!tuning->plan->anneal && state->since_best >= tuning->plan->patience);
}

/* ---- what an epoch takes, in which order ---- */

enum choice { CHOICE_ORDER, CHOICE_STRAND, CHOICE_HIDE };

static double chance(const struct tuning *tuning, uint64_t epoch, uint64_t which, enum choice choice)
{
    const uint64_t counters[] = {tuning->plan->seed, epoch, which, choice};
    return chance_of(counters, sizeof counters / sizeof *counters);
}

/* Fisher and Yates, from the order of the file. */
static void shuffle(const struct tuning *tuning, uint64_t epoch, size_t *order)
{
    for (size_t i = 0; i < tuning->train.count; i++)
        order[i] = i;
    for (size_t i = tuning->train.count; i > 1; i--) {
        const size_t other = (size_t)(chance(tuning, epoch, i, CHOICE_ORDER) * (double)i), kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}

/* [MASK] in place of some nucleotides of the example that the pack was given last. */
static void hide(const struct tuning *tuning, uint64_t epoch, uint64_t which, struct pack *pack)
{
    const size_t last = pack->batch.sequences - 1;
    for (size_t i = pack->offsets[last]; tuning->plan->hide > 0 && i < pack->offsets[last + 1]; i++) {
        const uint64_t counters[] = {tuning->plan->seed, epoch, which, CHOICE_HIDE, i - pack->offsets[last]};
        if (chance_of(counters, sizeof counters / sizeof *counters) < tuning->plan->hide)
            pack->ids[i] = LDAR_MASK;
    }
}

static enum ldar_status fill_pack(const struct tuning *tuning, uint64_t epoch, const size_t *order, uint64_t batch,
                                  struct pack *pack, struct ldar_error *error)
{
    const uint64_t size = tuning->plan->batch, first = batch * size;
    pack_clear(pack);
    for (uint64_t i = first; i < first + size && i < tuning->train.count; i++) {
        const size_t which = order[i];
        const int turn = tuning->plan->augment && chance(tuning, epoch, which, CHOICE_STRAND) < 0.5;
        if (!pack_add(pack, &tuning->train, which, turn ? STRAND_REVERSE : STRAND_GIVEN))
            return fail(error, LDAR_ERROR_MEMORY, "no memory for a batch of %" PRIu64 " sequences", size);
        hide(tuning, epoch, which, pack);
    }
    for (size_t i = 0; i < pack->batch.sequences; i++)
        pack->targets[i] = (float)(((double)pack->targets[i] - tuning->shift) / tuning->scale);
    return LDAR_OK;
}

/* ---- a step ---- */

static double rate_now(const struct tuning *tuning)
{
    const struct tuning_plan *plan = tuning->plan;
    const uint64_t step = tuning->state.step;
    if (step < plan->warmup)
        return plan->rate * tuning->state.rate * (double)(step + 1) / (double)plan->warmup;
    const double left = (double)(steps_of_epoch(tuning) * plan->epochs - step);
    const double share = left / (left + (double)(step - plan->warmup));
    const double fall = plan->anneal ? (1 - cos(pi * share)) / 2 : 1;
    return plan->rate * tuning->state.rate * fall;
}

static enum ldar_status log_step(struct tuning *tuning, uint64_t epoch, const struct ldar_example_loss *loss,
                                 const struct ldar_step *step, double rate, double seconds, struct ldar_error *error)
{
    const double count = (double)loss->examples;
    char correct[64] = "", skipped[300] = "";
    if (tuning->kind == LDAR_HEAD_CLASSES)
        snprintf(correct, sizeof correct, ", \"accuracy\": %.6g", (double)loss->correct / count);
    if (step->skipped)
        snprintf(skipped, sizeof skipped, ", \"skipped\": \"%.256s\"", step->tensor ? step->tensor : "loss");
    return run_log(tuning->run, error,
                   "{\"step\": %" PRIu64 ", \"epoch\": %" PRIu64 ", \"loss\": %s%s, \"compression\": %s, "
                   "\"rate\": %s, \"gradient_norm\": %s%s, \"nt_per_s\": %s}",
                   tuning->state.step, epoch, json_number(loss->loss).text, correct,
                   json_number((double)loss->positions / (double)loss->chunks[0]).text, json_number(rate).text,
                   json_number(step->gradient_norm).text, skipped, json_number((double)loss->positions / seconds).text);
}

static enum ldar_status train_step(struct tuning *tuning, uint64_t epoch, const struct pack *pack,
                                   struct ldar_error *error)
{
    struct tuning_state *state = &tuning->state;
    const double rate = rate_now(tuning), started = seconds_now();
    struct ldar_example_loss loss;
    struct ldar_step step;
    enum ldar_status status = ldar_trainer_begin(tuning->trainer, 1, NULL, NULL, error);
    if (status == LDAR_OK)
        status = ldar_trainer_add_examples(tuning->trainer, &pack->batch, pack->targets, &loss, error);
    if (status == LDAR_OK)
        status = ldar_trainer_step(tuning->trainer, rate, &step, error);
    if (status != LDAR_OK)
        return status;
    state->step++;
    tuning->nucleotides += (double)loss.positions;
    progress_remark("epoch %" PRIu64 "/%" PRIu64 ", loss %.4f", epoch + 1, tuning->plan->epochs, loss.loss);
    status = log_step(tuning, epoch, &loss, &step, rate, seconds_now() - started, error);
    return status == LDAR_OK ? skips_note(&state->skips, state->step, &step, tuning->run->folder, error) : status;
}

/* ---- checkpoints ---- */

/* What the checkpoints of a run must agree on: the examples, in their order. */
static uint64_t data_hash(const struct tuning *tuning)
{
    const struct examples *const parts[] = {&tuning->train, &tuning->valid};
    uint64_t hash = 0;
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
        for (size_t i = 0; i < parts[p]->count; i++) {
            const struct table *table = parts[p]->table;
            const size_t row = parts[p]->row[i];
            const double target = examples_target(parts[p], i);
            hash = mix_bytes(hash, table->ids + table->offsets[row], table->offsets[row + 1] - table->offsets[row]);
            hash = mix_bytes(hash, &target, sizeof target);
        }
    return hash;
}

static enum ldar_status checkpoint(struct tuning *tuning, int background, struct ldar_error *error)
{
    const struct tuning_state *state = &tuning->state;
    char text[STATE_TEXT];
    snprintf(text, sizeof text,
             "{\"step\": %" PRIu64 ", \"updates\": %" PRIu64 ", \"epoch\": %" PRIu64 ", \"best_epoch\": %" PRIu64
             ", \"since_best\": %" PRIu64 ", \"since_halved\": %" PRIu64 ", \"skipped\": %" PRIu64
             ", \"skipped_in_a_row\": %" PRIu64 ", \"best\": \"%a\", \"rate\": \"%a\", \"data\": \"%s\""
             ", \"isa\": \"%s\"}",
             state->step, ldar_trainer_steps(tuning->trainer), state->epoch, state->best_epoch, state->since_best,
             state->since_halved, state->skips.all, state->skips.in_a_row, state->best, state->rate,
             trainer_state_hash(data_hash(tuning)).text, ldar_isa_name(ldar_trainer_isa(tuning->trainer)));
    const enum ldar_status status = run_log_sync(tuning->run, error);
    return status == LDAR_OK
               ? trainer_state_save(tuning->run->checkpoints, tuning->trainer, state->step, text, background, error)
               : status;
}

/* A number that was written with "%a". */
static double state_number(const char *state, const char *key)
{
    char *text = member_string(state, key);
    const double value = text ? strtod(text, NULL) : NAN;
    free(text);
    return value;
}

enum ldar_status tuning_restore(struct tuning *tuning, struct ldar_error *error)
{
    struct ldar_checkpoint found;
    enum ldar_status status = trainer_state_load(tuning->run->checkpoints, tuning->trainer, &found, error);
    if (status != LDAR_OK || found.generation == 0)
        return status;
    if (found.skipped[0])
        say_warning("%s", found.skipped);
    tuning->state = (struct tuning_state){
        .step = found.step,
        .epoch = trainer_state_count(found.state, "epoch"),
        .best_epoch = trainer_state_count(found.state, "best_epoch"),
        .since_best = trainer_state_count(found.state, "since_best"),
        .since_halved = trainer_state_count(found.state, "since_halved"),
        .skips.all = trainer_state_count(found.state, "skipped"),
        .skips.in_a_row = trainer_state_count(found.state, "skipped_in_a_row"),
        .best = state_number(found.state, "best"),
        .rate = state_number(found.state, "rate"),
    };
    trainer_state_compare_isa(tuning->trainer, found.state);
    return trainer_state_check_data(found.state, data_hash(tuning), tuning->run->folder, "the tables", error);
}

/* ---- validation ---- */

static enum ldar_status trainer_scores(void *own, const struct ldar_batch *batch, float *scores,
                                       struct ldar_error *error)
{
    const struct tuning *tuning = own;
    enum ldar_status status = ldar_trainer_scores(tuning->trainer, batch, scores, error);
    if (tuning->kind == LDAR_HEAD_VALUE)
        for (size_t i = 0; i < batch->sequences; i++)
            scores[i] = (float)((double)scores[i] * tuning->scale + tuning->shift);
    return status;
}

static enum ldar_status validate(struct tuning *tuning, struct verdict *verdict, struct ldar_error *error)
{
    const size_t outputs = ldar_model_head(ldar_trainer_weights(tuning->trainer))->outputs;
    const struct scorer scorer = {.scores = trainer_scores,
                                  .own = tuning,
                                  .outputs = outputs,
                                  .batch = SCORED_AT_ONCE,
                                  .both_strands = tuning->plan->both_strands};
    float *scores = malloc(tuning->valid.count * outputs * sizeof *scores);
    if (!scores)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for the scores of %zu sequences", tuning->valid.count);
    enum ldar_status status = scorer_run(&scorer, &tuning->valid, scores, interrupt_noted, &tuning->stopped, error);
    if (status == LDAR_OK && !tuning->stopped)
        status = verdict_of(tuning->kind, outputs, scores, &tuning->valid, verdict, error);
    free(scores);
    return status;
}

/* The weights as they are, whose head gives values in their own unit. */
static enum ldar_status save_model(const struct tuning *tuning, struct ldar_error *error)
{
    char path[RUN_PATH];
    const ldar_model *model = ldar_trainer_weights(tuning->trainer);
    run_path(tuning->run, "model.safetensors", path);
    if (tuning->kind == LDAR_HEAD_CLASSES)
        return ldar_model_save(model, LDAR_F32, path, error);
    struct ldar_head head = *ldar_model_head(model);
    const size_t columns = head.parts * ldar_model_config(model)->stage[0].width;
    float *weight = malloc(columns * sizeof *weight);
    if (!weight)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for the head of the model");
    for (size_t i = 0; i < columns; i++)
        weight[i] = (float)((double)head.weight[i] * tuning->scale);
    const float bias = (float)((double)head.bias[0] * tuning->scale + tuning->shift);
    head.weight = weight;
    head.bias = &bias;
    ldar_model *scaled;
    enum ldar_status status = ldar_model_with_head(model, &head, 0, &scaled, error);
    free(weight);
    if (status != LDAR_OK)
        return status;
    status = ldar_model_save(scaled, LDAR_F32, path, error);
    ldar_model_destroy(scaled);
    return status;
}

/* Takes note of how an epoch did. A merit that is no number, as where the model knows one class alone, is none. */
static enum ldar_status judge(struct tuning *tuning, const struct verdict *verdict, struct ldar_error *error)
{
    struct tuning_state *state = &tuning->state;
    const double merit = verdict_merit(verdict);
    const int better = state->epoch == 0 || merit > state->best;
    enum ldar_status status = better ? save_model(tuning, error) : LDAR_OK;
    state->epoch++;
    state->since_best = better ? 0 : state->since_best + 1;
    state->since_halved = better ? 0 : state->since_halved + 1;
    if (better) {
        state->best = isnan(merit) ? -INFINITY : merit;
        state->best_epoch = state->epoch;
    }
    if (!tuning->plan->anneal && state->since_halved == tuning->plan->halve_after) {
        state->rate /= 2;
        state->since_halved = 0;
    }
    return status;
}

static enum ldar_status end_epoch(struct tuning *tuning, struct ldar_error *error)
{
    struct verdict verdict;
    char members[VERDICT_TEXT], text[VERDICT_TEXT];
    enum ldar_status status = validate(tuning, &verdict, error);
    if (status != LDAR_OK || tuning->stopped)
        return status;
    status = judge(tuning, &verdict, error);
    verdict_json(&verdict, "validation_", members);
    verdict_text(&verdict, text);
    const int best = tuning->state.best_epoch == tuning->state.epoch;
    say_note("epoch %" PRIu64 ": %s%s", tuning->state.epoch, text, best ? ", the best so far" : "");
    if (status == LDAR_OK)
        status = run_log(tuning->run, error, "{\"step\": %" PRIu64 ", \"epoch\": %" PRIu64 ", %s, \"best\": %s}",
                         tuning->state.step, tuning->state.epoch, members, best ? "true" : "false");
    return status;
}

/* ---- the loop ---- */

/* What a training remembers between two checkpoints. */
struct pace {
    uint64_t saved;
    double saved_at;
    double first; /* share of all epochs that was done when this process began */
};

static int checkpoint_due(const struct tuning *tuning, const struct pace *pace)
{
    const uint64_t every = tuning->plan->checkpoint_every;
    if (tuning->state.step == pace->saved)
        return 0;
    return every > 0 ? tuning->state.step % every == 0 : seconds_now() - pace->saved_at >= checkpoint_seconds;
}

/* A disk that is full for a while costs a checkpoint, and not the run. */
static void checkpoint_in_passing(struct tuning *tuning, struct pace *pace)
{
    struct ldar_error error;
    if (checkpoint(tuning, tuning->plan->background, &error) != LDAR_OK)
        say_warning("step %" PRIu64 ": a checkpoint is missing: %s; the run goes on, and the next is tried in its turn",
                    tuning->state.step, error.message);
    pace->saved = tuning->state.step;
    pace->saved_at = seconds_now();
}

static double share_done(const struct tuning *tuning)
{
    return (double)tuning->state.step / ((double)steps_of_epoch(tuning) * (double)tuning->plan->epochs);
}

/* From where the state is to the end of the epoch's steps, or to a signal. */
static enum ldar_status train_epoch(struct tuning *tuning, size_t *order, struct pack *pack, struct pace *pace,
                                    struct ldar_error *error)
{
    const uint64_t epoch = tuning->state.epoch, steps = steps_of_epoch(tuning);
    enum ldar_status status = LDAR_OK;
    shuffle(tuning, epoch, order);
    while (status == LDAR_OK && tuning->state.step < (epoch + 1) * steps) {
        tuning->stopped = interrupt_noted();
        if (tuning->stopped)
            return LDAR_OK;
        if (checkpoint_due(tuning, pace))
            checkpoint_in_passing(tuning, pace);
        status = fill_pack(tuning, epoch, order, tuning->state.step - epoch * steps, pack, error);
        if (status == LDAR_OK)
            status = train_step(tuning, epoch, pack, error);
        progress_update(tuning->nucleotides, (share_done(tuning) - pace->first) / (1 - pace->first));
    }
    return status;
}

static enum ldar_status train(struct tuning *tuning, size_t *order, struct pack *pack, struct pace *pace,
                              struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    while (status == LDAR_OK && !tuning_ended(tuning)) {
        status = train_epoch(tuning, order, pack, pace, error);
        if (status == LDAR_OK && !tuning->stopped)
            status = end_epoch(tuning, error);
        if (status != LDAR_OK || tuning->stopped)
            return status;
    }
    return status;
}

enum ldar_status tuning_run(struct tuning *tuning, struct ldar_error *error)
{
    struct pace pace = {.saved = tuning->state.step, .saved_at = seconds_now(), .first = share_done(tuning)};
    struct pack pack = {0};
    size_t *order = malloc(tuning->train.count * sizeof *order);
    if (!order)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for the order of %zu examples", tuning->train.count);
    enum ldar_status status = train(tuning, order, &pack, &pace, error);
    if (status == LDAR_OK)
        status = ldar_checkpoints_wait(tuning->run->checkpoints, error);
    if (status == LDAR_OK && tuning->state.step > 0)
        status = checkpoint(tuning, 0, error);
    free(order);
    pack_free(&pack);
    return status;
}
