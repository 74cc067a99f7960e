/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"
#include "simd/cpu.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    double bound, bound_bf16;
    void (*run)(struct test *test);
} tests[] = {
#define KERNEL(name, bound, bound_bf16, arguments) {#name, bound, bound_bf16, test_##name},
#include "simd/kernels.def"
#undef KERNEL
};

enum { TESTS = sizeof tests / sizeof *tests };

static void run_one(size_t number, const struct ldar_kernels *kernels)
{
    struct test test = {.kernels = kernels,
                        .bound = kernels->element < sizeof(float) ? tests[number].bound_bf16 : tests[number].bound,
                        .random = random_start(random_seed()),
                        .placement = PLACE_ANY};
    check_test("kernel.%s.%s", tests[number].name, kernels->name);
    uint64_t mode = float_mode();
    tests[number].run(&test);
    check_case("afterwards");
    CHECK(float_mode() == mode);
    printf("%s kernel.%s.%s seed %llu\n", check_failures() ? "FAIL" : "ok  ", tests[number].name, kernels->name,
           (unsigned long long)random_seed());
}

static int find(const char *name)
{
    for (int i = 0; i < TESTS; i++) {
        if (strcmp(tests[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

static int run_tests(const struct ldar_kernels *kernels, char **names, int count)
{
    guard_catch_faults();
    for (int i = 0; i < (count ? count : (int)TESTS); i++) {
        int number = count ? find(names[i]) : i;
        if (number < 0) {
            fprintf(stderr, "no kernel is called %s\n", names[i]);
            return 2;
        }
        run_one((size_t)number, kernels);
    }
    return check_total() ? 1 : 0;
}

static const char *const isa_names[] = {
#define ISA(name, NAME, FLOATS) #name,
#include "simd/isa.def"
#undef ISA
};

int main(int argc, char **argv)
{
    for (int i = 0; argc > 1 && i < LDAR_SIMD_ISAS; i++) {
        if (strcmp(argv[1], isa_names[i]) != 0) {
            continue;
        }
        const struct ldar_kernels *kernels = ldar_simd_table((enum ldar_simd_isa)i);
        if (!kernels || !(ldar_simd_detect() >> i & 1)) {
            printf("SKIP %s: %s\n", argv[1], kernels ? "this machine does not run it" : "this build does not hold it");
            return CHECK_SKIP;
        }
        return run_tests(kernels, argv + 2, argc - 2);
    }
    fprintf(stderr, "usage: test_kernels ISA [KERNEL...]\n");
    return 2;
}
