/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"
#include "message.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 64 };

/* ---- options that several commands have ---- */

const struct option option_model = {
    .name = "model",
    .letter = 'm',
    .kind = OPTION_TEXT,
    .argument = "MODEL",
    .place = offsetof(struct common, model),
    .help = "The model file; left out, the model that ships with ldar computes, and is named on stderr.",
};

const struct option option_seed = {
    .name = "seed",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct common, seed),
    .initial = "0",
    .help = "Seed of random numbers. Computing with a model draws none; new weights, the sequences of bench and the "
            "background of "
            "profile do.",
};

const struct option option_threads = {
    .name = "threads",
    .letter = '@',
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct common, threads),
    .min = 1,
    .max = 4096,
    .help = "Number of threads; by default as many as this process may use (affinity and cgroup). No result depends "
            "on it.",
};

const struct option option_device = {
    .name = "device",
    .kind = OPTION_CHOICE,
    .argument = "auto|cpu|cuda",
    .place = offsetof(struct common, device),
    .initial = "auto",
    .help = "Where to compute.",
};

const struct option option_gemm = {
    .name = "gemm",
    .kind = OPTION_CHOICE,
    .argument = "auto|packed|onednn|cblas|reference",
    .place = offsetof(struct common, gemm),
    .initial = "auto",
    .help = "Who multiplies matrices.",
};

const struct option option_dtype = {
    .name = "dtype",
    .kind = OPTION_CHOICE,
    .argument = "f32|bf16",
    .place = offsetof(struct common, dtype),
    .initial = "f32",
    .help = "Arithmetic. bf16: weights and what layers hand on are bfloat16, faster where the CPU multiplies that; "
            "elsewhere f32 with weights rounded to bf16. A model stored as bf16 can be computed in f32.",
};

const struct option option_max_memory = {
    .name = "max-memory",
    .kind = OPTION_SIZE,
    .argument = "SIZE",
    .place = offsetof(struct common, max_memory),
    .min = 1,
    .help = "Refuse work that needs more memory than this (suffix K, M, G or T).",
};

const struct option option_shard = {
    .name = "shard",
    .kind = OPTION_TEXT,
    .argument = "i/N",
    .place = offsetof(struct common, shard),
    .help = "Compute the i-th of N parts of the work, about as many bases each, and write it to -o for 'ldar merge', "
            "which makes of all N what one run writes, to the byte.",
};

const struct option option_resume = {
    .name = "resume",
    .kind = OPTION_FLAG,
    .place = offsetof(struct common, resume),
    .help = "Keep what is computed in OUT.part until all is done, and go on behind what such a file of the same run "
            "holds.",
};

const struct option option_dry_run = {
    .name = "dry-run",
    .kind = OPTION_FLAG,
    .place = offsetof(struct common, dry_run),
    .help = "Compute nothing, but say what it would take: bases, windows, FLOP, time at the rate measured now, memory, "
            "size of the output.",
};

const struct option option_quiet = {
    .name = "quiet",
    .letter = 'q',
    .kind = OPTION_FLAG,
    .place = offsetof(struct common, quiet),
    .help = "No progress and no remarks; warnings and errors are still shown.",
};

const struct option option_verbose = {
    .name = "verbose",
    .letter = 'v',
    .kind = OPTION_FLAG,
    .place = offsetof(struct common, verbose),
    .help = "Say more about what is done.",
};

const struct option option_help = {
    .name = "help",
    .letter = 'h',
    .kind = OPTION_FLAG,
    .place = offsetof(struct common, help),
    .help = "Show this help.",
};

const struct option option_version = {
    .name = "version",
    .kind = OPTION_FLAG,
    .place = offsetof(struct common, version),
    .help = "Show the version.",
};

/* ---- words ---- */

/* Levenshtein distance of two words shorter than WORD. */
static size_t word_distance(const char *a, const char *b)
{
    size_t row[WORD + 1], width = strlen(b);
    for (size_t j = 0; j <= width; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            size_t change = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            size_t insert = row[j] + 1, remove = row[j + 1] + 1, best = insert < remove ? insert : remove;
            row[j + 1] = change < best ? change : best;
        }
    }
    return row[width];
}

