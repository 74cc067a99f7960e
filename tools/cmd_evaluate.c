/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "evaluate.h"
#include "message.h"
#include "suite_plan.h"

#include <string.h>

/* ---- which of the two ---- */

enum mode { MASKED = 1, SUITE = 2 };

/* Options that belong to one mode alone. */
static const struct {
    const char *name;
    enum mode mode;
} own_options[] = {
    {"windows", MASKED},
    {"part", MASKED},
    {"region", MASKED},
    {"regions", MASKED},
    {"mask", MASKED},
    {"mask-all", MASKED},
    {"boundaries", MASKED},
    {"data", SUITE},
    {"tasks", SUITE},
    {"folds", SUITE},
    {"keep-models", SUITE},
    {"reference", SUITE},
    {"freeze", SUITE},
    {"last", SUITE},
    {"epochs", SUITE},
    {"batch", SUITE},
    {"head-rate", SUITE},
    {"decay", SUITE},
    {"warmup", SUITE},
    {"ratio-weight", SUITE},
    {"patience", SUITE},
    {"halve-after", SUITE},
    {"augment", SUITE},
    {"hide", SUITE},
    {"both-strands", SUITE},
    {"parts", SUITE},
    {"anneal", SUITE},
    {"rate", SUITE},
    {"checkpoint-every", SUITE},
    {"shard", SUITE},
    {"resume", SUITE},
    {"dry-run", SUITE},
};

static enum exit_status choose(const struct evaluate *settings, enum mode *mode)
{
    const struct common *common = &settings->lesson.input.common;
    const int suite = option_given(common, "suite");
    if (suite == (settings->mlm != NULL)) {
        say_error("name what to evaluate on: either --mlm GENOME.fa, or --suite " SUITE_NAMES " with --data DIR");
        return EXIT_USAGE;
    }
    *mode = suite ? SUITE : MASKED;
    for (size_t i = 0; i < sizeof own_options / sizeof *own_options; i++)
        if (own_options[i].mode != *mode && option_given(common, own_options[i].name)) {
            say_error("option --%s belongs to %s", own_options[i].name, suite ? "--mlm" : "--suite");
            return EXIT_USAGE;
        }
    if (!suite && common->output && strcmp(common->output, "text") != 0 && strcmp(common->output, "json") != 0) {
        say_error("option -o: with --mlm text or json, not '%s'", common->output);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

static enum exit_status run(void *place)
{
    struct evaluate *settings = place;
    enum mode mode;
    if (choose(settings, &mode) != EXIT_DONE)
        return EXIT_USAGE;
    if (settings->lesson.input.window == 0)
        settings->lesson.input.window = mode == SUITE ? WINDOW_DEFAULT : 4096;
    return mode == SUITE ? evaluate_suite(settings) : evaluate_masked(settings);
}

/* ---- options ---- */

static const struct option mlm_option = {
    .name = "mlm",
    .kind = OPTION_TEXT,
    .argument = "GENOME.fa",
    .place = offsetof(struct evaluate, mlm),
    .help = "Guess masked nucleotides of these sequences: all records of the file, or regions of it. For regions the "
            ".fai index is made when absent; a gzip file, which can have none, is read into memory whole.",
};

static const struct option suite_option = {
    .name = "suite",
    .kind = OPTION_CHOICE,
    .argument = SUITE_NAMES,
    .place = offsetof(struct evaluate, suite),
    .help = "Learn and test the tasks of a suite, beside what is published: GUE, the tasks of the Nucleotide "
            "Transformer, or the Genomic Benchmarks.",
};

static const struct option data_option = {
    .name = "data",
    .kind = OPTION_TEXT,
    .argument = "DIR",
    .place = offsetof(struct evaluate, data),
    .help = "The folder of the suite: DIR/TASK/train and DIR/TASK/test, perhaps DIR/TASK/dev, each a labelled table in "
            "any form that finetune reads.",
};

static const struct option tasks_option = {
    .name = "tasks",
    .kind = OPTION_TEXTS,
    .argument = "TASK",
    .place = offsetof(struct evaluate, tasks),
    .help = "This task alone, or all in this folder of DIR; may be given again.",
};

static const struct option folds_option = {
    .name = "folds",
    .kind = OPTION_COUNT,
    .argument = "K",
    .place = offsetof(struct evaluate, folds),
    .max = SUITE_FOLDS_MAX,
    .help = "The first K of the ten published folds (default: all ten); of a task with a table dev, K repeats whose "
            "seeds count up from --seed (default: 3, and of a frozen model, which has no use for them, 1).",
};

static const struct option keep_models_option = {
    .name = "keep-models",
    .kind = OPTION_FLAG,
    .place = offsetof(struct evaluate, keep_models),
    .help = "Leave the classifier of each fold in its folder.",
};

static const struct option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = OPTION_TEXT,
    .argument = "RUN|text|json",
    .place = offsetof(struct common, output),
    .help = "With --suite the folder of the run; with --mlm what is printed: lines for a person (the default), or a "
            "JSON object.",
};

static const struct option windows_option = {
    .name = "windows",
    .kind = OPTION_TEXT,
    .argument = "W.bed",
    .place = offsetof(struct evaluate, windows),
    .help = "These intervals of the genome alone; longer ones are cut.",
};

static const struct option part_option = {
    .name = "part",
    .kind = OPTION_CHOICE,
    .argument = "all|train|valid|test",
    .place = offsetof(struct evaluate, part),
    .initial = "all",
    .help = "Of --windows the intervals whose fourth column says so.",
};

static const struct option window_option = {
    .name = "window",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct input, window),
    .min = 1,
    .max = 1 << 30,
    .help =
        "With --mlm sequences are cut into windows of this many nucleotides, end to end (default 4096). With --suite "
        "a longer sequence is an error (default 65536).",
};

