/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/context.h>

#include "parameters.h"

/*
 * The least arithmetic of a forward pass: projections once for both directions, the scan in chunks of Q = 64, only the
 * keys within the window. Elementwise work is counted as what it is multiplied and added.
 */
enum { CHUNK = 64, HEAD = 64 };

static double norm_flops(double width)
{
    return 4 * width;
}

static double bimamba_flops(const struct ldar_stage_config *c)
{
    const double d = c->width, e = (double)c->expand * d, n = c->state, h = e / HEAD, q = CHUNK;
    const double projections = 2 * d * (2 * e + 2 * n + h) + 2 * e * d;
    const double conv = 2 * 2 * (double)c->conv * (e + 2 * n), gated_norm = 2 * 6 * e;
    /* State and output products; the causal triangle; C B^T shared by the heads; decays, rescaling, scalings, skip. */
    const double scan =
        4 * n * HEAD + (q + 1) * HEAD + n * (q + 1) / h + 2 * q + 2 * n * HEAD / q + 4 * HEAD + 2 * HEAD;
    return projections + conv + gated_norm + 2 * h * scan;
}

/* Keys that a query of a sequence of `length` sees, on average. */
static double mean_keys(double window, double length)
{
    if (window < 0 || window >= length)
        return length;
    return 2 * window + 1 - window * (window + 1) / length;
}

static double attention_flops(const struct ldar_stage_config *c, double length)
{
    const double d = c->width;
    return 2 * d * 4 * d + 4 * d * mean_keys(c->window, length) + 6.0 * c->rotary * c->attention_heads;
}

static double stack_flops(const struct ldar_stage_config *c, const char *layout, double length)
{
    char kinds[LDAR_MAX_LAYERS];
    size_t layers = ldar_layout_kinds(layout, kinds);
    double flops = norm_flops(c->width);
    for (size_t i = 0; i < layers && layers != SIZE_MAX; i++) {
        int mamba = kinds[i] == 'm' || kinds[i] == 'M', mlp = kinds[i] == 'M' || kinds[i] == 'T';
        flops += norm_flops(c->width) + (mamba ? bimamba_flops(c) : attention_flops(c, length));
        if (mlp)
            flops += norm_flops(c->width) + 6.0 * c->width * (double)ldar_swiglu_width(c);
    }
    return flops;
}

double ldar_forward_flops(const struct ldar_config *config, size_t length, double ratio)
{
    double total = 2.0 * config->stage[0].width * LDAR_SYMBOLS, share = 1;
    for (size_t s = 0; s < config->stages; s++) {
        const struct ldar_stage_config *c = &config->stage[s];
        const double rows = (double)length * share, d = c->width;
        total += share * stack_flops(c, c->encoder, rows);
        if (s + 1 == config->stages)
            break;
        const double router = 2 * d * 2 * d + 8 * d, residual = 2 * d * d, average = 12 * d / ratio;
        total += share * (router + residual + average + stack_flops(c, c->decoder, rows));
        share /= ratio;
    }
    return total;
}
