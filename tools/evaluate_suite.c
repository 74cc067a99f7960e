/* SPDX-License-Identifier: Apache-2.0 */
#include "evaluate.h"
#include "interrupt.h"
#include "lesson_tables.h"
#include "message.h"
#include "published.h"
#include "results.h"
#include "shipped.h"
#include "suite_plan.h"

#include "formats/number.h"
#include "formats/tasks.h"

#include <stdlib.h>
#include <string.h>

/* Of a task with a table that validates. A head over a frozen model is found from no seed: once is enough. */
enum { TRAINED_REPEATS = 3 };

/* What a suite has open. */
struct course {
    const struct evaluate *settings;
    const ldar_model *model;
    struct run *run;
    reference *genome; /* NULL: no tables of intervals */
    struct tasks tasks;
    struct suite_plan plan;
    published *published;
    int stopped; /* by this signal */
    /* Of the task at work; SIZE_MAX: none. */
    size_t task;
    struct lesson_tables tables;
};

/* ---- a task ---- */

static enum ldar_status enter_task(struct course *course, size_t task, struct ldar_error *error)
{
    const struct lesson_settings *settings = &course->settings->lesson;
    const struct task *files = &course->tasks.task[task];
    struct lesson_tables *tables = &course->tables;
    if (course->task == task)
        return LDAR_OK;
    lesson_tables_free(tables);
    course->task = SIZE_MAX;
    enum ldar_status status = lesson_tables_read(tables, settings, TABLE_CLASSES, course->genome, files->train,
                                                 files->valid, files->test, error);
    if (status == LDAR_OK && settings->freeze && !settings->input.common.dry_run)
        status = lesson_tables_embed(tables, settings, course->model, error);
    if (status == LDAR_OK) {
        course->task = task;
        say_note("%s: %zu examples to learn from, %zu for the test, %zu classes", files->name,
                 tables->train.count + tables->valid.count, tables->test.count, tables->train.class_count);
    }
    return status;
}

/* ---- a unit ---- */

/* The published rate of the task, unless the command line has one. */
static double rate_of(const struct course *course)
{
    const struct lesson_settings *settings = &course->settings->lesson;
    const struct published_suite *suite = published_suite(course->published, course->plan.name);
    const struct published_task *task = suite ? published_task(suite, course->tasks.task[course->task].name) : NULL;
    return task && task->rate > 0 && !option_given(&settings->input.common, "rate") ? task->rate : settings->plan.rate;
}

/* What test_results.json says of how the classifier came to be. */
static void describe(const struct course *course, const struct lesson *lesson, size_t fold, char more[256])
{
    const struct lesson_settings *settings = &course->settings->lesson;
    char training[64] = "all layers trained";
    if (settings->freeze)
        snprintf(training, sizeof training, "frozen");
    else if (settings->last > 0)
        snprintf(training, sizeof training, "last %llu blocks trained", (unsigned long long)settings->last);
    int length = snprintf(more, 256, ", \"training\": \"%s\", \"fold\": %zu, \"seed\": %llu", training, fold + 1,
                          (unsigned long long)lesson->seed);
    if (!settings->freeze)
        snprintf(more + length, 256 - (size_t)length, ", \"rate\": %s", json_number(lesson->rate).text);
}

/* What a unit teaches; `more` is filled in. */
static enum ldar_status plan_unit(struct course *course, size_t fold, struct lesson *lesson, char more[256],
                                  struct ldar_error *error)
{
    const struct evaluate *settings = course->settings;
    *lesson = (struct lesson){
        .settings = &settings->lesson,
        .rate = rate_of(course),
        .seed = settings->lesson.input.common.seed + (course->tables.valid.count > 0 ? fold : 0),
        .model = course->model,
        .begun = 1,
        .more = more,
    };
    describe(course, lesson, fold, more);
    return lesson_tables_cut(&course->tables, fold, lesson, error);
}

static enum ldar_status give_unit(struct course *course, size_t unit, struct run *run, struct ldar_error *error)
{
    size_t fold;
    const size_t task = suite_plan_task_of(&course->plan, unit, &fold);
    enum ldar_status status = enter_task(course, task, error);
    if (status != LDAR_OK)
        return status;
    char more[256];
    struct lesson lesson;
    status = plan_unit(course, fold, &lesson, more, error);
    lesson.run = run;
    if (status == LDAR_OK)
        status = lesson_give(&lesson, error);
    course->stopped = lesson.stopped;
    return status;
}

