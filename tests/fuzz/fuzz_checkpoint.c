/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint. Its header's hash keeps every other input out, so the input is read once as it is and once with that
 * hash made right: what a hostile hand could write, and not only what damage could.
 */
#include "fuzz_file.h"
#include "io/checkpoint_file.h"

#include <string.h>

enum { BEGIN = LDAR_HEADER_PREFIX + LDAR_CHECKPOINT_OPENING, END = BEGIN + LDAR_HASH_DIGITS };

static void read_checkpoint(const uint8_t *data, size_t bytes)
{
    struct ldar_checkpoint_file *file;
    struct ldar_error error;
    float numbers[6];
    const struct ldar_checkpoint_tensor tensor = {"weight", "a", 2, {2, 3}, numbers};
    if (ldar_checkpoint_file_open(fuzz_file(data, bytes), &file, &error) == LDAR_OK) {
        if (ldar_checkpoint_file_read(file, NULL, 0, &error) == LDAR_OK) {
            (void)!ldar_checkpoint_file_read(file, &tensor, 1, &error);
        }
        if (!file->config || !file->state || file->bytes != bytes) {
            abort();
        }
        ldar_checkpoint_file_close(file);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    read_checkpoint(data, bytes);
    uint64_t header = 0;
    for (int i = LDAR_HEADER_PREFIX; bytes >= END && i-- > 0;) {
        header = header << 8 | data[i];
    }
    if (header < END - LDAR_HEADER_PREFIX || header > bytes - LDAR_HEADER_PREFIX) {
        return 0;
    }
    uint8_t *copy = malloc(bytes);
    if (!copy) {
        return 0;
    }
    char hash[LDAR_HASH_DIGITS + 1];
    memcpy(copy, data, bytes);
    memcpy(copy + LDAR_HEADER_PREFIX, ldar_checkpoint_opening, LDAR_CHECKPOINT_OPENING);
    ldar_checkpoint_header_hash(copy, LDAR_HEADER_PREFIX + (size_t)header, hash);
    memcpy(copy + BEGIN, hash, LDAR_HASH_DIGITS);
    read_checkpoint(copy, bytes);
    free(copy);
    return 0;
}
