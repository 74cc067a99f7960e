/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"
#include "simd/cpu.h"

#include <stdio.h>
#include <string.h>

enum { SUBSETS = 1 << LDAR_SIMD_ISAS };

static bool holds(uint32_t features, enum ldar_simd_isa isa)
{
    return features >> isa & 1;
}

static void select_tables(void)
{
    check_case("tables");
    static const char *const names[] = {
#define ISA(name, NAME, FLOATS) #name,
#include "simd/isa.def"
#undef ISA
    };
    for (enum ldar_simd_isa isa = 0; isa < LDAR_SIMD_ISAS; isa++) {
        const struct ldar_kernels *table = ldar_simd_table(isa);
        CHECK(table || isa != LDAR_SIMD_SCALAR);
        if (!table) {
            continue;
        }
        CHECK(strcmp(table->name, names[isa]) == 0);
        CHECK(table->width > 0 && table->rows > 0 && table->panel > 0 && table->panel % 2 == 0);
        CHECK(table->element == (ldar_simd_floats(isa) == isa ? sizeof(float) : sizeof(uint16_t)));
#define KERNEL(name, bound, bound_bf16, arguments) CHECK(table->name);
#include "simd/kernels.def"
#undef KERNEL
    }
}

/* What computes in float32 for a bundle is one of floats, and held and run wherever the bundle is. */
static void select_floats(void)
{
    uint32_t features = ldar_simd_detect();
    for (enum ldar_simd_isa isa = 0; isa < LDAR_SIMD_ISAS; isa++) {
        check_case("the floats of %d", (int)isa);
        enum ldar_simd_isa floats = ldar_simd_floats(isa);
        CHECK(ldar_simd_floats(floats) == floats);
        CHECK(!ldar_simd_table(isa) || ldar_simd_table(floats));
        CHECK(!holds(features, isa) || holds(features, floats));
    }
    CHECK(ldar_simd_floats(LDAR_SIMD_AVX512BF16) == LDAR_SIMD_AVX512);
    CHECK(ldar_simd_floats(LDAR_SIMD_NEONBF16) == LDAR_SIMD_NEON);
}

static void select_detect(void)
{
    check_case("detection");
    uint32_t features = ldar_simd_detect();
    CHECK(features < SUBSETS);
    CHECK(features == ldar_simd_detect());
    CHECK(holds(features, LDAR_SIMD_SCALAR));
    for (enum ldar_simd_isa isa = 0; isa < LDAR_SIMD_ISAS; isa++) {
        CHECK(!holds(features, isa) || ldar_simd_table(isa));
    }
    CHECK(!holds(features, LDAR_SIMD_AVX512) || holds(features, LDAR_SIMD_AVX2) || !ldar_simd_table(LDAR_SIMD_AVX2));
}

/* The best of every set of features is the last of them in isa.def, and scalar when there is none. */
static void select_best(void)
{
    for (uint32_t features = 0; features < SUBSETS; features++) {
        check_case("the best of features %x", features);
        enum ldar_simd_isa expected = LDAR_SIMD_SCALAR;
        for (enum ldar_simd_isa isa = 0; isa < LDAR_SIMD_ISAS; isa++) {
            expected = holds(features, isa) && ldar_simd_table(isa) ? isa : expected;
        }
        if ((features & ldar_simd_detect()) == features) {
            CHECK(ldar_simd_best(features) == expected);
        }
        CHECK(ldar_simd_best(features) == LDAR_SIMD_SCALAR || holds(features, ldar_simd_best(features)));
    }
}

/* A cap takes away the better bundles and never adds one. */
static void select_capped(void)
{
    uint32_t features = ldar_simd_detect();
    for (enum ldar_simd_isa cap = 0; cap < LDAR_SIMD_ISAS; cap++) {
        check_case("cap %d", (int)cap);
        uint32_t allowed = features & ((2u << cap) - 1);
        enum ldar_simd_isa best = ldar_simd_best(allowed);
        CHECK(best <= cap && holds(features, best) && ldar_simd_table(best));
        CHECK(!holds(features, cap) || best == cap);
    }
}

/* Two tables are used in turns: neither keeps anything that the other could disturb. */
static void select_two_tables(void)
{
    check_case("two tables at once");
    struct test test = {.kernels = ldar_simd_table(LDAR_SIMD_SCALAR), .random = random_start(random_seed())};
    const struct ldar_kernels *best = ldar_simd_table(ldar_simd_floats(ldar_simd_best(ldar_simd_detect())));
    struct matrix x = matrix_filled(&test, 9, 67, 0, false, FILL_NORMAL),
                  weight = vector_filled(&test, 67, FILL_NORMAL), first = matrix_like(&test, x, 67),
                  slow = matrix_like(&test, x, 67), again = matrix_like(&test, x, 67);
    best->rms_norm(first.at, x.at, weight.at, 9, 67, 1e-5f, x.stride, x.stride);
    test.kernels->rms_norm(slow.at, x.at, weight.at, 9, 67, 1e-5f, x.stride, x.stride);
    best->rms_norm(again.at, x.at, weight.at, 9, 67, 1e-5f, x.stride, x.stride);
    check_same(first.at, x.stride, again.at, x.stride, 9, 67);
    double *reference = reference_new(9 * 67);
    for (size_t i = 0; i < 9 * 67; i++) {
        reference[i] = matrix_row(slow, (ptrdiff_t)(i / 67))[i % 67];
    }
    check_close_to(first, reference, (struct tolerance){.l2 = 1e-6, .worst = 1e-5});
    case_end();
}

int main(void)
{
    check_test("kernel.select");
    guard_catch_faults();
    select_tables();
    select_floats();
    select_detect();
    select_best();
    select_capped();
    select_two_tables();
    printf("%s kernel.select\n", check_failures() ? "FAIL" : "ok  ");
    return check_failures() ? 1 : 0;
}
