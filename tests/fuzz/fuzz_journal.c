/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal. Its checksums keep nearly every other input out, so the input is read once as it is, and once with them
 * made right: what a hostile hand could write, and not only what damage could.
 */
#include "fuzz_file.h"

#include "formats/journal.h"

#include <string.h>
#include <zlib.h>

enum { OPENING = 16, LENGTH = 8, SUM = 4 };

static void read_journal(const uint8_t *data, size_t size)
{
    journal_reader *reader;
    struct ldar_error error;
    const void *blob;
    size_t bytes, total = 0;
    enum ldar_status status;
    if (journal_open(fuzz_file(data, size), &reader, &error)) {
        return;
    }
    if (strlen(journal_header(reader)) > size) {
        abort();
    }
    while (!(status = journal_next(reader, &blob, &bytes, &error)) && blob) {
        total += bytes + LENGTH + SUM;
        if (total > size) {
            abort();
        }
    }
    if (status && !*error.message) {
        abort();
    }
    journal_reader_close(reader);
}

static uint64_t number(const uint8_t *from, size_t bytes)
{
    uint64_t value = 0;
    while (bytes-- > 0) {
        value = value << 8 | from[bytes];
    }
    return value;
}

/* Makes right the checksums of all that is whole. */
static void mend(uint8_t *data, size_t size)
{
    size_t at = 0, piece = size < OPENING ? size : OPENING + (size_t)number(data + 12, 4);
    uint32_t sum = 0;
    while (piece <= size - at && size - at - piece >= SUM) {
        sum = (uint32_t)crc32_z(sum, data + at, piece);
        for (size_t i = 0; i < SUM; ++i) {
            data[at + piece + i] = (uint8_t)(sum >> 8 * i);
        }
        at += piece + SUM;
        if (size - at < LENGTH) {
            return;
        }
        const uint64_t length = number(data + at, LENGTH);
        piece = length == UINT64_MAX ? 2 * LENGTH : length > size ? size : LENGTH + (size_t)length;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_journal(data, size);
    uint8_t *copy = malloc(size + 1);
    if (!copy) {
        return 0;
    }
    memcpy(copy, data, size);
    mend(copy, size);
    read_journal(copy, size);
    free(copy);
    return 0;
}
