/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/checkpoint.h>

#include "io/checkpoint_folder.h"
#include "io/text.h"
#include "status.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEPT = 3, SKIPPED = 4096 };
static const uint64_t max_step = UINT64_C(1) << 53; /* what every reader of JSON holds exactly */

/*
 * While a thread writes, it alone touches the fields below `thread`: every call of the caller's waits for it first.
 */
struct ldar_checkpoints {
    char *folder;
    int lock;                       /* -1: a reader */
    struct ldar_generation durable; /* the newest that is; generation 0: none */
    struct ldar_checkpoint_file *loaded;
    char skipped[SKIPPED];
    int running;
    pthread_t thread;
    struct ldar_checkpoint_draft draft;
    struct ldar_generation *generation; /* (generations) that lie in the folder and are good, the newest first */
    size_t generations;
    size_t unreadable; /* others that lie there */
    uint64_t last;     /* no generation with a higher number is there */
    int draft_durable; /* the draft is */
    enum ldar_status status;
    struct ldar_error error;
};

/* ---- the write ---- */

static char *path_of(const struct ldar_checkpoints *checkpoints, uint64_t step, struct ldar_error *error)
{
    char name[LDAR_CHECKPOINT_NAME];
    ldar_checkpoint_file_name(step, name);
    return ldar_checkpoint_path(checkpoints->folder, name, error);
}

/* There is room in the list for one more. */
static void enter_newest(struct ldar_checkpoints *checkpoints)
{
    const struct ldar_checkpoint_draft *draft = &checkpoints->draft;
    struct ldar_generation *list = checkpoints->generation, newest = {draft->generation, draft->step, 0, ""};
    size_t kept = 0;
    newest.bytes = draft->file_bytes;
    memcpy(newest.hash, draft->hash, sizeof newest.hash);
    for (size_t i = 0; i < checkpoints->generations; i++) {
        if (list[i].step != draft->step) { /* that file has just been replaced */
            list[kept++] = list[i];
        }
    }
    memmove(list + 1, list, kept * sizeof *list);
    list[0] = newest;
    checkpoints->generations = kept + 1;
}

/* One that cannot be removed is found again when the folder is next opened. */
static void remove_old(struct ldar_checkpoints *checkpoints)
{
    while (checkpoints->generations > KEPT) {
        char *path = path_of(checkpoints, checkpoints->generation[--checkpoints->generations].step, NULL);
        if (path) {
            unlink(path);
        }
        free(path);
    }
}

static size_t kept_count(const struct ldar_checkpoints *checkpoints)
{
    return checkpoints->generations < KEPT ? checkpoints->generations : KEPT;
}

/* The order is the promise: the checkpoint is durable before the manifest names it, and both before one is removed. */
static enum ldar_status write_draft(struct ldar_checkpoints *checkpoints, struct ldar_error *error)
{
    enum ldar_status status = ldar_checkpoint_lock_check(checkpoints->folder, checkpoints->lock, error);
    char *path = status ? NULL : path_of(checkpoints, checkpoints->draft.step, error);
    if (!path) {
        return status ? status : LDAR_ERROR_MEMORY;
    }
    status = ldar_checkpoint_draft_write(&checkpoints->draft, path, error);
    free(path);
    if (status) {
        return status;
    }
    checkpoints->draft_durable = 1;
    enter_newest(checkpoints);
    status = ldar_manifest_write(checkpoints->folder, checkpoints->generation, kept_count(checkpoints), error);
    if (!status) {
        remove_old(checkpoints);
    }
    return status;
}

static void *write_in_background(void *argument)
{
    struct ldar_checkpoints *checkpoints = argument;
    checkpoints->status = write_draft(checkpoints, &checkpoints->error);
    return NULL;
}

/* After a write, in whichever thread it was. */
static void finish_draft(struct ldar_checkpoints *checkpoints)
{
    if (checkpoints->draft_durable) {
        checkpoints->durable = checkpoints->generation[0];
    }
    ldar_checkpoint_draft_release(&checkpoints->draft);
}

static void join(struct ldar_checkpoints *checkpoints)
{
    if (checkpoints->running) {
        pthread_join(checkpoints->thread, NULL);
        checkpoints->running = 0;
        finish_draft(checkpoints);
    }
}

