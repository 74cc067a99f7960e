/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "matrix.h"

static enum exit_status run(void *settings)
{
    return matrix_write(settings, MATRIX_LOGITS, 0);
}

static const struct option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = OPTION_TEXT,
    .argument = "FILE.npy",
    .place = offsetof(struct common, output),
    .help = "The matrix (default: the standard output, which must then be a file); FILE.npy.json is written beside it.",
};

static const struct option *const options[] = {&option_model,   &output_option,   OPTIONS_INPUT, OPTIONS_LONG,
                                               OPTIONS_COMPUTE, OPTIONS_MESSAGES, NULL};

const struct command command_logits = {
    .name = "logits",
    .files = "[IN]",
    .summary = "Scores of the seven symbols for each nucleotide as a .npy matrix",
    .description =
        "Reads the records of IN (FASTA or FASTQ; plain, gzip or BGZF; '-' is the standard input), or with -f regions "
        "of a genome, and writes a float32 row for each nucleotide: the scores before softmax of A, C, G, T, N, [MASK] "
        "and [PAD]. OUT.npy.json tells the records' names, lengths and offsets, and what made the file.\n"
        "\n"
        "  ldar logits genes.fa -o genes.npy\n",
    .min_files = 0,
    .max_files = 1,
    .options = options,
    .settings = sizeof(struct input),
    .run = run,
};