const char *nearest_word(const char *word, const char *const *words, size_t count)
{
    const char *nearest = NULL;
    size_t length = strlen(word), least = length / 3 + 1;
    if (length == 0 || length >= WORD)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        /* The beginning of a word is as near as can be. */
        size_t distance = strncmp(word, words[i], length) == 0 ? 0 : word_distance(word, words[i]);
        if (distance < least || (distance == least && !nearest)) {
            least = distance;
            nearest = words[i];
        }
    }
    return nearest;
}

int choice_word(const char *choices, size_t index, char *word, size_t capacity)
{
    for (; index > 0; index--) {
        choices = strchr(choices, '|');
        if (!choices)
            return 0;
        choices++;
    }
    size_t length = strcspn(choices, "|");
    if (length >= capacity)
        return 0;
    memcpy(word, choices, length);
    word[length] = '\0';
    return 1;
}

/* ---- values: each reader returns 1, or 0 for a text that is no such value ---- */

static int read_count(const char *text, size_t length, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (text[i] < '0' || text[i] > '9' || *value > (UINT64_MAX - digit) / 10)
            return 0;
        *value = 10 * *value + digit;
    }
    return length > 0;
}

/* What stands behind the point of a number, up to three digits, in thousandths; 0 where there is no point. */
static int read_thousandths(const char *point, size_t length, uint64_t *value)
{
    *value = 0;
    if (length == 0)
        return 1;
    if (length > 4 || !read_count(point + 1, length - 1, value))
        return 0;
    for (; length < 4; length++)
        *value *= 10;
    return 1;
}

/* 800M, 2.6G; a number without a suffix is one of bytes, and whole. */
static int read_size(const char *text, uint64_t *value)
{
    static const char suffixes[] = "KMGT";
    size_t length = strlen(text);
    unsigned shift = 0;
    if (length > 0) {
        char last = text[length - 1];
        const char *suffix = strchr(suffixes, last >= 'a' && last <= 'z' ? last - 'a' + 'A' : last);
        if (suffix) {
            shift = 10 * (unsigned)(suffix - suffixes + 1);
            length--;
        }
    }
    const char *point = shift ? memchr(text, '.', length) : NULL;
    const size_t whole = point ? (size_t)(point - text) : length;
    uint64_t thousandths;
    if (!read_count(text, whole, value) || !read_thousandths(point, length - whole, &thousandths)
        || *value > (UINT64_MAX >> shift) - (thousandths > 0))
        return 0;
    *value = (*value << shift) + (thousandths << shift) / 1000;
    return 1;
}

static int read_decimal(const char *text, double *value)
{
    char *end;
    if (text[0] < '.' || text[0] > '9' || text[strspn(text, "0123456789.eE+-")])
        return 0;
    *value = strtod(text, &end);
    return *end == '\0' && *value <= DBL_MAX;
}

static int read_choice(const char *choices, const char *text, size_t length, uint64_t *index)
{
    char word[WORD];
    for (*index = 0; choice_word(choices, (size_t)*index, word, sizeof word); ++*index)
        if (strlen(word) == length && memcmp(word, text, length) == 0)
            return 1;
    return 0;
}

static int in_range(const struct option *option, uint64_t value)
{
    return value >= option->min && (option->max == 0 || value <= option->max);
}

static int read_list(const struct option *option, const char *text, struct counts *list)
{
    list->count = 0;
    for (;;) {
        size_t length = strcspn(text, ",");
        uint64_t *item = &list->item[list->count];
        if (list->count == OPTION_LIST)
            return 0;
        if (option->kind == OPTION_CHOICES ? !read_choice(option->argument, text, length, item)
                                           : !read_count(text, length, item) || !in_range(option, *item))
            return 0;
        list->count++;
        if (text[length] == '\0')
            return 1;
        text += length + 1;
    }
}

