/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oneDNN, 2.x and 3.x, whose C interfaces differ in how descriptors are held. A primitive for a whole tile of rows is
 * made once per weight matrix, with the weights in the layout that it asks for; it is run on one thread from inside
 * the team, so its own way of sharing work never touches a bit of the result.
 */
#include "gemm.h"

#include "status.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct onednn_thread {
    dnnl_stream_t stream;
    dnnl_memory_t a, c, scratch;
    void *scratch_room;
};

struct onednn_weight {
    dnnl_engine_t engine;
    dnnl_primitive_t primitive;
    dnnl_memory_t weight;
    void *weight_room;
    int threads;
    struct onednn_thread thread[];
};

/* No cap; 3.x renamed it. */
#if DNNL_VERSION_MAJOR >= 3
static const dnnl_cpu_isa_t onednn_uncapped = dnnl_cpu_isa_default;
#else
static const dnnl_cpu_isa_t onednn_uncapped = dnnl_cpu_isa_all;
#endif

/* The instruction set that a bundle of ours stands for. */
static dnnl_cpu_isa_t onednn_isa(const struct ldar_kernels *kernels)
{
    if (!strcmp(kernels->name, "avx512"))
        return dnnl_cpu_isa_avx512_core;
    if (!strcmp(kernels->name, "avx2"))
        return dnnl_cpu_isa_avx2;
#if defined(__x86_64__)
    return dnnl_cpu_isa_sse41;
#else
    return onednn_uncapped;
#endif
}

/*
 * The cap is one for the whole process and holds only when set before the first primitive; a second context that wants
 * another one cannot have it.
 */
static enum ldar_status onednn_open(const struct ldar_kernels *kernels, int threads, char name[64],
                                    struct ldar_error *error)
{
    (void)threads;
    const dnnl_version_t *version = dnnl_version();
    dnnl_cpu_isa_t wanted = onednn_isa(kernels);
    if (wanted != onednn_uncapped && dnnl_set_max_cpu_isa(wanted) != dnnl_success
        && dnnl_get_effective_cpu_isa() != wanted)
        return ldar_fail(error, LDAR_ERROR_UNSUPPORTED,
                         "oneDNN already serves another instruction set in this process and cannot be capped to %s: "
                         "choose the packed GEMM",
                         kernels->name);
    snprintf(name, 64, "oneDNN %d.%d.%d", version->major, version->minor, version->patch);
    return LDAR_OK;
}

/* What the two generations do differently, behind one set of names. */
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t onednn_shape;

static dnnl_status_t onednn_describe(onednn_shape *shape, const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    return strides ? dnnl_memory_desc_create_with_strides(shape, 2, dims, dnnl_f32, strides)
                   : dnnl_memory_desc_create_with_tag(shape, 2, dims, dnnl_f32, dnnl_format_tag_any);
}

static void onednn_forget(onednn_shape shape)
{
    if (shape)
        dnnl_memory_desc_destroy(shape);
}

static dnnl_status_t onednn_matmul(dnnl_primitive_desc_t *pd, onednn_shape a, onednn_shape w, onednn_shape c,
                                   dnnl_primitive_attr_t attr, dnnl_engine_t engine)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, a, w, NULL, c, attr);
}

static dnnl_status_t onednn_reorder(dnnl_primitive_desc_t *pd, onednn_shape from, const_dnnl_memory_desc_t to,
                                    dnnl_engine_t engine)
{
    return dnnl_reorder_primitive_desc_create(pd, from, engine, to, engine, NULL);
}

#define ONEDNN_SHAPE(shape) (shape)
typedef const_dnnl_memory_desc_t onednn_view;
#else
typedef dnnl_memory_desc_t onednn_shape;

static dnnl_status_t onednn_describe(onednn_shape *shape, const dnnl_dims_t dims, const dnnl_dims_t strides)
{
    return strides ? dnnl_memory_desc_init_by_strides(shape, 2, dims, dnnl_f32, strides)
                   : dnnl_memory_desc_init_by_tag(shape, 2, dims, dnnl_f32, dnnl_format_tag_any);
}

static void onednn_forget(onednn_shape shape)
{
    (void)shape;
}

