/* SPDX-License-Identifier: Apache-2.0 */
/*
 * masked_logits MODEL: reads sequences from the standard input, one a line, in which '_' is a base that the model does
 * not see, and prints for each of these the logarithms of the probabilities of A, C, G and T among the four. It is the
 * library's forward pass and a softmax alone: what commands that hide bases are held to.
 */
#include <ldar/ldar.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 1 << 20 };

static void print_row(const float *logits)
{
    double sum = 0;
    for (int a = 0; a < 4; a++)
        sum += exp((double)logits[a]);
    for (int a = 0; a < 4; a++)
        printf("%.9g%c", (double)logits[a] - log(sum), a < 3 ? ' ' : '\n');
}

static enum ldar_status print_masked(ldar_context *context, char *line, size_t length, uint8_t *ids, float *logits,
                                     struct ldar_error *error)
{
    const size_t offsets[2] = {0, length};
    const struct ldar_batch batch = {ids, offsets, 1};
    const struct ldar_outputs outputs = {.size = sizeof outputs, .logits = logits};
    for (size_t i = 0; i < length; i++) {
        size_t unknown = 0;
        if (line[i] == '_')
            ids[i] = LDAR_MASK;
        else if (ldar_encode(line + i, 1, ids + i, &unknown) != 1)
            exit(2);
    }
    const enum ldar_status status = ldar_forward(context, &batch, NULL, &outputs, error);
    for (size_t i = 0; i < length && status == LDAR_OK; i++)
        if (line[i] == '_')
            print_row(logits + i * LDAR_SYMBOLS);
    return status;
}

int main(int argc, char **argv)
{
    struct ldar_error error = {0};
    ldar_model *model = NULL;
    ldar_context *context = NULL;
    char *line = malloc(LINE);
    uint8_t *ids = malloc(LINE);
    float *logits = malloc((size_t)LINE * LDAR_SYMBOLS * sizeof *logits);
    enum ldar_status status = argc == 2 && line && ids && logits ? LDAR_OK : LDAR_ERROR_ARGUMENT;
    if (status == LDAR_OK)
        status = ldar_model_load(argv[1], &model, &error);
    if (status == LDAR_OK)
        status = ldar_context_create(model, NULL, &context, &error);
    while (status == LDAR_OK && fgets(line, LINE, stdin))
        status = print_masked(context, line, strcspn(line, "\n"), ids, logits, &error);
    if (status != LDAR_OK)
        fprintf(stderr, "masked_logits: %s\n", error.message);
    ldar_context_destroy(context);
    ldar_model_destroy(model);
    free(logits);
    free(ids);
    free(line);
    return status != LDAR_OK;
}
