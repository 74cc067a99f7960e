/* SPDX-License-Identifier: Apache-2.0 */
#include "suite_plan.h"
#include "folds.h"
#include "run.h"
#include "shipped.h"
#include "suite_report.h"

#include "formats/failure.h"
#include "formats/members.h"
#include "formats/output.h"
#include "formats/provenance.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char list_name[] = "suite.json", result_name[] = "test_results.json";

/* ---- the list ---- */

void suite_plan_free(struct suite_plan *plan)
{
    for (size_t i = 0; i < plan->tasks; i++)
        free(plan->task[i].name);
    free(plan->task);
    free(plan->name);
    *plan = (struct suite_plan){NULL, NULL, 0, 0};
}

static enum ldar_status no_memory(struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_MEMORY, "no memory for the list of tasks");
}

static enum ldar_status begin(const char *name, size_t tasks, struct suite_plan *plan, struct ldar_error *error)
{
    *plan = (struct suite_plan){.name = strdup(name), .task = calloc(tasks > 0 ? tasks : 1, sizeof *plan->task)};
    return plan->name && plan->task ? LDAR_OK : no_memory(error);
}

static enum ldar_status add(struct suite_plan *plan, const char *name, size_t folds, struct ldar_error *error)
{
    struct suite_plan_task *task = &plan->task[plan->tasks];
    task->name = strdup(name);
    task->folds = folds;
    if (!task->name)
        return no_memory(error);
    plan->tasks++;
    plan->units += folds;
    return LDAR_OK;
}

enum ldar_status suite_plan_make(const char *name, const struct tasks *tasks, size_t folds, size_t repeats,
                                 struct suite_plan *plan, struct ldar_error *error)
{
    enum ldar_status status = begin(name, tasks->count, plan, error);
    for (size_t i = 0; i < tasks->count && status == LDAR_OK; i++) {
        const struct task *task = &tasks->task[i];
        if (!task->valid && folds > FOLDS_PUBLISHED)
            status = fail(error, LDAR_ERROR_ARGUMENT,
                          "option --folds: task %s has no validation table, and its training table has %d folds",
                          task->name, FOLDS_PUBLISHED);
        else
            status = add(plan, task->name, folds > 0 ? folds : task->valid ? repeats : FOLDS_PUBLISHED, error);
    }
    if (status != LDAR_OK)
        suite_plan_free(plan);
    return status;
}

size_t suite_plan_task_of(const struct suite_plan *plan, size_t unit, size_t *fold)
{
    size_t task = 0;
    while (unit >= plan->task[task].folds)
        unit -= plan->task[task++].folds;
    *fold = unit;
    return task;
}

void suite_plan_unit_name(const struct suite_plan *plan, size_t unit, char name[SUITE_PATH])
{
    size_t fold;
    const size_t task = suite_plan_task_of(plan, unit, &fold);
    snprintf(name, SUITE_PATH, "%s/fold_%zu", plan->task[task].name, fold + 1);
}

static void unit_path(const struct suite_plan *plan, const char *folder, size_t unit, const char *file,
                      char path[SUITE_PATH])
{
    char name[SUITE_PATH];
    suite_plan_unit_name(plan, unit, name);
    if (snprintf(path, SUITE_PATH, "%s/%s/%s", folder, name, file) >= SUITE_PATH)
        path[0] = '\0'; /* no file: whoever opens it says so */
}

bool suite_plan_done(const struct suite_plan *plan, const char *folder, size_t unit)
{
    char path[SUITE_PATH];
    unit_path(plan, folder, unit, result_name, path);
    return access(path, R_OK) == 0;
}

bool suite_plan_equal(const struct suite_plan *a, const struct suite_plan *b)
{
    bool equal = strcmp(a->name, b->name) == 0 && a->tasks == b->tasks;
    for (size_t i = 0; equal && i < a->tasks; i++)
        equal = strcmp(a->task[i].name, b->task[i].name) == 0 && a->task[i].folds == b->task[i].folds;
    return equal;
}

/* ---- suite.json ---- */

