/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_CONTEXT_H
#define LDAR_CONTEXT_H

#include <ldar/cpu.h>
#include <ldar/model.h>

LDAR_BEGIN_DECLS

/*
 * Contexts: everything that a computation needs and a model is not. Threads,
 * kernels, packed weights, and one arena for all intermediate values.
 *
 * A context serves one caller at a time; different contexts are independent.
 * The results of a call depend on the model, the build and the instruction set
 * alone: the number of threads, the other sequences of a batch and the
 * alignment of any pointer change no bit.
 */
typedef struct ldar_context ldar_context;

/* Who multiplies matrices. */
enum ldar_gemm {
    LDAR_GEMM_AUTO = 0,     /* the fastest measured for the instruction set; docs/perf.md has the figures */
    LDAR_GEMM_PACKED = 1,   /* the library's own kernel */
    LDAR_GEMM_ONEDNN = 2,   /* oneDNN, when built in; its instruction set is capped once for the whole process */
    LDAR_GEMM_CBLAS = 3,    /* a CBLAS, when built in; an OpenBLAS is set to one thread for the whole process */
    LDAR_GEMM_REFERENCE = 4 /* three loops: slow, for tests */
};

/* "auto", "packed", "onednn", "cblas", "reference"; NULL for a number that names none. */
LDAR_API const char *ldar_gemm_name(enum ldar_gemm gemm);
LDAR_API LDAR_MUST_USE enum ldar_status ldar_gemm_parse(const char *name, enum ldar_gemm *gemm,
                                                        struct ldar_error *error);
/* 1 when this build holds the provider. */
LDAR_API int ldar_gemm_built(enum ldar_gemm gemm);

struct ldar_context_options {
    size_t size;         /* sizeof(struct ldar_context_options) */
    int threads;         /* 0: ldar_cpu_count() */
    enum ldar_isa isa;   /* the instruction set, or LDAR_ISA_AUTO */
    enum ldar_gemm gemm; /* the GEMM provider, or LDAR_GEMM_AUTO */
    /*
     * LDAR_BF16: weights and what layers hand on are bfloat16 and multiplied as such; the residual stream, states,
     * norms, routing, averages and all sums stay float32. Where the instruction set multiplies no bfloat16 (only the
     * bf16 bundles do) the context computes in float32, with the layers' weights rounded to bfloat16. Embeddings, head,
     * router and residual projection are used as they are.
     */
    enum ldar_dtype dtype;
    /* 1: when `threads` is the number of CPUs of this process, each thread but the caller's is bound to one of them. */
    int pin;
    size_t max_bytes; /* refuse what needs more memory than this; 0: no limit */
};

/* `options` may be NULL: all fields 0. On failure *context is NULL. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_context_create(const ldar_model *model,
                                                            const struct ldar_context_options *options,
                                                            ldar_context **context, struct ldar_error *error);

/* Does nothing for NULL. */
LDAR_API void ldar_context_destroy(ldar_context *context);

/* What the context settled on. */
LDAR_API enum ldar_isa ldar_context_isa(const ldar_context *context);
LDAR_API enum ldar_dtype ldar_context_dtype(const ldar_context *context);
LDAR_API int ldar_context_threads(const ldar_context *context);
/*
 * Nucleotides of the batches that are computed fastest: enough for each thread to have its part of every step, and few
 * enough for what a step leaves to be near when the next one reads it. Larger ones gain nothing; with the 2m model on
 * two threads they were slower by a twentieth.
 */
LDAR_API size_t ldar_context_batch(const ldar_context *context);
/* Name and version of the GEMM provider, as "packed 8x32" or "oneDNN 2.6.3"; valid as long as the context. */
LDAR_API const char *ldar_context_gemm(const ldar_context *context);

/*
 * The most memory, in bytes, that the context takes for a batch of `nucleotides`
 * in all, packed weights included: that of the worst case, in which every
 * nucleotide is a chunk. Only what a batch touches is ever resident.
 */
LDAR_API size_t ldar_context_bytes(const ldar_context *context, size_t nucleotides);

/*
 * A batch is a concatenation of sequences; there is no padding. Sequence s is
 * ids[offsets[s] .. offsets[s + 1]), offsets[0] is 0; empty sequences are legal.
 * T = offsets[sequences] nucleotides in all. ids are enum ldar_symbol.
 */
struct ldar_batch {
    const uint8_t *ids;    /* (T) */
    const size_t *offsets; /* (sequences + 1) */
    size_t sequences;
};

/* What to compute: each pointer is the caller's room for the result, or NULL. Rows are contiguous. */
struct ldar_outputs {
    size_t size;       /* sizeof(struct ldar_outputs) */
    float *logits;     /* (T, 7) scores of the seven symbols */
    float *hidden;     /* (T, D) last hidden states, D = config.stage[0].width */
    float *encoder;    /* (T, D) the outermost encoder's output, which the router sees */
    float *prob;       /* (T) boundary probability; that of a sequence's first nucleotide is 1 */
    uint8_t *boundary; /* (T) 1 where a chunk begins */
    float *chunks; /* (M, D) the inner network's output; room for T rows, M = chunk_offsets[sequences] are written */
    size_t *chunk_offsets; /* (sequences + 1) where each sequence's chunks begin */
    float *mean;           /* (sequences, parts, D) means of each sequence's last hidden states; NaN for an empty one */
    size_t parts; /* of a sequence, of each of which `mean` holds one, as ldar_head_part cuts it; 0 stands for 1 */
};

/* How boundaries are found. */
struct ldar_boundaries {
    size_t size;           /* sizeof(struct ldar_boundaries) */
    size_t every;          /* 0: learned; R: in every stage, each R-th position begins a chunk */
    const uint8_t *forced; /* (T) boundaries of the outermost stage, or NULL; a sequence's first is always one */
};

/*
 * The forward pass. `boundaries` may be NULL: learned. When only prob, boundary
 * or encoder are asked for, nothing beyond the router is computed.
 * LDAR_ERROR_MEMORY when the batch does not fit max_bytes: the message says how
 * many nucleotides would. On failure the outputs hold nothing useful.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_forward(ldar_context *context, const struct ldar_batch *batch,
                                                     const struct ldar_boundaries *boundaries,
                                                     const struct ldar_outputs *outputs, struct ldar_error *error);

/* Where the time of a context's forward passes went, in seconds summed over its threads. */
struct ldar_profile {
    double gemm, scan, attention, other, waiting;
    size_t peak_bytes; /* most memory that the context has asked for so far */
};

/* Since creation or the last reset. */
LDAR_API void ldar_context_profile(const ldar_context *context, struct ldar_profile *profile);
LDAR_API void ldar_context_reset_profile(ldar_context *context);

/*
 * The rate of multiply-adds of floats, or of dot products of bfloat16, of `threads` threads in GFLOP/s, all at once,
 * measured for about `seconds` with the instruction set `isa` on registers alone: the limit to compare a rate with.
 * LDAR_ERROR_UNSUPPORTED when isa does not run here or multiplies no such type.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_measure_peak(enum ldar_isa isa, enum ldar_dtype dtype, int threads,
                                                          double seconds, double *gflops, struct ldar_error *error);

/*
 * The least arithmetic per nucleotide, in FLOP (a multiply-add counts as two), of a forward pass over sequences of
 * `length` nucleotides with one chunk every `ratio` positions in each stage. docs/perf.md derives it.
 */
LDAR_API double ldar_forward_flops(const struct ldar_config *config, size_t length, double ratio);

LDAR_END_DECLS

#endif
