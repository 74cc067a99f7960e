/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_MARGINALS_H
#define LDAR_TOOLS_MARGINALS_H

#include <ldar/context.h>

#include <stddef.h>
#include <stdint.h>

/*
 * Marginals: log p(A), log p(C), log p(G), log p(T) of bases, as the model gives
 * them to a base that it does not see. Natural logarithms, normalised over the
 * four letters: what the model gives to N, [MASK] and [PAD] counts for nothing.
 *
 * exact        one base of a pass is [MASK]: a pass for each base
 * interleaved  every eighth base of a pass is [MASK]: eight passes for all bases. Pass k hides the bases at 8 n + k of
 *              the contig, wherever a sequence of it begins, so that which bases go together is the contig's property
 * wt           one pass in which nothing is hidden: fast, and biased towards the letters that are there
 *
 * A base that is N is hidden and told like any other.
 *
 * Both strands: the same passes over the reverse complement, in which the same bases are hidden; the mean of the two
 * log-probabilities, normalised once more.
 *
 * The rows of a sequence depend on the model, the sequence, where it begins and the mode alone: not on the others of
 * its batch, the number of threads or the memory.
 */
enum marginal_mode { MARGINALS_EXACT, MARGINALS_INTERLEAVED, MARGINALS_WT };

/* The modes as a choice of an option, in their order. */
#define MARGINAL_MODES "exact|interleaved|wt"

enum {
    MARGINAL_LETTERS = 4, /* log-probabilities of a base, in the order of enum ldar_symbol */
    MARGINAL_PASSES = 8   /* of interleaved, on one strand */
};

/* Room for passes, which share forward passes of the context. One user at a time. */
typedef struct marginals marginals;

/*
 * The most nucleotides to put through the model at once: enough for all threads and for one `window`, within
 * `max_bytes` (0: no limit) less the `other` bytes that the caller needs. LDAR_ERROR_MEMORY when a window does not fit:
 * the message says which would.
 */
LDAR_MUST_USE enum ldar_status marginals_plan(const ldar_context *context, size_t window, size_t max_bytes,
                                              size_t other, size_t *batch, struct ldar_error *error);

/*
 * Forward passes are of at most `batch` nucleotides; a sequence that is longer goes alone. Memory: what
 * ldar_context_bytes says of a batch, and 33 bytes for each of its nucleotides. The context is borrowed; others may use
 * it between two calls. On failure *marginals is NULL.
 */
LDAR_MUST_USE enum ldar_status marginals_create(ldar_context *context, size_t batch, marginals **marginals,
                                                struct ldar_error *error);

/* Does nothing for NULL. */
void marginals_destroy(marginals *marginals);

/* Nucleotides put through the model so far. */
double marginals_nucleotides(const marginals *marginals);

/* What to compute of whole sequences. */
struct marginals_wish {
    enum marginal_mode mode;
    int both_strands;
    const uint64_t *starts; /* (sequences) where in its contig each begins, for interleaved; NULL: at 0 */
    const uint8_t *passes;  /* (sequences) bit k: pass k of interleaved is wanted; NULL: all. Rows of others stay */
    float *log_p;           /* (T, 4), or NULL */
    float *prob;            /* (T) boundary probability of the forward strand with nothing hidden, or NULL */
};

/*
 * All bases of a batch, or those of some passes. With wt, prob costs no further pass. On failure the arrays hold
 * nothing useful.
 */
LDAR_MUST_USE enum ldar_status marginals_of_all(marginals *marginals, const struct ldar_batch *batch,
                                                const struct marginals_wish *wish, struct ldar_error *error);

/* A base of a batch: the sequence, and the position in it. */
struct marginal_site {
    size_t sequence, position;
};

/* log_p (count, 4) of bases, each by passes of its own, as exact. A site that is not in the batch is an error. */
LDAR_MUST_USE enum ldar_status marginals_of_sites(marginals *marginals, const struct ldar_batch *batch,
                                                  const struct marginal_site *sites, size_t count, int both_strands,
                                                  float *log_p, struct ldar_error *error);

#endif
