/* SPDX-License-Identifier: Apache-2.0 */
/* A pickle, and its root as JSON text. */
#include "fuzz.h"
#include "io/pickle.h"

#include <string.h>

struct memory {
    const uint8_t *data;
    size_t at, bytes;
};

static size_t read_memory(void *handle, void *out, size_t bytes)
{
    struct memory *memory = handle;
    size_t part = memory->bytes - memory->at;
    part = part < bytes ? part : bytes;
    if (part > 0) {
        memcpy(out, memory->data + memory->at, part);
    }
    memory->at += part;
    return part;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct memory memory = {data, 0, bytes};
    const struct ldar_pickle_input input = {read_memory, &memory};
    struct ldar_pickle *pickle;
    struct ldar_error error;
    if (ldar_pickle_read("fuzz", &input, &pickle, &error) == LDAR_OK) {
        char text[4096];
        ldar_pickle_json(ldar_pickle_root(pickle), text, sizeof text);
        ldar_pickle_free(pickle);
    }
    return 0;
}
