/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_file.h"

#include "formats/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * Labelled tables in one file, in any packing. The first byte of the input chooses between classes, classes that are
 * given, and values; what is read obeys the header's promises.
 */

static void check_rows(const struct table *table)
{
    if (table->count == 0 || table->offsets[0] != 0) {
        abort();
    }
    for (size_t i = 0; i < table->count; ++i) {
        const size_t length = table->offsets[i + 1] - table->offsets[i];
        if (table->offsets[i + 1] <= table->offsets[i] || length > table->longest
            || strlen(table_name(table, i)) > 1 << 20) {
            abort();
        }
        for (size_t j = table->offsets[i]; j < table->offsets[i + 1]; ++j) {
            if (table->ids[j] > 4) {
                abort();
            }
        }
    }
}

static void check_labels(const struct table *table)
{
    size_t rows = 0;
    for (size_t i = 0; i < table->count; ++i) {
        if (table->kind == TABLE_VALUES ? !isfinite(table->values[i]) : table->labels[i] >= table->class_count) {
            abort();
        }
    }
    for (size_t i = 0; i < table->class_count; ++i) {
        rows += table->class_sizes[i];
        for (size_t j = 0; j < i; ++j) {
            if (strcmp(table->classes[i], table->classes[j]) == 0) {
                abort();
            }
        }
    }
    if (table->kind == TABLE_CLASSES && rows != table->count) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const classes[] = {"0", "1", "positive"};
    struct table_options options = {.kind = TABLE_CLASSES};
    struct table table;
    struct ldar_error error;
    if (size == 0) {
        return 0;
    }
    if (data[0] % 3 == 1) {
        options.classes = classes;
        options.class_count = 3;
    } else if (data[0] % 3 == 2) {
        options.kind = TABLE_VALUES;
    }
    if (table_read(fuzz_file(data + 1, size - 1), &options, &table, &error)) {
        if (!*error.message || strchr(error.message, '\n')) {
            abort();
        }
        return 0;
    }
    check_rows(&table);
    check_labels(&table);
    table_free(&table);
    return 0;
}
