/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"
#include "message.h"
#include "results.h"
#include "shipped.h"

#include <stdlib.h>
#include <string.h>

static void warn(void *user, const char *message)
{
    (void)user;
    say_warning("%s", message);
}

const struct warnings said_warnings = {warn, NULL};

enum exit_status failed(const struct ldar_error *error)
{
    say_error("%s", error->message);
    return EXIT_FAILED;
}

enum exit_status check_device(int device)
{
    if (device != DEVICE_CUDA)
        return EXIT_DONE;
    say_error("option --device: this build has no CUDA backend; --device cpu computes the same on the CPU");
    return EXIT_FAILED;
}

void say_settled(enum ldar_isa isa, enum ldar_dtype settled, enum ldar_dtype wished)
{
    if (settled != wished)
        say_note("the instruction set %s multiplies no %s: computing in %s, with weights rounded to %s",
                 ldar_isa_name(isa), ldar_dtype_name(wished), ldar_dtype_name(settled), ldar_dtype_name(wished));
}

int boundaries_parse(const char *text, size_t *every)
{
    char *end = NULL;
    *every = 0;
    if (strcmp(text, "learned") == 0)
        return 1;
    if (strncmp(text, "every:", 6) == 0 && text[6] >= '1' && text[6] <= '9')
        *every = strtoul(text + 6, &end, 10);
    if (end && *end == '\0' && *every <= 1 << 16)
        return 1;
    say_error("option --boundaries: '%s' is neither learned nor every:R with a whole number R in 1..65536", text);
    return 0;
}

struct ldar_context_options context_options(const struct common *common)
{
    return (struct ldar_context_options){
        .size = sizeof(struct ldar_context_options),
        .threads = (int)common->threads,
        .isa = LDAR_ISA_AUTO,
        .gemm = (enum ldar_gemm)common->gemm,
        .dtype = (enum ldar_dtype)common->dtype,
        .pin = 1,
        .max_bytes = common->max_memory,
    };
}

enum exit_status session_open(const struct common *common, struct session *session)
{
    struct ldar_error error;
    struct ldar_context_options options = context_options(common);
    memset(session, 0, sizeof *session);
    if (common->replay)
        return replay_session(common->replay, session, &error) == LDAR_OK ? EXIT_DONE : failed(&error);
    if (!common->model) {
        say_error("no model: the one that ships, %s, is missing from this installation; name a model with -m MODEL",
                  SHIPPED_MODEL);
        return EXIT_FAILED;
    }
    if (check_device(common->device) != EXIT_DONE)
        return EXIT_FAILED;
    if (ldar_model_load(common->model, &session->model, &error) != LDAR_OK)
        return failed(&error);
    if (ldar_context_create(session->model, &options, &session->context, &error) != LDAR_OK) {
        session_close(session);
        return failed(&error);
    }
    say_settled(ldar_context_isa(session->context), ldar_context_dtype(session->context), options.dtype);
    ldar_model_describe(session->model, &session->info);
    if (common->model_ships)
        say_note("the model that ships: %s", common->model);
    session->provenance =
        (struct provenance){ldar_version(), common->command_line, common->model, session->info.sha256};
    say_detail("%s, %d threads, instruction set %s, matrices by %s", common->model,
               ldar_context_threads(session->context), ldar_isa_name(ldar_context_isa(session->context)),
               ldar_context_gemm(session->context));
    return EXIT_DONE;
}

void session_close(struct session *session)
{
    ldar_context_destroy(session->context);
    ldar_model_destroy(session->model);
    session->context = NULL;
    session->model = NULL;
}
