/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "configuration.h"
#include "message.h"
#include "session.h"

struct convert {
    struct common common;
    int preset;
    const char *config;
};

static enum exit_status run(void *settings)
{
    const struct convert *convert = settings;
    const struct common *common = &convert->common;
    struct ldar_config config;
    struct ldar_error error;
    ldar_model *model;
    int preset = option_given(common, "preset");
    enum ldar_status read = LDAR_OK;
    if (preset && convert->config) {
        say_error("options --preset and --config exclude each other");
        return EXIT_USAGE;
    }
    if (check_model_output(common) != EXIT_DONE)
        return EXIT_USAGE;
    if (preset)
        read = configuration_preset(convert->preset, &config, &error);
    else if (convert->config)
        read = configuration_read(convert->config, &config, &error);
    if (read != LDAR_OK
        || ldar_model_import(common->files[0], preset || convert->config ? &config : NULL, &model, &error) != LDAR_OK)
        return failed(&error);
    enum exit_status status = save_model(model, common);
    ldar_model_destroy(model);
    return status;
}

static const struct option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = OPTION_TEXT,
    .argument = "MODEL",
    .place = offsetof(struct common, output),
    .help = "The model file to write.",
};

static const struct option preset_option = {
    .name = "preset",
    .kind = OPTION_CHOICE,
    .argument = CONFIGURATION_PRESETS,
    .place = offsetof(struct convert, preset),
    .help = "The configuration of a checkpoint that holds none, by the name of a published one.",
};

static const struct option config_option = {
    .name = "config",
    .kind = OPTION_TEXT,
    .argument = "FILE.json",
    .place = offsetof(struct convert, config),
    .help = "The same from a file, in the published form.",
};

static const struct option *const options[] = {&output_option,  &preset_option,   &config_option,
                                               &option_storage, OPTIONS_MESSAGES, NULL};

const struct command command_convert = {
    .name = "convert",
    .files = "IN.pt|IN.safetensors",
    .summary = "A published checkpoint as a model file",
    .description =
        "Reads a checkpoint of torch.save or a safetensors file with the published tensor names and writes a model. "
        "The checkpoint's pickle is read by a restricted reader: nothing in it is ever run. Prefixes such as "
        "_orig_mod. are removed, an optimiser's state is passed over unread, and a tensor that is missing, "
        "superfluous, "
        "of another shape or not finite is an error.\n"
        "\n"
        "  ldar convert model_ckpt_110m.pt -o 110m.safetensors\n",
    .min_files = 1,
    .max_files = 1,
    .options = options,
    .settings = sizeof(struct convert),
    .run = run,
};
