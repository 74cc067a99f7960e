/* SPDX-License-Identifier: Apache-2.0 */
#include "configuration.h"
#include "message.h"
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_MAX_BYTES = 1 << 20 };

const struct option option_storage = {
    .name = "dtype",
    .kind = OPTION_CHOICE,
    .argument = "f32|bf16",
    .place = offsetof(struct common, dtype),
    .initial = "f32",
    .help = "Storage of the matrices; vectors, router and residual projection stay f32.",
};

static enum ldar_status read_config(FILE *in, const char *path, struct ldar_config *config, struct ldar_error *error)
{
    char *text = malloc(CONFIG_MAX_BYTES + 1);
    if (!text)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    enum ldar_status status;
    struct ldar_error cause;
    size_t bytes = fread(text, 1, CONFIG_MAX_BYTES + 1, in);
    if (ferror(in))
        status = fail(error, LDAR_ERROR_IO, "%s: cannot be read: %s", path, strerror(errno));
    else if (bytes > CONFIG_MAX_BYTES)
        status = fail(error, LDAR_ERROR_FORMAT, "%s: longer than 1 MiB, which no configuration is", path);
    else if ((status = ldar_config_parse(text, bytes, config, &cause)) != LDAR_OK)
        fail(error, status, "%.200s: %s", path, cause.message);
    free(text);
    return status;
}

enum ldar_status configuration_preset(int preset, struct ldar_config *config, struct ldar_error *error)
{
    char name[16];
    choice_word(CONFIGURATION_PRESETS, (size_t)preset, name, sizeof name);
    return ldar_config_preset(name, config, error);
}

enum ldar_status configuration_read(const char *path, struct ldar_config *config, struct ldar_error *error)
{
    FILE *in = fopen(path, "rb");
    if (!in)
        return fail(error, LDAR_ERROR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    enum ldar_status status = read_config(in, path, config, error);
    fclose(in);
    return status;
}

static void append(char text[CONFIGURATION_LAYOUT], const char *part)
{
    size_t length = strlen(text);
    snprintf(text + length, CONFIGURATION_LAYOUT - length, "%s%s", length > 0 ? " " : "", part);
}

void configuration_layout(const struct ldar_config *config, char text[CONFIGURATION_LAYOUT])
{
    text[0] = '\0';
    for (uint32_t i = 0; i < config->stages; i++) {
        append(text, i > 0 ? "[" : "");
        append(text, config->stage[i].encoder);
    }
    for (uint32_t i = config->stages - 1; i-- > 0;) {
        append(text, "]");
        append(text, config->stage[i].decoder);
    }
}

enum exit_status check_model_output(const struct common *common)
{
    if (common->output && strcmp(common->output, "-") != 0)
        return EXIT_DONE;
    say_error("name the model file to write with -o MODEL%s",
              common->output ? "; it cannot be the standard output" : "");
    return EXIT_USAGE;
}

enum exit_status save_model(const ldar_model *model, const struct common *common)
{
    struct ldar_error error;
    struct ldar_model_info info;
    char layout[CONFIGURATION_LAYOUT];
    enum ldar_dtype dtype = (enum ldar_dtype)common->dtype;
    if (ldar_model_save(model, dtype, common->output, &error) != LDAR_OK)
        return failed(&error);
    ldar_model_describe(model, &info);
    configuration_layout(&info.config, layout);
    say_note("wrote %s: %s, %llu parameters, matrices in %s", common->output, layout,
             (unsigned long long)info.parameters, ldar_dtype_name(dtype));
    return EXIT_DONE;
}
