/* SPDX-License-Identifier: Apache-2.0 */
#include "training.h"

#include <string.h>

/*
 * The scans of a BiMamba-2 layer. A task is a group of heads of one sequence, whole or half of their columns, in one
 * direction or in both. Neither heads nor columns mix, so the size of the group, which shares the convolution of B and
 * C and their product, is free to follow the number of threads: it changes no bit. A task of both directions scans from
 * left to right first; the second scan then leaves its y where its x was, and the memory for it is not needed.
 *
 * Road not taken: cutting a long sequence into segments and finding the states between them first, for machines with
 * more cores than a layer has heads and columns to hand out. It costs 0.43 of a scan, and since it changes bits it
 * would have to be paid on every machine.
 */
struct scan_job {
    struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const struct ldar_cpu_layer *layer;
    const struct ldar_cpu_activations *at;
    size_t group, groups; /* heads of a task, and groups of heads */
    size_t halves;        /* 1, or 2: columns are halved too */
    size_t directions;    /* tasks that the two directions are, 1 or 2 */
};

/* Where a piece's states of the heads from `head` on are kept; NULL where they are not. */
static float *scan_states(const struct scan_job *job, const struct ldar_piece *piece, size_t direction, size_t head)
{
    float *states = job->at->states[direction];
    return states ? states + (piece->span * job->stage->heads + head) * ldar_ssd_state(job->stage->config->state)
                  : NULL;
}

/* One direction of `heads` heads from `head` on, in `width` columns from `column` on. */
static void scan(const struct scan_job *job, const struct ldar_piece *piece, size_t direction, size_t head,
                 size_t column, const struct ldar_worker *worker)
{
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *stage = job->stage;
    const struct ldar_cpu_activations *at = job->at;
    const struct ldar_cpu_direction *own = &job->layer->direction[direction];
    const size_t inner = stage->inner, state = stage->config->state, channels = inner + 2 * state;
    const size_t start = direction ? piece->first + piece->length - 1 : piece->first;
    const size_t offset = head * LDAR_HEAD + column, z = start * stage->z_stride + inner;
    const int in_place = direction && at->in_place;
    const ptrdiff_t sign = direction ? -1 : 1, z_stride = sign * (ptrdiff_t)stage->z_stride;
    const float *taps = own->conv_weight, *bias = own->own->conv_bias;
    device->kernels->ssd_scan(&(struct ldar_ssd_args){
        .y = in_place ? ldar_element(device, at->z, z + offset)
                      : ldar_element(device, at->y[direction], start * stage->y_stride + offset),
        .x = ldar_element(device, at->z, z + offset),
        .b = ldar_element(device, at->z, z + inner),
        .c = ldar_element(device, at->z, z + inner + state),
        .dt = at->dt + start * stage->dt_stride + head,
        .conv_weight_x = taps + offset,
        .conv_weight_b = taps + inner,
        .conv_weight_c = taps + inner + state,
        .conv_bias_x = bias + offset,
        .conv_bias_b = bias + inner,
        .conv_bias_c = bias + inner + state,
        .dt_bias = own->own->dt_bias + head,
        .a = own->rate + head,
        .d = own->own->d + head,
        .states = scan_states(job, piece, direction, head),
        .length = piece->length,
        .heads = stage->heads - head < job->group ? stage->heads - head : job->group,
        .state = state,
        .width = LDAR_HEAD / job->halves,
        .y_stride = in_place ? z_stride : sign * (ptrdiff_t)stage->y_stride,
        .x_stride = z_stride,
        .bc_stride = z_stride,
        .dt_stride = sign * (ptrdiff_t)stage->dt_stride,
        .conv_stride = (ptrdiff_t)channels,
        .states_stride = (ptrdiff_t)(stage->heads * ldar_ssd_state(state)),
        .scratch = worker->kernel,
    });
}

