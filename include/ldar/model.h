/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_MODEL_H
#define LDAR_MODEL_H

#include <ldar/status.h>

#include <stddef.h>
#include <stdint.h>

LDAR_BEGIN_DECLS

/*
 * Models: configuration and parameters of an LDARNet ("LDARNet: DNA Adaptive
 * Representation Network with Learnable Tokenization for Genomic Modeling",
 * Ledneva and Kuznetsov, ICML 2026, arXiv 2606.04552).
 *
 * Letters used in all headers: L nucleotides of a sequence, M its chunks (the
 * tokens that the model chose), D width of a stage, E = expand * D, P = 64
 * head width of the state-space layers, H = E / P heads, N state width.
 */

/* ---- symbols ---- */

enum ldar_symbol {
    LDAR_A = 0,
    LDAR_C = 1,
    LDAR_G = 2,
    LDAR_T = 3,
    LDAR_N = 4, /* any other base */
    LDAR_MASK = 5,
    LDAR_PAD = 6,
    LDAR_SYMBOLS = 7
};

/*
 * Letters to symbols: A C G T in either case, U as T, every other IUPAC letter
 * (R Y S W K M B D H V N) and '-' as N. Returns `count` when all letters are
 * legal, else the index of the first that is not; ids before it are written.
 * `unknown`, when not NULL, grows by the number of letters that became N.
 * Thread-safe.
 */
LDAR_API size_t ldar_encode(const char *letters, size_t count, uint8_t *ids, size_t *unknown);

/* ---- configuration ---- */

enum { LDAR_MAX_STAGES = 8, LDAR_MAX_LAYOUT = 64, LDAR_MAX_LAYERS = 256 };

/*
 * One stage of the hierarchy. A layout is a string of kinds and counts, as
 * "m3t1": `m` bidirectional Mamba-2, `t` attention; upper case adds a SwiGLU.
 */
struct ldar_stage_config {
    char encoder[LDAR_MAX_LAYOUT]; /* layout before routing; of the innermost stage: its only stack */
    char decoder[LDAR_MAX_LAYOUT]; /* layout after dechunking; empty in the innermost stage */
    uint32_t width;                /* D, 1..16384; never less than the stage outside has */
    uint32_t intermediate;         /* SwiGLU width before rounding up to a multiple of 128 */
    uint32_t attention_heads;      /* at least 1; with attention layers, D / attention_heads is whole and at most 256 */
    uint32_t rotary;               /* rotated columns of a head; with attention layers even, 0..D / attention_heads */
    int32_t window;                /* a key is seen when |i - j| <= window; -1: all */
    uint32_t state;                /* N, 1..1024 */
    uint32_t conv;                 /* taps of the causal convolution, 1..4 */
    uint32_t expand;               /* E / D, 1..16; with Mamba-2 layers, E is a multiple of 64 */
};

struct ldar_config {
    uint32_t stages; /* 2..LDAR_MAX_STAGES; stage 0 sees nucleotides, the last one is innermost */
    struct ldar_stage_config stage[LDAR_MAX_STAGES];
    int tie_embeddings; /* 1: the head is the embedding table */
};

/* A published configuration: "110m" or "2m". LDAR_ERROR_ARGUMENT names the known ones. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_config_preset(const char *name, struct ldar_config *config,
                                                           struct ldar_error *error);

/*
 * The configuration in the JSON text json[0..bytes), in the published form:
 * arch_layout, d_model, d_intermediate, vocab_size, ssm_cfg {d_conv, expand,
 * d_state, chunk_size}, attn_cfg {num_heads, rotary_emb_dim, window_size},
 * tie_embeddings. chunk_size is read and has no effect: how the scan is tiled
 * changes no result. Every range above is checked.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_config_parse(const char *json, size_t bytes, struct ldar_config *config,
                                                          struct ldar_error *error);

/* The blocks of all its stacks. 0 for a layout that is none. */
LDAR_API size_t ldar_config_blocks(const struct ldar_config *config);

/*
 * The configuration as JSON text in the published form, NUL-terminated, into
 * text[0..capacity). Returns the length without the NUL, as snprintf does: a
 * value >= capacity means that nothing useful was written. 0 and nothing
 * written for a configuration out of range.
 */
LDAR_API size_t ldar_config_format(const struct ldar_config *config, char *text, size_t capacity);

/* ---- models ---- */

/* Storage of matrices in a file. Vectors, router and residual projection are float32 in every file we write. */
enum ldar_dtype { LDAR_F32 = 0, LDAR_BF16 = 1 };

/* "f32", "bf16". */
LDAR_API const char *ldar_dtype_name(enum ldar_dtype dtype);

/*
 * A model is immutable once created and may be shared by any number of threads
 * and contexts. It must outlive the contexts made from it.
 */
typedef struct ldar_model ldar_model;