static int set_value(const struct option *option, const char *text, void *settings)
{
    void *place = (char *)settings + option->place;
    struct texts *texts;
    uint64_t value;
    switch (option->kind) {
    case OPTION_FLAG:
        *(int *)place = 1;
        return 1;
    case OPTION_TEXT:
        *(const char **)place = text;
        return *text != '\0';
    case OPTION_TEXTS:
        texts = place;
        if (*text == '\0' || texts->count == OPTION_LIST)
            return 0;
        texts->item[texts->count++] = text;
        return 1;
    case OPTION_COUNT:
        if (!read_count(text, strlen(text), &value) || !in_range(option, value))
            return 0;
        *(uint64_t *)place = value;
        return 1;
    case OPTION_DECIMAL:
        return read_decimal(text, place) && *(double *)place >= (double)option->min
               && (option->max == 0 || *(double *)place <= (double)option->max);
    case OPTION_SIZE:
        if (!read_size(text, &value) || !in_range(option, value))
            return 0;
        *(uint64_t *)place = value;
        return 1;
    case OPTION_CHOICE:
        if (!read_choice(option->argument, text, strlen(text), &value))
            return 0;
        *(int *)place = (int)value;
        return 1;
    case OPTION_COUNTS:
    case OPTION_CHOICES:
        return read_list(option, text, place);
    }
    return 0;
}

/* ---- parsing ---- */

static void option_title(const struct option *option, char title[WORD])
{
    if (option->letter)
        snprintf(title, WORD, "-%c/--%s", option->letter, option->name);
    else
        snprintf(title, WORD, "--%s", option->name);
}

/* What a value must be, in words. */
static void option_demand(const struct option *option, char *text, size_t capacity)
{
    switch (option->kind) {
    case OPTION_COUNT:
    case OPTION_COUNTS: {
        const char *list = option->kind == OPTION_COUNTS ? ", or several with commas between" : "";
        if (option->max > 0)
            snprintf(text, capacity, "a whole number in %" PRIu64 "..%" PRIu64 "%s", option->min, option->max, list);
        else
            snprintf(text, capacity, "a whole number from %" PRIu64 "%s", option->min, list);
        return;
    }
    case OPTION_DECIMAL:
        if (option->max > 0)
            snprintf(text, capacity, "a decimal number in %" PRIu64 "..%" PRIu64, option->min, option->max);
        else
            snprintf(text, capacity, "a decimal number from %" PRIu64, option->min);
        return;
    case OPTION_SIZE:
        snprintf(text, capacity, "a size such as 800M or 2.6G");
        return;
    case OPTION_CHOICE:
        snprintf(text, capacity, "one of %s", option->argument);
        return;
    case OPTION_CHOICES:
        snprintf(text, capacity, "one of %s, or several with commas between", option->argument);
        return;
    default:
        snprintf(text, capacity, "%s, and not empty", option->argument);
    }
}

static const struct option *find_name(const struct command *command, const char *name, size_t length)
{
    for (const struct option *const *option = command->options; *option; option++)
        if (strlen((*option)->name) == length && memcmp((*option)->name, name, length) == 0)
            return *option;
    return NULL;
}

int option_of(const struct command *command, const struct option *option)
{
    const struct option *const *at = command->options;
    while (*at && *at != option)
        at++;
    return *at != NULL;
}

static size_t option_index(const struct command *command, const struct option *option)
{
    size_t index = 0;
    while (command->options[index] != option)
        index++;
    return index;
}

/* A value from the command line. */
static enum exit_status store(const struct option *option, const char *text, void *settings)
{
    struct common *common = settings;
    common->given |= UINT64_C(1) << option_index(common->command, option);
    if (set_value(option, text, settings))
        return EXIT_DONE;
    char title[WORD], demand[256];
    option_title(option, title);
    option_demand(option, demand, sizeof demand);
    say_error("option %s: '%s' is not valid; it takes %s", title, text, demand);
    return EXIT_USAGE;
}

int option_given(const struct common *common, const char *name)
{
    const struct option *option = find_name(common->command, name, strlen(name));
    return option && (common->given >> option_index(common->command, option) & 1);
}

static const struct option *find_letter(const struct command *command, char letter)
{
    for (const struct option *const *option = command->options; *option; option++)
        if ((*option)->letter && (*option)->letter == letter)
            return *option;
    return NULL;
}

