/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "message.h"
#include "results.h"
#include "suite_plan.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The settings that the parts were made with, but for what is about this process; NULL after a line on stderr. */
static struct common *settings_of(const struct replay *replay, const struct common *asked, char **words)
{
    const struct command *command = command_named(replay_command(replay));
    struct common *settings = NULL;
    size_t count;
    char **kept = replay_arguments(replay, &count);
    if (!command || !option_of(command, &option_shard)) {
        say_error("the parts are of the command '%s', which this ldar does not merge", replay_command(replay));
        return NULL;
    }
    memcpy(words, kept, count * sizeof *words);
    settings = calloc(1, command->settings);
    if (!settings)
        say_error("out of memory");
    else if (options_parse(command, (int)count, words, settings) != EXIT_DONE) {
        free(settings);
        return NULL;
    }
    if (settings) {
        settings->shard = NULL;
        settings->resume = settings->dry_run = 0;
        settings->output = asked->output;
        settings->replay = replay;
    }
    return settings;
}

static enum exit_status merge(const struct replay *replay, const struct common *asked)
{
    size_t count;
    (void)replay_arguments(replay, &count);
    char **words = calloc(count + 1, sizeof *words);
    struct common *settings = words ? settings_of(replay, asked, words) : NULL;
    enum exit_status status = EXIT_FAILED;
    char *line = strdup(replay_command_line(replay));
    if (!words || !line)
        say_error("out of memory");
    else if (settings) {
        settings->command_line = line;
        status = settings->command->run(settings);
    }
    free(settings);
    free(line);
    free(words);
    return status;
}

/* A suite that was shared out left folders; the files of which are units, too. */
static int is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static enum exit_status run(void *settings)
{
    const struct common *common = settings;
    struct replay *replay;
    struct ldar_error error;
    if (!common->output) {
        say_error("name what the parts are to become: -o OUT");
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < common->file_count; i++)
        if (strcmp(common->files[i], common->output) == 0) {
            say_error("option -o: %s is a part and would be replaced: name another file", common->output);
            return EXIT_USAGE;
        }
    if (is_folder(common->files[0]))
        return suite_plan_merge(common->files, common->file_count, common->output, &error) == LDAR_OK ? EXIT_DONE
                                                                                                      : failed(&error);
    if (replay_open(common->files, common->file_count, &replay, &error) != LDAR_OK)
        return failed(&error);
    const enum exit_status status = merge(replay, common);
    replay_close(replay);
    return status;
}

static const struct option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = OPTION_TEXT,
    .argument = "OUT",
    .place = offsetof(struct common, output),
    .help = "What one run of the command would have written ('-' is the standard output).",
};

static const struct option *const options[] = {&output_option, OPTIONS_MESSAGES, NULL};

const struct command command_merge = {
    .name = "merge",
    .files = "PART...",
    .summary = "The parts of a command that was run with --shard, as one output",
    .description =
        "Makes of the parts that a command wrote with --shard 1/N ... N/N, named in any order, what one run of it "
        "would have written, to the byte. All N must be there, of the same command, files, model, version of ldar and "
        "instruction set. Neither the input nor the model is read again, but for the classifier of predict. Of "
        "evaluate --suite the parts are folders, and so is OUT; a task may have been given options of its own.\n"
        "\n"
        "  ldar segment -f genome.fa --shard 1/2 -o 1.part\n"
        "  ldar segment -f genome.fa --shard 2/2 -o 2.part\n"
        "  ldar merge 1.part 2.part -o tokens.bed\n",
    .min_files = 1,
    .max_files = SIZE_MAX,
    .options = options,
    .settings = sizeof(struct common),
    .run = run,
};
