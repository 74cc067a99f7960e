/* SPDX-License-Identifier: Apache-2.0 */
#include "gradients.h"

static const double scale = 0.3;

struct labelled {
    size_t rows, symbols;
    double *logits, *unused, *losses;
    uint8_t *labels;
};

static double loss(void *of)
{
    const struct labelled *l = of;
    ldar_kernels_real.cross_entropy(l->unused, l->losses, l->logits, l->labels, l->rows, l->symbols, scale);
    double sum = 0;
    for (size_t i = 0; i < l->rows; i++) {
        sum += l->losses[i];
    }
    return scale * sum;
}

/* One position in `nth` has no label. */
static void check(size_t rows, size_t symbols, double spread, size_t nth)
{
    check_case("rows %zu symbols %zu spread %g", rows, symbols, spread);
    uint8_t labels[64];
    struct labelled l = {.rows = rows, .symbols = symbols, .labels = labels};
    for (size_t i = 0; i < rows; i++) {
        labels[i] = i % nth == 1 ? LDAR_NO_LABEL : (uint8_t)random_below(&gradients_random, symbols);
    }
    l.logits = gradients_uniform(rows * symbols, -spread, spread);
    l.unused = gradients_zeros(rows * symbols);
    l.losses = gradients_zeros(rows);
    double *dlogits = gradients_zeros(rows * symbols);
    ldar_kernels_real.cross_entropy(dlogits, l.losses, l.logits, l.labels, rows, symbols, scale);
    gradients_check("logits", l.logits, rows * symbols, dlogits, loss, &l);
    gradients_end();
}

void gradients_loss(void)
{
    for (size_t symbols = 2; symbols <= 20; symbols++) {
        check(33, symbols, 3, 5);
    }
    check(1, 7, 1, 2);
    check(64, 7, 8, 3);
}
