/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_file.h"

#include "formats/sequences.h"
#include "formats/windows.h"

#include <stdlib.h>

/*
 * FASTA and FASTQ in any packing, cut into windows. The first byte of the input chooses the window; an input that is
 * read must give each nucleotide one owner.
 */

static void ignore(void *user, const char *message)
{
    (void)user;
    if (!*message) {
        abort();
    }
}

static void check_batches(window_cutter *cutter, const source *source)
{
    struct window_batch batch;
    struct ldar_error error;
    uint64_t owned = 0, records = 0;
    enum ldar_status status;
    while (!(status = window_cutter_next(cutter, &batch, &error)) && batch.input.sequences > 0) {
        for (size_t i = 0; i < batch.input.sequences; ++i) {
            owned += batch.windows[i].owned_end - batch.windows[i].owned_begin;
            records += batch.windows[i].last;
        }
        for (size_t i = 0; i < batch.input.offsets[batch.input.sequences]; ++i) {
            if (batch.input.ids[i] > 4) {
                abort();
            }
        }
    }
    const struct source_progress progress = source_progress(source);
    if (status ? !*error.message : owned != progress.nucleotides || records != progress.records || records == 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct warnings warnings = {ignore, NULL};
    if (size == 0) {
        return 0;
    }
    const size_t window = 1 + data[0] / 16, overlap = data[0] % 16 % window;
    const struct window_plan plan = {window, overlap, 64};
    source *source;
    window_cutter *cutter;
    if (sequences_open(fuzz_file(data + 1, size - 1), &warnings, &source, NULL) == LDAR_OK) {
        if (window_cutter_create(source, &plan, &cutter, NULL) == LDAR_OK) {
            check_batches(cutter, source);
            window_cutter_destroy(cutter);
        }
        source_destroy(source);
    }
    return 0;
}
