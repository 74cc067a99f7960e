/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "configuration.h"
#include "interrupt.h"
#include "message.h"
#include "pretrain.h"

#include <math.h>
#include <string.h>

/* ---- options that have a meaning of their own ---- */

static enum exit_status refuse(const char *option, const char *why)
{
    say_error("option --%s: %s", option, why);
    return EXIT_USAGE;
}

/* A share of the steps when below 1, else a number of them; 0 when it is neither. */
static int steps_of(double value, uint64_t steps, uint64_t *count)
{
    *count = (uint64_t)(value < 1 ? value * (double)steps + 0.5 : value);
    return value < 1 || (value == floor(value) && value <= (double)steps);
}

static enum exit_status check_values(struct pretrain *settings)
{
    if (!steps_of(settings->warmup, settings->steps, &settings->warmup_steps))
        return refuse("warmup", "a share of the steps below 1, or a whole number of them");
    if (!steps_of(settings->decay, settings->steps, &settings->decay_steps))
        return refuse("decay-steps", "a share of the steps below 1, or a whole number of them");
    if (!boundaries_parse(settings->boundaries, &settings->every))
        return EXIT_USAGE;
    if (option_given(&settings->common, "ratio") && !(settings->ratio > 1))
        return refuse("ratio", "more than 1 nucleotide per token");
    if (settings->mask > 1 || settings->mask == 0)
        return refuse("mask", "a share of the nucleotides above 0, at most 1");
    if (settings->rate == 0)
        return refuse("rate", "more than 0");
    return EXIT_DONE;
}

static enum exit_status check_new(struct pretrain *settings)
{
    const struct common *common = &settings->common;
    const int sources = option_given(common, "preset") + (settings->config != NULL) + (common->model != NULL);
    if (sources != 1) {
        say_error("name what to train: --preset 110m|2m or --config FILE.json for a new model, or -m MODEL to go on");
        return EXIT_USAGE;
    }
    if (common->file_count == 0) {
        say_error("no genome: name one or more FASTA files");
        return EXIT_USAGE;
    }
    if (!common->dry_run && (!common->output || strcmp(common->output, "-") == 0)) {
        say_error("name the folder of the run with -o RUN");
        return EXIT_USAGE;
    }
    return check_values(settings);
}

/* ---- what a run needs ---- */

static enum ldar_status open_corpus(const struct pretrain *settings, corpus **out, struct ldar_error *error)
{
    const struct corpus_options options = {
        .window = (size_t)settings->window,
        .windows = settings->windows,
        .held = settings->held_out.item,
        .held_count = settings->held_out.count,
        .validation = (size_t)settings->validation_windows,
    };
    enum ldar_status status = corpus_create(&said_warnings, out, error);
    for (size_t i = 0; i < settings->common.file_count && status == LDAR_OK; i++)
        status = corpus_add(*out, settings->common.files[i], error);
    if (status == LDAR_OK)
        status = corpus_plan(*out, &options, error);
    if (status != LDAR_OK) {
        corpus_destroy(*out);
        *out = NULL;
    }
    return status;
}

static void say_corpus(const corpus *corpus)
{
    const struct corpus_summary summary = corpus_summary(corpus);
    say_note("%llu nucleotides in %zu records: windows are drawn from %llu, %llu are held out, %zu windows validate",
             (unsigned long long)summary.nucleotides, summary.records, (unsigned long long)summary.trained,
             (unsigned long long)summary.held_out, summary.validation);
    say_detail("%zu stretches without N; %llu letters are N to the model", summary.stretches,
               (unsigned long long)summary.unknown);
}

/* The untrained model, or the one to go on from. */
static enum ldar_status open_model(const struct pretrain *settings, ldar_model **model, struct ldar_error *error)
{
    struct ldar_config config;
    if (settings->common.model)
        return ldar_model_load(settings->common.model, model, error);
    enum ldar_status status = settings->config ? configuration_read(settings->config, &config, error)
                                               : configuration_preset(settings->preset, &config, error);
    return status == LDAR_OK ? ldar_model_create(&config, settings->common.seed, model, error) : status;
}

