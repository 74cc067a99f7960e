/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "interrupt.h"
#include "lesson_tables.h"
#include "message.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

struct finetune {
    struct lesson_settings lesson;
    const char *train, *valid, *test, *resume;
    int values;
};

/* ---- usage ---- */

static enum exit_status check_new(const struct finetune *settings)
{
    const struct common *common = &settings->lesson.input.common;
    if (!settings->train) {
        say_error("no examples: name a labelled table with --train FILE");
        return EXIT_USAGE;
    }
    if (!common->dry_run && (!common->output || strcmp(common->output, "-") == 0)) {
        say_error("name the folder of the run with -o RUN");
        return EXIT_USAGE;
    }
    return lesson_check(&settings->lesson);
}

/* ---- the command ---- */

static void say_tables(const struct finetune *settings, const struct lesson_tables *tables, const struct lesson *lesson)
{
    const struct table *train = &tables->train;
    say_note(
        "%zu examples to train on, %zu to validate with, %zu for the test; %zu nucleotides at most, %zu on average",
        lesson->train.examples.count, lesson->valid.examples.count, lesson->test.examples.count, train->longest,
        train->offsets[train->count] / train->count);
    for (size_t i = 0; i < train->class_count && train->class_count <= 20; i++)
        say_note("class %s: %zu of %s", train->classes[i], train->class_sizes[i], settings->train);
    const size_t unknown = train->unknown + tables->valid.unknown + tables->test.unknown;
    if (unknown > 0)
        say_note("%zu letters are N to the model", unknown);
}

static enum ldar_status write_report(const struct finetune *settings, const struct run *run, struct ldar_error *error)
{
    char log[RUN_PATH], page[RUN_PATH];
    const char *name = strrchr(run->folder, '/');
    return report_write(REPORT_FINETUNING, run_path(run, "log.jsonl", log), run_path(run, "report.html", page),
                        name && name[1] ? name + 1 : run->folder, settings->lesson.input.common.command_line, 0, error);
}

static enum exit_status end(struct lesson *lesson, enum ldar_status status, int new, const struct ldar_error *error)
{
    struct run *run = lesson->run;
    if (status != LDAR_OK) {
        if (new && lesson->steps == 0)
            run_abandon(run);
        return failed(error);
    }
    if (lesson->stopped)
        say_note("stopped after step %llu; this goes on: ldar finetune --resume %s", (unsigned long long)lesson->steps,
                 run->folder);
    else
        say_note("wrote %s/model.safetensors and %s/report.html", run->folder, run->folder);
    return EXIT_DONE;
}

static enum ldar_status foretell(const struct lesson *lesson, const struct lesson_tables *tables,
                                 struct ldar_error *error)
{
    struct forecast forecast = {0};
    struct lesson_pace pace;
    const enum ldar_status status = lesson_measure(lesson, &pace, error);
    if (status != LDAR_OK)
        return status;
    lesson_foretell(lesson, &pace, lesson->settings->freeze ? lesson_tables_nucleotides(tables) : 0, &forecast);
    forecast_print(&forecast);
    return LDAR_OK;
}

/* What a lesson needs; the model is the caller's to destroy, whatever comes of it. */
static enum ldar_status open_all(const struct finetune *settings, ldar_model **model, struct lesson_tables *tables,
                                 struct ldar_error *error)
{
    const struct input *input = &settings->lesson.input;
    reference *genome = NULL;
    enum ldar_status status = ldar_model_load(input->common.model, model, error);
    if (status == LDAR_OK && input->common.model_ships)
        say_note("the model that ships: %s", input->common.model);
    if (status == LDAR_OK && input->genome) {
        interrupt_watch(input->genome);
        status = reference_open(input->genome, &said_warnings, &genome, error);
    }
    if (status == LDAR_OK)
        status = lesson_tables_read(tables, &settings->lesson, settings->values ? TABLE_VALUES : TABLE_CLASSES, genome,
                                    settings->train, settings->valid, settings->test, error);
    reference_close(genome);
    if (status == LDAR_OK && settings->lesson.freeze && !input->common.dry_run)
        status = lesson_tables_embed(tables, &settings->lesson, *model, error);
    return status;
}

/* *made: the folder is this lesson's own. It comes last: what cannot begin leaves none. */
static enum ldar_status give(const struct finetune *settings, struct lesson *lesson, int *made,
                             struct ldar_error *error)
{
    const struct common *common = &settings->lesson.input.common;
    enum ldar_status status = lesson->begun ? LDAR_OK : run_create(common->output, common, lesson->run, error);
    *made = status == LDAR_OK && !lesson->begun;
    if (status == LDAR_OK && !settings->lesson.freeze) /* a frozen model's lesson has nothing to save */
        interrupt_hold();
    if (status == LDAR_OK)
        status = lesson_give(lesson, error);
    return status == LDAR_OK ? write_report(settings, lesson->run, error) : status;
}

