/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <string.h>

/*
 * The scans of a BiMamba-2 layer. A task is a group of heads of one direction of one piece of a sequence. Heads do not
 * mix, so the size of the group, which shares the convolution of B and C and their product, is free to follow the
 * number of threads: it changes no bit.
 *
 * A long sequence of a stage with few heads is cut into segments to have work for all cores. Its states at the
 * segments' borders come first: every segment's state from zero, then one pass over the segments in scan order,
 * S_begin(next) = decay S_begin + S_end, then the scan proper. That changes bits, so it is decided by the shape alone.
 */
enum {
    SEGMENT = 8192,        /* tokens; the pass for the states costs 0.43 of a scan, so none below twice this length */
    ENOUGH_DIRECTIONS = 32 /* heads in both directions from which a sequence is never cut */
};

size_t ldar_cpu_segments(const struct ldar_cpu_stage *stage, size_t rows)
{
    return 2 * stage->heads < ENOUGH_DIRECTIONS && rows >= 2 * SEGMENT ? rows / SEGMENT + rows / (2 * SEGMENT) : 0;
}

struct scan_job {
    struct ldar_device *device;
    const struct ldar_cpu_stage *stage;
    const struct ldar_cpu_layer *layer;
    size_t groups, group; /* of heads, and the heads of one */
    int states;           /* only the states of segments are wanted */
};

/* Where the states of a segment's heads from `head` on stand. */
static size_t scan_state(const struct scan_job *job, const struct ldar_piece *piece, size_t direction, size_t head)
{
    return ((piece->segment * 2 + direction) * job->stage->heads + head) * ldar_ssd_state(job->stage->config->state);
}

static float *scan_decay(const struct scan_job *job, const struct ldar_piece *piece, size_t direction, size_t head)
{
    return job->device->segment_decay + (piece->segment * 2 + direction) * job->stage->heads + head;
}

static void scan_task(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct scan_job *job = argument;
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *stage = job->stage;
    const struct ldar_piece *piece = &device->piece[task / (2 * job->groups)];
    const size_t direction = task / job->groups % 2, head = task % job->groups * job->group;
    const size_t behind = direction ? piece->after : piece->before, ahead = direction ? piece->before : piece->after;
    const int segment = piece->segment != SIZE_MAX;
    if (job->states && (!segment || !ahead))
        return;
    const struct ldar_cpu_direction *own = &job->layer->direction[direction];
    const size_t inner = stage->inner, state = stage->config->state, channels = inner + 2 * state;
    const size_t start = direction ? piece->first + piece->length - 1 : piece->first;
    const ptrdiff_t sign = direction ? -1 : 1, z_stride = sign * (ptrdiff_t)stage->z_stride;
    const float *x = device->z + start * stage->z_stride + inner, *taps = own->conv_weight;
    const float *bias = own->own->conv_bias;
    device->kernels->ssd_scan(&(struct ldar_ssd_args){
        .y = job->states ? NULL : device->y[direction] + start * stage->y_stride + head * LDAR_HEAD,
        .state_out = job->states ? device->state_end + scan_state(job, piece, direction, head) : NULL,
        .decay_out = job->states ? scan_decay(job, piece, direction, head) : NULL,
        .x = x + head * LDAR_HEAD,
        .b = x + inner,
        .c = x + inner + state,
        .dt = x + channels + head,
        .conv_weight_x = taps + head * LDAR_HEAD,
        .conv_weight_b = taps + inner,
        .conv_weight_c = taps + inner + state,
        .conv_bias_x = bias + head * LDAR_HEAD,
        .conv_bias_b = bias + inner,
        .conv_bias_c = bias + inner + state,
        .dt_bias = own->own->dt_bias + head,
        .a = own->rate + head,
        .d = own->own->d + head,
        .state_in =
            !job->states && segment && behind ? device->state_begin + scan_state(job, piece, direction, head) : NULL,
        .length = piece->length,
        .heads = stage->heads - head < job->group ? stage->heads - head : job->group,
        .state = state,
        .history = behind < LDAR_CONV_TAPS - 1 ? behind : LDAR_CONV_TAPS - 1,
        .y_stride = sign * (ptrdiff_t)stage->y_stride,
        .x_stride = z_stride,
        .bc_stride = z_stride,
        .dt_stride = z_stride,
        .conv_stride = (ptrdiff_t)channels,
        .scratch = worker->kernel,
    });
    ldar_lap(worker, LDAR_CLOCK_SCAN);
}

/* The states before every segment of one head in one direction, from those after each. */
static void scan_join(const void *argument, size_t task, struct ldar_worker *worker)
{
    const struct scan_job *job = argument;
    const struct ldar_device *device = job->device;
    const size_t direction = task / job->stage->heads, head = task % job->stage->heads;
    const size_t size = ldar_ssd_state(job->stage->config->state);
    const struct ldar_piece *before = NULL;
    for (size_t i = 0; i < device->pieces; i++) {
        const struct ldar_piece *piece = &device->piece[direction ? device->pieces - 1 - i : i];
        int opens = (direction ? piece->after : piece->before) == 0;
        if (piece->segment == SIZE_MAX || opens) {
            before = piece;
            continue;
        }
        const float *end = device->state_end + scan_state(job, before, direction, head);
        const float *begin = device->state_begin + scan_state(job, before, direction, head);
        float *now = device->state_begin + scan_state(job, piece, direction, head);
        float decay = *scan_decay(job, before, direction, head);
        int first = (direction ? before->after : before->before) == 0;
        for (size_t n = 0; n < size; n++)
            now[n] = first ? end[n] : decay * begin[n] + end[n];
        before = piece;
    }
    ldar_lap(worker, LDAR_CLOCK_SCAN);
}

/* As many heads a task as leave an equal share, or at least four tasks, for each thread. */
static size_t scan_group(const struct ldar_device *device, const struct ldar_cpu_stage *stage)
{
    const size_t threads = (size_t)device->team.threads;
    size_t group = stage->heads < LDAR_CPU_HEADS ? stage->heads : LDAR_CPU_HEADS;
    for (; group > 1; group--) {
        size_t tasks = device->pieces * 2 * ((stage->heads + group - 1) / group);
        int equal = stage->heads % group == 0 && tasks % threads == 0;
        if (equal || tasks >= 4 * threads)
            break;
    }
    return group;
}

void ldar_cpu_bimamba(struct ldar_device *device, const struct ldar_cpu_stage *stage,
                      const struct ldar_cpu_layer *layer, const struct ldar_packed *packed)
{
    ldar_cpu_cut(device, packed, SEGMENT, 2 * stage->heads < ENOUGH_DIRECTIONS ? 2 * SEGMENT : SIZE_MAX);
    struct scan_job job = {.device = device, .stage = stage, .layer = layer, .group = scan_group(device, stage)};
    job.groups = (stage->heads + job.group - 1) / job.group;
    const size_t tasks = device->pieces * 2 * job.groups;
    int cut = 0;
    for (size_t i = 0; i < device->pieces; i++)
        cut |= device->piece[i].segment != SIZE_MAX;
    if (cut) {
        job.states = 1;
        ldar_parallel(&device->team, tasks, scan_task, &job);
        ldar_parallel(&device->team, 2 * stage->heads, scan_join, &job);
        job.states = 0;
    }
    ldar_parallel(&device->team, tasks, scan_task, &job);
}