/* Signals are for the threads of the caller. Returns 1 when the thread runs. */
static int start_thread(struct ldar_checkpoints *checkpoints)
{
    sigset_t all, before;
    sigfillset(&all);
    if (!ldar_checkpoint_draft_copy(&checkpoints->draft) || pthread_sigmask(SIG_SETMASK, &all, &before) != 0) {
        return 0;
    }
    checkpoints->running = pthread_create(&checkpoints->thread, NULL, write_in_background, checkpoints) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return checkpoints->running;
}

static enum ldar_status make_draft(struct ldar_checkpoints *checkpoints, uint64_t step, const char *config,
                                   const char *state, const struct ldar_checkpoint_tensor *tensors, size_t count,
                                   struct ldar_error *error)
{
    const size_t room = (checkpoints->generations + 1) * sizeof *checkpoints->generation;
    struct ldar_generation *list = realloc(checkpoints->generation, room);
    if (!list) {
        return ldar_fail_memory(error, room, "a list of checkpoints");
    }
    checkpoints->generation = list;
    checkpoints->draft_durable = 0;
    const int again = checkpoints->generations > 0 && list[0].step == step;
    const uint64_t generation = again ? list[0].generation : checkpoints->last + 1;
    enum ldar_status status =
        ldar_checkpoint_draft_make(&checkpoints->draft, generation, step, config, state, tensors, count, error);
    if (!status && !again) {
        checkpoints->last = generation;
    }
    return status;
}

enum ldar_status ldar_checkpoints_save(ldar_checkpoints *checkpoints, uint64_t step, const char *config,
                                       const char *state, const struct ldar_checkpoint_tensor *tensors, size_t count,
                                       int background, struct ldar_error *error)
{
    join(checkpoints);
    if (checkpoints->lock < 0) {
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "%s: opened for reading", checkpoints->folder);
    }
    if (step > max_step) {
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "%s: a step beyond 2^53", checkpoints->folder);
    }
    enum ldar_status status = make_draft(checkpoints, step, config, state, tensors, count, error);
    if (status) {
        return status;
    }
    const enum ldar_status told = checkpoints->status;
    const struct ldar_error before = checkpoints->error;
    checkpoints->status = LDAR_OK;
    if (background && start_thread(checkpoints)) {
        if (told && error) {
            *error = before;
        }
        return told;
    }
    status = write_draft(checkpoints, error); /* what could not be written before matters no more: this is newer */
    finish_draft(checkpoints);
    return status;
}

enum ldar_status ldar_checkpoints_wait(ldar_checkpoints *checkpoints, struct ldar_error *error)
{
    join(checkpoints);
    const enum ldar_status status = checkpoints->status;
    if (status && error) {
        *error = checkpoints->error;
    }
    checkpoints->status = LDAR_OK;
    return status;
}

uint64_t ldar_checkpoints_durable(const ldar_checkpoints *checkpoints, uint64_t *step)
{
    if (step) {
        *step = checkpoints->durable.step;
    }
    return checkpoints->durable.generation;
}

/* ---- what lies there ---- */

static void skip(struct ldar_checkpoints *checkpoints, const char *why)
{
    struct ldar_text text = {checkpoints->skipped, sizeof checkpoints->skipped, strlen(checkpoints->skipped)};
    ldar_text_add(&text, *checkpoints->skipped ? "\n%s" : "%s", why);
}

/* Failures that are not the file's: to pass over it would be to lose what it holds. */
static int is_final(enum ldar_status status)
{
    return status == LDAR_ERROR_MEMORY || status == LDAR_ERROR_UNSUPPORTED || status == LDAR_ERROR_TENSOR;
}

static enum ldar_status open_step(struct ldar_checkpoints *checkpoints, uint64_t step,
                                  struct ldar_checkpoint_file **file, struct ldar_error *error)
{
    *file = NULL;
    char *path = path_of(checkpoints, step, error);
    if (!path) {
        return LDAR_ERROR_MEMORY;
    }
    enum ldar_status status = ldar_checkpoint_file_open(path, file, error);
    if (!status && (*file)->step != step) {
        status = ldar_fail(error, LDAR_ERROR_FORMAT, "%s: it holds step %llu: its name is not its own", path,
                           (unsigned long long)(*file)->step);
        ldar_checkpoint_file_close(*file);
        *file = NULL;
    }
    free(path);
    return status;
}

