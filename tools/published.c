/* SPDX-License-Identifier: Apache-2.0 */
#include "published.h"

#include "formats/failure.h"

#include <jansson.h>

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct published {
    json_t *root; /* owns all strings */
    size_t suite_count;
    struct published_suite *suites;
};

/* Where in the file reading is: for messages. */
struct place {
    const char *path;
    const json_t *sources;
    const char *suite, *task; /* NULL: not in one yet */
};

static enum ldar_status fail_at(const struct place *place, struct ldar_error *error, const char *format, ...)
    FORMATS_PRINTF(3, 4);

static enum ldar_status fail_at(const struct place *place, struct ldar_error *error, const char *format, ...)
{
    char what[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return fail(error, LDAR_ERROR_FORMAT, "%.300s: %s%.60s%s%.100s%s%s", place->path, place->suite ? "suite \"" : "",
                place->suite ? place->suite : "", place->task ? "\", task \"" : "", place->task ? place->task : "",
                place->suite ? "\": " : "", what);
}

/* ---- members ---- */

static enum ldar_status read_text(const struct place *place, const json_t *object, const char *key, const char **text,
                                  struct ldar_error *error)
{
    *text = json_string_value(json_object_get(object, key));
    return *text && **text ? LDAR_OK : fail_at(place, error, "\"%s\" is missing, or no text", key);
}

/* A finite number; `missing` where there is none. */
static enum ldar_status read_number(const struct place *place, const json_t *object, const char *key, double missing,
                                    double *number, struct ldar_error *error)
{
    const json_t *value = json_object_get(object, key);
    *number = value ? json_number_value(value) : missing;
    return !value || json_is_number(value) ? LDAR_OK : fail_at(place, error, "\"%s\" is no number", key);
}

/* ---- tasks ---- */

static bool find_model(struct published_suite *suite, const char *name, size_t *model)
{
    for (*model = 0; *model < suite->model_count; ++*model) {
        if (strcmp(suite->models[*model], name) == 0) {
            return true;
        }
    }
    if (suite->model_count == PUBLISHED_MODELS_MAX) {
        return false;
    }
    suite->models[suite->model_count++] = name;
    return true;
}

static enum ldar_status read_result(const struct place *place, const json_t *json, struct published_suite *suite,
                                    struct published_task *task, struct ldar_error *error)
{
    const char *model, *source;
    double value, half;
    size_t index;
    enum ldar_status status = read_text(place, json, "model", &model, error);
    if (!status) {
        status = read_number(place, json, "value", NAN, &value, error);
    }
    if (!status) {
        status = read_number(place, json, "half", NAN, &half, error);
    }
    if (!status) {
        status = read_text(place, json, "source", &source, error);
    }
    if (status) {
        return status;
    }
    if (isnan(value) || value < -1 || value > 1 || half < 0) {
        return fail_at(place, error, "the result of \"%.60s\" is no fraction", model);
    }
    if (!find_model(suite, model, &index)) {
        return fail_at(place, error, "more than %d models", PUBLISHED_MODELS_MAX);
    }
    struct published_result *result = &task->results[index];
    *result = (struct published_result){value, half, json_string_value(json_object_get(place->sources, source))};
    return result->source ? LDAR_OK : fail_at(place, error, "the source \"%.60s\" is not among the sources", source);
}

static enum ldar_status read_task(struct place *place, const json_t *json, struct published_suite *suite,
                                  struct published_task *task, struct ldar_error *error)
{
    const char *metric;
    double test;
    enum ldar_status status = read_text(place, json, "name", &task->name, error);
    place->task = task->name;
    for (size_t i = 0; i < PUBLISHED_MODELS_MAX; ++i) {
        task->results[i] = (struct published_result){NAN, NAN, NULL};
    }
    if (!status) {
        status = read_text(place, json, "metric", &metric, error);
    }
    if (!status && !metric_parse(metric, &task->metric)) {
        status = fail_at(place, error, "the metric \"%.60s\" is none of accuracy, f1, mcc and auroc", metric);
    }
    if (!status) {
        status = read_number(place, json, "test", 0, &test, error);
    }
    if (!status) {
        status = read_number(place, json, "rate", 0, &task->rate, error);
    }
    if (!status && !(test >= 0 && test <= 1e15 && task->rate >= 0)) {
        status = fail_at(place, error, "\"test\" or \"rate\" is negative, or too large");
    }
    task->test = status ? 0 : (size_t)test;
    const json_t *results = json_object_get(json, "results");
    for (size_t i = 0; !status && i < json_array_size(results); ++i) {
        status = read_result(place, json_array_get(results, i), suite, task, error);
    }
    return status;
}

/* ---- suites ---- */

static enum ldar_status read_suite(struct place *place, const json_t *json, struct published_suite *suite,
                                   struct ldar_error *error)
{
    const json_t *tasks = json_object_get(json, "tasks");
    enum ldar_status status = read_text(place, json, "name", &suite->name, error);
    place->suite = suite->name;
    if (!status) {
        status = read_text(place, json, "title", &suite->title, error);
    }
    if (!status && json_array_size(tasks) == 0) {
        status = fail_at(place, error, "has no tasks");
    }
    if (status) {
        return status;
    }
    suite->task_count = json_array_size(tasks);
    suite->tasks = calloc(suite->task_count, sizeof *suite->tasks);
    if (!suite->tasks) {
        return fail_memory(error, place->path, "its tasks");
    }
    for (size_t i = 0; !status && i < suite->task_count; ++i) {
        status = read_task(place, json_array_get(tasks, i), suite, &suite->tasks[i], error);
        place->task = NULL;
    }
    return status;
}

static enum ldar_status read_root(published *published, const char *path, struct ldar_error *error)
{
    struct place place = {.path = path, .sources = json_object_get(published->root, "sources")};
    const json_t *suites = json_object_get(published->root, "suites");
    const char *format = json_string_value(json_object_get(published->root, "format"));
    if (!format || strcmp(format, "ldar published results") != 0
        || json_integer_value(json_object_get(published->root, "version")) != 1) {
        return fail_at(&place, error, "is no file of published results in version 1");
    }
    published->suite_count = json_array_size(suites);
    published->suites = calloc(published->suite_count + 1, sizeof *published->suites);
    if (!published->suites) {
        return fail_memory(error, path, "its suites");
    }
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; !status && i < published->suite_count; ++i) {
        status = read_suite(&place, json_array_get(suites, i), &published->suites[i], error);
        place.suite = NULL;
    }
    return status;
}

