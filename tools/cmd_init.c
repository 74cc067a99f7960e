/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "configuration.h"
#include "message.h"
#include "session.h"

struct init {
    struct common common;
    int preset;
    const char *config;
};

static enum exit_status run(void *settings)
{
    const struct init *init = settings;
    const struct common *common = &init->common;
    struct ldar_config config;
    struct ldar_error error;
    ldar_model *model;
    int preset = option_given(common, "preset");
    if (preset == !!init->config) {
        say_error("name the model's shape with either --preset 110m|2m or --config FILE.json");
        return EXIT_USAGE;
    }
    if (check_model_output(common) != EXIT_DONE)
        return EXIT_USAGE;
    enum ldar_status read = preset ? configuration_preset(init->preset, &config, &error)
                                   : configuration_read(init->config, &config, &error);
    if (read != LDAR_OK || ldar_model_create(&config, common->seed, &model, &error) != LDAR_OK)
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
    .place = offsetof(struct init, preset),
    .help = "A published configuration.",
};

static const struct option config_option = {
    .name = "config",
    .kind = OPTION_TEXT,
    .argument = "FILE.json",
    .place = offsetof(struct init, config),
    .help = "A configuration in the published form.",
};

static const struct option *const options[] = {
    &output_option, &preset_option, &config_option, &option_seed, &option_storage, OPTIONS_MESSAGES, NULL};

const struct command command_init = {
    .name = "init",
    .files = "",
    .summary = "A new, untrained model",
    .description = "Writes a model with the published initialisation.\n"
                   "\n"
                   "  ldar init --preset 2m --seed 1 -o untrained.safetensors\n",
    .min_files = 0,
    .max_files = 0,
    .options = options,
    .settings = sizeof(struct init),
    .run = run,
};