/* The unit's folder keeps its log and its result, and the model where that is wished. */
static enum ldar_status do_unit(struct course *course, size_t unit, struct ldar_error *error)
{
    char name[SUITE_PATH];
    struct run run;
    suite_plan_unit_name(&course->plan, unit, name);
    enum ldar_status status = run_open_part(course->run, name, &run, error);
    if (status != LDAR_OK)
        return status;
    say_note("%s", name);
    status = give_unit(course, unit, &run, error);
    if (status == LDAR_OK && !course->stopped)
        run_tidy(&run, course->settings->keep_models);
    run_close(&run);
    return status;
}

/* The units of this process, in order; those that are done are passed over. */
static enum ldar_status do_units(struct course *course, struct ldar_error *error)
{
    const struct shard shard = shard_of(&course->settings->lesson.input.common);
    const uint64_t end = shard_border(course->plan.units, (struct shard){shard.index + 1, shard.count});
    enum ldar_status status = LDAR_OK;
    for (uint64_t unit = shard_border(course->plan.units, shard); unit < end && status == LDAR_OK; unit++) {
        if (suite_plan_done(&course->plan, course->run->folder, (size_t)unit))
            continue;
        course->stopped = interrupt_noted();
        if (course->stopped)
            return LDAR_OK;
        status = do_unit(course, (size_t)unit, error);
        if (course->stopped)
            return status;
    }
    return status;
}

/* ---- how long it takes ---- */

static enum ldar_status forecast_unit(struct course *course, size_t unit, struct lesson_pace *pace,
                                      struct forecast *forecast, struct ldar_error *error)
{
    const struct lesson_settings *settings = &course->settings->lesson;
    const size_t before = course->task;
    char more[256];
    struct lesson lesson;
    size_t fold;
    enum ldar_status status = enter_task(course, suite_plan_task_of(&course->plan, unit, &fold), error);
    if (status == LDAR_OK)
        status = plan_unit(course, fold, &lesson, more, error);
    const int new_task = before != course->task;
    if (status == LDAR_OK && new_task)
        status = lesson_measure(&lesson, pace, error);
    if (status != LDAR_OK)
        return status;
    /* The tables are embedded once for all folds of the task. */
    const size_t embedded = settings->freeze && new_task ? lesson_tables_nucleotides(&course->tables) : 0;
    lesson_foretell(&lesson, pace, embedded, forecast);
    return LDAR_OK;
}

static enum ldar_status forecast_suite(struct course *course, struct ldar_error *error)
{
    const struct shard shard = shard_of(&course->settings->lesson.input.common);
    const uint64_t end = shard_border(course->plan.units, (struct shard){shard.index + 1, shard.count});
    struct forecast forecast = {0};
    struct lesson_pace pace;
    enum ldar_status status = LDAR_OK;
    for (uint64_t unit = shard_border(course->plan.units, shard); unit < end && status == LDAR_OK; unit++)
        status = forecast_unit(course, (size_t)unit, &pace, &forecast, error);
    if (status != LDAR_OK)
        return status;
    forecast_print(&forecast);
    return LDAR_OK;
}

/* ---- the suite ---- */

static enum ldar_status find_tasks(struct course *course, struct ldar_error *error)
{
    const struct evaluate *settings = course->settings;
    char name[16];
    enum ldar_status status = tasks_find(settings->data, &course->tasks, error);
    if (status == LDAR_OK)
        status = tasks_choose(&course->tasks, settings->data, settings->tasks.item, settings->tasks.count, error);
    choice_word(SUITE_NAMES, (size_t)settings->suite, name, sizeof name);
    if (status == LDAR_OK)
        status = suite_plan_make(name, &course->tasks, (size_t)settings->folds,
                                 settings->lesson.freeze ? 1 : TRAINED_REPEATS, &course->plan, error);
    return status;
}

static enum ldar_status open_published(struct course *course, struct ldar_error *error)
{
    char *path = shipped_file(SHIPPED_PUBLISHED);
    const enum ldar_status status =
        path ? published_read(path, &course->published, error)
             : fail(error, LDAR_ERROR_IO, "%s, the published results, is missing from this installation",
                    SHIPPED_PUBLISHED);
    free(path);
    return status;
}

