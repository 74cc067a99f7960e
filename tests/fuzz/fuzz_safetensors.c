/* SPDX-License-Identifier: Apache-2.0 */
/* A safetensors file: what opens keeps every promise of ldar/tensors.h. */
#include "fuzz.h"
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

static void check(int promise)
{
    if (!promise) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    ldar_tensors *tensors;
    struct ldar_error error;
    if (ldar_tensors_open_memory("fuzz", data, bytes, 0, &tensors, &error) != LDAR_OK) {
        check(!tensors && error.message[0]);
        return 0;
    }
    size_t covered = 0, count = ldar_tensors_count(tensors);
    for (size_t i = 0; i < count; i++) {
        struct ldar_tensor tensor = ldar_tensors_at(tensors, i);
        const uint8_t *begin = tensor.data;
        check(tensor.rank <= LDAR_MAX_RANK && tensor.count * ldar_tensor_type_bytes(tensor.type) == tensor.bytes);
        check(begin >= data && tensor.bytes <= bytes - (size_t)(begin - data));
        check(ldar_tensors_find(tensors, tensor.name) == i);
        covered += tensor.bytes;
    }
    check(covered <= bytes);
    ldar_tensors_metadata(tensors, "config");
    ldar_tensors_close(tensors);
    return 0;
}