static void scan_task(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct scan_job *job = argument;
    const size_t half = task % job->halves, group = task / job->halves % job->groups;
    const size_t rest = task / job->halves / job->groups, direction = rest % job->directions;
    const struct ldar_piece *piece = &job->device->piece[rest / job->directions];
    for (size_t d = direction; d < 2; d += job->directions)
        scan(job, piece, d, group * job->group, half * LDAR_HEAD / 2, worker);
    ldar_lap(worker, LDAR_CLOCK_SCAN);
}

/* As many heads a task as leave an equal share, or at least four tasks, for each thread. */
static void scan_share(struct scan_job *job)
{
    const size_t threads = (size_t)job->device->team.threads, heads = job->stage->heads;
    const size_t units = job->device->pieces * job->directions;
    for (job->group = heads < LDAR_CPU_HEADS ? heads : LDAR_CPU_HEADS; job->group > 1; job->group--) {
        size_t tasks = units * ((heads + job->group - 1) / job->group);
        int equal = heads % job->group == 0 && tasks % threads == 0;
        if (equal || tasks >= 4 * threads)
            break;
    }
    job->groups = (heads + job->group - 1) / job->group;
    job->halves = units * heads < threads ? 2 : 1;
}

/*
 * Whether a task takes both directions. Groups of fewer than four heads pay too much for what a group shares: rather
 * than into such, the work is cut into directions.
 */
static int scan_both(const struct ldar_device *device, const struct ldar_cpu_stage *stage, size_t pieces)
{
    const size_t threads = (size_t)device->team.threads;
    return threads == 1 || pieces * stage->heads >= 4 * threads;
}

int ldar_cpu_two_outputs(const struct ldar_device *device)
{
    int two = 0;
    for (size_t s = 0; s < device->parameters->config.stages; s++)
        two |= !scan_both(device, &device->stage[s], 1);
    return two;
}

void ldar_cpu_bimamba(struct ldar_device *device, const struct ldar_cpu_stage *stage,
                      const struct ldar_cpu_layer *layer, struct ldar_cpu_activations *at,
                      const struct ldar_packed *packed)
{
    ldar_cpu_cut(device, packed, SIZE_MAX);
    const int both = scan_both(device, stage, device->pieces), keep = at->states[0] != NULL;
    at->in_place = both && !keep;
    struct scan_job job = {device, stage, layer, at, .directions = both ? 1 : 2};
    scan_share(&job);
    job.halves = keep ? 1 : job.halves;
    ldar_parallel(&device->team, device->pieces * job.directions * job.groups * job.halves, scan_task, &job);
}

/* ---- backward ---- */

/*
 * Twice: the scans by (sequence, direction, group of heads), which leave the gradients of what the convolution summed
 * up, that of x where dy was; then the convolutions of both directions at once, by strips of channels, down all rows.
 * B and C belong to all heads, so their gradients are sums over groups: the group is fixed.
 */
struct backward_job {
    struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const struct ldar_cpu_layer *layer;
    const struct ldar_cpu_activations *at;
    size_t groups, rows;
    size_t bc_stride; /* elements between rows of dbc */
};

