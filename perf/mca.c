/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mca KERNEL SIZE SIZE: one call of a kernel of the table LDAR_TABLE on a shape of the 110m model, between two calls of
 * `mark`. perf/mca.py follows it, instruction by instruction; what comes out is of no interest.
 *
 *   gemm ROWS COLUMNS         in_proj, k = 512
 *   ssd_scan TILES HEADS      N = 128, no convolution
 *   attention QUERIES KEYS    width 32, rotary; as many queries as keys at most
 *   fma_peak ROUNDS 1
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simd/kernels.h"

enum { WIDTH = 512, STATE = 128, HEAD = 32, MOST = 1 << 24 };

__attribute__((noinline)) static void mark(void)
{
    __asm__ volatile("");
}

static const struct ldar_kernels *const kernels = &LDAR_TABLE;

/* `bytes` of the pattern that fills a page, over and over. */
static void *filled(size_t bytes, const void *page, size_t page_bytes)
{
    char *a = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!a) {
        fprintf(stderr, "mca: out of memory\n");
        exit(1);
    }
    for (size_t i = 0; i < bytes; i += page_bytes)
        memcpy(a + i, page, bytes - i < page_bytes ? bytes - i : page_bytes);
    return a;
}

enum { PAGE = 1024 };

/* Numbers from 0.5 to 1. */
static float page_float(size_t i)
{
    return 0.5f + 0.5f / PAGE * (float)i;
}

static float *floats(size_t count)
{
    float page[PAGE];
    for (size_t i = 0; i < PAGE; i++)
        page[i] = page_float(i);
    return filled(count * sizeof *page, page, sizeof page);
}

static void *elements(size_t count)
{
    if (kernels->element == sizeof(float))
        return floats(count);
    uint16_t page[PAGE];
    for (size_t i = 0; i < PAGE; i++) {
        const float x = page_float(i);
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        page[i] = (uint16_t)(bits >> 16);
    }
    return filled(count * sizeof *page, page, sizeof page);
}

static void run_gemm(size_t rows, size_t n)
{
    void *packed = aligned_alloc(64, ldar_gemm_packed(kernels->element, kernels->panel, n, WIDTH));
    float *weight = floats(n * WIDTH);
    kernels->gemm_pack(packed, weight, n, WIDTH, WIDTH);
    const struct ldar_gemm_args args = {.c = elements(rows * n),
                                        .a = elements(rows * (WIDTH + 16)),
                                        .packed = packed,
                                        .next = packed,
                                        .rows = rows,
                                        .n = n,
                                        .k = WIDTH,
                                        .c_stride = (ptrdiff_t)n,
                                        .a_stride = WIDTH + 16};
    mark();
    kernels->gemm(&args);
    mark();
}

static void run_ssd_scan(size_t tiles, size_t heads)
{
    const size_t length = tiles * LDAR_TILE;
    float rate[LDAR_SSD_HEADS], skip[LDAR_SSD_HEADS];
    for (size_t i = 0; i < LDAR_SSD_HEADS; i++)
        rate[i] = -1, skip[i] = 1;
    const struct ldar_ssd_args args = {.y = elements(length * heads * LDAR_HEAD),
                                       .x = elements(length * heads * LDAR_HEAD),
                                       .b = elements(length * STATE),
                                       .c = elements(length * STATE),
                                       .dt = floats(length * heads),
                                       .a = rate,
                                       .d = skip,
                                       .length = length,
                                       .heads = heads,
                                       .state = STATE,
                                       .width = LDAR_HEAD,
                                       .y_stride = (ptrdiff_t)heads * LDAR_HEAD,
                                       .x_stride = (ptrdiff_t)heads * LDAR_HEAD,
                                       .bc_stride = STATE,
                                       .dt_stride = (ptrdiff_t)heads,
                                       .scratch = floats(ldar_ssd_scratch(heads, STATE))};
    mark();
    kernels->ssd_scan(&args);
    mark();
}

static void run_attention(size_t queries, size_t length)
{
    float *table = floats(length * HEAD / 2);
    const struct ldar_attention_args args = {.out = elements(length * HEAD),
                                             .q = elements(length * HEAD),
                                             .k = elements(length * HEAD),
                                             .v = elements(length * HEAD),
                                             .cosine = table,
                                             .sine = table,
                                             .length = length,
                                             .queries = queries,
                                             .width = HEAD,
                                             .rotary = HEAD,
                                             .window = -1,
                                             .stride = HEAD,
                                             .out_stride = HEAD,
                                             .scale = 0.17f,
                                             .scratch = floats(ldar_attention_scratch(HEAD))};
    mark();
    kernels->attention(&args);
    mark();
}

static void run_fma_peak(size_t rounds)
{
    float sink[64];
    mark();
    kernels->fma_peak(sink, rounds);
    mark();
}

int main(int count, char **words)
{
    size_t first = count == 4 ? strtoul(words[2], NULL, 10) : 0, second = count == 4 ? strtoul(words[3], NULL, 10) : 0;
    if (first < 1 || second < 1 || first * second > MOST)
        return fprintf(stderr, "usage: mca KERNEL SIZE SIZE\n"), 2;
    if (!strcmp(words[1], "gemm"))
        run_gemm(first, second);
    else if (!strcmp(words[1], "ssd_scan") && second <= LDAR_SSD_HEADS)
        run_ssd_scan(first, second);
    else if (!strcmp(words[1], "attention") && first <= LDAR_ATTENTION_QUERIES && first <= second)
        run_attention(first, second);
    else if (!strcmp(words[1], "fma_peak"))
        run_fma_peak(first);
    else
        return fprintf(stderr, "mca: %s %s %s is no shape of a kernel here\n", words[1], words[2], words[3]), 2;
    return 0;
}