static dnnl_status_t onednn_matmul(dnnl_primitive_desc_t *pd, onednn_shape a, onednn_shape w, onednn_shape c,
                                   dnnl_primitive_attr_t attr, dnnl_engine_t engine)
{
    dnnl_matmul_desc_t matmul;
    dnnl_status_t status = dnnl_matmul_desc_init(&matmul, &a, &w, NULL, &c);
    return status == dnnl_success ? dnnl_primitive_desc_create(pd, &matmul, attr, engine, NULL) : status;
}

static dnnl_status_t onednn_reorder(dnnl_primitive_desc_t *pd, onednn_shape from, const dnnl_memory_desc_t *to,
                                    dnnl_engine_t engine)
{
    return dnnl_reorder_primitive_desc_create(pd, &from, engine, to, engine, NULL);
}

#define ONEDNN_SHAPE(shape) (&(shape))
typedef const dnnl_memory_desc_t *onednn_view;
#endif

static void *onednn_room(size_t bytes)
{
    return aligned_alloc(64, (bytes + 64) / 64 * 64);
}

static void onednn_release(struct ldar_gemm_weight *weight)
{
    struct onednn_weight *own = weight->own;
    if (!own)
        return;
    for (int i = 0; i < own->threads; i++) {
        struct onednn_thread *t = &own->thread[i];
        if (t->a)
            dnnl_memory_destroy(t->a);
        if (t->c)
            dnnl_memory_destroy(t->c);
        if (t->scratch)
            dnnl_memory_destroy(t->scratch);
        if (t->stream)
            dnnl_stream_destroy(t->stream);
        free(t->scratch_room);
    }
    if (own->weight)
        dnnl_memory_destroy(own->weight);
    if (own->primitive)
        dnnl_primitive_destroy(own->primitive);
    if (own->engine)
        dnnl_engine_destroy(own->engine);
    free(own->weight_room);
    free(own);
}

/* Copies `matrix` into the layout that the primitive chose. */
static dnnl_status_t onednn_load(struct onednn_weight *own, onednn_shape plain, onednn_view chosen, float *matrix)
{
    dnnl_memory_t from = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t reorder = NULL;
    dnnl_status_t status = dnnl_memory_create(&from, ONEDNN_SHAPE(plain), own->engine, matrix);
    if (status == dnnl_success)
        status = onednn_reorder(&pd, plain, chosen, own->engine);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&reorder, pd);
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, own->weight}};
    if (status == dnnl_success)
        status = dnnl_primitive_execute(reorder, own->thread[0].stream, 2, arguments);
    if (status == dnnl_success)
        status = dnnl_stream_wait(own->thread[0].stream);
    if (reorder)
        dnnl_primitive_destroy(reorder);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (from)
        dnnl_memory_destroy(from);
    return status;
}

/* Everything that execution needs, from the primitive's descriptor. */
static dnnl_status_t onednn_bind(struct onednn_weight *own, dnnl_primitive_desc_t pd, onednn_shape a,
                                 onednn_shape plain, onednn_shape c, float *matrix, size_t *bytes)
{
    onednn_view chosen = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    onednn_view scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    size_t scratch_bytes = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
    *bytes = dnnl_memory_desc_get_size(chosen);
    own->weight_room = onednn_room(*bytes);
    if (!own->weight_room)
        return dnnl_out_of_memory;
    dnnl_status_t status = dnnl_memory_create(&own->weight, chosen, own->engine, own->weight_room);
    for (int i = 0; status == dnnl_success && i < own->threads; i++) {
        struct onednn_thread *t = &own->thread[i];
        t->scratch_room = onednn_room(scratch_bytes);
        *bytes += scratch_bytes;
        if (!t->scratch_room)
            return dnnl_out_of_memory;
        status = dnnl_stream_create(&t->stream, own->engine, dnnl_stream_default_flags);
        if (status == dnnl_success)
            status = dnnl_memory_create(&t->a, ONEDNN_SHAPE(a), own->engine, DNNL_MEMORY_NONE);
        if (status == dnnl_success)
            status = dnnl_memory_create(&t->c, ONEDNN_SHAPE(c), own->engine, DNNL_MEMORY_NONE);
        if (status == dnnl_success && scratch)
            status = dnnl_memory_create(&t->scratch, scratch, own->engine, t->scratch_room);
    }
    return status == dnnl_success ? onednn_load(own, plain, chosen, matrix) : status;
}

