/* SPDX-License-Identifier: Apache-2.0 */
#include "pretrain.h"
#include "forecast.h"
#include "interrupt.h"
#include "message.h"
#include "report.h"

#include "formats/number.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLLAPSED_STEPS = 200, STATE_TEXT = 512 };

static const double compression_least = 1.05, compression_most = 50;
static const double checkpoint_seconds = 600; /* what a crash may cost where nobody said otherwise */

/* ---- batches ---- */

/* The sequences of a micro-batch, and what was found for each that this process and the others have computed. */
struct work {
    struct ldar_batch batch;
    uint8_t *ids, *labels;
    size_t *offsets;
    struct ldar_loss *own, *all; /* (share), (ranks, share) */
    size_t share;
};

static void work_free(struct work *work)
{
    free(work->ids);
    free(work->labels);
    free(work->offsets);
    free(work->own);
    free(work->all);
}

static size_t shares(size_t count, size_t size)
{
    return (count + size - 1) / size;
}

static enum ldar_status work_make(const struct pretraining *training, struct work *work, struct ldar_error *error)
{
    const struct pretrain *settings = training->settings;
    const size_t count = (size_t)settings->batch * (size_t)settings->window, ranks = ldar_peers_ranks(training->peers);
    const size_t tests = shares(corpus_summary(training->corpus).validation, (size_t)settings->batch);
    const size_t most = tests > settings->accumulate ? tests : (size_t)settings->accumulate;
    *work = (struct work){.ids = malloc(count), .labels = malloc(count), .share = shares(most, ranks)};
    work->offsets = malloc(((size_t)settings->batch + 1) * sizeof *work->offsets);
    work->own = calloc(work->share, sizeof *work->own);
    work->all = calloc(work->share * ranks, sizeof *work->all);
    if (!work->ids || !work->labels || !work->offsets || !work->own || !work->all) {
        work_free(work);
        return fail(error, LDAR_ERROR_MEMORY, "no memory for a batch of %zu nucleotides", count);
    }
    work->offsets[0] = 0;
    return LDAR_OK;
}

static void work_begin(struct work *work)
{
    work->batch = (struct ldar_batch){work->ids, work->offsets, 0};
}

/* Masks the `count` nucleotides that stand behind the last sequence, and makes them one. */
static void work_add(struct work *work, size_t count, double rate, uint64_t seed, uint64_t step, uint64_t sample)
{
    const size_t at = work->offsets[work->batch.sequences];
    ldar_mask(work->ids + at, work->labels + at, count, rate, seed, step, sample);
    work->offsets[++work->batch.sequences] = at + count;
}

/* ---- sums ---- */

struct sums {
    double loss, mlm, ratio;                     /* of micro-batches */
    double cross_entropy;                        /* of labelled positions */
    double positions, labelled, correct, chunks; /* of the outermost stage */
    size_t batches;
};

static void add_loss(struct sums *sums, const struct ldar_loss *loss)
{
    sums->loss += loss->loss;
    sums->mlm += loss->mlm;
    sums->ratio += loss->ratio;
    sums->cross_entropy += loss->mlm * (double)loss->labelled;
    sums->positions += (double)loss->positions;
    sums->labelled += (double)loss->labelled;
    sums->correct += (double)loss->correct;
    sums->chunks += (double)loss->chunks[0];
    sums->batches++;
}

static double compression(const struct sums *sums)
{
    return sums->chunks > 0 ? sums->positions / sums->chunks : NAN;
}

/* ---- a step ---- */

/* The i-th micro-batch of a step. Masks of step 0 are those of validation. */
static void draw(const struct pretraining *training, uint64_t i, struct work *work)
{
    const struct pretrain *settings = training->settings;
    const uint64_t seed = settings->common.seed, step = training->state.step;
    work_begin(work);
    for (uint64_t s = 0; s < settings->batch; s++) {
        const uint64_t sample = i * settings->batch + s;
        const size_t count =
            corpus_draw(training->corpus, seed, step, sample, work->ids + work->offsets[work->batch.sequences]);
        work_add(work, count, settings->mask, seed, step + 1, sample);
    }
}

/* What all processes have found, in work->all. */
static enum ldar_status share_losses(const struct pretraining *training, struct work *work, struct ldar_error *error)
{
    return ldar_peers_gather(training->peers, work->own, work->share * sizeof *work->own, work->all, error);
}

