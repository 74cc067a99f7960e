/* SPDX-License-Identifier: Apache-2.0 */
#include "classifier.h"

#include "formats/failure.h"

#include <stdlib.h>

enum ldar_status classifier_means(struct classifier *classifier, const struct ldar_batch *batch, float *means,
                                  struct ldar_error *error)
{
    const struct ldar_outputs outputs = {.size = sizeof outputs, .mean = means, .parts = classifier->parts};
    return ldar_forward(classifier->context, batch, NULL, &outputs, error);
}

enum ldar_status classifier_scores(void *own, const struct ldar_batch *batch, float *scores, struct ldar_error *error)
{
    struct classifier *classifier = own;
    if (batch->sequences > classifier->room) {
        free(classifier->means);
        classifier->means =
            malloc(batch->sequences * classifier->parts * classifier->width * sizeof *classifier->means);
        classifier->room = classifier->means ? batch->sequences : 0;
    }
    if (!classifier->means)
        return fail(error, LDAR_ERROR_MEMORY, "no memory for the means of %zu sequences", batch->sequences);
    const enum ldar_status status = classifier_means(classifier, batch, classifier->means, error);
    if (status == LDAR_OK)
        ldar_head_scores(classifier->head, classifier->width, classifier->means, batch->sequences, scores);
    return status;
}

void classifier_free(struct classifier *classifier)
{
    free(classifier->means);
    classifier->means = NULL;
    classifier->room = 0;
}