/* A new, untrained model with the published initialisation; the same seed gives the same bits. On failure *model is
 * NULL. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_model_create(const struct ldar_config *config, uint64_t seed,
                                                          ldar_model **model, struct ldar_error *error);

/*
 * A model from a safetensors file with the published tensor names and a
 * configuration in its metadata. The file is mapped, not copied, where its
 * storage allows; it must not be truncated while the model lives. The tensors'
 * set, shapes and types are checked, and the hashes where the file holds them.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_model_load(const char *path, ldar_model **model, struct ldar_error *error);

/*
 * A model from a published checkpoint: a .pt file of torch.save (its pickle is
 * read by a restricted reader; nothing in it is ever called) or a safetensors
 * file. `config`, when not NULL, is used where the file holds none; a file
 * that holds a different one is an error. Prefixes "module." and "_orig_mod."
 * are removed, an optimiser state is skipped unread.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_model_import(const char *path, const struct ldar_config *config,
                                                          ldar_model **model, struct ldar_error *error);

/*
 * Writes the model as one safetensors file: to a temporary name in the same
 * folder, synced, then renamed, so that no half-written file ever bears the
 * name. Each tensor is written once (in_proj and out_proj, which both directions share, as "fwd").
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_model_save(const ldar_model *model, enum ldar_dtype dtype,
                                                        const char *path, struct ldar_error *error);

/* Does nothing for NULL. */
LDAR_API void ldar_model_destroy(ldar_model *model);

/* Valid as long as the model. */
LDAR_API const struct ldar_config *ldar_model_config(const ldar_model *model);

/* ---- heads ---- */

/*
 * A head makes scores of a sequence: the mean of its last hidden states (D) times weight^T, plus bias. The softmax of
 * the scores of a head of classes is the probability of each; the score of a head of a value is that value.
 *
 * So it is published. A mean does not tell what stands where; a head of several parts does: it is given the means of
 * that many equal parts of the sequence, one behind the other (parts * D).
 */
enum ldar_head_kind { LDAR_HEAD_CLASSES = 1, LDAR_HEAD_VALUE = 2 };

enum { LDAR_MAX_OUTPUTS = 65536, LDAR_MAX_OUTPUT_NAME = 255, LDAR_MAX_PARTS = 65536 };

struct ldar_head {
    enum ldar_head_kind kind;
    size_t outputs; /* classes: 2..LDAR_MAX_OUTPUTS; value: 1 */
    /* (outputs) distinct, each of 1..LDAR_MAX_OUTPUT_NAME bytes of UTF-8 without control characters; 2 MiB in all. */
    const char *const *names;
    const float *weight; /* (outputs, parts * D), D = config.stage[0].width */
    const float *bias;   /* (outputs) */
    size_t parts;        /* 0 stands for 1; at most LDAR_MAX_PARTS */
};

/*
 * Where part `index` of `parts` lies in a sequence of `length` > 0: [*first, *end), from floor(index length / parts) to
 * where the next begins, and at least one nucleotide: in a sequence that is shorter than its parts are many, some of
 * them are the same. Thread-safe.
 */
LDAR_API void ldar_head_part(size_t length, size_t parts, size_t index, size_t *first, size_t *end);

/* The head of a model, valid as long as it; NULL: it has none. */
LDAR_API const struct ldar_head *ldar_model_head(const ldar_model *model);

/*
 * A copy of the model, in float32, with this head in place of the one that it may have. The head is copied, names too.
 * weight NULL: drawn from N(0, 0.02^2 / parts) by `seed`; bias NULL: zeros. On failure *out is NULL.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_model_with_head(const ldar_model *model, const struct ldar_head *head,
                                                             uint64_t seed, ldar_model **out, struct ldar_error *error);

/*
 * scores (sequences, outputs) of mean (sequences, parts, D), which struct ldar_outputs has room for. `width` is D. Sums
 * are double, in the order of parts and columns, and rounded once. Thread-safe.
 */
LDAR_API void ldar_head_scores(const struct ldar_head *head, size_t width, const float *mean, size_t sequences,
                               float *scores);

/* ---- what is known of a model ---- */

/* What is known of a model without reading its weights. */
struct ldar_model_info {
    struct ldar_config config;
    uint64_t parameters;      /* distinct ones: shared projections count once */
    enum ldar_dtype dtype;    /* storage of the matrices */
    char sha256[65];          /* of the tensor data in the order of our files, hexadecimal */
    enum ldar_head_kind head; /* 0: it has none */
    size_t outputs, parts;    /* of the head; parts is at least 1 */
};

/* Of a model whose file did not say its sha256, all weights are read to find it. */
LDAR_API void ldar_model_describe(const ldar_model *model, struct ldar_model_info *info);

/* The same of a model file, of which only the header is read: sha256 is empty where it does not say. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_model_peek(const char *path, struct ldar_model_info *info,
                                                        struct ldar_error *error);

LDAR_END_DECLS

#endif
