/* SPDX-License-Identifier: Apache-2.0 */
#include "lesson.h"
#include "classifier.h"
#include "frozen.h"
#include "interrupt.h"
#include "logistic.h"
#include "message.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- options ---- */

#define LESSON(field) offsetof(struct lesson_settings, field)

const struct option option_lesson_reference = {
    .name = "reference",
    .letter = 'f',
    .kind = OPTION_TEXT,
    .argument = "REF.fa",
    .place = LESSON(input.genome),
    .help =
        "The genome that tables of intervals are cut from (FASTA, plain or BGZF). Its .fai index is made when absent.",
};

const struct option option_lesson_window = {
    .name = "window",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = LESSON(input.window),
    .initial = "65536",
    .min = 1,
    .max = 1 << 30,
    .help = "The longest sequence that is taken; a longer one is an error.",
};

const struct option option_lesson_freeze = {
    .name = "freeze",
    .kind = OPTION_FLAG,
    .place = LESSON(freeze),
    .help = "Leave the model as it is: its embeddings are computed once, and the head alone is found, by multinomial "
            "logistic regression (of values: ridge regression) with the strength of the penalty that validates best.",
};

const struct option option_lesson_last = {
    .name = "last",
    .kind = OPTION_COUNT,
    .argument = "K",
    .place = LESSON(last),
    .max = 1 << 16,
    .help = "Only the last K blocks learn, and the head; 0: all of them.",
};

const struct option option_lesson_parts = {
    .name = "parts",
    .kind = OPTION_COUNT,
    .argument = "K",
    .place = LESSON(parts),
    .initial = "1",
    .min = 1,
    .max = LDAR_MAX_PARTS,
    .help =
        "The head sees the means of K equal parts of a sequence, and so what stands where; as published, the mean of "
        "all of it. For sequences that are cut around a site, about a part for each nucleotide or for a few.",
};

const struct option option_lesson_epochs = {
    .name = "epochs",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = LESSON(plan.epochs),
    .initial = "100",
    .min = 1,
    .max = 1 << 20,
    .help = "At most this many times over the training examples.",
};

const struct option option_lesson_batch = {
    .name = "batch",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = LESSON(plan.batch),
    .initial = "64",
    .min = 1,
    .max = 1 << 20,
    .help = "Sequences of a step. They are packed without padding.",
};

const struct option option_lesson_rate = {
    .name = "rate",
    .kind = OPTION_DECIMAL,
    .argument = "RATE",
    .place = LESSON(plan.rate),
    .initial = "0.0001",
    .max = 1000,
    .help = "Learning rate of all layers.",
};

const struct option option_lesson_head_rate = {
    .name = "head-rate",
    .kind = OPTION_DECIMAL,
    .argument = "F",
    .place = LESSON(head_rate),
    .initial = "1",
    .max = 1 << 20,
    .help = "The head learns F times as fast.",
};

const struct option option_lesson_decay = {
    .name = "decay",
    .kind = OPTION_DECIMAL,
    .argument = "D",
    .place = LESSON(decay),
    .initial = "0.1",
    .max = 1000,
    .help = "Weight decay, but of biases, norms, A_log, D and dt_bias.",
};

const struct option option_lesson_warmup = {
    .name = "warmup",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = LESSON(plan.warmup),
    .max = 1 << 30,
    .help = "First steps, in which the rate rises from nothing.",
};

const struct option option_lesson_ratio_weight = {
    .name = "ratio-weight",
    .kind = OPTION_DECIMAL,
    .argument = "A",
    .place = LESSON(ratio_weight),
    .max = 1000,
    .help = "Share of the loss that draws the compression to four nucleotides per token, 0.03 in pretraining.",
};

const struct option option_lesson_patience = {
    .name = "patience",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = LESSON(plan.patience),
    .initial = "5",
    .min = 1,
    .max = 1 << 20,
    .help = "Training ends when validation has not risen for N epochs. The best epoch is kept.",
};

const struct option option_lesson_halve_after = {
    .name = "halve-after",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = LESSON(plan.halve_after),
    .initial = "2",
    .min = 1,
    .max = 1 << 20,
    .help = "The rate is halved when validation has not risen for N epochs.",
};

