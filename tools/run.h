/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_RUN_H
#define LDAR_TOOLS_RUN_H

#include "options.h"

#include <ldar/checkpoint.h>

/*
 * The folder of a training run, RUN, and all that is written to it:
 *
 *   run.json            the options, from the first moment, and where the run was started
 *   log.jsonl           a line for each step and each validation
 *   checkpoints/        ldar/checkpoint.h
 *   model.safetensors   the weights, as of the last checkpoint
 *   report.html         curves of the log
 *
 * One process at a time writes to it: checkpoints/ is locked.
 */
struct run {
    char *folder; /* as an absolute path */
    FILE *log;
    ldar_checkpoints *checkpoints;
    char *command;            /* the line that the run was started with */
    char **kept, **arguments; /* the options that run_settings read, and in the order that parsing gave them */
};

enum { RUN_PATH = 4096 };

/* -o RUN of a command that trains one. */
extern const struct option option_run;

/* An error unless `folder` is not there, or is empty. */
LDAR_MUST_USE enum ldar_status run_check_new(const char *folder, struct ldar_error *error);

/*
 * Makes the folder, which bears its name only once run.json is in it. `settings`: those of the command. On failure
 * nothing is to be closed.
 */
LDAR_MUST_USE enum ldar_status run_create(const char *folder, const struct common *settings, struct run *run,
                                          struct ldar_error *error);

/* Usage errors of a command line that continues a run: of its options only those that change no bit may be given. */
enum exit_status run_check_resume(const struct common *common);

/* Whether the folder holds a run that was begun. */
int run_is_begun(const char *folder);

/*
 * An error that names the first option in which a run that was begun differs from `settings`, those apart that change
 * no bit.
 */
LDAR_MUST_USE enum ldar_status run_check_same(const struct run *run, const struct common *settings,
                                              struct ldar_error *error);

/* Makes FOLDER/NAME and the folders on the way, where they are missing. */
LDAR_MUST_USE enum ldar_status run_make_folders(const char *folder, const char *name, struct ldar_error *error);

/*
 * A part of a run in a folder of its own, FOLDER/NAME, with a log and checkpoints but without options. It is made where
 * it is missing.
 */
LDAR_MUST_USE enum ldar_status run_open_part(const struct run *run, const char *name, struct run *part,
                                             struct ldar_error *error);

/* Removes what a part that is done needs no more: its checkpoints, and unless it is kept its model. Closes none. */
void run_tidy(struct run *part, int keep_model);

/* Opens a run that was begun, to write to it or, `writes` 0, to read its checkpoints alone. */
LDAR_MUST_USE enum ldar_status run_open(const char *folder, int writes, struct run *run, struct ldar_error *error);

/*
 * Reads the options of a run into `settings` (command->settings bytes), and makes the folder that it was started in the
 * current one, so that relative paths mean what they did. What `settings` points to is the run's.
 */
LDAR_MUST_USE enum ldar_status run_settings(struct run *run, const struct command *command, void *settings,
                                            struct ldar_error *error);

/* Opens the log behind the lines of steps up to `step`; what follows them is cut off. */
LDAR_MUST_USE enum ldar_status run_log_begin(struct run *run, uint64_t step, struct ldar_error *error);

/* A line of the log. */
LDAR_MUST_USE enum ldar_status run_log(struct run *run, struct ldar_error *error, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* Makes the log's lines durable. */
LDAR_MUST_USE enum ldar_status run_log_sync(struct run *run, struct ldar_error *error);

/* The path of a file in the folder. */
const char *run_path(const struct run *run, const char *name, char path[RUN_PATH]);

void run_close(struct run *run);

/* For a run that took no step: removes the folder that run_create made, and closes. */
void run_abandon(struct run *run);

#endif
