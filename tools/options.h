/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_OPTIONS_H
#define LDAR_TOOLS_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Commands and their options. One table per command is the only place where an
 * option is described: parsing, --help, the man pages and the completion all
 * grow from it.
 */

enum exit_status { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

enum option_kind {
    OPTION_FLAG,    /* int: 1 when given */
    OPTION_TEXT,    /* const char * */
    OPTION_TEXTS,   /* struct texts: may be given again and again */
    OPTION_COUNT,   /* uint64_t */
    OPTION_DECIMAL, /* double, not negative */
    OPTION_SIZE,    /* uint64_t: bytes, with suffix K, M, G or T (powers of 1024) */
    OPTION_CHOICE,  /* int: index into the words of `argument` */
    OPTION_COUNTS,  /* struct counts: separated by commas */
    OPTION_CHOICES, /* struct counts: indices, separated by commas */
};

enum { OPTION_LIST = 256 };

struct texts {
    size_t count;
    const char *item[OPTION_LIST];
};

struct counts {
    size_t count;
    uint64_t item[OPTION_LIST];
};

struct option {
    const char *name;
    char letter; /* 0: none */
    enum option_kind kind;
    const char *argument; /* what stands for the value in help; of choices the words, as "auto|cpu|cuda" */
    size_t place;         /* of the value in the command's settings: offsetof */
    const char *initial;  /* the default as a user would type it; NULL: all bits 0 */
    uint64_t min, max;    /* of counts, sizes and decimals; max 0: no upper bound */
    const char *help;
};

struct command;
struct replay;

/* What every command's settings begin with. */
struct common {
    const struct command *command;
    uint64_t given; /* bit i: the i-th option of the table stood on the command line */
    int help, version, quiet, verbose;
    const char *output;
    const char *model;
    const char *shard; /* "i/N", or NULL; results.h */
    int resume, dry_run;
    const struct replay *replay; /* NULL, or the parts that are merged: nothing is computed (results.h) */
    int model_ships;             /* -m was left out, and `model` is the one that ships, or NULL when that is missing */
    uint64_t threads;            /* 0: all that this process may use */
    int device, dtype, gemm;
    uint64_t seed;
    uint64_t max_memory; /* 0: no limit */
    char **files;
    size_t file_count;
    char *command_line; /* as a shell would take it back, without what changes no result: options_lasting */
};

struct command {
    const char *name;
    const char *files;       /* the synopsis after the options, as "[MODEL]" */
    const char *summary;     /* one line */
    const char *description; /* paragraphs, blank lines between; lines that begin with a blank are shown as they are */
    size_t min_files, max_files;
    const struct option *const *options; /* at most 64, then NULL */
    size_t settings;                     /* bytes of the command's settings, which begin with struct common */
    enum exit_status (*run)(void *settings);
};

/*
 * Options that several commands have. Of --output each has its own, which says what the file is. A command that has
 * option_model computes with the model that ships when it is left out; elsewhere -m is an option of the command's own.
 */
extern const struct option option_model, option_seed, option_threads, option_device, option_gemm, option_dtype,
    option_max_memory, option_quiet, option_verbose, option_help, option_version, option_shard, option_resume,
    option_dry_run;

#define OPTIONS_MESSAGES &option_quiet, &option_verbose, &option_help, &option_version
#define OPTIONS_LONG &option_shard, &option_resume, &option_dry_run
#define OPTIONS_COMPUTE &option_threads, &option_device, &option_dtype, &option_gemm, &option_max_memory, &option_seed

enum device { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA };

/*
 * Reads argv[0..argc), the words after the command's name, into `settings` (command->settings bytes); the files'
 * pointers are gathered at the front of argv. EXIT_USAGE after one line on stderr when a word cannot be meant.
 */
enum exit_status options_parse(const struct command *command, int argc, char **argv, void *settings);

/* 1 when the command has the option, else 0. */
int option_of(const struct command *command, const struct option *option);

/* 1 when the option stood on the command line, else 0. */
int option_given(const struct common *common, const char *name);

/*
 * The settings as words that options_parse reads back to the same, "--name=value" for each option that was given or has
 * a default, "--", and the files; for settings that are kept. NULL follows the last. NULL without memory; the caller
 * frees it with options_words_free.
 */
char **options_words(const struct common *common);
void options_words_free(char **words);

/*
 * The words of a command line, argv[0..argc), "ldar COMMAND ...", that say what is computed: without the options that
 * say where it goes, in how many pieces, how fast and how loudly. Owned as those of options_words.
 */
char **options_lasting(const struct command *command, int argc, char *const *argv);

/* Prints the command's help. */
void options_help(const struct command *command, FILE *out);

/* The word of words[0..count) that is most like `word`, or NULL when none is near. */
const char *nearest_word(const char *word, const char *const *words, size_t count);

/* The words of "a|b|c": copies the index-th into word[0..capacity) and returns 1, or 0 when there are fewer. */
int choice_word(const char *choices, size_t index, char *word, size_t capacity);

/* The default of an option and the range of its values, as "default 4096; 1..65536"; empty when there is nothing. */
void option_bounds(const struct option *option, char *text, size_t capacity);

#endif