static enum ldar_status open_course(struct course *course, ldar_model **model, struct ldar_error *error)
{
    const struct common *common = &course->settings->lesson.input.common;
    const char *genome = course->settings->lesson.input.genome;
    enum ldar_status status = find_tasks(course, error);
    if (status == LDAR_OK)
        status = open_published(course, error);
    if (status == LDAR_OK)
        status = ldar_model_load(common->model, model, error);
    if (status == LDAR_OK && common->model_ships)
        say_note("the model that ships: %s", common->model);
    if (status == LDAR_OK && genome) {
        interrupt_watch(genome);
        status = reference_open(genome, &said_warnings, &course->genome, error);
    }
    course->model = *model;
    return status;
}

static void close_course(struct course *course)
{
    lesson_tables_free(&course->tables);
    suite_plan_free(&course->plan);
    tasks_free(&course->tasks);
    published_free(course->published);
    reference_close(course->genome);
}

/* A new folder, or with --resume the one that a run of the same options has begun. */
static enum ldar_status open_run(const struct course *course, struct run *run, struct ldar_error *error)
{
    const struct common *common = &course->settings->lesson.input.common;
    struct suite_plan listed;
    if (!common->resume || !run_is_begun(common->output)) {
        enum ldar_status status = run_check_new(common->output, error);
        if (status == LDAR_OK)
            status = run_create(common->output, common, run, error);
        return status == LDAR_OK ? suite_plan_save(&course->plan, run->folder, error) : status;
    }
    enum ldar_status status = run_open(common->output, 1, run, error);
    if (status == LDAR_OK)
        status = run_check_same(run, common, error);
    if (status == LDAR_OK)
        status = suite_plan_load(run->folder, &listed, error);
    if (status != LDAR_OK)
        return status;
    if (!suite_plan_equal(&listed, &course->plan))
        status = fail(error, LDAR_ERROR_ARGUMENT, "%s was begun with other tasks: %s has changed since", run->folder,
                      course->settings->data);
    suite_plan_free(&listed);
    return status;
}

static enum ldar_status finish(const struct course *course, struct ldar_error *error)
{
    const struct common *common = &course->settings->lesson.input.common;
    const char *folder = course->run->folder;
    if (course->stopped) {
        say_note("stopped; the same command with --resume goes on");
        return LDAR_OK;
    }
    if (common->shard) {
        say_note("%s holds shard %s; ldar merge brings the folders of all together", folder, common->shard);
        return LDAR_OK;
    }
    const enum ldar_status status = suite_plan_report(&course->plan, folder, error);
    if (status == LDAR_OK)
        say_note("wrote %s/results.tsv, results.md and report.html", folder);
    return status;
}

static enum exit_status check(const struct evaluate *settings)
{
    const struct common *common = &settings->lesson.input.common;
    if (!settings->data) {
        say_error("name the folder of the suite's tables with --data DIR");
        return EXIT_USAGE;
    }
    if (!common->output || strcmp(common->output, "-") == 0) {
        say_error("name the folder of the run with -o RUN");
        return EXIT_USAGE;
    }
    const enum exit_status status = shards_check(common, NULL);
    return status == EXIT_DONE ? lesson_check(&settings->lesson) : status;
}

enum exit_status evaluate_suite(const struct evaluate *settings)
{
    struct run run = {0};
    struct course course = {.settings = settings, .run = &run, .task = SIZE_MAX};
    struct ldar_error error;
    ldar_model *model = NULL;
    if (check(settings) != EXIT_DONE)
        return EXIT_USAGE;
    if (check_device(settings->lesson.input.common.device) != EXIT_DONE)
        return EXIT_FAILED;
    enum ldar_status status = open_course(&course, &model, &error);
    const int dry = settings->lesson.input.common.dry_run;
    if (status == LDAR_OK && dry)
        status = forecast_suite(&course, &error);
    if (status == LDAR_OK && !dry)
        status = open_run(&course, &run, &error);
    if (status == LDAR_OK && !dry && !settings->lesson.freeze) /* a frozen model's fold has nothing to save */
        interrupt_hold();
    if (status == LDAR_OK && !dry)
        status = do_units(&course, &error);
    if (status == LDAR_OK && !dry)
        status = finish(&course, &error);
    close_course(&course);
    run_close(&run);
    ldar_model_destroy(model);
    if (status != LDAR_OK)
        return failed(&error);
    if (course.stopped)
        interrupt_end(course.stopped);
    return EXIT_DONE;
}