/* In the order of batches, so that sums are the same for any number of processes. */
static void add_losses(const struct pretraining *training, const struct work *work, struct sums *sums)
{
    const size_t ranks = ldar_peers_ranks(training->peers), batches = (size_t)training->settings->accumulate;
    for (size_t r = 0; r < ranks; r++)
        for (size_t i = 0; i < (r + 1) * batches / ranks - r * batches / ranks; i++)
            add_loss(sums, &work->all[r * work->share + i]);
}

/* Processes that work together finish what they have begun; one that is alone can leave at once. */
static int leaves(const struct pretraining *training)
{
    return !training->peers && interrupt_noted();
}

/* A step that a signal breaks off leaves no trace: *done is then 0. */
static enum ldar_status compute_step(struct pretraining *training, struct work *work, double rate, struct sums *sums,
                                     struct ldar_step *step, int *done, struct ldar_error *error)
{
    const struct pretrain *settings = training->settings;
    size_t first, count;
    enum ldar_status status =
        ldar_trainer_begin(training->trainer, (size_t)settings->accumulate, &first, &count, error);
    *done = 0;
    for (size_t i = first; i < first + count && status == LDAR_OK; i++) {
        if (leaves(training))
            return LDAR_OK;
        draw(training, i, work);
        status = ldar_trainer_add(training->trainer, &work->batch, work->labels, &training->boundaries,
                                  &work->own[i - first], error);
    }
    if (status == LDAR_OK)
        status = ldar_trainer_step(training->trainer, rate, step, error);
    if (status == LDAR_OK)
        status = share_losses(training, work, error);
    if (status == LDAR_OK)
        add_losses(training, work, sums);
    *done = status == LDAR_OK;
    return status;
}

static enum ldar_status log_step(struct pretraining *training, const struct sums *sums, const struct ldar_step *step,
                                 double rate, double seconds, struct ldar_error *error)
{
    const double batches = (double)sums->batches;
    char skipped[300] = "";
    if (step->skipped)
        snprintf(skipped, sizeof skipped, ", \"skipped\": \"%.256s\"", step->tensor ? step->tensor : "loss");
    return run_log(training->run, error,
                   "{\"step\": %" PRIu64 ", \"loss\": %s, \"mlm\": %s, \"ratio_loss\": %s, \"compression\": %s, "
                   "\"rate\": %s, \"gradient_norm\": %s%s, \"nt_per_s\": %s}",
                   training->state.step, json_number(sums->loss / batches).text, json_number(sums->mlm / batches).text,
                   json_number(sums->ratio / batches).text, json_number(compression(sums)).text, json_number(rate).text,
                   json_number(step->gradient_norm).text, skipped, json_number(sums->positions / seconds).text);
}

static enum ldar_status guard_step(struct pretraining *training, const struct ldar_step *step, struct ldar_error *error)
{
    struct pretrain_state *state = &training->state;
    const enum ldar_status status = skips_note(&state->skips, state->step, step, training->run->folder, error);
    training->agreed = status != LDAR_OK;
    return status;
}

static void guard_compression(struct pretraining *training, double value)
{
    struct pretrain_state *state = &training->state;
    const int odd = value < compression_least || value > compression_most;
    state->collapsed = odd && training->boundaries.every == 0 ? state->collapsed + 1 : 0;
    if (state->collapsed == COLLAPSED_STEPS)
        say_warning("for %d steps a token has had %.3g nucleotides: the router has collapsed; a lower --rate, another "
                    "--ratio, or --boundaries every:4 helps",
                    COLLAPSED_STEPS, value);
}

static enum ldar_status train_step(struct pretraining *training, struct work *work, double *nucleotides,
                                   struct ldar_error *error)
{
    const struct pretrain *settings = training->settings;
    struct pretrain_state *state = &training->state;
    const double rate =
        settings->rate * ldar_schedule(state->step, settings->steps, settings->warmup_steps, settings->decay_steps);
    const double started = seconds_now();
    struct sums sums = {0};
    struct ldar_step step;
    int done;
    enum ldar_status status = compute_step(training, work, rate, &sums, &step, &done, error);
    if (status != LDAR_OK || !done)
        return status;
    state->step++;
    *nucleotides += sums.positions;
    progress_remark("step %" PRIu64 "/%" PRIu64 ", loss %.4f, %.2f nt/token", state->step, settings->steps,
                    sums.mlm / (double)sums.batches, compression(&sums));
    if (ranks_first(training->peers))
        status = log_step(training, &sums, &step, rate, seconds_now() - started, error);
    guard_compression(training, compression(&sums));
    return status == LDAR_OK ? guard_step(training, &step, error) : status;
}

