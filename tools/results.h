/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_RESULTS_H
#define LDAR_TOOLS_RESULTS_H

#include "session.h"

/*
 * How long work is split over machines and survives kills. A command cuts its work into units, in an order that depends
 * on the input and the options alone: a window, or some records. What a unit comes to is a blob, bytes of the command's
 * own; applied in order, blobs make the output. What becomes of a blob depends on how the command was called:
 *
 *   as ever          it is applied at once
 *   --resume         it goes to OUT.part (formats/journal.h); when all are there they are applied, and OUT.part is
 *                    removed. Where such a file of the same run is found, its blobs need not be computed again
 *   --shard i/N      it goes to OUT.part, which becomes OUT, a part, when all blobs of the shard are there; with
 *                    --resume likewise
 *   ldar merge       the blobs of N parts are applied, and nothing is computed
 *
 * so the output is the same, to the byte. A command that takes part has OPTIONS_LONG in its table, and in its run:
 *
 *   shards_check                     usage errors
 *   session_open                     with common.replay set: no model, but what the parts say of it
 *   if (common.replay)  create the output, replay_apply, commit it
 *   else                cut the work, results_begin, results_put for each unit of the shard but the first `done`,
 *                       results_complete, commit the output if there is one, results_close
 */

/* ---- shards ---- */

/* The index-th (from 0) of `count`. */
struct shard {
    uint64_t index, count;
};

/* Usage errors of --shard, --resume and --dry-run. `input`: what is read, and must be readable twice; or NULL. */
enum exit_status shards_check(const struct common *common, const char *input);

/* {0, 1} without --shard. */
struct shard shard_of(const struct common *common);

/* Of `total` bases (or whatever units weigh) the first that is the shard's; that of index + 1 is where it ends. */
uint64_t shard_border(uint64_t total, struct shard shard);

/* ---- whose results they are ---- */

/* What two processes must agree on for their results to be of one run, in words; zeroed is empty. */
struct identity {
    size_t count;
    struct {
        const char *key; /* as a message would name it: "instruction set" */
        char *value;
    } item[24];
};

/* `key` is borrowed. A value that is too long, or for which there is no memory, makes results_begin fail. */
void identity_add(struct identity *identity, const char *key, const char *format, ...) FORMATS_PRINTF(3, 4);

/* ldar, command line, model, instruction set, matrix multiplication, type. `session` may be NULL. */
void identity_add_session(struct identity *identity, const struct common *common, const struct session *session);

void identity_free(struct identity *identity);

/* ---- results ---- */

/* Takes the next blob to the output. */
struct applier {
    enum ldar_status (*open)(void *user, struct ldar_error *error); /* NULL, or called before the first blob */
    enum ldar_status (*apply)(void *user, const void *blob, size_t bytes, struct ldar_error *error);
    void *user;
};

struct workload {
    const struct common *common;
    const struct session *session; /* NULL: no model takes part */
    struct identity identity;
    uint64_t units;       /* of all shards */
    uint64_t first;       /* of these the first of this shard */
    const void *prologue; /* (prologue_bytes) what replay_prologue gives back: all else that applying needs */
    size_t prologue_bytes;
    struct applier applier;
};

typedef struct results results;

/*
 * *done: units of this shard whose results are there already. RESULTS_ALL when the part is complete: nothing is to be
 * computed or put. `work` must outlive the results. On failure *results is NULL.
 */
#define RESULTS_ALL UINT64_MAX
LDAR_MUST_USE enum ldar_status results_begin(const struct workload *work, results **results, uint64_t *done,
                                             struct ldar_error *error);

/* Whether results_put applies at once. A command may then as well bring its results to the output by a shorter way. */
int results_at_once(const results *results);

/* Whether an output is made in the end: not by a shard. */
int results_are_applied(const results *results);

/* The next unit's blob. */
LDAR_MUST_USE enum ldar_status results_put(results *results, const void *blob, size_t bytes, struct ldar_error *error);

/* After the last unit of the shard: applies all where that was put off, or completes the part. */
LDAR_MUST_USE enum ldar_status results_complete(results *results, struct ldar_error *error);

/* Frees `results` (may be NULL). `done`: the output is complete and has its name, so that OUT.part may go. */
void results_close(results *results, int done);

/* ---- merging ---- */

/* The parts of a run, for merging: what common.replay points to. */
struct replay;

/* Opens all parts, in any order, and checks that they are those of one run, each once. On failure *replay is NULL. */
LDAR_MUST_USE enum ldar_status replay_open(char *const *paths, size_t count, struct replay **replay,
                                           struct ldar_error *error);
void replay_close(struct replay *replay); /* does nothing for NULL */

/* The command whose parts they are, and its words for options_parse, NULL behind the last; the replay's. */
const char *replay_command(const struct replay *replay);
char **replay_arguments(const struct replay *replay, size_t *count);

/* What session_open fills in: the strings are the replay's. */
LDAR_MUST_USE enum ldar_status replay_session(const struct replay *replay, struct session *session,
                                              struct ldar_error *error);
const char *replay_command_line(const struct replay *replay);

/* The first part's prologue; the replay's. */
const void *replay_prologue(const struct replay *replay, size_t *bytes);

/* Applies the blobs of all parts, in order. */
LDAR_MUST_USE enum ldar_status replay_apply(const struct replay *replay, const struct applier *applier,
                                            struct ldar_error *error);

#endif
