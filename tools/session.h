/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_SESSION_H
#define LDAR_TOOLS_SESSION_H

#include "options.h"

#include "formats/failure.h"
#include "formats/provenance.h"

#include <ldar/ldar.h>

/* What computing commands have open: a model, and a context as the options wish it. */
struct session {
    ldar_model *model;
    ldar_context *context;
    struct ldar_model_info info;
    struct provenance provenance; /* of outputs; borrows from the settings and from `info` */
};

/* Opens the model that -m names. On failure, said on stderr, there is nothing to close. */
enum exit_status session_open(const struct common *common, struct session *session);
void session_close(struct session *session);

/* A --device that this build does not compute with ends in a line on stderr and EXIT_FAILED. */
enum exit_status check_device(int device);

/* Says so on stderr when the context does not compute in the type that was asked for. */
void say_arithmetic(const ldar_context *context, enum ldar_dtype dtype);

/* The context's options that common options stand for. */
struct ldar_context_options context_options(const struct common *common);

/* Says the error on stderr; EXIT_FAILED. */
enum exit_status failed(const struct ldar_error *error);

#endif
