/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

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
    size_t group, groups; /* heads of a task, and groups of heads */
    size_t halves;        /* 1, or 2: columns are halved too */
    size_t directions;    /* tasks that the two directions are, 1 or 2 */
};

/* One direction of `heads` heads from `head` on, in `width` columns from `column` on. */
static void scan(const struct scan_job *job, const struct ldar_piece *piece, size_t direction, size_t head,
                 size_t column, const struct ldar_worker *worker)
{
    const struct ldar_device *device = job->device;
    const struct ldar_cpu_stage *stage = job->stage;
    const struct ldar_cpu_direction *own = &job->layer->direction[direction];
    const size_t inner = stage->inner, state = stage->config->state, channels = inner + 2 * state;
    const size_t start = direction ? piece->first + piece->length - 1 : piece->first;
    const size_t offset = head * LDAR_HEAD + column, z = start * stage->z_stride + inner;
    const int in_place = direction && device->in_place;
    const ptrdiff_t sign = direction ? -1 : 1, z_stride = sign * (ptrdiff_t)stage->z_stride;
    const float *taps = own->conv_weight, *bias = own->own->conv_bias;
    device->kernels->ssd_scan(&(struct ldar_ssd_args){
        .y = in_place ? ldar_element(device, device->z, z + offset)
                      : ldar_element(device, device->y[direction], start * stage->y_stride + offset),
        .x = ldar_element(device, device->z, z + offset),
        .b = ldar_element(device, device->z, z + inner),
        .c = ldar_element(device, device->z, z + inner + state),
        .dt = device->dt + start * stage->dt_stride + head,
        .conv_weight_x = taps + offset,
        .conv_weight_b = taps + inner,
        .conv_weight_c = taps + inner + state,
        .conv_bias_x = bias + offset,
        .conv_bias_b = bias + inner,
        .conv_bias_c = bias + inner + state,
        .dt_bias = own->own->dt_bias + head,
        .a = own->rate + head,
        .d = own->own->d + head,
        .length = piece->length,
        .heads = stage->heads - head < job->group ? stage->heads - head : job->group,
        .state = state,
        .width = LDAR_HEAD / job->halves,
        .y_stride = in_place ? z_stride : sign * (ptrdiff_t)stage->y_stride,
        .x_stride = z_stride,
        .bc_stride = z_stride,
        .dt_stride = sign * (ptrdiff_t)stage->dt_stride,
        .conv_stride = (ptrdiff_t)channels,
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
                      const struct ldar_cpu_layer *layer, const struct ldar_packed *packed)
{
    ldar_cpu_cut(device, packed, SIZE_MAX);
    device->in_place = scan_both(device, stage, device->pieces);
    struct scan_job job = {device, stage, layer, .directions = device->in_place ? 1 : 2};
    scan_share(&job);
    ldar_parallel(&device->team, device->pieces * job.directions * job.groups * job.halves, scan_task, &job);
}