/* ---- validation ---- */

static int validation_due(const struct pretraining *training)
{
    const struct pretrain_state *state = &training->state;
    const uint64_t every = training->settings->validate_every;
    return corpus_summary(training->corpus).validation > 0 && state->step > 0 && state->validated != state->step
           && (state->step % every == 0 || state->step == training->settings->steps);
}

static enum ldar_status sum_validation(struct pretraining *training, struct work *work, struct sums *sums,
                                       struct ldar_error *error)
{
    const struct pretrain *settings = training->settings;
    const size_t windows = corpus_summary(training->corpus).validation, size = (size_t)settings->batch;
    const size_t ranks = ldar_peers_ranks(training->peers), batches = shares(windows, size);
    enum ldar_status status = LDAR_OK;
    for (size_t b = ldar_peers_rank(training->peers); b < batches && status == LDAR_OK && !leaves(training);
         b += ranks) {
        work_begin(work);
        for (size_t i = b * size; i < windows && i < (b + 1) * size; i++) {
            uint8_t *ids = work->ids + work->offsets[work->batch.sequences];
            work_add(work, corpus_validation(training->corpus, i, ids), settings->mask, settings->common.seed, 0, i);
        }
        status = ldar_trainer_evaluate(training->trainer, &work->batch, work->labels, &training->boundaries,
                                       &work->own[b / ranks], error);
    }
    if (status == LDAR_OK)
        status = share_losses(training, work, error);
    for (size_t b = 0; b < batches && status == LDAR_OK; b++)
        add_loss(sums, &work->all[b % ranks * work->share + b / ranks]);
    return status;
}

static enum ldar_status write_report(const struct pretraining *training, struct ldar_error *error)
{
    char log[RUN_PATH], page[RUN_PATH];
    const char *name = strrchr(training->run->folder, '/');
    return report_write(REPORT_PRETRAINING, run_path(training->run, "log.jsonl", log),
                        run_path(training->run, "report.html", page),
                        name && name[1] ? name + 1 : training->run->folder, training->settings->common.command_line,
                        training->settings->steps, error);
}

static enum ldar_status validate(struct pretraining *training, struct work *work, struct ldar_error *error)
{
    struct pretrain_state *state = &training->state;
    struct sums sums = {0};
    enum ldar_status status = sum_validation(training, work, &sums, error);
    if (status != LDAR_OK || leaves(training))
        return status;
    const double loss = sums.cross_entropy / sums.labelled, accuracy = sums.correct / sums.labelled;
    state->validated = state->step;
    say_note("step %" PRIu64 ": validation loss %.4f, accuracy %.4f, %.2f nt/token", state->step, loss, accuracy,
             compression(&sums));
    if (!ranks_first(training->peers))
        return LDAR_OK;
    status = run_log(training->run, error,
                     "{\"step\": %" PRIu64 ", \"validation_loss\": %s, \"validation_accuracy\": %s, "
                     "\"validation_compression\": %s, \"validation_positions\": %.0f}",
                     state->step, json_number(loss).text, json_number(accuracy).text,
                     json_number(compression(&sums)).text, sums.labelled);
    return status == LDAR_OK ? write_report(training, error) : status;
}

/* ---- checkpoints ---- */

static void format_state(const struct pretraining *training, char text[STATE_TEXT])
{
    const struct pretrain_state *state = &training->state;
    snprintf(text, STATE_TEXT,
             "{\"step\": %" PRIu64 ", \"updates\": %" PRIu64 ", \"skipped\": %" PRIu64
             ", \"skipped_in_a_row\": %" PRIu64 ", \"collapsed\": %" PRIu64 ", \"validated\": %" PRIu64
             ", \"data\": \"%s\", \"isa\": \"%s\"}",
             state->step, ldar_trainer_steps(training->trainer), state->skips.all, state->skips.in_a_row,
             state->collapsed, state->validated, trainer_state_hash(corpus_summary(training->corpus).hash).text,
             ldar_isa_name(ldar_trainer_isa(training->trainer)));
}