/* The head of the run's first model, whose numbers a checkpoint holds and whose names it does not. */
static enum ldar_status restore_head(const struct pretrain *settings, ldar_model **model, struct ldar_error *error)
{
    struct ldar_model_info info;
    ldar_model *first, *network = *model;
    const char *path = settings->common.model;
    if (!path || ldar_model_peek(path, &info, error) != LDAR_OK || !info.head)
        return LDAR_OK; /* a checkpoint with a head does not fit what is without one, and will say so */
    enum ldar_status status = ldar_model_load(path, &first, error);
    if (status != LDAR_OK)
        return status;
    status = ldar_model_with_head(network, ldar_model_head(first), 0, model, error);
    ldar_model_destroy(first);
    ldar_model_destroy(network);
    return status;
}

/* A checkpoint says which network it is of, so that a run needs its first model no longer, unless that has a head. */
static enum ldar_status reopen_model(const struct pretrain *settings, ldar_checkpoints *checkpoints, ldar_model **model,
                                     struct ldar_error *error)
{
    struct ldar_checkpoint found;
    struct ldar_config config;
    enum ldar_status status = ldar_checkpoints_load(checkpoints, NULL, 0, &found, error);
    if (status != LDAR_OK)
        return status;
    if (found.skipped[0])
        say_warning("%s", found.skipped);
    if (found.generation == 0) {
        say_note("the run has no checkpoint yet: it starts again");
        return open_model(settings, model, error);
    }
    say_note("going on after step %llu", (unsigned long long)found.step);
    status = ldar_config_parse(found.config, strlen(found.config), &config, error);
    if (status == LDAR_OK)
        status = ldar_model_create(&config, 0, model, error);
    return status == LDAR_OK ? restore_head(settings, model, error) : status;
}

static struct ldar_trainer_options trainer_options(const struct pretraining *training)
{
    const struct pretrain *settings = training->settings;
    struct ldar_trainer_options options = {.size = sizeof options,
                                           .context = context_options(&settings->common),
                                           .ratio = settings->ratio,
                                           .peers = training->peers};
    const size_t data = (size_t)corpus_summary(training->corpus).bytes;
    options.context.gemm = LDAR_GEMM_AUTO;
    /* The genomes take their part of the memory; of a byte that remains the trainer says that it is little. */
    if (options.context.max_bytes > 0)
        options.context.max_bytes = options.context.max_bytes > data ? options.context.max_bytes - data : 1;
    /* Fixed tokens have the compression that they have: the ratio loss, drawn to the same, then pulls at nothing. */
    if (settings->every > 0 && settings->ratio == 0)
        options.ratio = (double)settings->every;
    if (settings->every == 1) {
        options.ratio = settings->ratio;
        options.ratio_weight = -1;
    }
    return options;
}

static void say_trainer(const ldar_trainer *trainer, const struct pretrain *settings)
{
    say_settled(ldar_trainer_isa(trainer), ldar_trainer_dtype(trainer), (enum ldar_dtype)settings->common.dtype);
    say_detail("%d threads, instruction set %s, matrices by %s", ldar_trainer_threads(trainer),
               ldar_isa_name(ldar_trainer_isa(trainer)), ldar_trainer_gemm(trainer));
}

static enum ldar_status make_trainer(struct pretraining *training, const ldar_model *model, struct ldar_error *error)
{
    const struct pretrain *settings = training->settings;
    struct ldar_trainer_options options = trainer_options(training);
    enum ldar_status status = LDAR_OK;
    if (options.context.threads == 0)
        status = ranks_threads(training->peers, &options.context.threads, error);
    if (status == LDAR_OK)
        status = ldar_trainer_create(model, &options, &training->trainer, error);
    training->boundaries = (struct ldar_boundaries){.size = sizeof training->boundaries, .every = settings->every};
    if (status == LDAR_OK)
        say_trainer(training->trainer, settings);
    if (status == LDAR_OK)
        status = ranks_agree(training->peers, training->trainer, corpus_summary(training->corpus).hash, error);
    return status;
}

/* ---- the command ---- */

/* A failure of one process ends all, once its files are closed; where they know of it already, they leave. */
static void close_training(struct pretraining *training, enum exit_status status)
{
    run_close(training->run);
    if (status != EXIT_DONE && !training->agreed)
        ldar_peers_end(training->peers, status);
    ldar_trainer_destroy(training->trainer);
    corpus_destroy(training->corpus);
    ldar_peers_leave(training->peers);
}