static enum ldar_status write_quoted(output *out, const char *before, const char *text, struct ldar_error *error)
{
    char *quoted = quote_json(text);
    enum ldar_status status = quoted ? output_write(out, before, strlen(before), error) : no_memory(error);
    if (status == LDAR_OK)
        status = output_write(out, quoted, strlen(quoted), error);
    free(quoted);
    return status;
}

static enum ldar_status write_list(output *out, const struct suite_plan *plan, struct ldar_error *error)
{
    enum ldar_status status = write_quoted(out, "{\n \"suite\": ", plan->name, error);
    for (size_t i = 0; i < plan->tasks && status == LDAR_OK; i++)
        status = write_quoted(out, i == 0 ? ",\n \"tasks\": [\n  " : ",\n  ", plan->task[i].name, error);
    for (size_t i = 0; i < plan->tasks && status == LDAR_OK; i++)
        status = output_print(out, error, "%s\"%zu\"", i == 0 ? "\n ],\n \"folds\": [" : ", ", plan->task[i].folds);
    return status == LDAR_OK ? output_print(out, error, "]\n}\n") : status;
}

enum ldar_status suite_plan_save(const struct suite_plan *plan, const char *folder, struct ldar_error *error)
{
    char path[SUITE_PATH];
    output *out;
    snprintf(path, sizeof path, "%s/%s", folder, list_name);
    enum ldar_status status = output_create(path, &out, error);
    if (status != LDAR_OK)
        return status;
    status = write_list(out, plan, error);
    if (status == LDAR_OK)
        return output_commit(out, error);
    output_abandon(out);
    return status;
}

static bool parse_folds(const char *text, size_t *folds)
{
    char *end;
    const unsigned long value = strtoul(text, &end, 10);
    *folds = value;
    return *text >= '1' && *text <= '9' && *end == '\0' && value <= SUITE_FOLDS_MAX;
}

/* A name that stays below the folder. */
static bool is_safe(const char *name)
{
    return *name && *name != '/' && !strstr(name, "..") && strlen(name) < SUITE_PATH / 2;
}

static enum ldar_status take_list(const char *path, const char *text, struct suite_plan *plan, struct ldar_error *error)
{
    size_t tasks = 0, counts = 0, folds;
    char *name = member_string(text, "suite");
    char **names = member_strings(text, "tasks", &tasks), **numbers = member_strings(text, "folds", &counts);
    enum ldar_status status = name && names && numbers && tasks == counts
                                  ? begin(name, tasks, plan, error)
                                  : fail(error, LDAR_ERROR_FORMAT, "%s: does not hold the list of a suite", path);
    for (size_t i = 0; i < tasks && status == LDAR_OK; i++)
        status = is_safe(names[i]) && parse_folds(numbers[i], &folds)
                     ? add(plan, names[i], folds, error)
                     : fail(error, LDAR_ERROR_FORMAT, "%s: task %zu is none that ldar wrote", path, i + 1);
    free(name);
    member_strings_free(names);
    member_strings_free(numbers);
    return status;
}

enum ldar_status suite_plan_load(const char *folder, struct suite_plan *plan, struct ldar_error *error)
{
    char path[SUITE_PATH];
    *plan = (struct suite_plan){NULL, NULL, 0, 0};
    snprintf(path, sizeof path, "%s/%s", folder, list_name);
    char *text = members_read(path, error);
    if (!text)
        return LDAR_ERROR_IO;
    const enum ldar_status status = take_list(path, text, plan, error);
    free(text);
    if (status != LDAR_OK)
        suite_plan_free(plan);
    return status;
}

/* ---- the tables ---- */

/* What a unit says of itself. */
struct unit_result {
    struct class_metrics metrics;
    char *version, *command, *model, *sha256, *training;
};

static void unit_result_free(struct unit_result *result)
{
    char *const own[] = {result->version, result->command, result->model, result->sha256, result->training};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        free(own[i]);
    *result = (struct unit_result){0};
}

static double metric(const char *text, const char *key)
{
    double value;
    return member_number(text, key, &value) ? value : NAN; /* null stands for what is not defined */
}