static int newest_first(const void *a, const void *b)
{
    const struct ldar_generation *x = a, *y = b;
    if (x->generation != y->generation) {
        return x->generation < y->generation ? 1 : -1;
    }
    return (x->step < y->step) - (x->step > y->step);
}

/* Into the list, where there is room. */
static enum ldar_status enter_step(struct ldar_checkpoints *checkpoints, uint64_t step, struct ldar_error *error)
{
    struct ldar_error why;
    struct ldar_checkpoint_file *file;
    enum ldar_status status = open_step(checkpoints, step, &file, &why);
    if (status) {
        if (is_final(status)) {
            return ldar_fail(error, status, "%s", why.message);
        }
        skip(checkpoints, why.message);
        checkpoints->unreadable++;
        return LDAR_OK;
    }
    struct ldar_generation *entry = &checkpoints->generation[checkpoints->generations++];
    *entry = (struct ldar_generation){file->generation, file->step, file->bytes, ""};
    memcpy(entry->hash, file->hash, sizeof entry->hash);
    ldar_checkpoint_file_close(file);
    return LDAR_OK;
}

/* One that cannot be read may come back, and must then not pass for newer than what is saved from here on. */
static void settle_last(struct ldar_checkpoints *checkpoints, const struct ldar_generation *named)
{
    uint64_t newest = named->generation;
    if (checkpoints->generations > 0 && checkpoints->generation[0].generation > newest) {
        newest = checkpoints->generation[0].generation;
    }
    newest += checkpoints->unreadable;
    checkpoints->last = newest > checkpoints->last ? newest : checkpoints->last;
}

/* Makes the list anew, of all whose header is whole. */
static enum ldar_status scan(struct ldar_checkpoints *checkpoints, int clean, const struct ldar_generation *named,
                             struct ldar_error *error)
{
    uint64_t *steps;
    size_t count;
    enum ldar_status status = ldar_checkpoint_list(checkpoints->folder, clean, &steps, &count, error);
    if (status) {
        return status;
    }
    struct ldar_generation *list = realloc(checkpoints->generation, (count + 1) * sizeof *list);
    if (!list) {
        free(steps);
        return ldar_fail_memory(error, (count + 1) * sizeof *list, "a list of checkpoints");
    }
    checkpoints->generation = list;
    checkpoints->generations = checkpoints->unreadable = 0;
    for (size_t i = 0; !status && i < count; i++) {
        status = enter_step(checkpoints, steps[i], error);
    }
    free(steps);
    qsort(checkpoints->generation, checkpoints->generations, sizeof *list, newest_first);
    settle_last(checkpoints, named);
    return status;
}

/* ---- loading ---- */

/* A generation that the manifest names and that is not there, not even damaged. */
static void look_for_missing(struct ldar_checkpoints *checkpoints, const struct ldar_generation *named)
{
    const uint64_t newest = checkpoints->generations > 0 ? checkpoints->generation[0].generation : 0;
    struct ldar_error why;
    char *path = named->generation > newest ? path_of(checkpoints, named->step, NULL) : NULL;
    if (path && access(path, F_OK) != 0) {
        ldar_fail(&why, LDAR_ERROR_IO, "%s: missing, although the manifest names it", path);
        skip(checkpoints, why.message);
    }
    free(path);
}

/* The first of the list that is whole. Those that are not leave the list: they are neither counted nor removed. */
static enum ldar_status load_newest(struct ldar_checkpoints *checkpoints, const struct ldar_checkpoint_tensor *tensors,
                                    size_t count, struct ldar_error *error)
{
    while (checkpoints->generations > 0) {
        struct ldar_error why;
        struct ldar_checkpoint_file *file;
        enum ldar_status status = open_step(checkpoints, checkpoints->generation[0].step, &file, &why);
        if (!status) {
            status = ldar_checkpoint_file_read(file, tensors, count, &why);
        }
        if (!status) {
            ldar_checkpoint_file_detach(file);
            checkpoints->loaded = file;
            return LDAR_OK;
        }
        ldar_checkpoint_file_close(file);
        if (is_final(status)) {
            return ldar_fail(error, status, "%s", why.message);
        }
        skip(checkpoints, why.message);
        checkpoints->generations--;
        memmove(checkpoints->generation, checkpoints->generation + 1,
                checkpoints->generations * sizeof *checkpoints->generation);
    }
    return LDAR_OK;
}

