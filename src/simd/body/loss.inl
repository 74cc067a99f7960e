/* SPDX-License-Identifier: Apache-2.0 */

TILE_INLINE void largest_step(size_t i, size_t lanes, float *largest, const float *x)
{
    vec v = load_lanes(x + i, lanes);
    if (lanes < VEC_WIDTH)
        v = vec_select_gt(vec_set1((float)lanes), vec_iota(), v, vec_set1(-INFINITY));
    const float here = vec_largest(v);
    *largest = here > *largest ? here : *largest;
}

TILE_INLINE void exp_from_step(size_t i, size_t lanes, float *out, const float *x, float zero)
{
    store_lanes(out + i, lanes, vec_exp(vec_sub(load_lanes(x + i, lanes), vec_set1(zero))));
}

TILE_INLINE void total_step(size_t i, size_t lanes, vec *sum, const float *x)
{
    *sum = vec_add(*sum, load_lanes(x + i, lanes));
}

TILE_INLINE void scale_step(size_t i, size_t lanes, float *x, float scale)
{
    store_lanes(x + i, lanes, vec_mul(load_lanes(x + i, lanes), vec_set1(scale)));
}

/*
 * The loss of one row, and its gradient. The label's own exponential is kept out of the sum: where the model is sure,
 * the others' are what the loss and the label's gradient consist of, and next to 1 their digits would be lost.
 */
static float cross_entropy_row(float *dlogits, const float *logits, size_t label, size_t symbols, float scale)
{
    float largest = -INFINITY;
    EACH_VECTOR(symbols, largest_step, &largest, logits);
    EACH_VECTOR(symbols, exp_from_step, dlogits, logits, largest);
    const float own = dlogits[label];
    dlogits[label] = 0.0f;
    vec total = vec_zero();
    EACH_VECTOR(symbols, total_step, &total, dlogits);
    const float others = vec_sum(total), share = scale / (own + others);
    EACH_VECTOR(symbols, scale_step, dlogits, share);
    dlogits[label] = -share * others;
    return own == 1.0f ? log1pf(others) : logf(own + others) + (largest - logits[label]);
}

static void kernel_cross_entropy(float *dlogits, float *loss, const float *logits, const uint8_t *labels, size_t rows,
                                 size_t symbols, float scale)
{
    for (size_t row = 0; row < rows; row++, dlogits += symbols, logits += symbols) {
        if (labels[row] == LDAR_NO_LABEL) {
            memset(dlogits, 0, symbols * sizeof *dlogits);
            loss[row] = 0.0f;
            continue;
        }
        assert(labels[row] < symbols);
        loss[row] = cross_entropy_row(dlogits, logits, labels[row], symbols, scale);
    }
}