static const struct option mask_option = {
    .name = "mask",
    .kind = OPTION_DECIMAL,
    .argument = "P",
    .place = offsetof(struct evaluate, mask),
    .initial = "0.15",
    .max = 1,
    .help = "Share of the nucleotides that are to be guessed.",
};

static const struct option mask_all_option = {
    .name = "mask-all",
    .kind = OPTION_FLAG,
    .place = offsetof(struct evaluate, mask_all),
    .help =
        "Show each nucleotide that is to be guessed as [MASK]. Without, masks are as in training: a tenth of them is "
        "shown as it is, and a tenth as any nucleotide. The positions are the same.",
};

static const struct option boundaries_option = {
    .name = "boundaries",
    .kind = OPTION_TEXT,
    .argument = BOUNDARIES_WORDS,
    .place = offsetof(struct evaluate, boundaries),
    .initial = "learned",
    .help = "Where tokens begin: where the model puts them, or at every R-th nucleotide.",
};

static const struct option seed_option = {
    .name = "seed",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct common, seed),
    .initial = "0",
    .help = "Seed of the masks; with --suite that of heads, orders and strands.",
};

static const struct option *const options[] = {&option_model, &mlm_option, &suite_option, &output_option,
                                               /* --mlm */
                                               &windows_option, &part_option, &option_region, &option_regions,
                                               &window_option, &mask_option, &mask_all_option, &boundaries_option,
                                               /* --suite */
                                               &data_option, &tasks_option, &folds_option, &keep_models_option,
                                               OPTIONS_LESSON, &option_lesson_rate, OPTIONS_LONG, &option_threads,
                                               &option_device, &option_dtype, &option_gemm, &option_max_memory,
                                               &seed_option, OPTIONS_MESSAGES, NULL};

const struct command command_evaluate = {
    .name = "evaluate",
    .files = "",
    .summary = "How well a model does on sequences that it has not seen, or on a benchmark suite",
    .description =
        "With --mlm, hides a part of the nucleotides as in training and lets the model guess them. The masks depend on "
        "--seed and the number of the window alone. With --mask-all the model sees none of the nucleotides that it is "
        "to guess, so that its loss can be held against that of counting models. -o json prints one object: loss (the "
        "mean cross-entropy in nats), bits_per_base (the same in bits), accuracy (the share guessed right), positions "
        "(how many were guessed), ratio (the mean number of bases per token), ratio_min and ratio_max (the least and "
        "the most in a whole window, where there is one), nucleotides, windows, and what made it: version, command, "
        "model and its sha256.\n"
        "\n"
        "With --suite, fine-tunes a classifier for each fold of each task, as finetune does, and tests it once. "
        "RUN/TASK/fold_K/test_results.json has the published keys; RUN/results.tsv, results.md and report.html have "
        "mean and 95 % interval of each task beside published numbers. --resume goes on with a run that was stopped, "
        "from its last checkpoint; --shard splits the folds over machines, and merge brings their folders together.\n"
        "\n"
        "  ldar evaluate --mlm yeast.fa -r XV -r XVI --mask-all\n"
        "  ldar evaluate --suite gue --data GUE --tasks prom --freeze -o run\n",
    .min_files = 0,
    .max_files = 0,
    .options = options,
    .settings = sizeof(struct evaluate),
    .run = run,
};
