/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/context.h>
#include <ldar/train.h>

#include "parameters.h"

/*
 * The least arithmetic of a pass: projections once for both directions, the scan in chunks of Q = 64, only the keys
 * within the window. Elementwise work is counted as what it is multiplied and added. Backward, what a layer hands on is
 * at hand, but for states, convolution and scores, which are computed again.
 */
enum { CHUNK = 64, HEAD = 64 };

struct flops {
    double forward, backward;
};

static struct flops sum(struct flops a, struct flops b)
{
    return (struct flops){a.forward + b.forward, a.backward + b.backward};
}

static struct flops times(double count, struct flops a)
{
    return (struct flops){count * a.forward, count * a.backward};
}

/* Rows times a matrix; backward, the gradients of both. */
static struct flops product_flops(double inputs, double outputs)
{
    return (struct flops){2 * inputs * outputs, 4 * inputs * outputs};
}

static struct flops norm_flops(double width)
{
    return (struct flops){4 * width, 8 * width};
}

/* Of one head and direction; h heads share C B^T and its two gradients. */
static struct flops scan_flops(double n, double h)
{
    const double q = CHUNK, p = HEAD, product = 2 * n * p, triangle = (q + 1) * p, shared = n * (q + 1) / h;
    const double decays = 2 * q, rescaling = 2 * n * p / q, scalings = 4 * p, skip = 2 * p;
    return (struct flops){
        .forward = 2 * product + triangle + shared + decays + rescaling + scalings + skip,
        /* States again, the gradients of B, C and X through them, and of states; X and the weights in the triangle. */
        .backward = 5 * product + 2 * triangle
                    + 3 * shared
                    /* Weights again; the triangle's gradients times weights and decays, and their two sums. */
                    + decays
                    + 2 * (q + 1)
                    /* States, their gradients, and the inner product of both. */
                    + 3 * rescaling
                    /* Inner products with B and C for the decays; those with X for steps and skip; the sum for X. */
                    + 2 * 2 * n + scalings + 2 * skip + 3 * p,
    };
}

static struct flops bimamba_flops(const struct ldar_stage_config *c)
{
    const double d = c->width, e = (double)c->expand * d, n = c->state, h = e / HEAD;
    const double taps = 2 * (double)c->conv * (e + 2 * n);
    const struct flops conv = {taps, 3 * taps}, gated_norm = {6 * e, 15 * e};
    struct flops total = sum(product_flops(d, 2 * e + 2 * n + h), product_flops(e, d));
    total = sum(total, times(2, sum(conv, gated_norm)));
    return sum(total, times(2 * h, scan_flops(n, h)));
}

/* Keys that a query of a sequence of `length` sees, on average. */
static double mean_keys(double window, double length)
{
    if (window < 0 || window >= length)
        return length;
    return 2 * window + 1 - window * (window + 1) / length;
}

static struct flops attention_flops(const struct ldar_stage_config *c, double length)
{
    const double d = c->width, seen = 2 * d * mean_keys(c->window, length);
    const double rotation = 6.0 * c->rotary * c->attention_heads;
    /* Scores and sums of values; backward the scores again, and the gradients of weights, queries, keys and values. */
    const struct flops heads = {2 * seen + rotation, 5 * seen + rotation};
    return sum(product_flops(d, 4 * d), heads);
}

static struct flops stack_flops(const struct ldar_stage_config *c, const char *layout, double length)
{
    char kinds[LDAR_MAX_LAYERS];
    size_t layers = ldar_layout_kinds(layout, kinds);
    struct flops total = norm_flops(c->width);
    for (size_t i = 0; i < layers && layers != SIZE_MAX; i++) {
        int mamba = kinds[i] == 'm' || kinds[i] == 'M', mlp = kinds[i] == 'M' || kinds[i] == 'T';
        total = sum(total, sum(norm_flops(c->width), mamba ? bimamba_flops(c) : attention_flops(c, length)));
        if (mlp)
            total = sum(total, sum(norm_flops(c->width), times(3, product_flops(c->width, ldar_swiglu_width(c)))));
    }
    return total;
}

/* Router, residual projection and dechunking. */
static struct flops routing_flops(double width, double ratio)
{
    const struct flops cosines = {8 * width, 16 * width}, averages = {12 * width / ratio, 24 * width / ratio};
    return sum(product_flops(width, 3 * width), sum(cosines, averages));
}

static struct flops pass_flops(const struct ldar_config *config, size_t length, double ratio)
{
    struct flops total = product_flops(config->stage[0].width, LDAR_SYMBOLS);
    double share = 1;
    for (size_t s = 0; s < config->stages; s++) {
        const struct ldar_stage_config *c = &config->stage[s];
        const double rows = (double)length * share;
        total = sum(total, times(share, stack_flops(c, c->encoder, rows)));
        if (s + 1 == config->stages)
            break;
        total = sum(total, times(share, sum(routing_flops(c->width, ratio), stack_flops(c, c->decoder, rows))));
        share /= ratio;
    }
    return total;
}

double ldar_forward_flops(const struct ldar_config *config, size_t length, double ratio)
{
    return pass_flops(config, length, ratio).forward;
}

double ldar_training_flops(const struct ldar_config *config, size_t length, double ratio)
{
    const struct flops pass = pass_flops(config, length, ratio);
    return pass.forward + pass.backward;
}