/* A new run that cannot take its first step, as when memory does not suffice, leaves no folder. */
static enum exit_status train(struct pretraining *training, int new)
{
    char model[RUN_PATH], report[RUN_PATH];
    interrupt_watch(run_path(training->run, "model.safetensors", model));
    interrupt_watch(run_path(training->run, "report.html", report));
    interrupt_hold();
    const enum exit_status status = pretrain_run(training);
    if (new &&status != EXIT_DONE && training->state.step == 0 && ranks_first(training->peers))
        run_abandon(training->run);
    close_training(training, status);
    if (status == EXIT_DONE && training->stopped)
        interrupt_end(training->stopped);
    return status;
}

/* All that a new run needs but its folder. */
static enum ldar_status prepare(struct pretraining *training, struct ldar_error *error)
{
    const struct pretrain *settings = training->settings;
    ldar_model *model = NULL;
    enum ldar_status status = open_model(settings, &model, error);
    if (status == LDAR_OK)
        status = open_corpus(settings, &training->corpus, error);
    if (status == LDAR_OK)
        say_corpus(training->corpus);
    if (status == LDAR_OK)
        status = make_trainer(training, model, error);
    ldar_model_destroy(model);
    return status;
}

static enum exit_status foretell(const struct pretrain *settings, ldar_peers *peers)
{
    struct run none = {0};
    struct pretraining training = {.settings = settings, .run = &none, .peers = peers};
    struct ldar_error error;
    enum ldar_status status = peers ? fail(&error, LDAR_ERROR_ARGUMENT,
                                           "option --dry-run measures one process: start it without the launcher, and "
                                           "divide its time by the number of processes")
                                    : prepare(&training, &error);
    if (status == LDAR_OK)
        status = pretrain_foretell(&training, &error);
    const enum exit_status outcome = status == LDAR_OK ? EXIT_DONE : failed(&error);
    close_training(&training, outcome);
    return outcome;
}

/* The folder comes last: what cannot begin leaves none. */
static enum exit_status start(const struct pretrain *settings, ldar_peers *peers)
{
    struct run run = {0};
    struct pretraining training = {.settings = settings, .run = &run, .peers = peers};
    struct ldar_error error;
    enum ldar_status status = LDAR_OK;
    if (ranks_first(peers))
        status = run_check_new(settings->common.output, &error);
    if (status == LDAR_OK)
        status = prepare(&training, &error);
    if (status == LDAR_OK && ranks_first(peers))
        status = run_create(settings->common.output, &settings->common, &run, &error);
    else if (status == LDAR_OK && !(run.folder = strdup(settings->common.output)))
        status = fail(&error, LDAR_ERROR_MEMORY, "out of memory");
    if (status == LDAR_OK)
        return train(&training, 1);
    const enum exit_status outcome = failed(&error);
    close_training(&training, outcome);
    return outcome;
}

/* The options of the run, with what may differ from this command line. */
static enum ldar_status reread(struct run *run, const struct pretrain *asked, struct pretrain *settings,
                               struct ldar_error *error)
{
    const enum ldar_status status = run_settings(run, asked->common.command, settings, error);
    if (status != LDAR_OK)
        return status;
    settings->common.threads = asked->common.threads;
    settings->common.device = asked->common.device;
    settings->common.max_memory = asked->common.max_memory;
    return check_values(settings) == EXIT_DONE
               ? LDAR_OK
               : fail(error, LDAR_ERROR_FORMAT, "%s/run.json: an option is out of range", run->folder);
}

static enum exit_status resume(const struct pretrain *asked, ldar_peers *peers)
{
    struct run run = {0};
    struct pretrain settings = {0};
    struct pretraining training = {.settings = &settings, .run = &run, .peers = peers};
    struct ldar_error error;
    ldar_model *model = NULL;
    enum ldar_status status = run_open(asked->resume, ranks_first(peers), &run, &error);
    if (status == LDAR_OK)
        status = reread(&run, asked, &settings, &error);
    if (status == LDAR_OK)
        status = open_corpus(&settings, &training.corpus, &error);
    if (status == LDAR_OK)
        status = reopen_model(&settings, run.checkpoints, &model, &error);
    if (status == LDAR_OK)
        status = make_trainer(&training, model, &error);
    ldar_model_destroy(model);
    if (status == LDAR_OK)
        status = pretrain_restore(&training, &error);
    if (status == LDAR_OK)
        status = ldar_peers_agree(peers, "checkpoint", &training.state, sizeof training.state, &error);
    if (status == LDAR_OK)
        return train(&training, 0);
    const enum exit_status outcome = failed(&error);
    close_training(&training, outcome);
    return outcome;
}

