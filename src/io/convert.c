/* SPDX-License-Identifier: Apache-2.0 */
#include "io/convert.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights are little-endian in files and used in place"
#endif

int ldar_converts(enum ldar_tensor_type type)
{
    return type == LDAR_TENSOR_F64 || type == LDAR_TENSOR_F32 || type == LDAR_TENSOR_F16 || type == LDAR_TENSOR_BF16;
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;
    if (exponent == 31) {
        return from_bits(sign | 0x7f800000 | fraction << 13);
    }
    if (exponent == 0) { /* subnormal or zero: fraction * 2^-24, which a float holds exactly */
        return from_bits(sign) + (sign ? -1.0f : 1.0f) * (float)fraction * 0x1p-24f;
    }
    return from_bits(sign | (exponent + 112) << 23 | fraction << 13); /* the biases differ by 127 - 15 */
}

void ldar_convert_to_f32(float *out, const void *data, enum ldar_tensor_type type, size_t count)
{
    const unsigned char *bytes = data;
    uint16_t half;
    double wide;
    switch (type) {
    case LDAR_TENSOR_F64:
        for (size_t i = 0; i < count; i++) {
            memcpy(&wide, bytes + i * sizeof wide, sizeof wide);
            out[i] = (float)wide;
        }
        break;
    case LDAR_TENSOR_F16:
        for (size_t i = 0; i < count; i++) {
            memcpy(&half, bytes + i * sizeof half, sizeof half);
            out[i] = from_f16(half);
        }
        break;
    case LDAR_TENSOR_BF16:
        for (size_t i = 0; i < count; i++) {
            memcpy(&half, bytes + i * sizeof half, sizeof half);
            out[i] = from_bits((uint32_t)half << 16);
        }
        break;
    default: /* F32 */
        memcpy(out, data, count * sizeof *out);
    }
}

void ldar_convert_to_bf16(uint16_t *out, const float *data, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &data[i], sizeof bits);
        uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
        uint32_t nan = bits | 0x400000; /* rounding could carry a NaN's fraction away */
        out[i] = (uint16_t)(((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded) >> 16);
    }
}

int ldar_all_finite(const void *data, enum ldar_dtype dtype, size_t count)
{
    uint32_t found = 0;
    if (dtype == LDAR_BF16) {
        const uint16_t *half = data;
        for (size_t i = 0; i < count; i++) {
            found |= (half[i] & 0x7f80) == 0x7f80;
        }
    } else {
        const float *value = data;
        for (size_t i = 0; i < count; i++) {
            uint32_t bits;
            memcpy(&bits, &value[i], sizeof bits);
            found |= (bits & 0x7f800000) == 0x7f800000;
        }
    }
    return !found;
}