static void scan_backward(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct backward_job *job = argument;
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_training *training = device->training;
    const struct ldar_cpu_stage *stage = job->stage;
    const struct ldar_cpu_activations *at = job->at;
    const size_t group = task % job->groups, direction = task / job->groups % 2, number = task / job->groups / 2;
    const struct ldar_piece *piece = &device->piece[number];
    const struct ldar_cpu_direction *own = &job->layer->direction[direction];
    const size_t head = group * LDAR_CPU_HEADS, heads = stage->heads - head, state = stage->config->state;
    const size_t inner = stage->inner, channels = inner + 2 * state, offset = head * LDAR_HEAD;
    const size_t start = direction ? piece->first + piece->length - 1 : piece->first;
    const ptrdiff_t sign = direction ? -1 : 1;
    const float *taps = own->conv_weight, *bias = own->own->conv_bias;
    void *y = ldar_element(device, at->y[direction], start * stage->y_stride + offset);
    const void *z = ldar_element(device, at->z, start * stage->z_stride + inner);
    void *dbc = ldar_element(device, training->dbc[direction], (group * job->rows + start) * job->bc_stride);
    float *sums = training->sums + ((number * 2 + direction) * stage->heads + head) * 3;
    float *const da = sums, *const dd = sums + (heads < LDAR_CPU_HEADS ? heads : LDAR_CPU_HEADS);
    const size_t count = (size_t)(dd - da);
    memset(sums, 0, 3 * count * sizeof *sums);
    device->kernels->ssd_backward(&(struct ldar_ssd_backward_args){
        .dx = y,
        .db = dbc,
        .dc = ldar_element(device, dbc, state),
        .ddt = training->ddt[direction] + start * stage->dt_stride + head,
        .da = da,
        .dd = dd,
        .ddt_bias = dd + count,
        .dy = y,
        .x = ldar_element(device, z, offset),
        .b = ldar_element(device, z, inner),
        .c = ldar_element(device, z, inner + state),
        .dt = at->dt + start * stage->dt_stride + head,
        .conv_weight_x = taps + offset,
        .conv_weight_b = taps + inner,
        .conv_weight_c = taps + inner + state,
        .conv_bias_x = bias + offset,
        .conv_bias_b = bias + inner,
        .conv_bias_c = bias + inner + state,
        .dt_bias = own->own->dt_bias + head,
        .a = own->rate + head,
        .d = own->own->d + head,
        .states = at->states[direction] + (piece->span * stage->heads + head) * ldar_ssd_state(state),
        .length = piece->length,
        .heads = count,
        .state = state,
        .dbc_stride = sign * (ptrdiff_t)job->bc_stride,
        .ddt_stride = sign * (ptrdiff_t)stage->dt_stride,
        .dy_stride = sign * (ptrdiff_t)stage->y_stride,
        .x_stride = sign * (ptrdiff_t)stage->z_stride,
        .bc_stride = sign * (ptrdiff_t)stage->z_stride,
        .dt_stride = sign * (ptrdiff_t)stage->dt_stride,
        .conv_stride = (ptrdiff_t)channels,
        .states_stride = (ptrdiff_t)(stage->heads * ldar_ssd_state(state)),
        .scratch = worker->kernel,
    });
    ldar_lap(worker, LDAR_CLOCK_SCAN);
}

/* dt_bias, A_log and D: the heads' sums over all sequences, in their order. a = -exp(A_log), so dA_log = a da. */
static void scan_scalars(const struct backward_job *job)
{
    const struct ldar_device *device = job->device;
    const size_t heads = job->stage->heads;
    for (size_t piece = 0; piece < device->pieces; piece++)
        for (size_t d = 0; d < 2; d++) {
            const struct ldar_mamba_direction *own = job->layer->direction[d].own;
            const float *sums = device->training->sums + (piece * 2 + d) * heads * 3;
            for (size_t head = 0, count; head < heads; head += count, sums += 3 * count) {
                count = heads - head < LDAR_CPU_HEADS ? heads - head : LDAR_CPU_HEADS;
                for (size_t h = 0; h < count; h++) {
                    ldar_cpu_gradient(device, own->a_log)[head + h] +=
                        job->layer->direction[d].rate[head + h] * sums[h];
                    ldar_cpu_gradient(device, own->d)[head + h] += sums[count + h];
                    ldar_cpu_gradient(device, own->dt_bias)[head + h] += sums[2 * count + h];
                }
            }
        }
}

enum { CONV_STRIP = 128 };

/* Taps and biases of a strip, as the kernel sums them up: by taps, for both directions. */
struct conv_sums {
    float weight[2][LDAR_CONV_TAPS * CONV_STRIP], bias[2][CONV_STRIP];
};