static enum ldar_status read_result(const struct suite_plan *plan, const char *folder, size_t unit,
                                    struct unit_result *result, struct ldar_error *error)
{
    char path[SUITE_PATH];
    unit_path(plan, folder, unit, result_name, path);
    char *text = members_read(path, error);
    if (!text)
        return LDAR_ERROR_IO;
    *result = (struct unit_result){
        .metrics = {.accuracy = metric(text, "test_accuracy"),
                    .f1 = metric(text, "test_f1_score"),
                    .mcc = metric(text, "test_mcc"),
                    .auroc = metric(text, "test_auroc")},
        .version = member_string(text, "version"),
        .command = member_string(text, "command"),
        .model = member_string(text, "model"),
        .sha256 = member_string(text, "sha256"),
        .training = member_string(text, "training"),
    };
    free(text);
    if (result->version && result->command && result->model && result->sha256 && result->training
        && !isnan(result->metrics.mcc))
        return LDAR_OK;
    unit_result_free(result);
    return fail(error, LDAR_ERROR_FORMAT, "%s: is no result of a fold: remove it, and --resume makes it again", path);
}

/* "ldar-2m, frozen": the model's file without folder and extension, and how it was trained. */
static void name_row(const struct unit_result *result, char row[SUITE_PATH])
{
    const char *base = strrchr(result->model, '/');
    base = base ? base + 1 : result->model;
    const size_t length = strlen(base), extension = strlen(".safetensors");
    const int cut = length > extension && strcmp(base + length - extension, ".safetensors") == 0;
    snprintf(row, SUITE_PATH, "%.*s, %s", (int)(cut ? length - extension : length), base, result->training);
}

static enum ldar_status write_report(const struct suite_plan *plan, const char *folder,
                                     const struct unit_result *made_by, const struct suite_task *tasks,
                                     struct ldar_error *error)
{
    char row[SUITE_PATH];
    const struct provenance provenance = {made_by->version, made_by->command, made_by->model, made_by->sha256};
    published *published;
    char *path = shipped_file(SHIPPED_PUBLISHED);
    if (!path)
        return fail(error, LDAR_ERROR_IO, "%s, the published results, is missing from this installation",
                    SHIPPED_PUBLISHED);
    enum ldar_status status = published_read(path, &published, error);
    free(path);
    if (status != LDAR_OK)
        return status;
    const struct published_suite *suite = published_suite(published, plan->name);
    name_row(made_by, row);
    const struct suite_results results = {.title = suite ? suite->title : plan->name,
                                          .model = row,
                                          .suite = suite,
                                          .provenance = &provenance,
                                          .tasks = tasks,
                                          .task_count = plan->tasks};
    status = suite_report(&results, folder, error);
    published_free(published);
    return status;
}

/* Whether an earlier task was made by the command of task t. */
static bool is_known(const struct unit_result *made_by, size_t t)
{
    for (size_t i = 0; i < t; i++)
        if (strcmp(made_by[i].command, made_by[t].command) == 0)
            return true;
    return false;
}

/* The command of task `first`, and the tasks that it made: "ldar evaluate ... (tf/0, tf/4)". */
static void print_command(FILE *text, const struct suite_plan *plan, const struct unit_result *made_by, size_t first)
{
    const char *before = " (";
    fputs(made_by[first].command, text);
    for (size_t t = first; t < plan->tasks; t++)
        if (strcmp(made_by[t].command, made_by[first].command) == 0) {
            fprintf(text, "%s%s", before, plan->task[t].name);
            before = ", ";
        }
    fputs(")", text);
}

/*
 * The command that made all tasks or, where they had options of their own, each command with its tasks. NULL without
 * memory; the caller frees it.
 */
static char *join_commands(const struct suite_plan *plan, const struct unit_result *made_by)
{
    char *joined = NULL;
    size_t bytes, commands = 0;
    for (size_t t = 0; t < plan->tasks; t++)
        commands += !is_known(made_by, t);
    if (commands == 1)
        return strdup(made_by[0].command);
    FILE *text = open_memstream(&joined, &bytes);
    if (!text)
        return NULL;
    for (size_t t = 0; t < plan->tasks; t++) {
        if (is_known(made_by, t))
            continue;
        fputs(t > 0 ? "; " : "", text);
        print_command(text, plan, made_by, t);
    }
    const bool whole = !ferror(text);
    if (fclose(text) == 0 && whole)
        return joined;
    free(joined);
    return NULL;
}