static dnnl_status_t onednn_make(struct onednn_weight *own, size_t n, size_t k, float *matrix, size_t *bytes)
{
    const dnnl_dim_t stride = (dnnl_dim_t)ldar_row_stride(k, sizeof(float)), rows = LDAR_TILE;
    const dnnl_dims_t a_dims = {rows, (dnnl_dim_t)k}, a_strides = {stride, 1};
    const dnnl_dims_t w_dims = {(dnnl_dim_t)k, (dnnl_dim_t)n}, w_strides = {1, (dnnl_dim_t)k};
    const dnnl_dims_t c_dims = {rows, (dnnl_dim_t)n}, c_strides = {(dnnl_dim_t)n, 1};
    onednn_shape a = {0}, any = {0}, plain = {0}, c = {0};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_engine_create(&own->engine, dnnl_cpu, 0);
    if (status == dnnl_success)
        status = onednn_describe(&a, a_dims, a_strides);
    if (status == dnnl_success)
        status = onednn_describe(&any, w_dims, NULL);
    if (status == dnnl_success)
        status = onednn_describe(&plain, w_dims, w_strides);
    if (status == dnnl_success)
        status = onednn_describe(&c, c_dims, c_strides);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_create(&attr);
    if (status == dnnl_success)
        status = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (status == dnnl_success)
        status = onednn_matmul(&pd, a, any, c, attr, own->engine);
    if (status == dnnl_success)
        status = dnnl_primitive_create(&own->primitive, pd);
    if (status == dnnl_success)
        status = onednn_bind(own, pd, a, plain, c, matrix, bytes);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    onednn_forget(a);
    onednn_forget(any);
    onednn_forget(plain);
    onednn_forget(c);
    return status;
}

static enum ldar_status onednn_prepare(struct ldar_team *team, const struct ldar_gemm_rows *rows,
                                       struct ldar_gemm_weight *weight, struct ldar_error *error)
{
    const int threads = team->threads;
    float *matrix = ldar_gemm_matrix(rows);
    struct onednn_weight *own = calloc(1, sizeof *own + (size_t)threads * sizeof own->thread[0]);
    weight->own = own;
    dnnl_status_t status = dnnl_out_of_memory;
    if (matrix && own) {
        int most = omp_get_max_threads();
        own->threads = threads;
        omp_set_num_threads(1); /* a primitive plans for the threads that it sees when it is made */
        status = onednn_make(own, rows->n, rows->k, matrix, &weight->bytes);
        omp_set_num_threads(most);
    }
    free(matrix);
    if (status == dnnl_out_of_memory)
        return ldar_fail(error, LDAR_ERROR_MEMORY, "no memory for a weight matrix of %zu x %zu", rows->n, rows->k);
    if (status != dnnl_success)
        return ldar_fail(error, LDAR_ERROR_UNSUPPORTED,
                         "oneDNN makes no product of %zu x %zu (its status %d): choose another GEMM", rows->n, rows->k,
                         (int)status);
    return LDAR_OK;
}

static void onednn_multiply(const struct ldar_gemm_weight *weight, const struct ldar_gemm_call *call,
                            struct ldar_worker *worker)
{
    const struct onednn_weight *own = weight->own;
    const struct onednn_thread *t = &own->thread[worker->index];
    dnnl_memory_set_data_handle(t->a, (void *)(uintptr_t)call->a);
    dnnl_memory_set_data_handle(t->c, worker->product);
    dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, t->a},
        {DNNL_ARG_WEIGHTS, own->weight},
        {DNNL_ARG_DST, t->c},
        {DNNL_ARG_SCRATCHPAD, t->scratch},
    };
    dnnl_primitive_execute(own->primitive, t->stream, t->scratch ? 4 : 3, arguments);
    dnnl_stream_wait(t->stream);
    ldar_gemm_finish(weight, call, worker->product);
}

const struct ldar_gemm_provider ldar_gemm_provider_onednn = {
    LDAR_GEMM_ONEDNN, 0, onednn_open, onednn_prepare, onednn_release, onednn_multiply,
};