static enum exit_status run(void *place)
{
    struct pretrain *settings = place;
    const enum exit_status status = settings->resume ? run_check_resume(&settings->common) : check_new(settings);
    if (status != EXIT_DONE)
        return status;
    if (check_device(settings->common.device) != EXIT_DONE)
        return EXIT_FAILED;
    ldar_peers *peers;
    if (ranks_join(settings->common.command, &peers) != EXIT_DONE)
        return EXIT_FAILED;
    if (settings->common.dry_run)
        return foretell(settings, peers);
    return settings->resume ? resume(settings, peers) : start(settings, peers);
}

/* ---- options ---- */

static const struct option resume_option = {
    .name = "resume",
    .kind = OPTION_TEXT,
    .argument = "RUN",
    .place = offsetof(struct pretrain, resume),
    .help = "Continue a run from its last good checkpoint with its own options. Only --threads and --max-memory may "
            "differ, and change no bit of what it would have become.",
};

static const struct option preset_option = {
    .name = "preset",
    .kind = OPTION_CHOICE,
    .argument = CONFIGURATION_PRESETS,
    .place = offsetof(struct pretrain, preset),
    .help = "Train a new model of a published configuration.",
};

static const struct option config_option = {
    .name = "config",
    .kind = OPTION_TEXT,
    .argument = "FILE.json",
    .place = offsetof(struct pretrain, config),
    .help = "Train a new model of a configuration in the published form.",
};

static const struct option model_option = {
    .name = "model",
    .letter = 'm',
    .kind = OPTION_TEXT,
    .argument = "MODEL",
    .place = offsetof(struct common, model),
    .help = "Go on from the weights of this model.",
};

static const struct option windows_option = {
    .name = "windows",
    .kind = OPTION_TEXT,
    .argument = "W.bed",
    .place = offsetof(struct pretrain, windows),
    .help =
        "Draw windows from these intervals alone, where they name a genome. The fourth column is train, valid or "
        "test; the last two are held out, and valid ones are validated with. Without a fourth column all are train.",
};

static const struct option held_out_option = {
    .name = "hold-out",
    .kind = OPTION_TEXTS,
    .argument = "REGION",
    .place = offsetof(struct pretrain, held_out),
    .help = "Never train on this, and validate with it: a record's name, a region as chr:from-to (1-based, closed), a "
            "genome's file name, or a BED file; may be given again. Where several genomes have a name, FILE:NAME.",
};

static const struct option steps_option = {
    .name = "steps",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct pretrain, steps),
    .initial = "10000",
    .min = 1,
    .max = UINT64_C(1) << 40,
    .help = "Steps of the optimiser in all.",
};

static const struct option batch_option = {
    .name = "batch",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct pretrain, batch),
    .initial = "4",
    .min = 1,
    .max = 1 << 16,
    .help = "Windows that are computed together. Memory grows with it.",
};

static const struct option accumulate_option = {
    .name = "accumulate",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct pretrain, accumulate),
    .initial = "4",
    .min = 1,
    .max = 1 << 20,
    .help = "Batches whose gradients make one step.",
};

static const struct option window_option = {
    .name = "window",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct pretrain, window),
    .initial = "4096",
    .min = 16,
    .max = 1 << 24,
    .help = "Nucleotides of a window.",
};

static const struct option rate_option = {
    .name = "rate",
    .kind = OPTION_DECIMAL,
    .argument = "R",
    .place = offsetof(struct pretrain, rate),
    .initial = "5e-4",
    .max = 1000,
    .help = "Learning rate of the innermost network; the rest learns faster, as published.",
};

static const struct option ratio_option = {
    .name = "ratio",
    .kind = OPTION_DECIMAL,
    .argument = "N",
    .place = offsetof(struct pretrain, ratio),
    .max = 1 << 16,
    .help = "Nucleotides per token that the compression is drawn to (default: 4, or R with --boundaries every:R).",
};

