/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "interrupt.h"
#include "manual.h"
#include "message.h"
#include "shipped.h"

#include "formats/provenance.h"

#include <ldar/version.h>

#include <stdlib.h>
#include <string.h>

static const struct command *const commands[] = {
    &command_init,     &command_convert, &command_info,     &command_verify,  &command_embed, &command_logits,
    &command_segment,  &command_score,   &command_scan,     &command_profile, &command_merge, &command_pretrain,
    &command_finetune, &command_predict, &command_evaluate, &command_bench,
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

const struct command *command_named(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i]->name) == 0)
            return commands[i];
    return NULL;
}

static void print_usage(FILE *out)
{
    fputs("usage: ldar COMMAND [options] FILES\n"
          "       ldar COMMAND --help\n"
          "       ldar --version\n\n"
          "The LDARNet DNA language model on any CPU.\n\ncommands:\n",
          out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
}

static void print_version(void)
{
    printf("ldar %s\n", ldar_version());
}

static enum exit_status unknown_command(const char *name)
{
    const char *names[COMMANDS];
    char list[512] = "";
    for (size_t i = 0; i < COMMANDS; i++) {
        names[i] = commands[i]->name;
        size_t length = strlen(list);
        snprintf(list + length, sizeof list - length, " %s", names[i]);
    }
    const char *nearest = nearest_word(name, names, COMMANDS);
    if (nearest)
        say_error("unknown command '%s'; did you mean '%s'? The commands are:%s", name, nearest, list);
    else
        say_error("unknown command '%s'; the commands are:%s", name, list);
    return EXIT_USAGE;
}

static enum exit_status run_parsed(const struct command *command, struct common *settings)
{
    if (settings->help) {
        options_help(command, stdout);
        return EXIT_DONE;
    }
    if (settings->version) {
        print_version();
        return EXIT_DONE;
    }
    messages_begin(command->name, settings->quiet     ? MESSAGES_QUIET
                                  : settings->verbose ? MESSAGES_VERBOSE
                                                      : MESSAGES_NORMAL);
    interrupt_begin();
    if (settings->output)
        interrupt_watch(settings->output);
    return command->run(settings);
}

/* Where -m is left out and means the model that ships: its path, which the caller frees. */
static char *choose_shipped_model(const struct command *command, struct common *settings)
{
    if (settings->model || !option_of(command, &option_model))
        return NULL;
    char *path = shipped_model();
    settings->model = path;
    settings->model_ships = 1;
    return path;
}

/* What outputs say made them. The caller frees it. */
static char *lasting_line(const struct command *command, int argc, char **argv)
{
    char **words = options_lasting(command, argc, argv);
    int count = 0;
    while (words && words[count])
        count++;
    char *line = words ? provenance_command(count, words) : NULL;
    options_words_free(words);
    return line;
}

/* argv is the whole command line; parsing gathers the files in it, so that its text is kept first. */
static enum exit_status run_command(const struct command *command, int argc, char **argv)
{
    messages_begin(command->name, MESSAGES_NORMAL);
    char *line = lasting_line(command, argc, argv);
    struct common *settings = calloc(1, command->settings);
    enum exit_status status = EXIT_FAILED;
    if (!settings || !line) {
        say_error("out of memory");
    } else {
        status = options_parse(command, argc - 2, argv + 2, settings);
        settings->command_line = line;
        char *shipped = status == EXIT_DONE ? choose_shipped_model(command, settings) : NULL;
        if (status == EXIT_DONE)
            status = run_parsed(command, settings);
        free(shipped);
    }
    free(settings);
    free(line);
    return status;
}

static enum exit_status run(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        print_version();
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--man-pages") == 0 && argc == 3)
        return write_manual(argv[2], commands, COMMANDS);
    const struct command *command = command_named(argv[1]);
    return command ? run_command(command, argc, argv) : unknown_command(argv[1]);
}

int main(int argc, char **argv)
{
    enum exit_status status = run(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == EXIT_DONE) {
        say_error("the standard output cannot be written");
        status = EXIT_FAILED;
    }
    interrupt_settle();
    return (int)status;
}