static enum ldar_status save_state(struct pretraining *training, int background, struct ldar_error *error)
{
    char state[STATE_TEXT];
    format_state(training, state);
    return trainer_state_save(training->run->checkpoints, training->trainer, training->state.step, state, background,
                              error);
}

static enum ldar_status save_model(const struct pretraining *training, struct ldar_error *error)
{
    char path[RUN_PATH];
    return ldar_model_save(ldar_trainer_weights(training->trainer), LDAR_F32,
                           run_path(training->run, "model.safetensors", path), error);
}

/*
 * The state, and the weights as a model. The log is durable first: a state never knows of steps that the log has lost.
 * Without --max-memory there is room for a copy, and training does not wait for the disk.
 */
static enum ldar_status checkpoint(struct pretraining *training, int last, struct ldar_error *error)
{
    const int background = !last && training->settings->common.max_memory == 0;
    enum ldar_status status = run_log_sync(training->run, error);
    if (status == LDAR_OK)
        status = save_state(training, background, error);
    if (status == LDAR_OK && last)
        status = ldar_checkpoints_wait(training->run->checkpoints, error);
    return status == LDAR_OK ? save_model(training, error) : status;
}

enum ldar_status pretrain_restore(struct pretraining *training, struct ldar_error *error)
{
    struct ldar_checkpoint found;
    const enum ldar_status status = trainer_state_load(training->run->checkpoints, training->trainer, &found, error);
    if (status != LDAR_OK || found.generation == 0)
        return status;
    training->state = (struct pretrain_state){
        .step = found.step,
        .updates = trainer_state_count(found.state, "updates"),
        .skips.all = trainer_state_count(found.state, "skipped"),
        .skips.in_a_row = trainer_state_count(found.state, "skipped_in_a_row"),
        .collapsed = trainer_state_count(found.state, "collapsed"),
        .validated = trainer_state_count(found.state, "validated"),
    };
    trainer_state_compare_isa(training->trainer, found.state);
    return trainer_state_check_data(found.state, corpus_summary(training->corpus).hash, training->run->folder,
                                    "the genomes or BED files", error);
}

/* ---- the run ---- */

/* What a run remembers between two checkpoints. */
struct pace {
    uint64_t saved, saved_validated; /* of the last checkpoint */
    double saved_at;
    uint64_t first;     /* step that this process began with */
    double nucleotides; /* that it has trained on */
};

static int checkpoint_due(const struct pretraining *training, const struct pace *pace)
{
    const uint64_t every = training->settings->checkpoint_every;
    if (!ranks_first(training->peers) || training->state.step == pace->saved
        || training->state.step == training->settings->steps)
        return 0;
    return every > 0 ? training->state.step % every == 0 : seconds_now() - pace->saved_at >= checkpoint_seconds;
}

/* A disk that is full for a while costs a checkpoint, and not the run. */
static void checkpoint_in_passing(struct pretraining *training, struct pace *pace)
{
    struct ldar_error error;
    if (checkpoint(training, 0, &error) != LDAR_OK)
        say_warning("step %" PRIu64 ": a checkpoint is missing: %s; the run goes on, and the next is tried in its turn",
                    training->state.step, error.message);
    pace->saved = training->state.step;
    pace->saved_validated = training->state.validated;
    pace->saved_at = seconds_now();
}

static enum ldar_status train(struct pretraining *training, struct work *work, struct pace *pace,
                              struct ldar_error *error)
{
    const uint64_t steps = training->settings->steps;
    enum ldar_status status = LDAR_OK;
    for (;;) {
        if (validation_due(training))
            status = validate(training, work, error);
        if (status == LDAR_OK)
            status = ranks_signal(training->peers, &training->stopped, error);
        if (status != LDAR_OK || training->stopped || training->state.step == steps)
            return status;
        if (checkpoint_due(training, pace))
            checkpoint_in_passing(training, pace);
        status = train_step(training, work, &pace->nucleotides, error);
        if (status != LDAR_OK)
            return status;
        progress_update(pace->nucleotides,
                        (double)(training->state.step - pace->first) / (double)(steps - pace->first));
    }
}