enum ldar_status published_read(const char *path, published **out, struct ldar_error *error)
{
    json_error_t fault;
    *out = NULL;
    published *published = calloc(1, sizeof *published);
    if (!published) {
        return fail_memory(error, path, "reading");
    }
    published->root = json_load_file(path, JSON_REJECT_DUPLICATES, &fault);
    const enum ldar_status status = published->root
                                        ? read_root(published, path, error)
                                        : fail(error, LDAR_ERROR_FORMAT, "%.400s:%d: %s", path, fault.line, fault.text);
    if (status) {
        published_free(published);
        return status;
    }
    *out = published;
    return LDAR_OK;
}

const struct published_suite *published_suite(const published *published, const char *name)
{
    for (size_t i = 0; i < published->suite_count; ++i) {
        if (strcmp(published->suites[i].name, name) == 0) {
            return &published->suites[i];
        }
    }
    return NULL;
}

const struct published_task *published_task(const struct published_suite *suite, const char *name)
{
    const struct published_task *found = NULL;
    size_t endings = 0;
    for (size_t i = 0; i < suite->task_count; ++i) {
        const struct published_task *task = &suite->tasks[i];
        const char *slash = strrchr(task->name, '/');
        if (strcmp(task->name, name) == 0) {
            return task;
        }
        if (slash && strcmp(slash + 1, name) == 0) {
            found = task;
            ++endings;
        }
    }
    return endings == 1 ? found : NULL;
}

void published_free(published *published)
{
    if (published) {
        for (size_t i = 0; published->suites && i < published->suite_count; ++i) {
            free(published->suites[i].tasks);
        }
        free(published->suites);
        json_decref(published->root);
        free(published);
    }
}
