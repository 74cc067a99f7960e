/* SPDX-License-Identifier: Apache-2.0 */
#include "tasks.h"
#include "failure.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = 4096 };

/* ---- the list ---- */

static void task_free(struct task *task)
{
    free(task->name);
    free(task->train);
    free(task->valid);
    free(task->test);
}

void tasks_free(struct tasks *tasks)
{
    for (size_t i = 0; i < tasks->count; i++)
        task_free(&tasks->task[i]);
    free(tasks->task);
    *tasks = (struct tasks){NULL, 0};
}

/* Takes the task over, whatever comes of it. */
static enum ldar_status append(struct tasks *tasks, struct task task, struct ldar_error *error)
{
    struct task *list = task.name ? realloc(tasks->task, (tasks->count + 1) * sizeof *list) : NULL;
    if (!list) {
        task_free(&task);
        return fail(error, LDAR_ERROR_MEMORY, "no memory for the list of tasks");
    }
    tasks->task = list;
    tasks->task[tasks->count++] = task;
    return LDAR_OK;
}

/* Digits by their value, all else byte by byte: tf/2 comes before tf/10. */
static int compare_names(const char *a, const char *b)
{
    while (*a && *b) {
        if (isdigit((unsigned char)*a) && isdigit((unsigned char)*b)) {
            char *after_a, *after_b;
            const unsigned long long x = strtoull(a, &after_a, 10), y = strtoull(b, &after_b, 10);
            if (x != y)
                return x < y ? -1 : 1;
            a = after_a;
            b = after_b;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++;
            b++;
        }
    }
    return (*a != '\0') - (*b != '\0');
}

static int compare_tasks(const void *a, const void *b)
{
    return compare_names(((const struct task *)a)->name, ((const struct task *)b)->name);
}

/* ---- folders ---- */

/* Whether an entry is the part of a task: its name, or that and an extension. */
static bool is_part(const char *entry, const char *part)
{
    const size_t length = strlen(part);
    return strncmp(entry, part, length) == 0 && (entry[length] == '\0' || entry[length] == '.');
}

/* An index of a genome or a compressed file lies beside it, and is no table. */
static bool is_index(const char *entry)
{
    const char *end = strrchr(entry, '.');
    return end && (strcmp(end, ".fai") == 0 || strcmp(end, ".gzi") == 0);
}

static enum ldar_status take_entry(const char *folder, const char *entry, struct task *task, struct ldar_error *error)
{
    static const char *const validations[] = {"dev", "valid", "validation"};
    char **place = is_part(entry, "train") ? &task->train : is_part(entry, "test") ? &task->test : NULL;
    for (size_t i = 0; i < sizeof validations / sizeof *validations && !place; i++)
        place = is_part(entry, validations[i]) ? &task->valid : NULL;
    if (!place || is_index(entry))
        return LDAR_OK;
    const size_t bytes = strlen(folder) + strlen(entry) + 2;
    char *path = malloc(bytes);
    if (!path)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for the list of tasks");
    snprintf(path, bytes, "%s/%s", folder, entry);
    if (*place) {
        const enum ldar_status status =
            fail(error, LDAR_ERROR_ARGUMENT, "%s and %s are both there: which is the task's table? Remove one", *place,
                 path);
        free(path);
        return status;
    }
    *place = path;
    return LDAR_OK;
}

static bool is_folder(const char *folder, const char *entry, char path[PATH_BYTES])
{
    struct stat about;
    return snprintf(path, PATH_BYTES, "%s/%s", folder, entry) < PATH_BYTES && stat(path, &about) == 0
           && S_ISDIR(about.st_mode);
}

static enum ldar_status find_below(const char *folder, const char *name, int depth, struct tasks *tasks,
                                   struct ldar_error *error);

/* The folders of a folder that is no task. */
static enum ldar_status descend(DIR *entries, const char *folder, const char *name, int depth, struct tasks *tasks,
                                struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    rewinddir(entries);
    for (struct dirent *entry = readdir(entries); entry && status == LDAR_OK; entry = readdir(entries)) {
        char path[PATH_BYTES], below[PATH_BYTES];
        if (entry->d_name[0] == '.' || !is_folder(folder, entry->d_name, path)
            || snprintf(below, sizeof below, "%s%s%s", name, *name ? "/" : "", entry->d_name) >= (int)sizeof below)
            continue;
        status = find_below(path, below, depth + 1, tasks, error);
    }
    return status;
}

static enum ldar_status find_below(const char *folder, const char *name, int depth, struct tasks *tasks,
                                   struct ldar_error *error)
{
    struct task task = {NULL, NULL, NULL, NULL};
    enum ldar_status status = LDAR_OK;
    DIR *entries = opendir(folder);
    if (!entries)
        return fail(error, LDAR_ERROR_IO, "%s: %s", folder, strerror(errno));
    for (struct dirent *entry = readdir(entries); entry && status == LDAR_OK; entry = readdir(entries))
        status = take_entry(folder, entry->d_name, &task, error);
    if (status == LDAR_OK && task.train && task.test) {
        task.name = strdup(*name ? name : ".");
        status = append(tasks, task, error);
    } else {
        if (status == LDAR_OK && depth < TASKS_DEPTH)
            status = descend(entries, folder, name, depth, tasks, error);
        task_free(&task);
    }
    closedir(entries);
    return status;
}

enum ldar_status tasks_find(const char *folder, struct tasks *tasks, struct ldar_error *error)
{
    *tasks = (struct tasks){NULL, 0};
    enum ldar_status status = find_below(folder, "", 0, tasks, error);
    if (status == LDAR_OK && tasks->count == 0)
        status =
            fail(error, LDAR_ERROR_ARGUMENT,
                 "%s: no task: a task is a folder that holds the tables train and test, as TASK/train.csv", folder);
    if (status != LDAR_OK)
        tasks_free(tasks);
    else
        qsort(tasks->task, tasks->count, sizeof *tasks->task, compare_tasks);
    return status;
}

/* ---- choices ---- */

static bool names_task(const char *name, const char *task)
{
    const size_t length = strlen(name);
    return strncmp(name, task, length) == 0 && (task[length] == '\0' || task[length] == '/');
}

static enum ldar_status fail_unknown(const struct tasks *tasks, const char *folder, const char *name,
                                     struct ldar_error *error)
{
    char list[384] = "";
    for (size_t i = 0; i < tasks->count; i++) {
        const size_t length = strlen(list);
        snprintf(list + length, sizeof list - length, " %s", tasks->task[i].name);
    }
    return fail(error, LDAR_ERROR_ARGUMENT, "option --tasks: %s has no task '%s'; there are:%s", folder, name, list);
}

enum ldar_status tasks_choose(struct tasks *tasks, const char *folder, const char *const *names, size_t count,
                              struct ldar_error *error)
{
    for (size_t n = 0; n < count; n++) {
        bool found = false;
        for (size_t i = 0; i < tasks->count; i++)
            found |= names_task(names[n], tasks->task[i].name);
        if (!found)
            return fail_unknown(tasks, folder, names[n], error);
    }
    size_t kept = 0;
    for (size_t i = 0; i < tasks->count; i++) {
        bool wanted = count == 0;
        for (size_t n = 0; n < count; n++)
            wanted |= names_task(names[n], tasks->task[i].name);
        if (wanted)
            tasks->task[kept++] = tasks->task[i];
        else
            task_free(&tasks->task[i]);
    }
    tasks->count = kept;
    return LDAR_OK;
}
