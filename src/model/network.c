/* SPDX-License-Identifier: Apache-2.0 */
#include "network.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/head.h"
#include "status.h"

size_t ldar_network_bytes(const struct ldar_config *config, size_t rows, size_t sequences)
{
    const size_t row = 3 * sizeof(float) + sizeof(uint8_t) + 2 * sizeof(uint32_t);
    size_t a, b, total;
    if (__builtin_mul_overflow(rows, row, &a) || __builtin_mul_overflow(sequences, sizeof(size_t), &b)
        || __builtin_add_overflow(a, b, &total) || __builtin_mul_overflow(total, config->stages - 1, &total))
        return SIZE_MAX;
    return total;
}

static void decision_release(struct ldar_decision *d)
{
    free(d->prob);
    free(d->dprob);
    free(d->chunk_prob);
    free(d->boundary);
    free(d->position);
    free(d->chunk);
    free(d->offsets);
    *d = (struct ldar_decision){0};
}

void ldar_network_release(struct ldar_network *network)
{
    for (size_t s = 0; s + 1 < LDAR_MAX_STAGES; s++)
        decision_release(&network->decision[s]);
    network->rows = network->sequences = 0;
}

/* `rows` is at least 1 and its products with 4 do not wrap: the caller has asked ldar_network_bytes. */
static int decision_reserve(struct ldar_decision *d, size_t rows, size_t sequences)
{
    *d = (struct ldar_decision){
        .prob = malloc(rows * sizeof *d->prob),
        .dprob = malloc(rows * sizeof *d->dprob),
        .chunk_prob = malloc(rows * sizeof *d->chunk_prob),
        .boundary = malloc(rows * sizeof *d->boundary),
        .position = malloc((rows + 1) * sizeof *d->position),
        .chunk = malloc(rows * sizeof *d->chunk),
        .offsets = malloc((sequences + 1) * sizeof *d->offsets),
    };
    return d->prob && d->dprob && d->chunk_prob && d->boundary && d->position && d->chunk && d->offsets;
}

enum ldar_status ldar_network_reserve(struct ldar_network *network, size_t rows, size_t sequences,
                                      struct ldar_error *error)
{
    size_t all[LDAR_MAX_STAGES];
    for (size_t s = 0; s < LDAR_MAX_STAGES; s++)
        all[s] = rows;
    if (rows > network->rows || sequences > network->sequences) {
        rows = rows > network->rows ? rows : network->rows;
        sequences = sequences > network->sequences ? sequences : network->sequences;
        ldar_network_release(network);
        for (size_t s = 0; s + 1 < network->config->stages; s++)
            if (!decision_reserve(&network->decision[s], rows, sequences)) {
                ldar_network_release(network);
                return ldar_fail(error, LDAR_ERROR_MEMORY, "no memory to route %zu nucleotides", rows);
            }
        network->rows = rows;
        network->sequences = sequences;
    }
    return network->backend->reserve(network->device, all, error);
}

/* Where chunks begin: learned (p > 0.5), forced, or every so many rows; a sequence's first row always opens one. */
static void decide(const struct ldar_packed *packed, const struct ldar_boundaries *boundaries, size_t stage,
                   struct ldar_decision *d)
{
    const uint8_t *forced = stage == 0 ? boundaries->forced : NULL;
    uint32_t count = 0;
    d->offsets[0] = 0;
    for (size_t s = 0; s < packed->sequences; s++) {
        const size_t begin = packed->offsets[s];
        for (size_t row = begin; row < packed->offsets[s + 1]; row++) {
            int opens = forced              ? forced[row] != 0
                        : boundaries->every ? (row - begin) % boundaries->every == 0
                                            : d->prob[row] > 0.5f;
            d->boundary[row] = (uint8_t)(opens || row == begin);
            if (d->boundary[row]) {
                d->position[count] = (uint32_t)row;
                d->chunk_prob[count++] = d->prob[row];
            }
            d->chunk[row] = count - 1;
        }
        d->offsets[s + 1] = count;
    }
    d->position[count] = (uint32_t)packed->rows;
    d->chunks = (struct ldar_packed){count, packed->sequences, d->offsets};
}