const struct option option_lesson_anneal = {
    .name = "anneal",
    .kind = OPTION_FLAG,
    .place = LESSON(plan.anneal),
    .help = "In place of halving and patience: the rate falls along half a cosine to nothing over the --epochs, all of "
            "which are taken. The best epoch is kept.",
};

const struct option option_lesson_augment = {
    .name = "augment",
    .kind = OPTION_FLAG,
    .place = LESSON(plan.augment),
    .help = "Train on the reverse complement of each example with probability 1/2.",
};

const struct option option_lesson_hide = {
    .name = "hide",
    .kind = OPTION_DECIMAL,
    .argument = "SHARE",
    .place = LESSON(plan.hide),
    .max = 1,
    .help = "Show each nucleotide of a training example as [MASK] with this probability, others in each epoch: against "
            "learning examples by heart.",
};

const struct option option_lesson_both_strands = {
    .name = "both-strands",
    .kind = OPTION_FLAG,
    .place = LESSON(plan.both_strands),
    .help = "Validate and test with the mean score of both strands; predict has the same option.",
};

const struct option option_lesson_checkpoint = {
    .name = "checkpoint-every",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = LESSON(plan.checkpoint_every),
    .min = 1,
    .max = UINT64_C(1) << 40,
    .help = "Steps between two checkpoints (default: as many as take ten minutes).",
};

/* Usage errors where `option` is set, which makes the others meaningless, and one of these is given. */
static enum exit_status check_alone(const struct common *common, int set, const char *option, const char *const *others,
                                    size_t count, const char *why)
{
    for (size_t i = 0; set && i < count; i++)
        if (option_given(common, others[i])) {
            say_error("options --%s and --%s exclude each other: %s", option, others[i], why);
            return EXIT_USAGE;
        }
    return EXIT_DONE;
}

