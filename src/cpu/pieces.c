/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

void ldar_cpu_cut(struct ldar_device *device, const struct ldar_packed *packed, size_t length)
{
    size_t span = 0;
    device->pieces = 0;
    for (size_t s = 0; s < packed->sequences; s++) {
        const size_t begin = packed->offsets[s], end = packed->offsets[s + 1];
        for (size_t first = begin, rows; first < end; first += rows) {
            rows = end - first < length ? end - first : length;
            device->piece[device->pieces++] = (struct ldar_piece){
                .first = first,
                .length = rows,
                .before = first - begin,
                .after = end - first - rows,
                .span = span,
            };
            span += ldar_spans(rows);
        }
    }
}

size_t ldar_sequence_of(const struct ldar_packed *packed, size_t row)
{
    size_t low = 0, high = packed->sequences; /* offsets[low] <= row < offsets[high] */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (packed->offsets[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}
