/* SPDX-License-Identifier: Apache-2.0 */
#include "manual.h"
#include "message.h"
#include "shipped.h"

#include <ldar/version.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Of the last change to what the pages say; mdoc wants one, and a build date would make every build differ. */
static const char manual_date[] = "November 29, 2026";

/* ---- mdoc ---- */

/* One line of text, each sentence on a line of its own as mdoc wishes. */
static void put_text(FILE *out, const char *text, size_t length)
{
    int start = 1;
    for (size_t i = 0; i < length; i++) {
        if (start && (text[i] == '.' || text[i] == '\''))
            fputs("\\&", out);
        start = 0;
        if (text[i] == '\\') {
            fputs("\\e", out);
        } else if (text[i] == ' ' && i > 0 && i + 1 < length && strchr(".:;?!", text[i - 1])
                   && (isupper((unsigned char)text[i + 1]) || text[i - 1] == '.')) {
            fputc('\n', out);
            start = 1;
        } else {
            fputc(text[i], out);
        }
    }
    fputc('\n', out);
}

/* Paragraphs; lines that begin with a blank become a display. */
static void put_description(FILE *out, const char *text)
{
    int display = 0, paragraph = 0;
    while (*text) {
        size_t length = strcspn(text, "\n");
        int indented = text[0] == ' ';
        if (indented && !display)
            fputs(".Bd -literal -offset indent\n", out);
        if (!indented && display)
            fputs(".Ed\n", out);
        if (!indented && length > 0 && paragraph)
            fputs(".Pp\n", out);
        display = indented;
        paragraph = length == 0;
        if (length > 0)
            put_text(out, text + (indented ? strspn(text, " ") : 0), length - (indented ? strspn(text, " ") : 0));
        text += length + (text[length] == '\n');
    }
    if (display)
        fputs(".Ed\n", out);
}

static void put_head(FILE *out, const char *title, const char *name, const char *summary)
{
    fputs(".Dd ", out);
    fprintf(out, "%s\n.Dt ", manual_date);
    for (; *title; title++)
        fputc(toupper((unsigned char)*title), out);
    fprintf(out, " 1\n.Os \"ldar %s\"\n.Sh NAME\n.Nm %s\n.Nd ", ldar_version(), name);
    fputc(tolower((unsigned char)summary[0]), out);
    put_text(out, summary + 1, strlen(summary + 1));
}

static void put_option(FILE *out, const struct option *option)
{
    char bounds[128];
    fputs(".It", out);
    if (option->letter)
        fprintf(out, " Fl %c ,", option->letter);
    fprintf(out, " Fl Fl %s", option->name);
    if (option->argument)
        fprintf(out, " Ar %s", option->argument);
    fputc('\n', out);
    put_text(out, option->help, strlen(option->help));
    option_bounds(option, bounds, sizeof bounds);
    if (bounds[0])
        fprintf(out, "[%s]\n", bounds);
}

static void put_exit_status(FILE *out)
{
    fputs(".Sh EXIT STATUS\n"
          ".Bl -tag -width Ds\n"
          ".It 0\nDone.\n"
          ".It 1\nFailed: one line on the standard error says what, where and how to mend it.\n"
          "No result file is left.\n"
          ".It 2\nWrong usage.\n"
          ".El\n",
          out);
}

static void put_command(FILE *out, const struct command *command)
{
    char title[64];
    snprintf(title, sizeof title, "ldar-%s", command->name);
    put_head(out, title, title, command->summary);
    fprintf(out, ".Sh SYNOPSIS\n.Nm ldar %s\n.Op Ar options\n", command->name);
    if (command->files[0])
        fprintf(out, ".Ar %s\n", command->files);
    fputs(".Sh DESCRIPTION\n", out);
    put_description(out, command->description);
    fputs(".Sh OPTIONS\n.Bl -tag -width Ds\n", out);
    for (const struct option *const *option = command->options; *option; option++)
        put_option(out, *option);
    fputs(".El\n", out);
    put_exit_status(out);
    fputs(".Sh SEE ALSO\n.Xr ldar 1\n", out);
}

/* In the order of the alphabet, as mdoc wishes: each time the least name after the one before. */
static void put_references(FILE *out, const struct command *const *commands, size_t count)
{
    const char *before = "";
    fputs(".Sh SEE ALSO\n", out);
    for (size_t done = 0; done < count; done++) {
        const char *least = NULL;
        for (size_t i = 0; i < count; i++)
            if (strcmp(commands[i]->name, before) > 0 && (!least || strcmp(commands[i]->name, least) < 0))
                least = commands[i]->name;
        fprintf(out, ".Xr ldar-%s 1%s\n", least, done + 1 < count ? " ," : "");
        before = least;
    }
}