static const struct option warmup_option = {
    .name = "warmup",
    .kind = OPTION_DECIMAL,
    .argument = "N",
    .place = offsetof(struct pretrain, warmup),
    .initial = "0.1",
    .help = "Steps in which the rate rises: a share of all when below 1, else their number.",
};

static const struct option decay_option = {
    .name = "decay-steps",
    .kind = OPTION_DECIMAL,
    .argument = "N",
    .place = offsetof(struct pretrain, decay),
    .initial = "0.2",
    .help = "Last steps, in which the rate falls to a twentieth: a share of all when below 1, else their number.",
};

static const struct option mask_option = {
    .name = "mask",
    .kind = OPTION_DECIMAL,
    .argument = "P",
    .place = offsetof(struct pretrain, mask),
    .initial = "0.15",
    .max = 1,
    .help = "Share of the nucleotides that are to be guessed.",
};

static const struct option boundaries_option = {
    .name = "boundaries",
    .kind = OPTION_TEXT,
    .argument = BOUNDARIES_WORDS,
    .place = offsetof(struct pretrain, boundaries),
    .initial = "learned",
    .help = "Where tokens begin: where the model learns to put them, or at every R-th nucleotide.",
};

static const struct option validate_option = {
    .name = "validate-every",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct pretrain, validate_every),
    .initial = "500",
    .min = 1,
    .max = UINT64_C(1) << 40,
    .help = "Steps between two validations, where something is held out. Another follows the last step.",
};

static const struct option validation_windows_option = {
    .name = "validation-windows",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct pretrain, validation_windows),
    .initial = "64",
    .max = 1 << 30,
    .help = "At most this many windows validate, spread evenly over what is held out.",
};

static const struct option checkpoint_option = {
    .name = "checkpoint-every",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct pretrain, checkpoint_every),
    .min = 1,
    .max = UINT64_C(1) << 40,
    .help = "Steps between two checkpoints (default: as many as take ten minutes).",
};

static const struct option seed_option = {
    .name = "seed",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct common, seed),
    .initial = "0",
    .help = "Seed of the first weights, of the windows and of their masks.",
};

static const struct option max_memory_option = {
    .name = "max-memory",
    .kind = OPTION_SIZE,
    .argument = "SIZE",
    .place = offsetof(struct common, max_memory),
    .min = 1,
    .help = "Keep within this much memory (suffix K, M, G or T): what does not fit is computed again, and what cannot "
            "fit is refused. No bit depends on it.",
};

static const struct option *const options[] = {
    &preset_option,     &config_option,     &model_option,      &option_run,
    &resume_option,     &option_dry_run,    &windows_option,    &held_out_option,
    &steps_option,      &batch_option,      &accumulate_option, &window_option,
    &rate_option,       &ratio_option,      &warmup_option,     &decay_option,
    &mask_option,       &boundaries_option, &validate_option,   &validation_windows_option,
    &checkpoint_option, &option_threads,    &option_device,     &option_dtype,
    &max_memory_option, &seed_option,       OPTIONS_MESSAGES,   NULL};

const struct command command_pretrain = {
    .name = "pretrain",
    .files = "[GENOME.fa...]",
    .summary = "Train a model to guess masked nucleotides, and with it where tokens begin",
    .description =
        "Draws windows from the genomes (FASTA; plain, gzip or BGZF; GENOME.fa:W gives one the weight W), from either "
        "strand and never across an N, hides a part of each, and trains the model to guess it, as published. All that "
        "is drawn at random depends on the options alone: the same ones give the same model, to the bit, on any number "
        "of threads.\n"
        "\n"
        "RUN holds the options (run.json), a line for each step (log.jsonl), checkpoints, the model "
        "(model.safetensors) and its curves (report.html). SIGTERM or SIGINT ends the run with a checkpoint, and "
        "--resume RUN continues it as if it had never stopped; so it does after a crash, from the last checkpoint.\n"
        "\n"
        "  ldar pretrain --preset 2m --hold-out XV --hold-out XVI yeast.fa.gz -o run\n"
        "  ldar pretrain --resume run\n",
    .min_files = 0,
    .max_files = 1 << 20,
    .options = options,
    .settings = sizeof(struct pretrain),
    .run = run,
};