/* The metrics of all units; made_by (tasks): what the first unit of each task says of itself. */
static enum ldar_status read_results(const struct suite_plan *plan, const char *folder, struct class_metrics *metrics,
                                     struct unit_result *made_by, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t unit = 0; unit < plan->units && status == LDAR_OK; unit++) {
        struct unit_result result;
        size_t fold;
        const size_t task = suite_plan_task_of(plan, unit, &fold);
        status = read_result(plan, folder, unit, &result, error);
        if (status != LDAR_OK)
            break;
        metrics[unit] = result.metrics;
        if (fold == 0)
            made_by[task] = result;
        else
            unit_result_free(&result);
    }
    return status;
}

enum ldar_status suite_plan_report(const struct suite_plan *plan, const char *folder, struct ldar_error *error)
{
    struct class_metrics *metrics = calloc(plan->units, sizeof *metrics);
    struct suite_task *tasks = calloc(plan->tasks, sizeof *tasks);
    struct unit_result *made_by = calloc(plan->tasks, sizeof *made_by);
    enum ldar_status status = metrics && tasks && made_by ? LDAR_OK : no_memory(error);
    if (status == LDAR_OK)
        status = read_results(plan, folder, metrics, made_by, error);
    char *commands = status == LDAR_OK ? join_commands(plan, made_by) : NULL;
    if (status == LDAR_OK && !commands)
        status = no_memory(error);
    if (status == LDAR_OK) {
        size_t unit = 0;
        for (size_t t = 0; t < plan->tasks; unit += plan->task[t++].folds)
            tasks[t] = (struct suite_task){plan->task[t].name, metrics + unit, plan->task[t].folds};
        struct unit_result all = made_by[0];
        all.command = commands;
        status = write_report(plan, folder, &all, tasks, error);
    }
    for (size_t t = 0; made_by && t < plan->tasks; t++)
        unit_result_free(&made_by[t]);
    free(commands);
    free(made_by);
    free(metrics);
    free(tasks);
    return status;
}

/* ---- parts ---- */

/* What of a unit's folder a merged run has, too. */
static const char *const merged_files[] = {"log.jsonl", "test_results.json"};

static enum ldar_status copy_file(const char *from, const char *to, struct ldar_error *error)
{
    char block[1 << 16];
    output *out;
    FILE *in = fopen(from, "rb");
    if (!in)
        return fail(error, LDAR_ERROR_IO, "%s: cannot be read: %s", from, strerror(errno));
    enum ldar_status status = output_create(to, &out, error);
    if (status == LDAR_OK) {
        for (size_t bytes; status == LDAR_OK && (bytes = fread(block, 1, sizeof block, in)) > 0;)
            status = output_write(out, block, bytes, error);
        if (status == LDAR_OK && ferror(in))
            status = fail(error, LDAR_ERROR_IO, "%s: cannot be read: %s", from, strerror(errno));
        if (status == LDAR_OK)
            status = output_commit(out, error);
        else
            output_abandon(out);
    }
    fclose(in);
    return status;
}

static enum ldar_status copy_unit(const struct suite_plan *plan, size_t unit, const char *part, const char *folder,
                                  struct ldar_error *error)
{
    char from[SUITE_PATH], to[SUITE_PATH], name[SUITE_PATH];
    suite_plan_unit_name(plan, unit, name);
    enum ldar_status status = run_make_folders(folder, name, error);
    for (size_t i = 0; i < sizeof merged_files / sizeof *merged_files && status == LDAR_OK; i++) {
        unit_path(plan, part, unit, merged_files[i], from);
        unit_path(plan, folder, unit, merged_files[i], to);
        if (access(from, F_OK) == 0)
            status = copy_file(from, to, error);
    }
    return status;
}