static struct ldar_routing routing_of(const struct ldar_decision *d)
{
    return (struct ldar_routing){d->chunk_prob, d->position, d->chunk, d->chunks};
}

static void write_routing(const struct ldar_outputs *out, const struct ldar_decision *d,
                          const struct ldar_packed *packed)
{
    if (out->prob)
        memcpy(out->prob, d->prob, packed->rows * sizeof *out->prob);
    if (out->boundary)
        memcpy(out->boundary, d->boundary, packed->rows);
    if (out->chunk_offsets)
        memcpy(out->chunk_offsets, d->offsets, (packed->sequences + 1) * sizeof *d->offsets);
}

/* What the device needs at least with the chunks that are known, and half as many in each stage further in. */
static size_t least_bytes(const struct ldar_network *network, size_t stage, size_t outermost)
{
    size_t rows[LDAR_MAX_STAGES] = {outermost};
    for (size_t s = 1; s < LDAR_MAX_STAGES; s++)
        rows[s] = s <= stage + 1 ? network->decision[s - 1].chunks.rows : (rows[s - 1] + 1) / 2;
    return network->backend->bytes(network->device, rows);
}

/* Whether anything is asked for that the last hidden states are needed for. */
static int to_the_end(const struct ldar_outputs *out)
{
    return out->logits || out->hidden || out->mean;
}

/* One level of the hierarchy, on x[stage]. `out` is NULL below the outermost one. 0: the chunks find no room. */
static int level(struct ldar_network *network, size_t stage, const struct ldar_packed *packed,
                 const struct ldar_boundaries *boundaries, const struct ldar_outputs *out)
{
    const struct ldar_backend *backend = network->backend;
    struct ldar_device *device = network->device;
    const size_t width = network->config->stage[stage].width;

    backend->stack(device, stage, LDAR_ENCODER, packed);
    if (stage + 1 == network->config->stages)
        return 1;
    if (out && out->encoder)
        backend->read(device, stage, packed, out->encoder, width);

    struct ldar_decision *d = &network->decision[stage];
    backend->route(device, stage, packed, d->prob);
    decide(packed, boundaries, stage, d);
    const struct ldar_routing routing = routing_of(d);
    if (out) {
        write_routing(out, d, packed);
        if (!to_the_end(out) && !out->chunks)
            return 1;
    }

    if (network->max_bytes < SIZE_MAX && least_bytes(network, stage, network->positions) > network->max_bytes)
        return 0;
    backend->chunk(device, stage, &routing);
    if (!level(network, stage + 1, &routing.chunks, boundaries, NULL))
        return 0;
    if (out && out->chunks)
        backend->read(device, stage + 1, &routing.chunks, out->chunks, width);
    if (out && !to_the_end(out))
        return 1;

    backend->dechunk(device, stage, packed, &routing);
    backend->stack(device, stage, LDAR_DECODER, packed);
    return 1;
}

void ldar_network_forward(struct ldar_network *network, const struct ldar_batch *batch,
                          const struct ldar_boundaries *boundaries, const struct ldar_outputs *outputs)
{
    const struct ldar_packed packed = {batch->offsets[batch->sequences], batch->sequences, batch->offsets};
    network->max_bytes = SIZE_MAX;
    network->backend->embed(network->device, batch->ids, &packed);
    level(network, 0, &packed, boundaries, outputs);
    if (outputs->hidden)
        network->backend->read(network->device, 0, &packed, outputs->hidden, network->config->stage[0].width);
    if (outputs->logits)
        network->backend->head(network->device, &packed, outputs->logits);
    if (outputs->mean)
        network->backend->pool(network->device, &packed, ldar_parts(outputs->parts), outputs->mean);
}

/* ---- learning ---- */

