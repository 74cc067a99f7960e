/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_SESSION_H
#define LDAR_TOOLS_SESSION_H

#include "options.h"

#include "formats/failure.h"
#include "formats/provenance.h"
#include "formats/source.h"

#include <ldar/ldar.h>

/*
 * What computing commands have open: a model, and a context as the options wish it. Where parts are merged (results.h)
 * there is neither; info and provenance are what the parts say.
 */
struct session {
    ldar_model *model;
    ldar_context *context;
    struct ldar_model_info info;
    struct provenance provenance; /* of outputs; borrows from the settings and from `info` */
};

/*
 * Opens the model that -m names, or the one that ships, which is then named on stderr. On failure, said on stderr,
 * there is nothing to close.
 */
enum exit_status session_open(const struct common *common, struct session *session);
void session_close(struct session *session);

/* A --device that this build does not compute with ends in a line on stderr and EXIT_FAILED. */
enum exit_status check_device(int device);

/* Says so on stderr when a context or trainer does not compute in the type that was asked for. */
void say_settled(enum ldar_isa isa, enum ldar_dtype settled, enum ldar_dtype wished);

/* The context's options that common options stand for. */
struct ldar_context_options context_options(const struct common *common);

/* "learned", or "every:R" for a token of every R nucleotides: *every is 0 or R. 0 after a line on stderr. */
#define BOUNDARIES_WORDS "learned|every:R"
int boundaries_parse(const char *text, size_t *every);

/* Who says what is odd on stderr, for whatever reads files. */
extern const struct warnings said_warnings;

/* Says the error on stderr; EXIT_FAILED. */
enum exit_status failed(const struct ldar_error *error);

#endif