/* The one part that holds the unit. */
static enum ldar_status find_part(const struct suite_plan *plan, size_t unit, char *const *parts, size_t count,
                                  const char **part, struct ldar_error *error)
{
    char name[SUITE_PATH];
    suite_plan_unit_name(plan, unit, name);
    *part = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!suite_plan_done(plan, parts[i], unit))
            continue;
        if (*part)
            return fail(error, LDAR_ERROR_ARGUMENT, "%s and %s both hold %s: name each part once", *part, parts[i],
                        name);
        *part = parts[i];
    }
    return *part ? LDAR_OK
                 : fail(error, LDAR_ERROR_ARGUMENT, "none of the parts holds %s: a shard is missing or not done", name);
}

static enum ldar_status check_parts(const struct suite_plan *plan, char *const *parts, size_t count,
                                    struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    for (size_t i = 1; i < count && status == LDAR_OK; i++) {
        struct suite_plan other;
        status = suite_plan_load(parts[i], &other, error);
        if (status != LDAR_OK)
            return status;
        if (!suite_plan_equal(plan, &other))
            status = fail(error, LDAR_ERROR_ARGUMENT, "%s: not of the run of %s: it has other tasks or folds", parts[i],
                          parts[0]);
        suite_plan_free(&other);
    }
    for (size_t unit = 0; unit < plan->units && status == LDAR_OK; unit++) {
        const char *part;
        status = find_part(plan, unit, parts, count, &part, error);
    }
    return status;
}

/* `before`: the unit before this one when that is of the same task, or NULL. */
static enum ldar_status check_unit(const struct unit_result *first, const struct unit_result *before,
                                   const struct unit_result *unit, const char *part, const char *name,
                                   struct ldar_error *error)
{
    if (strcmp(first->sha256, unit->sha256) != 0 || strcmp(first->version, unit->version) != 0
        || strcmp(first->training, unit->training) != 0)
        return fail(error, LDAR_ERROR_ARGUMENT,
                    "%s: another model, version of ldar or kind of training made %s than what comes before it", part,
                    name);
    if (before && strcmp(before->command, unit->command) != 0)
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: another command made %s than the task's fold before it", part,
                    name);
    return LDAR_OK;
}

/* Units were made on one model and trained in one way, those of a task by one command. */
static enum ldar_status check_units(const struct suite_plan *plan, char *const *parts, size_t count,
                                    struct ldar_error *error)
{
    struct unit_result *units = calloc(plan->units, sizeof *units);
    enum ldar_status status = units ? LDAR_OK : no_memory(error);
    for (size_t i = 0; i < plan->units && status == LDAR_OK; i++) {
        const char *part;
        char name[SUITE_PATH];
        size_t fold;
        (void)suite_plan_task_of(plan, i, &fold);
        suite_plan_unit_name(plan, i, name);
        status = find_part(plan, i, parts, count, &part, error);
        if (status == LDAR_OK)
            status = read_result(plan, part, i, &units[i], error);
        if (status == LDAR_OK)
            status = check_unit(&units[0], fold > 0 ? &units[i - 1] : NULL, &units[i], part, name, error);
    }
    for (size_t i = 0; units && i < plan->units; i++)
        unit_result_free(&units[i]);
    free(units);
    return status;
}

enum ldar_status suite_plan_merge(char *const *parts, size_t count, const char *folder, struct ldar_error *error)
{
    struct suite_plan plan;
    enum ldar_status status = run_check_new(folder, error);
    if (status == LDAR_OK)
        status = suite_plan_load(parts[0], &plan, error);
    if (status != LDAR_OK)
        return status;
    status = check_parts(&plan, parts, count, error);
    if (status == LDAR_OK)
        status = check_units(&plan, parts, count, error);
    for (size_t unit = 0; unit < plan.units && status == LDAR_OK; unit++) {
        const char *part;
        status = find_part(&plan, unit, parts, count, &part, error);
        if (status == LDAR_OK)
            status = copy_unit(&plan, unit, part, folder, error);
    }
    if (status == LDAR_OK)
        status = suite_plan_save(&plan, folder, error);
    if (status == LDAR_OK)
        status = suite_plan_report(&plan, folder, error);
    suite_plan_free(&plan);
    return status;
}
