/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz_file.h"

#include "formats/variants.h"

#include <stdlib.h>
#include <string.h>

/* A line that was read, with fields added: the same columns, and no other line. */
static void annotate(const struct variant *variant)
{
    static const struct variant_info info[] = {{"A", "1"}, {"B", NULL}};
    struct variant_text text = {0};
    size_t tabs = 0, after = 0;
    if (variant_line_with(variant->line, variant->bytes, info, 2, &text)) {
        for (size_t i = 0; i < variant->bytes; i++) {
            tabs += variant->line[i] == '\t';
        }
        for (size_t i = 0; i < text.length; i++) {
            after += text.bytes[i] == '\t';
        }
        if (tabs != after || text.length == 0 || text.bytes[text.length - 1] != '\n') {
            abort();
        }
    }
    free(text.bytes);
}

/* VCF and BCF in any packing: what is read obeys the header's promises. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    variant_reader *reader;
    struct variant variant;
    struct ldar_error error = {0};
    enum ldar_status status = variant_reader_open(fuzz_file(data, size), &reader, &error);
    uint64_t number = 0;
    if (status) {
        return 0;
    }
    if (variant_reader_sample(reader, NULL, &error) != LDAR_OK && !*error.message) {
        abort();
    }
    while (!(status = variant_reader_next(reader, &variant, &error)) && variant.line) {
        if (variant.number != ++number || !variant.contig || variant.alleles == 0
            || variant.carried[0] >= (int)variant.alleles || variant.carried[1] >= (int)variant.alleles) {
            abort();
        }
        annotate(&variant);
    }
    if (status && !*error.message) {
        abort();
    }
    variant_reader_close(reader);
    return 0;
}
