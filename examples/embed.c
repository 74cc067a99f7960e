/* SPDX-License-Identifier: Apache-2.0 */
/* embed MODEL SEQUENCE: prints the mean of the last hidden states over a DNA sequence, one number per line. */
#include <ldar/ldar.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *message)
{
    fprintf(stderr, "embed: %s\n", message);
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct ldar_error error;
    ldar_model *model;
    ldar_context *context;
    if (argc != 3)
        return fail("usage: embed MODEL SEQUENCE");
    if (ldar_model_load(argv[1], &model, &error) || ldar_context_create(model, NULL, &context, &error))
        return fail(error.message);

    size_t length = strlen(argv[2]), width = ldar_model_config(model)->stage[0].width;
    uint8_t *ids = (uint8_t *)calloc(length + 1, 1);
    float *mean = (float *)calloc(width, sizeof *mean);
    if (!ids || !mean || length == 0 || ldar_encode(argv[2], length, ids, NULL) != length)
        return fail("the sequence is empty, or holds a letter that is no base");

    const size_t offsets[2] = {0, length};
    const struct ldar_batch batch = {ids, offsets, 1};
    const struct ldar_outputs outputs = {sizeof outputs, NULL, NULL, NULL, NULL, NULL, NULL, NULL, mean, 1};
    if (ldar_forward(context, &batch, NULL, &outputs, &error))
        return fail(error.message);

    for (size_t column = 0; column < width; column++)
        printf("%.6g\n", mean[column]);
    free(mean);
    free(ids);
    ldar_context_destroy(context);
    ldar_model_destroy(model);
    return EXIT_SUCCESS;
}