enum exit_status lesson_check(const struct lesson_settings *settings)
{
    static const char *const of_training[] = {
        "last",         "epochs",   "batch",       "rate",   "head-rate", "decay", "warmup",
        "ratio-weight", "patience", "halve-after", "anneal", "augment",   "hide",  "checkpoint-every"};
    static const char *const of_validation[] = {"patience", "halve-after"};
    const struct common *common = &settings->input.common;
    enum exit_status status =
        check_alone(common, settings->freeze, "freeze", of_training, sizeof of_training / sizeof *of_training,
                    "nothing of a frozen model is trained but the head");
    if (status == EXIT_DONE)
        status = check_alone(common, settings->plan.anneal, "anneal", of_validation,
                             sizeof of_validation / sizeof *of_validation, "the rate falls over all epochs");
    if (status != EXIT_DONE)
        return status;
    if (settings->plan.anneal && !option_given(common, "epochs")) {
        say_error("option --anneal: say with --epochs N over how many epochs the rate falls");
        return EXIT_USAGE;
    }
    if (settings->plan.rate == 0 || settings->head_rate == 0) {
        say_error("option --%s: more than 0", settings->plan.rate == 0 ? "rate" : "head-rate");
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

enum ldar_status lesson_check_lengths(const struct lesson_settings *settings, const char *path,
                                      const struct table *table, struct ldar_error *error)
{
    for (size_t i = 0; table->longest > settings->input.window && i < table->count; i++) {
        const size_t length = table->offsets[i + 1] - table->offsets[i];
        if (length > settings->input.window)
            return fail(error, LDAR_ERROR_ARGUMENT,
                        "%s: sequence %zu (%s) has %zu nucleotides, more than the %llu of --window", path, i + 1,
                        table_name(table, i), length, (unsigned long long)settings->input.window);
    }
    return LDAR_OK;
}

/* ---- a model at work ---- */

static enum ldar_status open_classifier(const struct lesson_settings *settings, const ldar_model *model,
                                        struct classifier *classifier, struct ldar_error *error)
{
    const struct ldar_context_options options = context_options(&settings->input.common);
    *classifier = (struct classifier){.head = ldar_model_head(model),
                                      .width = ldar_model_config(model)->stage[0].width,
                                      .parts = (size_t)settings->parts};
    return ldar_context_create(model, &options, &classifier->context, error);
}

static void close_classifier(struct classifier *classifier)
{
    classifier_free(classifier);
    ldar_context_destroy(classifier->context);
}

static enum ldar_status means_as_scores(void *own, const struct ldar_batch *batch, float *means,
                                        struct ldar_error *error)
{
    return classifier_means(own, batch, means, error);
}

size_t lesson_features(const struct lesson_settings *settings, const ldar_model *model)
{
    return (size_t)settings->parts * ldar_model_config(model)->stage[0].width;
}

enum ldar_status lesson_means(const struct lesson_settings *settings, const ldar_model *model,
                              const struct table *table, float **means, struct ldar_error *error)
{
    const size_t features = lesson_features(settings, model);
    struct examples all;
    struct classifier classifier;
    size_t *rows;
    const bool listed = examples_all(table, &all, &rows);
    *means = listed ? malloc(table->count * features * sizeof **means) : NULL;
    enum ldar_status status =
        *means ? open_classifier(settings, model, &classifier, error)
               : fail(error, LDAR_ERROR_MEMORY, "no memory for the embeddings of %zu sequences", table->count);
    if (status == LDAR_OK) {
        const struct scorer scorer = {.scores = means_as_scores,
                                      .own = &classifier,
                                      .outputs = features,
                                      .batch = ldar_context_batch(classifier.context),
                                      .both_strands = settings->plan.both_strands};
        status = scorer_run(&scorer, &all, *means, NULL, NULL, error);
        close_classifier(&classifier);
    }
    free(rows);
    if (status != LDAR_OK) {
        free(*means);
        *means = NULL;
    }
    return status;
}

/* ---- training ---- */

static struct ldar_trainer_options trainer_options(const struct lesson *lesson)
{
    const struct lesson_settings *settings = lesson->settings;
    struct ldar_trainer_options options = {
        .size = sizeof options,
        .context = context_options(&settings->input.common),
        .ratio_weight = settings->ratio_weight > 0 ? settings->ratio_weight : -1,
        .decay = settings->decay > 0 ? settings->decay : -1,
        .outer_rate = 1,
        .examples = 1,
        .head_rate = settings->head_rate,
        .last = (size_t)settings->last,
    };
    options.context.gemm = LDAR_GEMM_AUTO;
    return options;
}

static enum ldar_status make_trainer(const struct lesson *lesson, ldar_trainer **trainer, struct ldar_error *error)
{
    const struct ldar_head head = {.kind = lesson->kind,
                                   .outputs = lesson->outputs,
                                   .names = lesson->names,
                                   .parts = (size_t)lesson->settings->parts};
    const struct ldar_trainer_options options = trainer_options(lesson);
    ldar_model *model;
    enum ldar_status status = ldar_model_with_head(lesson->model, &head, lesson->seed, &model, error);
    if (status != LDAR_OK)
        return status;
    status = ldar_trainer_create(model, &options, trainer, error);
    ldar_model_destroy(model);
    return status;
}

static void say_end(const struct lesson *lesson, const struct tuning *tuning)
{
    struct ldar_profile profile;
    ldar_trainer_profile(tuning->trainer, &profile);
    if (tuning->nucleotides > 0)
        progress_end(tuning->nucleotides);
    say_detail("GEMM %.3f s, scan %.3f s, attention %.3f s, other %.3f s, waiting %.3f s, summed over %d threads; at "
               "most %zu MiB",
               profile.gemm, profile.scan, profile.attention, profile.other, profile.waiting,
               ldar_trainer_threads(tuning->trainer), profile.peak_bytes >> 20);
    if (!tuning->stopped)
        say_note("%s: epoch %llu of %llu was the best", lesson->run->folder,
                 (unsigned long long)tuning->state.best_epoch, (unsigned long long)tuning->state.epoch);
}

static enum ldar_status train(struct lesson *lesson, struct ldar_error *error)
{
    struct tuning_plan plan = lesson->settings->plan;
    plan.rate = lesson->rate;
    plan.seed = lesson->seed;
    plan.background = lesson->settings->input.common.max_memory == 0;
    struct tuning tuning = {.plan = &plan,
                            .run = lesson->run,
                            .train = lesson->train.examples,
                            .valid = lesson->valid.examples,
                            .kind = lesson->kind};
    enum ldar_status status = make_trainer(lesson, &tuning.trainer, error);
    if (status != LDAR_OK)
        return status;
    say_settled(ldar_trainer_isa(tuning.trainer), ldar_trainer_dtype(tuning.trainer),
                (enum ldar_dtype)lesson->settings->input.common.dtype);
    tuning_begin(&tuning);
    if (lesson->begun)
        status = tuning_restore(&tuning, error);
    if (status == LDAR_OK)
        status = run_log_begin(lesson->run, tuning.state.step, error);
    if (status == LDAR_OK && !tuning_ended(&tuning)) {
        progress_begin("nt");
        status = tuning_run(&tuning, error);
    }
    lesson->stopped = tuning.stopped;
    lesson->steps = tuning.state.step;
    if (status == LDAR_OK)
        say_end(lesson, &tuning);
    ldar_trainer_destroy(tuning.trainer);
    return status;
}

/* ---- how long it takes ---- */

/* A batch that is put through the model again and again. */
struct rehearsal_pass {
    ldar_trainer *trainer;
    struct classifier *classifier;
    struct pack pack;
    float *means;
};

static enum ldar_status train_pass(void *own, struct ldar_error *error)
{
    const struct rehearsal_pass *pass = own;
    struct ldar_example_loss loss;
    struct ldar_step step;
    enum ldar_status status = ldar_trainer_begin(pass->trainer, 1, NULL, NULL, error);
    if (status == LDAR_OK)
        status = ldar_trainer_add_examples(pass->trainer, &pass->pack.batch, pass->pack.targets, &loss, error);
    return status == LDAR_OK ? ldar_trainer_step(pass->trainer, 0, &step, error) : status;
}

static enum ldar_status score_pass(void *own, struct ldar_error *error)
{
    const struct rehearsal_pass *pass = own;
    return classifier_means(pass->classifier, &pass->pack.batch, pass->means, error);
}

/* The first examples: as many as a step takes, or, `count` SIZE_MAX, as a batch to be scored holds. */
static enum ldar_status fill_rehearsal(const struct examples *examples, size_t count, size_t nucleotides,
                                       struct pack *pack, struct ldar_error *error)
{
    pack_clear(pack);
    for (size_t i = 0; i < examples->count && i < count; i++) {
        if (i > 0 && pack->batch.offsets[i] >= nucleotides)
            break;
        if (!pack_add(pack, examples, i, STRAND_GIVEN))
            return fail(error, LDAR_ERROR_MEMORY, "no memory for a batch of sequences");
        if (examples->table->kind == TABLE_VALUES)
            pack->targets[i] = 0;
    }
    return LDAR_OK;
}

static enum ldar_status measure_training(const struct lesson *lesson, struct rehearsal_pass *pass,
                                         struct lesson_pace *pace, struct ldar_error *error)
{
    const struct forecast_pass measured = {train_pass, pass};
    double seconds;
    enum ldar_status status =
        fill_rehearsal(&lesson->train.examples, (size_t)lesson->settings->plan.batch, SIZE_MAX, &pass->pack, error);
    if (status == LDAR_OK)
        status = make_trainer(lesson, &pass->trainer, error);
    if (status != LDAR_OK)
        return status;
    status = forecast_seconds(&measured, &seconds, error);
    if (status == LDAR_OK)
        pace->training = (double)pass->pack.batch.offsets[pass->pack.batch.sequences] / seconds;
    ldar_trainer_destroy(pass->trainer);
    return status;
}

static enum ldar_status measure_scoring(const struct lesson *lesson, struct rehearsal_pass *pass,
                                        struct lesson_pace *pace, struct ldar_error *error)
{
    const struct forecast_pass measured = {score_pass, pass};
    struct classifier classifier;
    double seconds;
    enum ldar_status status = open_classifier(lesson->settings, lesson->model, &classifier, error);
    if (status != LDAR_OK)
        return status;
    pass->classifier = &classifier;
    status =
        fill_rehearsal(&lesson->train.examples, SIZE_MAX, ldar_context_batch(classifier.context), &pass->pack, error);
    if (status == LDAR_OK) {
        pass->means =
            malloc(pass->pack.batch.sequences * lesson_features(lesson->settings, lesson->model) * sizeof *pass->means);
        status = pass->means ? forecast_seconds(&measured, &seconds, error)
                             : fail(error, LDAR_ERROR_MEMORY, "no memory for a batch of sequences");
    }
    if (status == LDAR_OK)
        pace->scoring = (double)pass->pack.batch.offsets[pass->pack.batch.sequences] / seconds;
    free(pass->means);
    close_classifier(&classifier);
    return status;
}

struct fitting_pass {
    logistic_solver *solver;
    double *variables, *gradient;
};

static enum ldar_status fit_pass(void *own, struct ldar_error *error)
{
    const struct fitting_pass *pass = own;
    (void)error;
    (void)logistic_objective(pass->solver, pass->variables, pass->gradient);
    return LDAR_OK;
}

/* Of some examples without a feature, which take as long as any. */
static enum ldar_status measure_fitting(const struct lesson *lesson, struct lesson_pace *pace, struct ldar_error *error)
{
    enum { SOME = 1024 };
    const size_t all = lesson->train.examples.count, count = all < SOME ? all : SOME;
    const size_t width = lesson_features(lesson->settings, lesson->model);
    const size_t variables = lesson->outputs * (width + 1);
    const int classes = lesson->kind == LDAR_HEAD_CLASSES;
    float *features = calloc(count, width * sizeof *features);
    uint32_t *labels = calloc(count, sizeof *labels);
    double *values = calloc(count, sizeof *values);
    struct fitting_pass pass = {.variables = calloc(variables, sizeof *pass.variables),
                                .gradient = calloc(variables, sizeof *pass.gradient)};
    const struct forecast_pass measured = {fit_pass, &pass};
    const struct logistic_problem problem = {.features = features,
                                             .labels = classes ? labels : NULL,
                                             .values = classes ? NULL : values,
                                             .count = count,
                                             .width = width,
                                             .classes = lesson->outputs};
    const int there = features && labels && values && pass.variables && pass.gradient;
    double seconds;
    pass.solver = there ? logistic_begin(&problem, 1) : NULL;
    const enum ldar_status status = pass.solver ? forecast_seconds(&measured, &seconds, error)
                                                : fail(error, LDAR_ERROR_MEMORY, "no memory for a linear head");
    if (status == LDAR_OK)
        pace->fitting = FROZEN_EVALUATIONS * seconds / (double)count;
    logistic_end(pass.solver);
    free(features);
    free(labels);
    free(values);
    free(pass.variables);
    free(pass.gradient);
    return status;
}

enum ldar_status lesson_measure(const struct lesson *lesson, struct lesson_pace *pace, struct ldar_error *error)
{
    struct rehearsal_pass pass = {0};
    *pace = (struct lesson_pace){0};
    enum ldar_status status = lesson->settings->freeze ? LDAR_OK : measure_training(lesson, &pass, pace, error);
    if (status == LDAR_OK)
        status = measure_scoring(lesson, &pass, pace, error);
    if (status == LDAR_OK && lesson->settings->freeze)
        status = measure_fitting(lesson, pace, error);
    pack_free(&pass.pack);
    return status;
}

void lesson_foretell(const struct lesson *lesson, const struct lesson_pace *pace, size_t embedded,
                     struct forecast *forecast)
{
    const struct tuning_plan *plan = &lesson->settings->plan;
    const struct examples *train = &lesson->train.examples, *valid = &lesson->valid.examples,
                          *test = &lesson->test.examples;
    const struct ldar_config *config = ldar_model_config(lesson->model);
    const double strands = plan->both_strands ? 2 : 1, epochs = lesson->settings->freeze ? 0 : (double)plan->epochs;
    const size_t learned = examples_nucleotides(train), chosen_by = examples_nucleotides(valid),
                 tested = examples_nucleotides(test);
    const double scored = strands * (epochs * (double)chosen_by + (double)tested + (double)embedded);
    const double trained = epochs * (double)learned;
    const size_t length = learned / train->count;
    forecast->records += train->count + valid->count + test->count;
    forecast->bases += learned + chosen_by + tested;
    forecast->windows++;
    forecast->computed += scored + trained;
    forecast->flop += scored * ldar_forward_flops(config, length, 4) + trained * ldar_training_flops(config, length, 4);
    forecast->seconds +=
        scored / pace->scoring + (trained > 0 ? trained / pace->training : 0) + (double)train->count * pace->fitting;
    forecast->passes = forecast->computed / (double)forecast->bases;
    forecast->rate = forecast->computed / forecast->seconds;
    /*
     * The passes that were measured had all the memory that they need, but for what is kept of each sequence, once for
     * all lessons and once for this one.
     */
    const size_t features = lesson->settings->freeze ? lesson_features(lesson->settings, lesson->model) : 0;
    const double means = (double)(2 * (train->count + valid->count) + test->count) * (double)features * sizeof(float);
    forecast->memory = fmax(forecast->memory, forecast_resident() + means);
    forecast->output = -1;
}

/* ---- the test ---- */

static enum ldar_status score_with(const struct lesson *lesson, const ldar_model *model,
                                   const struct examples *examples, struct verdict *verdict, struct ldar_error *error)
{
    struct classifier classifier;
    enum ldar_status status = open_classifier(lesson->settings, model, &classifier, error);
    if (status != LDAR_OK)
        return status;
    const struct scorer scorer = {.scores = classifier_scores,
                                  .own = &classifier,
                                  .outputs = lesson->outputs,
                                  .batch = ldar_context_batch(classifier.context),
                                  .both_strands = lesson->settings->plan.both_strands};
    float *scores = malloc(examples->count * lesson->outputs * sizeof *scores);
    status = scores ? scorer_run(&scorer, examples, scores, NULL, NULL, error)
                    : fail(error, LDAR_ERROR_MEMORY, "no memory for the scores of %zu sequences", examples->count);
    if (status == LDAR_OK)
        status = verdict_of(lesson->kind, lesson->outputs, scores, examples, verdict, error);
    free(scores);
    close_classifier(&classifier);
    return status;
}

/* What made the result: the model that the lesson began with, and the classifier that came of it. */
static enum ldar_status write_result(const struct lesson *lesson, const ldar_model *classifier,
                                     struct ldar_error *error)
{
    char path[RUN_PATH], more[512];
    struct ldar_model_info base, made;
    ldar_model_describe(lesson->model, &base);
    ldar_model_describe(classifier, &made);
    const struct common *common = &lesson->settings->input.common;
    const struct provenance provenance = {ldar_version(), common->command_line, common->model, base.sha256};
    snprintf(more, sizeof more, "%.256s, \"classifier_sha256\": \"%s\"", lesson->more, made.sha256);
    return verdict_write(&lesson->result, run_path(lesson->run, "test_results.json", path), more, &provenance, error);
}

/* The model of the best epoch, as predict would read it. */
static enum ldar_status test(struct lesson *lesson, struct ldar_error *error)
{
    char path[RUN_PATH], text[VERDICT_TEXT];
    ldar_model *model;
    enum ldar_status status = ldar_model_load(run_path(lesson->run, "model.safetensors", path), &model, error);
    if (status != LDAR_OK)
        return status;
    status = score_with(lesson, model, &lesson->test.examples, &lesson->result, error);
    if (status == LDAR_OK)
        status = write_result(lesson, model, error);
    if (status == LDAR_OK) {
        verdict_text(&lesson->result, text);
        say_note("test: %s", text);
    }
    ldar_model_destroy(model);
    return status;
}

enum ldar_status lesson_give(struct lesson *lesson, struct ldar_error *error)
{
    enum ldar_status status = lesson->settings->freeze ? frozen_train(lesson, error) : train(lesson, error);
    const int tested = !lesson->stopped && lesson->test.examples.count > 0;
    return status == LDAR_OK && tested ? test(lesson, error) : status;
}