/* ((1 - F)(1 - G) + (n - 1) F G) n / (n - 1): 1 where both rates are 1 / n. The slope is that by G. */
static double ratio_loss(const struct ldar_decision *d, size_t rows, double n, double *slope)
{
    double sum = 0;
    for (size_t i = 0; i < rows; i++)
        sum += (double)d->prob[i];
    const double f = (double)d->chunks.rows / (double)rows, g = sum / (double)rows, factor = n / (n - 1);
    *slope = (f * n - 1) * factor;
    return ((1 - f) * (1 - g) + (n - 1) * f * g) * factor;
}

/* Of all routers, and how many chunks each chose. */
static double ratio_losses(const struct ldar_network *network, size_t rows, double n, size_t *chunks)
{
    double sum = 0;
    for (size_t s = 0; s + 1 < network->config->stages; s++) {
        double slope;
        sum += ratio_loss(&network->decision[s], rows, n, &slope);
        rows = chunks[s] = network->decision[s].chunks.rows;
    }
    return sum;
}

/* Sums of what the rows give, in their order. */
static void count_loss(const struct ldar_objective *objective, size_t rows, struct ldar_loss *loss)
{
    double sum = 0;
    for (size_t i = 0; i < rows; i++) {
        sum += (double)objective->loss[i];
        loss->correct += objective->correct[i];
    }
    loss->mlm = loss->labelled ? sum / (double)loss->labelled : 0;
}

/* The forward pass of a batch. 0: a router chose so many chunks that the device would need *bytes, too many. */
static int run_forward(struct ldar_network *network, const struct ldar_batch *batch, const struct ldar_packed *packed,
                       const struct ldar_boundaries *boundaries, const struct ldar_gradient_sink *sink, size_t *bytes)
{
    network->backend->begin(network->device, packed->rows, sink);
    network->backend->embed(network->device, batch->ids, packed);
    network->max_bytes = sink ? sink->max_bytes : SIZE_MAX;
    network->positions = packed->rows;
    if (level(network, 0, packed, boundaries, NULL))
        return 1;
    *bytes = least_bytes(network, 0, packed->rows);
    return 0;
}

/* One level of the hierarchy, from dx[stage] behind its decoder to dx[stage] before its encoder, as far as the reach.
 * `pull` weighs the ratio loss. */
static void level_backward(struct ldar_network *network, size_t stage, const struct ldar_packed *packed, double ratio,
                           double pull)
{
    const struct ldar_backend *backend = network->backend;
    struct ldar_device *device = network->device;
    if (stage + 1 < network->config->stages) {
        const struct ldar_decision *d = &network->decision[stage];
        const struct ldar_routing routing = routing_of(d);
        float *dprob = network->decision[stage].dprob;
        double slope;
        backend->stack_backward(device, stage, LDAR_DECODER, packed);
        if (!network->reach.inside[stage])
            return;
        backend->dechunk_backward(device, stage, packed, &routing, dprob);
        level_backward(network, stage + 1, &routing.chunks, ratio, pull);
        if (network->reach.first[stage][LDAR_ENCODER] == SIZE_MAX)
            return;
        backend->chunk_backward(device, stage, packed, &routing);
        ratio_loss(d, packed->rows, ratio, &slope);
        slope *= pull / (double)packed->rows;
        for (size_t i = 0; i < packed->rows; i++)
            dprob[i] += (float)slope;
        backend->route_backward(device, stage, packed, dprob);
    }
    backend->stack_backward(device, stage, LDAR_ENCODER, packed);
}

/* From dx[0] behind the outermost decoder: where the pass ends early, all before it is as final as the rest. */
static void run_backward(struct ldar_network *network, const struct ldar_packed *packed, double ratio, double pull,
                         const struct ldar_gradient_sink *sink)
{
    level_backward(network, 0, packed, ratio, pull);
    if (network->reach.embedding)
        network->backend->embed_backward(network->device, packed);
    else if (sink->final)
        sink->final(sink->own, 0);
}

