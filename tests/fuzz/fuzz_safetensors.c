/* SPDX-License-Identifier: Apache-2.0 */
/* A safetensors file that opens keeps every promise of ldar/tensors.h; the names of its head those of ldar/model.h. */
#include "fuzz.h"
#include "io/safetensors.h"
#include "model/head.h"

#include <stdlib.h>
#include <string.h>

static void check(int promise)
{
    if (!promise) {
        abort();
    }
}

/* What is read of a head's names is written as a text that is read as the same. */
static void check_names(const char *text)
{
    struct ldar_head head = {0}, again = {0};
    struct ldar_error error;
    void *names, *same;
    if (ldar_head_parse("fuzz", LDAR_HEAD_CLASSES, text, &head, &names, &error) != LDAR_OK) {
        check(!names && error.message[0]);
        return;
    }
    char *written = ldar_head_format(&head);
    check(written && ldar_head_parse("fuzz", LDAR_HEAD_CLASSES, written, &again, &same, &error) == LDAR_OK);
    check(again.outputs == head.outputs && head.outputs >= 2 && head.outputs <= LDAR_MAX_OUTPUTS);
    for (size_t i = 0; i < head.outputs; i++) {
        check(strcmp(head.names[i], again.names[i]) == 0 && head.names[i][0]);
    }
    free(written);
    free(same);
    free(names);
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
    if (ldar_tensors_metadata(tensors, "classes")) {
        check_names(ldar_tensors_metadata(tensors, "classes"));
    }
    ldar_tensors_close(tensors);
    return 0;
}
