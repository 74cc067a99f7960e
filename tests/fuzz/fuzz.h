/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_FUZZ_FUZZ_H
#define LDAR_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* What libFuzzer calls, and replay.c where there is no libFuzzer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#endif
