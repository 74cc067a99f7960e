/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "matrix.h"

struct embed {
    struct input input;
    int layer, pool;
};

static enum exit_status run(void *settings)
{
    static const enum matrix_layer layers[] = {MATRIX_HIDDEN, MATRIX_ENCODER, MATRIX_CHUNKS};
    const struct embed *embed = settings;
    return matrix_write(&embed->input, layers[embed->layer], embed->pool);
}

static const struct option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = OPTION_TEXT,
    .argument = "FILE.npy",
    .place = offsetof(struct common, output),
    .help = "The matrix (default: the standard output, which must then be a file); FILE.npy.json is written beside it.",
};

static const struct option layer_option = {
    .name = "layer",
    .kind = OPTION_CHOICE,
    .argument = "hidden|encoder|chunks",
    .place = offsetof(struct embed, layer),
    .initial = "hidden",
    .help = "The last hidden states; the encoder's output, which the router sees; or the inner network's output, a row "
            "per token.",
};

static const struct option pool_option = {
    .name = "pool",
    .kind = OPTION_CHOICE,
    .argument = "none|mean",
    .place = offsetof(struct embed, pool),
    .initial = "none",
    .help = "A row for each nucleotide (or token), or their mean for each record.",
};

static const struct option *const options[] = {&option_model,   &output_option,   &layer_option,
                                               &pool_option,    OPTIONS_INPUT,    OPTIONS_LONG,
                                               OPTIONS_COMPUTE, OPTIONS_MESSAGES, NULL};

const struct command command_embed = {
    .name = "embed",
    .files = "[IN]",
    .summary = "Embeddings of sequences as a .npy matrix",
    .description =
        "Reads the records of IN (FASTA or FASTQ; plain, gzip or BGZF; '-' is the standard input), or with -f regions "
        "of a genome, and writes float32 rows in the order of the input. OUT.npy.json tells the records' names, "
        "lengths and offsets, and what made the file.\n"
        "\n"
        "Letters of either case are read; U is T; other IUPAC letters and '-' are N; any other letter is an error. "
        "With --pool mean an empty record has a row of NaN, else it has none.\n"
        "\n"
        "  ldar embed reads.fq.gz --pool mean -o reads.npy\n"
        "  ldar embed -m model.safetensors -f genome.fa -r chr1:10001-20000 -o region.npy\n",
    .min_files = 0,
    .max_files = 1,
    .options = options,
    .settings = sizeof(struct embed),
    .run = run,
};