static void put_program(FILE *out, const struct command *const *commands, size_t count)
{
    put_head(out, "ldar", "ldar", "The LDARNet DNA language model on any CPU");
    fputs(".Sh SYNOPSIS\n.Nm ldar\n.Ar command\n.Op Ar options\n.Op Ar\n"
          ".Nm ldar\n.Ar command\n.Fl Fl help\n"
          ".Nm ldar\n.Fl Fl version\n"
          ".Sh DESCRIPTION\n"
          "LDARNet reads DNA nucleotide by nucleotide and learns by itself where its tokens begin.\n"
          ".Nm\ncomputes it on CPUs.\n"
          "The commands are:\n"
          ".Bl -tag -width Ds\n",
          out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, ".It Xr ldar-%s 1\n%s.\n", commands[i]->name, commands[i]->summary);
    fputs(".El\n.Pp\n"
          "The file name\n.Sq -\nis the standard input or output.\n"
          "Plain, gzip and BGZF input is recognised by its content.\n"
          "Options may stand before or after files, and\n.Fl Fl\nends them.\n"
          ".Sh ENVIRONMENT\n.Bl -tag -width Ds\n"
          ".It Ev LDAR_ISA\nCaps the instruction set: scalar, avx2, avx512 or neon.\n"
          "A name that is unknown, or that this machine cannot run, is an error.\n.El\n",
          out);
    fputs(".Sh FILES\n.Bl -tag -width Ds\n"
          ".It Pa share/ldar/" SHIPPED_MODEL "\n"
          "The model that ships, below the prefix of the installation.\n"
          "It computes where\n.Fl m\nis left out.\n.El\n",
          out);
    put_exit_status(out);
    put_references(out, commands, count);
}

/* ---- bash completion ---- */

static void put_choices(FILE *out, const struct option *option)
{
    char word[64];
    fprintf(out, "        --%s", option->name);
    if (option->letter)
        fprintf(out, " | -%c", option->letter);
    fputs(") COMPREPLY=($(compgen -W '", out);
    for (size_t i = 0; choice_word(option->argument, i, word, sizeof word); i++)
        fprintf(out, "%s%s", i > 0 ? " " : "", word);
    fputs("' -- \"$current\")); return ;;\n", out);
}

static void put_command_completion(FILE *out, const struct command *command)
{
    fprintf(out, "    %s)\n        case $previous in\n", command->name);
    for (const struct option *const *option = command->options; *option; option++)
        if ((*option)->kind == OPTION_CHOICE || (*option)->kind == OPTION_CHOICES)
            put_choices(out, *option);
    fputs("        esac\n        options='", out);
    for (const struct option *const *option = command->options; *option; option++)
        fprintf(out, "%s--%s", option == command->options ? "" : " ", (*option)->name);
    fputs("' ;;\n", out);
}

static void put_completion(FILE *out, const struct command *const *commands, size_t count)
{
    fputs("# bash completion of ldar\n"
          "_ldar()\n{\n"
          "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} options=\n"
          "    if ((COMP_CWORD == 1)); then\n"
          "        COMPREPLY=($(compgen -W '--help --version",
          out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, " %s", commands[i]->name);
    fputs("' -- \"$current\"))\n"
          "        return\n"
          "    fi\n"
          "    case ${COMP_WORDS[1]} in\n",
          out);
    for (size_t i = 0; i < count; i++)
        put_command_completion(out, commands[i]);
    fputs("    esac\n"
          "    if [[ $current == -* ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
          "    else\n"
          "        COMPREPLY=($(compgen -f -- \"$current\"))\n"
          "    fi\n"
          "}\n"
          "complete -o filenames -F _ldar ldar\n",
          out);
}

/* ---- files ---- */

static FILE *open_in(const char *folder, const char *name)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) {
        say_error("%s: the name is too long", folder);
        return NULL;
    }
    FILE *out = fopen(path, "w");
    if (!out)
        say_error("%s: cannot be written: %s", path, strerror(errno));
    return out;
}

static enum exit_status close_written(FILE *out, const char *folder)
{
    int failed = ferror(out);
    if (fclose(out) != 0 || failed) {
        say_error("%s: a page cannot be written: %s", folder, strerror(errno));
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

enum exit_status write_manual(const char *folder, const struct command *const *commands, size_t count)
{
    FILE *out = open_in(folder, "ldar.1");
    if (!out)
        return EXIT_FAILED;
    put_program(out, commands, count);
    enum exit_status status = close_written(out, folder);
    for (size_t i = 0; i < count && status == EXIT_DONE; i++) {
        char name[64];
        snprintf(name, sizeof name, "ldar-%s.1", commands[i]->name);
        out = open_in(folder, name);
        if (!out)
            return EXIT_FAILED;
        put_command(out, commands[i]);
        status = close_written(out, folder);
    }
    if (status != EXIT_DONE)
        return status;
    out = open_in(folder, "ldar.bash");
    if (!out)
        return EXIT_FAILED;
    put_completion(out, commands, count);
    return close_written(out, folder);
}