/* The last checkpoint of this process, and what else a reader of the folder expects. */
static enum ldar_status finish(struct pretraining *training, const struct pace *pace, struct ldar_error *error)
{
    const struct pretrain_state *state = &training->state;
    enum ldar_status status = ldar_checkpoints_wait(training->run->checkpoints, error);
    if (state->step == 0)
        return status;
    if (status != LDAR_OK || state->step != pace->saved || state->validated != pace->saved_validated)
        status = checkpoint(training, 1, error);
    else
        status = save_model(training, error);
    return status == LDAR_OK ? write_report(training, error) : status;
}

static void say_end(const struct pretraining *training, const struct pace *pace)
{
    const struct pretrain_state *state = &training->state;
    const char *folder = training->run->folder;
    struct ldar_profile profile;
    ldar_trainer_profile(training->trainer, &profile);
    if (state->step > pace->first)
        progress_end(pace->nucleotides);
    say_detail("GEMM %.3f s, scan %.3f s, attention %.3f s, other %.3f s, waiting %.3f s, summed over %d threads; at "
               "most %zu MiB",
               profile.gemm, profile.scan, profile.attention, profile.other, profile.waiting,
               ldar_trainer_threads(training->trainer), profile.peak_bytes >> 20);
    if (state->step == training->settings->steps)
        say_note("wrote %s/model.safetensors and %s/report.html", folder, folder);
    else
        say_note("stopped after step %" PRIu64 " of %" PRIu64 "; this goes on: ldar pretrain --resume %s", state->step,
                 training->settings->steps, folder);
}

enum exit_status pretrain_run(struct pretraining *training)
{
    struct pace pace = {.saved = training->state.step,
                        .saved_validated = training->state.validated,
                        .saved_at = seconds_now(),
                        .first = training->state.step};
    struct ldar_error error;
    struct work work;
    const int first = ranks_first(training->peers);
    enum ldar_status status = work_make(training, &work, &error);
    if (status != LDAR_OK)
        return failed(&error);
    if (first)
        status = run_log_begin(training->run, training->state.step, &error);
    if (status == LDAR_OK) {
        progress_begin("nt");
        status = train(training, &work, &pace, &error);
    }
    work_free(&work);
    if (status == LDAR_OK && first)
        status = finish(training, &pace, &error);
    if (status != LDAR_OK)
        return training->agreed && !first ? EXIT_FAILED : failed(&error);
    if (first)
        say_end(training, &pace);
    return EXIT_DONE;
}

/* ---- what a run will take ---- */

/* The first micro-batch as a step of its own, or without a gradient as in validation: forecast_seconds repeats them. */
struct rehearsal {
    struct pretraining *training;
    struct work *work;
    double stepping; /* seconds of the last step's end: those of the optimiser */
};

static enum ldar_status rehearse_step(void *own, struct ldar_error *error)
{
    struct rehearsal *rehearsal = own;
    struct pretraining *training = rehearsal->training;
    struct ldar_step step;
    enum ldar_status status = ldar_trainer_begin(training->trainer, 1, NULL, NULL, error);
    draw(training, 0, rehearsal->work);
    if (status == LDAR_OK)
        status = ldar_trainer_add(training->trainer, &rehearsal->work->batch, rehearsal->work->labels,
                                  &training->boundaries, rehearsal->work->own, error);
    const double started = seconds_now();
    if (status == LDAR_OK)
        status = ldar_trainer_step(training->trainer, training->settings->rate, &step, error);
    rehearsal->stepping = seconds_now() - started;
    return status;
}

static enum ldar_status rehearse_validation(void *own, struct ldar_error *error)
{
    const struct rehearsal *rehearsal = own;
    return ldar_trainer_evaluate(rehearsal->training->trainer, &rehearsal->work->batch, rehearsal->work->labels,
                                 &rehearsal->training->boundaries, rehearsal->work->own, error);
}

/* What a nucleotide takes, in seconds, and what the end of a step does. */
struct costs {
    double training, stepping, validation;
};

/*
 * An untrained router makes more tokens than the one that training draws to the ratio within its first hundred steps:
 * its batch tells what memory is needed, and batches with the tokens of the ratio tell the time.
 */