static enum ldar_status fail_all(const struct ldar_checkpoints *checkpoints, struct ldar_error *error)
{
    char reasons[SKIPPED];
    strcpy(reasons, checkpoints->skipped);
    for (char *c = strchr(reasons, '\n'); c; c = strchr(c, '\n')) {
        *c = ' ';
    }
    return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: no checkpoint is whole: %s", checkpoints->folder, reasons);
}

enum ldar_status ldar_checkpoints_load(ldar_checkpoints *checkpoints, const struct ldar_checkpoint_tensor *tensors,
                                       size_t count, struct ldar_checkpoint *checkpoint, struct ldar_error *error)
{
    struct ldar_generation named;
    struct ldar_error why;
    join(checkpoints);
    *checkpoint = (struct ldar_checkpoint){0, 0, "", "", checkpoints->skipped};
    ldar_checkpoint_file_close(checkpoints->loaded);
    checkpoints->loaded = NULL;
    checkpoints->skipped[0] = '\0';
    /* Before the list: a generation that a writer adds meanwhile is then no missing one. */
    if (ldar_manifest_read(checkpoints->folder, &named, &why)) {
        skip(checkpoints, why.message);
    }
    enum ldar_status status = scan(checkpoints, 0, &named, error);
    if (status) {
        return status;
    }
    look_for_missing(checkpoints, &named);
    status = load_newest(checkpoints, tensors, count, error);
    const struct ldar_checkpoint_file *file = checkpoints->loaded;
    if (status || !file) {
        return status || !*checkpoints->skipped ? status : fail_all(checkpoints, error);
    }
    *checkpoint =
        (struct ldar_checkpoint){file->generation, file->step, file->config, file->state, checkpoints->skipped};
    if (checkpoints->lock >= 0) {
        checkpoints->durable = checkpoints->generation[0];
    }
    return LDAR_OK;
}

/* ---- the object ---- */

static enum ldar_status begin(struct ldar_checkpoints *checkpoints, int writer, struct ldar_error *error)
{
    struct ldar_generation named = {0};
    enum ldar_status status = LDAR_OK;
    if (writer) {
        status = ldar_checkpoint_folder_make(checkpoints->folder, error);
        if (!status) {
            status = ldar_checkpoint_lock(checkpoints->folder, &checkpoints->lock, error);
        }
        if (!status) { /* a writer may have died between a rename and its sync */
            status = ldar_checkpoint_folder_sync(checkpoints->folder, error);
        }
    }
    if (!status && writer) {
        status = ldar_manifest_read(checkpoints->folder, &named, error);
        status = status == LDAR_ERROR_FORMAT ? LDAR_OK : status; /* a load tells of it, and a save makes it anew */
    }
    return status ? status : scan(checkpoints, writer, &named, error);
}

enum ldar_status ldar_checkpoints_open(const char *folder, int writer, ldar_checkpoints **out, struct ldar_error *error)
{
    *out = NULL;
    struct ldar_checkpoints *checkpoints = calloc(1, sizeof *checkpoints);
    char *copy = malloc(strlen(folder) + 1);
    if (!checkpoints || !copy) {
        free(checkpoints);
        free(copy);
        return ldar_fail_memory(error, sizeof *checkpoints + strlen(folder), "checkpoints");
    }
    checkpoints->folder = strcpy(copy, folder);
    checkpoints->lock = -1;
    enum ldar_status status = begin(checkpoints, writer, error);
    if (status) {
        ldar_checkpoints_close(checkpoints);
        return status;
    }
    *out = checkpoints;
    return LDAR_OK;
}

void ldar_checkpoints_close(ldar_checkpoints *checkpoints)
{
    if (!checkpoints) {
        return;
    }
    join(checkpoints);
    ldar_checkpoint_file_close(checkpoints->loaded);
    if (checkpoints->lock >= 0) {
        close(checkpoints->lock);
    }
    free(checkpoints->generation);
    free(checkpoints->folder);
    free(checkpoints);
}
