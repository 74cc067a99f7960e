/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_file.h"

#include "formats/bed.h"

#include <stdlib.h>
#include <string.h>

/* BED in any packing: what is read obeys the header's promises. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bed_reader *bed;
    struct bed_interval interval;
    struct ldar_error error;
    enum ldar_status status;
    uint64_t line = 0;
    if (bed_open(fuzz_file(data, size), &bed, &error)) {
        return 0;
    }
    while (!(status = bed_next(bed, &interval, &error)) && interval.name) {
        if (interval.start >= interval.end || interval.end > INT64_MAX || interval.line <= line || !*interval.name) {
            abort();
        }
        if ((interval.label ? strlen(interval.label) : 0) + (interval.strand ? strlen(interval.strand) : 0)
            > BED_LINE_MAX) {
            abort();
        }
        line = interval.line;
    }
    if (status && !*error.message) {
        abort();
    }
    bed_close(bed);
    return 0;
}