static enum ldar_status measure(struct pretraining *training, struct work *work, double ratio, struct costs *costs,
                                struct ldar_error *error)
{
    struct rehearsal rehearsal = {training, work, 0};
    const struct forecast_pass step = {rehearse_step, &rehearsal}, validation = {rehearse_validation, &rehearsal};
    double seconds = 0;
    enum ldar_status status = rehearse_step(&rehearsal, error);
    if (training->boundaries.every == 0)
        training->boundaries.every = (size_t)(ratio + 0.5);
    if (status == LDAR_OK)
        status = forecast_seconds(&step, &seconds, error);
    const double nucleotides = (double)work->offsets[work->batch.sequences];
    costs->stepping = rehearsal.stepping;
    costs->training = (seconds - rehearsal.stepping) / nucleotides;
    if (status == LDAR_OK && corpus_summary(training->corpus).validation > 0) {
        status = forecast_seconds(&validation, &seconds, error);
        costs->validation = seconds / nucleotides;
    }
    return status;
}

/* Nucleotides of the windows that validate. */
static double validation_nucleotides(const struct pretraining *training, struct work *work)
{
    const size_t windows = corpus_summary(training->corpus).validation;
    double sum = 0;
    for (size_t i = 0; i < windows; i++)
        sum += (double)corpus_validation(training->corpus, i, work->ids);
    return sum;
}

/* Bytes of RUN: the weights, as many checkpoints as are kept, and the log. */
static double run_bytes(const struct pretrain *settings, double seconds, double weights)
{
    enum { KEPT = 3, LOG_LINE = 185 }; /* generations (ldar/checkpoint.h); bytes of a step in log.jsonl, about */
    const double saves = settings->checkpoint_every > 0
                             ? ceil((double)settings->steps / (double)settings->checkpoint_every)
                             : 1 + floor(seconds / checkpoint_seconds);
    return weights + 3 * weights * fmin(saves, KEPT) + LOG_LINE * (double)settings->steps;
}

/* Nucleotides of a token, as training draws them to. */
static double ratio_of(const struct pretrain *settings)
{
    enum { PUBLISHED = 4 };
    if (settings->every > 0)
        return (double)settings->every;
    return settings->ratio > 0 ? settings->ratio : PUBLISHED;
}

enum ldar_status pretrain_foretell(struct pretraining *training, struct ldar_error *error)
{
    const struct pretrain *settings = training->settings;
    const double ratio = ratio_of(settings);
    const struct corpus_summary summary = corpus_summary(training->corpus);
    struct ldar_model_info info;
    struct costs costs = {0};
    struct work work;
    ldar_model_describe(ldar_trainer_weights(training->trainer), &info);
    enum ldar_status status = work_make(training, &work, error);
    if (status != LDAR_OK)
        return status;
    status = measure(training, &work, ratio, &costs, error);
    const double length = summary.mean_window, steps = (double)settings->steps;
    const double drawn = steps * (double)(settings->accumulate * settings->batch);
    const double validations = summary.validation > 0 ? ceil(steps / (double)settings->validate_every) : 0;
    const double trained = drawn * length, validated = validations * validation_nucleotides(training, &work);
    work_free(&work);
    if (status != LDAR_OK)
        return status;
    const double seconds = trained * costs.training + steps * costs.stepping + validated * costs.validation;
    const double weights = (double)info.parameters * sizeof(float);
    /* A checkpoint before the last is written from a copy, unless memory is limited. */
    const int in_passing =
        settings->checkpoint_every > 0 ? settings->checkpoint_every < settings->steps : seconds > checkpoint_seconds;
    const double copy = in_passing && settings->common.max_memory == 0 ? 3 * weights : 0;
    const struct forecast forecast = {
        .records = summary.records,
        .bases = summary.trained,
        .windows = (uint64_t)fmin(drawn + validations * (double)summary.validation, 1e18), /* --steps has no end */
        .computed = trained + validated,
        .passes = trained / (double)summary.trained,
        .flop = trained * ldar_training_flops(&info.config, (size_t)length, ratio)
                + validated * ldar_forward_flops(&info.config, (size_t)length, ratio),
        .rate = (trained + validated) / seconds,
        .seconds = seconds,
        .memory = forecast_resident() + copy,
        .output = run_bytes(settings, seconds, weights),
    };
    forecast_print(&forecast);
    return LDAR_OK;
}