static enum exit_status unknown_name(const struct command *command, const char *name, size_t length)
{
    const char *names[WORD];
    char word[WORD];
    size_t count = 0;
    for (const struct option *const *option = command->options; *option && count < WORD; option++)
        names[count++] = (*option)->name;
    snprintf(word, sizeof word, "%.*s", (int)(length < WORD ? length : WORD - 1), name);
    const char *nearest = nearest_word(word, names, count);
    if (nearest)
        say_error("unknown option --%s; did you mean --%s?", word, nearest);
    else
        say_error("unknown option --%s; 'ldar %s --help' lists the options", word, command->name);
    return EXIT_USAGE;
}

static enum exit_status missing_value(const struct option *option)
{
    char title[WORD];
    option_title(option, title);
    say_error("option %s needs a value (%s)", title, option->argument);
    return EXIT_USAGE;
}

/* "--name", "--name=value" or "--name value"; *at is the index of the word and moves past the value. */
static enum exit_status parse_long(const struct command *command, int argc, char **argv, int *at, void *settings)
{
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const struct option *option = find_name(command, name, length);
    if (!option)
        return unknown_name(command, name, length);
    if (option->kind == OPTION_FLAG) {
        if (!equals)
            return store(option, "", settings);
        say_error("option --%s takes no value", option->name);
        return EXIT_USAGE;
    }
    if (equals)
        return store(option, equals + 1, settings);
    if (*at + 1 >= argc)
        return missing_value(option);
    return store(option, argv[++*at], settings);
}

/* "-abc" of flags, the last of which may take a value: "-@4" or "-@ 4". */
static enum exit_status parse_letters(const struct command *command, int argc, char **argv, int *at, void *settings)
{
    for (const char *letter = argv[*at] + 1; *letter; letter++) {
        const struct option *option = find_letter(command, *letter);
        if (!option) {
            say_error("unknown option -%c; 'ldar %s --help' lists the options", *letter, command->name);
            return EXIT_USAGE;
        }
        if (option->kind != OPTION_FLAG) {
            if (letter[1])
                return store(option, letter + 1, settings);
            if (*at + 1 >= argc)
                return missing_value(option);
            return store(option, argv[++*at], settings);
        }
        if (store(option, "", settings) != EXIT_DONE)
            return EXIT_USAGE;
    }
    return EXIT_DONE;
}