static void conv_add(const struct backward_job *job, const struct conv_sums *sums, size_t channel, size_t count)
{
    const size_t taps = job->stage->config->conv;
    for (size_t d = 0; d < 2; d++) {
        const struct ldar_mamba_direction *own = job->layer->direction[d].own;
        float *weight = ldar_cpu_gradient(job->device, own->conv_weight) + channel * taps;
        float *bias = ldar_cpu_gradient(job->device, own->conv_bias) + channel;
        for (size_t c = 0; c < count; c++) {
            bias[c] += sums->bias[d][c];
            for (size_t k = 0; k < taps; k++)
                weight[c * taps + k] += sums->weight[d][(LDAR_CONV_TAPS - taps + k) * CONV_STRIP + c];
        }
    }
}

/* A strip of x's channels, or of B's and C's, which come in groups. */
static void conv_backward(const void *argument, size_t strip, struct ldar_worker *worker)
{
    const struct backward_job *job = argument;
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_training *training = device->training;
    const struct ldar_cpu_stage *stage = job->stage;
    const size_t inner = stage->inner, channels = inner + 2 * stage->config->state;
    const size_t strips = (inner + CONV_STRIP - 1) / CONV_STRIP, shared = strip >= strips;
    const size_t channel = shared ? inner + (strip - strips) * CONV_STRIP : strip * CONV_STRIP;
    const size_t end = shared ? channels : inner, count = end - channel < CONV_STRIP ? end - channel : CONV_STRIP;
    const size_t dz_stride = ldar_cpu_dz_stride(device, stage);
    struct conv_sums sums = {0};
    for (size_t i = 0; i < device->pieces; i++) {
        const struct ldar_piece *piece = &device->piece[i];
        const void *dsum[2];
        const float *taps[2];
        for (size_t d = 0; d < 2; d++) {
            taps[d] = job->layer->direction[d].conv_weight + channel;
            dsum[d] = shared ? ldar_element(device, training->dbc[d], piece->first * job->bc_stride + channel - inner)
                             : ldar_element(device, job->at->y[d], piece->first * stage->y_stride + channel);
        }
        device->kernels->conv1d_backward(&(struct ldar_conv1d_backward_args){
            .dx = ldar_element(device, training->dz, piece->first * dz_stride + inner + channel),
            .dweight = {sums.weight[0], sums.weight[1]},
            .dbias = {sums.bias[0], sums.bias[1]},
            .dsum = {dsum[0], dsum[1]},
            .x = ldar_element(device, job->at->z, piece->first * stage->z_stride + inner + channel),
            .weight = {taps[0], taps[1]},
            .parts = shared ? job->groups : 1,
            .rows = piece->length,
            .channels = count,
            .part_stride = (ptrdiff_t)(job->rows * job->bc_stride),
            .dx_stride = (ptrdiff_t)dz_stride,
            .dsum_stride = (ptrdiff_t)(shared ? job->bc_stride : stage->y_stride),
            .x_stride = (ptrdiff_t)stage->z_stride,
            .weight_stride = (ptrdiff_t)channels,
            .dweight_stride = CONV_STRIP,
        });
    }
    conv_add(job, &sums, channel, count);
    ldar_lap(worker, LDAR_CLOCK_OTHER);
}

void ldar_cpu_bimamba_backward(struct ldar_device *device, const struct ldar_cpu_stage *stage,
                               const struct ldar_cpu_layer *layer, const struct ldar_cpu_activations *at,
                               const struct ldar_packed *packed)
{
    const struct backward_job job = {
        device, stage, layer, at, ldar_cpu_groups(stage), packed->rows, 2 * stage->config->state};
    const size_t strips = (stage->inner + CONV_STRIP - 1) / CONV_STRIP;
    ldar_cpu_cut(device, packed, SIZE_MAX);
    ldar_parallel(&device->team, device->pieces * 2 * job.groups, scan_backward, &job);
    scan_scalars(&job);
    ldar_parallel(&device->team, strips + (2 * stage->config->state + CONV_STRIP - 1) / CONV_STRIP, conv_backward,
                  &job);
}