/* `run` NULL: a new one. */
static enum exit_status go(struct finetune *settings, struct run *run)
{
    const struct common *common = &settings->lesson.input.common;
    struct run new = {0};
    struct lesson lesson = {.settings = &settings->lesson,
                            .rate = settings->lesson.plan.rate,
                            .seed = common->seed,
                            .run = run ? run : &new,
                            .begun = run != NULL,
                            .more = ""};
    struct lesson_tables tables = {0};
    struct ldar_error error;
    ldar_model *model = NULL;
    int made = 0;
    enum ldar_status status = run || common->dry_run ? LDAR_OK : run_check_new(common->output, &error);
    if (status == LDAR_OK)
        status = open_all(settings, &model, &tables, &error);
    lesson.model = model;
    if (status == LDAR_OK)
        status = lesson_tables_cut(&tables, 0, &lesson, &error);
    if (status == LDAR_OK)
        say_tables(settings, &tables, &lesson);
    if (status == LDAR_OK)
        status = common->dry_run ? foretell(&lesson, &tables, &error) : give(settings, &lesson, &made, &error);
    const enum exit_status outcome =
        common->dry_run && status == LDAR_OK ? EXIT_DONE : end(&lesson, status, made, &error);
    run_close(lesson.run);
    lesson_tables_free(&tables);
    ldar_model_destroy(model);
    if (outcome == EXIT_DONE && lesson.stopped)
        interrupt_end(lesson.stopped);
    return outcome;
}

static enum exit_status resume(const struct finetune *asked)
{
    struct run run;
    struct finetune settings = {0};
    struct ldar_error error;
    const struct common *common = &asked->lesson.input.common;
    if (run_check_resume(common) != EXIT_DONE)
        return EXIT_USAGE;
    enum ldar_status status = run_open(asked->resume, 1, &run, &error);
    if (status != LDAR_OK)
        return failed(&error);
    status = run_settings(&run, common->command, &settings, &error);
    if (status != LDAR_OK) {
        run_close(&run);
        return failed(&error);
    }
    if (!settings.lesson.input.common.model) {
        settings.lesson.input.common.model = common->model;
        settings.lesson.input.common.model_ships = 1;
    }
    settings.lesson.input.common.threads = common->threads;
    settings.lesson.input.common.device = common->device;
    settings.lesson.input.common.max_memory = common->max_memory;
    return go(&settings, &run);
}

static enum exit_status run(void *place)
{
    struct finetune *settings = place;
    if (check_device(settings->lesson.input.common.device) != EXIT_DONE)
        return EXIT_FAILED;
    if (settings->resume)
        return resume(settings);
    const enum exit_status status = check_new(settings);
    return status == EXIT_DONE ? go(settings, NULL) : status;
}

/* ---- options ---- */

static const struct option train_option = {
    .name = "train",
    .kind = OPTION_TEXT,
    .argument = "TABLE",
    .place = offsetof(struct finetune, train),
    .help =
        "Labelled sequences to learn from: CSV or TSV with the columns sequence and label, FASTA whose names end in "
        "|label, a folder per class, or tables of intervals with -f. Any of them may be gzipped.",
};

static const struct option valid_option = {
    .name = "valid",
    .kind = OPTION_TEXT,
    .argument = "TABLE",
    .place = offsetof(struct finetune, valid),
    .help = "Sequences that choose the best epoch. Without, the first of ten folds of --train is held out for it.",
};

static const struct option test_option = {
    .name = "test",
    .kind = OPTION_TEXT,
    .argument = "TABLE",
    .place = offsetof(struct finetune, test),
    .help = "Sequences that are looked at once, at the end: RUN/test_results.json.",
};

static const struct option values_option = {
    .name = "values",
    .kind = OPTION_FLAG,
    .place = offsetof(struct finetune, values),
    .help = "Labels are numbers to be guessed, not classes.",
};

static const struct option resume_option = {
    .name = "resume",
    .kind = OPTION_TEXT,
    .argument = "RUN",
    .place = offsetof(struct finetune, resume),
    .help = "Go on with a run that was stopped, with its own options; only threads and memory may differ.",
};

static const struct option seed_option = {
    .name = "seed",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct common, seed),
    .initial = "0",
    .help = "Seed of the head's first weights, of the order of the examples and of their strands.",
};

static const struct option *const options[] = {
    &option_model,   &train_option,  &valid_option,         &test_option,   &option_run,         &resume_option,
    &option_dry_run, &values_option, &option_lesson_window, OPTIONS_LESSON, &option_lesson_rate, &option_threads,
    &option_device,  &option_dtype,  &option_max_memory,    &seed_option,   OPTIONS_MESSAGES,    NULL};

const struct command command_finetune = {
    .name = "finetune",
    .files = "",
    .summary = "Teach a model to tell labelled sequences apart, or to guess their values",
    .description =
        "A linear head over the mean of the last hidden states, as published: AdamW, batches of 64 sequences without "
        "padding, an epoch of validation after each of training, the rate halved when that has not risen for two "
        "epochs, the end after five, the best epoch kept. Everything learns; --last K leaves all but the last blocks "
        "as they are, --freeze all of the model.\n"
        "\n"
        "RUN holds the options (run.json), a line for each step and each validation (log.jsonl), the classifier "
        "(model.safetensors, which knows the names of its classes), test_results.json and report.html. The same "
        "options give the same classifier, to the bit, on any number of threads. SIGTERM or SIGINT ends a run with a "
        "checkpoint, and --resume RUN continues it.\n"
        "\n"
        "  ldar finetune --train train.csv --valid dev.csv --test test.csv -o run\n"
        "  ldar predict -m run/model.safetensors reads.fa -o classes.tsv\n",
    .min_files = 0,
    .max_files = 0,
    .options = options,
    .settings = sizeof(struct finetune),
    .run = run,
};