static enum exit_status check_files(const struct command *command, const struct common *common)
{
    if (common->help || common->version)
        return EXIT_DONE;
    if (common->file_count < command->min_files) {
        say_error("a file is missing; usage: ldar %s [options] %s", command->name, command->files);
        return EXIT_USAGE;
    }
    if (common->file_count > command->max_files) {
        say_error("unexpected argument '%s'; usage: ldar %s [options] %s", common->files[command->max_files],
                  command->name, command->files);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

enum exit_status options_parse(const struct command *command, int argc, char **argv, void *settings)
{
    struct common *common = settings;
    memset(settings, 0, command->settings);
    common->command = command;
    for (const struct option *const *option = command->options; *option; option++)
        if ((*option)->initial)
            set_value(*option, (*option)->initial, settings);
    common->files = argv;
    for (int at = 0, only_files = 0; at < argc; at++) {
        char *word = argv[at];
        enum exit_status status = EXIT_DONE;
        if (only_files || word[0] != '-' || word[1] == '\0')
            common->files[common->file_count++] = word;
        else if (strcmp(word, "--") == 0)
            only_files = 1;
        else if (word[1] == '-')
            status = parse_long(command, argc, argv, &at, settings);
        else
            status = parse_letters(command, argc, argv, &at, settings);
        if (status != EXIT_DONE)
            return status;
    }
    return check_files(command, common);
}

/* ---- settings as words ---- */

struct words {
    char **list; /* NULL after memory could not be had, and then for good */
    size_t count;
};

static void add_word(struct words *words, const char *name, const char *value)
{
    char **larger = words->list ? realloc(words->list, (words->count + 2) * sizeof *larger) : NULL;
    size_t bytes = strlen(name) + strlen(value) + 4;
    char *word = larger ? malloc(bytes) : NULL;
    words->list = larger ? larger : words->list;
    if (!word) {
        options_words_free(words->list);
        words->list = NULL;
        return;
    }
    snprintf(word, bytes, "%s%s%s%s", name[0] ? "--" : "", name, name[0] ? "=" : "", value);
    words->list[words->count++] = word;
    words->list[words->count] = NULL;
}

static void add_counts(struct words *words, const struct option *option, const struct counts *counts)
{
    char text[OPTION_LIST * WORD] = "", item[WORD];
    for (size_t i = 0; i < counts->count; i++) {
        size_t length = strlen(text);
        if (option->kind == OPTION_CHOICES)
            choice_word(option->argument, (size_t)counts->item[i], item, sizeof item);
        else
            snprintf(item, sizeof item, "%" PRIu64, counts->item[i]);
        snprintf(text + length, sizeof text - length, "%s%s", i > 0 ? "," : "", item);
    }
    add_word(words, option->name, text);
}

/* The fewest digits that are read back to the same. */
static void format_decimal(double value, char text[WORD])
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, WORD, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

static void add_option(struct words *words, const struct option *option, const void *settings)
{
    const void *place = (const char *)settings + option->place;
    const struct texts *texts = place;
    char text[WORD] = "";
    switch (option->kind) {
    case OPTION_FLAG:
        snprintf(text, sizeof text, "--%s", option->name);
        add_word(words, "", text);
        return;
    case OPTION_TEXT:
        add_word(words, option->name, *(const char *const *)place);
        return;
    case OPTION_TEXTS:
        for (size_t i = 0; i < texts->count; i++)
            add_word(words, option->name, texts->item[i]);
        return;
    case OPTION_COUNT:
    case OPTION_SIZE:
        snprintf(text, sizeof text, "%" PRIu64, *(const uint64_t *)place);
        break;
    case OPTION_DECIMAL:
        format_decimal(*(const double *)place, text);
        break;
    case OPTION_CHOICE:
        choice_word(option->argument, (size_t) * (const int *)place, text, sizeof text);
        break;
    case OPTION_COUNTS:
    case OPTION_CHOICES:
        add_counts(words, option, place);
        return;
    }
    add_word(words, option->name, text);
}

char **options_words(const struct common *common)
{
    const struct command *command = common->command;
    struct words words = {calloc(1, sizeof(char *)), 0};
    for (size_t i = 0; command->options[i]; i++)
        if (command->options[i]->initial || common->given >> i & 1)
            add_option(&words, command->options[i], common);
    add_word(&words, "", "--");
    for (size_t i = 0; i < common->file_count; i++)
        add_word(&words, "", common->files[i]);
    return words.list;
}

void options_words_free(char **words)
{
    for (size_t i = 0; words && words[i]; i++)
        free(words[i]);
    free(words);
}

/* ---- the words that say what is computed ---- */

static int is_lasting(const struct option *option)
{
    static const struct option *const passing[] = {&option_threads, &option_max_memory, &option_quiet,  &option_verbose,
                                                   &option_shard,   &option_resume,     &option_dry_run};
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++)
        if (option == passing[i])
            return 0;
    return strcmp(option->name, "output") != 0 || option->kind != OPTION_TEXT;
}

/* "--name" or "--name=value": whether it lasts; *more: its value is the next word. */
static int long_lasts(const struct command *command, const char *word, int *more)
{
    const size_t length = strcspn(word + 2, "=");
    const struct option *option = find_name(command, word + 2, length);
    *more = option && option->kind != OPTION_FLAG && word[2 + length] == '\0';
    return !option || is_lasting(option);
}

/* Takes from "-abc" the letters that do not last; false when none is left. *more, as above, is of the last letter. */
static int letters_last(const struct command *command, char *word, int *more, int *lasts)
{
    char *to = word + 1;
    *more = 0;
    *lasts = 1;
    for (const char *from = word + 1; *from; from++) {
        const struct option *option = find_letter(command, *from);
        const size_t length = option && option->kind == OPTION_FLAG ? 1 : strlen(from);
        *lasts = !option || is_lasting(option);
        *more = option && option->kind != OPTION_FLAG && length == 1;
        memmove(to, from, *lasts ? length : 0);
        to += *lasts ? length : 0;
        from += length - 1;
    }
    *to = '\0';
    return to > word + 1;
}

char **options_lasting(const struct command *command, int argc, char *const *argv)
{
    struct words words = {calloc(1, sizeof(char *)), 0};
    int only_files = 0;
    for (int at = 0; at < argc && words.list; at++) {
        int more = 0, lasts = 1, kept = 1;
        const size_t before = words.count;
        const char *word = argv[at];
        add_word(&words, "", word);
        if (at < 2 || only_files || word[0] != '-' || word[1] == '\0' || !words.list)
            continue;
        if (strcmp(word, "--") == 0)
            only_files = 1;
        else if (word[1] == '-')
            kept = lasts = long_lasts(command, word, &more);
        else
            kept = letters_last(command, words.list[before], &more, &lasts);
        if (!kept) {
            free(words.list[--words.count]);
            words.list[words.count] = NULL;
        }
        if (more && at + 1 < argc && ++at && lasts)
            add_word(&words, "", argv[at]);
    }
    return words.list;
}

/* ---- help ---- */

void option_bounds(const struct option *option, char *text, size_t capacity)
{
    int counted = option->kind == OPTION_COUNT || option->kind == OPTION_COUNTS;
    size_t length = 0;
    text[0] = '\0';
    if (option->initial)
        length = (size_t)snprintf(text, capacity, "default %s", option->initial);
    if (counted && option->max > 0 && length < capacity)
        snprintf(text + length, capacity - length, "%s%" PRIu64 "..%" PRIu64, length > 0 ? "; " : "", option->min,
                 option->max);
}

enum { HELP_WIDTH = 100, HELP_INDENT = 34 };

/* Prints words from column `indent` on, wrapped at HELP_WIDTH. */
static void print_wrapped(FILE *out, const char *text, size_t indent)
{
    size_t column = indent;
    for (;;) {
        size_t length = strcspn(text, " ");
        fprintf(out, "%.*s", (int)length, text);
        column += length;
        text += length;
        if (!*text)
            break;
        text++;
        if (column + 1 + strcspn(text, " ") > HELP_WIDTH) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else {
            fputc(' ', out);
            column++;
        }
    }
    fputc('\n', out);
}

static void print_description(FILE *out, const char *text)
{
    while (*text) {
        char line[512];
        size_t length = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(length < sizeof line ? length : sizeof line - 1), text);
        if (line[0] == ' ' || line[0] == '\0')
            fprintf(out, "%s\n", line);
        else
            print_wrapped(out, line, 0);
        text += length + (text[length] == '\n');
    }
}

static void print_option(const struct option *option, FILE *out)
{
    char head[WORD * 2], bounds[WORD], text[1024];
    char letter[8] = "    ";
    if (option->letter)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    int width = snprintf(head, sizeof head, "  %s--%s%s%s", letter, option->name, option->argument ? " " : "",
                         option->argument ? option->argument : "");
    option_bounds(option, bounds, sizeof bounds);
    snprintf(text, sizeof text, "%s%s%s%s", option->help, bounds[0] ? " [" : "", bounds, bounds[0] ? "]" : "");
    fputs(head, out);
    if (width + 2 > HELP_INDENT)
        fprintf(out, "\n%*s", HELP_INDENT, "");
    else
        fprintf(out, "%*s", HELP_INDENT - width, "");
    print_wrapped(out, text, HELP_INDENT);
}

void options_help(const struct command *command, FILE *out)
{
    fprintf(out, "usage: ldar %s [options]%s%s\n\n%s.\n\n", command->name, command->files[0] ? " " : "", command->files,
            command->summary);
    print_description(out, command->description);
    fputs("\noptions:\n", out);
    for (const struct option *const *option = command->options; *option; option++)
        print_option(*option, out);
}