enum ldar_status ldar_network_learn(struct ldar_network *network, const struct ldar_batch *batch,
                                    const struct ldar_boundaries *boundaries, const struct ldar_objective *objective,
                                    const struct ldar_gradient_sink *sink, struct ldar_loss *loss, size_t *bytes)
{
    const struct ldar_packed packed = {batch->offsets[batch->sequences], batch->sequences, batch->offsets};
    *loss = (struct ldar_loss){.positions = packed.rows, .stages = network->config->stages - 1};
    for (size_t i = 0; i < packed.rows; i++)
        loss->labelled += objective->labels[i] != LDAR_UNLABELLED;
    if (!run_forward(network, batch, &packed, boundaries, sink, bytes))
        return LDAR_ERROR_MEMORY;
    const double scale = loss->labelled ? objective->scale / (double)loss->labelled : 0;
    network->backend->classify(network->device, &packed, objective->labels, (float)scale, objective->loss,
                               objective->correct);
    count_loss(objective, packed.rows, loss);
    loss->ratio = ratio_losses(network, packed.rows, objective->ratio, loss->chunks);
    loss->loss = loss->mlm + objective->ratio_weight * loss->ratio;
    if (!sink)
        return LDAR_OK;
    if (!isfinite(loss->loss)) /* whoever sums up this gradient is to know */
        sink->gradient[0] = NAN;
    run_backward(network, &packed, objective->ratio, objective->ratio_weight * objective->scale, sink);
    return LDAR_OK;
}

/* ---- examples ---- */

void ldar_network_pool(struct ldar_network *network, const struct ldar_batch *batch, size_t parts, float *mean)
{
    const struct ldar_boundaries learned = {.size = sizeof learned};
    const struct ldar_packed packed = {batch->offsets[batch->sequences], batch->sequences, batch->offsets};
    size_t bytes;
    run_forward(network, batch, &packed, &learned, NULL, &bytes);
    network->backend->pool(network->device, &packed, parts, mean);
}

enum ldar_status ldar_network_learn_examples(struct ldar_network *network, const struct ldar_batch *batch,
                                             const struct ldar_examples *examples,
                                             const struct ldar_gradient_sink *sink, struct ldar_example_loss *loss,
                                             size_t *bytes)
{
    const struct ldar_boundaries learned = {.size = sizeof learned};
    const struct ldar_packed packed = {batch->offsets[batch->sequences], batch->sequences, batch->offsets};
    const struct ldar_head *head = examples->head;
    const size_t width = network->config->stage[0].width;
    float *dweight = sink->gradient + (head->weight - sink->weights),
          *dbias = sink->gradient + (head->bias - sink->weights);
    *loss = (struct ldar_example_loss){
        .examples = batch->sequences, .positions = packed.rows, .stages = network->config->stages - 1};
    if (!run_forward(network, batch, &packed, &learned, sink, bytes))
        return LDAR_ERROR_MEMORY;
    network->backend->pool(network->device, &packed, ldar_parts(head->parts), examples->mean);
    ldar_head_apply(head, width, examples->mean, batch->sequences, examples->scores);
    loss->loss = ldar_head_loss(head, examples->targets, batch->sequences, examples->scale / (double)batch->sequences,
                                examples->scores, &loss->correct)
                 / (double)batch->sequences;
    loss->ratio = ratio_losses(network, packed.rows, examples->ratio, loss->chunks);
    ldar_head_backward(head, width, examples->mean, examples->scores, batch->sequences, dweight, dbias, examples->dmean,
                       examples->row);
    if (!isfinite(loss->loss + examples->ratio_weight * loss->ratio)) /* whoever sums up this gradient is to know */
        dbias[0] = NAN;
    network->backend->pool_backward(network->device, &packed, ldar_parts(head->parts), examples->dmean);
    run_backward(network, &packed, examples->ratio, examples->ratio_weight * examples->scale, sink);
    return LDAR_OK;
}
