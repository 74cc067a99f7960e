/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include <fenv.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* ---- float_mode_enter, float_mode_leave ---- */

/* The machine's product of two floats, when it is run. */
static float product(float a, float b)
{
    volatile float left = a, right = b;
    volatile float result = left * right;
    return result;
}

/* Plain C has no word for flushing: the scalar table keeps denormals, and its mode is the caller's. */
static bool flushes(const struct test *test)
{
    return strcmp(test->kernels->name, "scalar") != 0;
}

static void mode_pair(struct test *test)
{
    uint64_t before = float_mode(), outer, inner;
    CHECK(product(FLT_MIN, 0.5f) > 0);
    int rounding = fegetround();

    test->kernels->float_mode_enter(&outer);
    CHECK((product(FLT_MIN, 0.5f) == 0) == flushes(test));     /* results */
    CHECK((product(FLT_MIN / 2, 2.0f) == 0) == flushes(test)); /* and operands */
    CHECK(product(FLT_MIN, 2.0f) == 2 * FLT_MIN);
    CHECK(fegetround() == rounding);
    test->kernels->float_mode_enter(&inner); /* calls nest */
    test->kernels->float_mode_leave(inner);
    CHECK((product(FLT_MIN, 0.5f) == 0) == flushes(test));
    test->kernels->float_mode_leave(outer);

    CHECK(float_mode() == before);
    CHECK(product(FLT_MIN, 0.5f) > 0);
}

/* A caller who rounds upward gets his rounding back, and keeps it meanwhile. */
static void mode_rounding(struct test *test)
{
#ifdef FE_UPWARD
    int rounding = fegetround();
    uint64_t saved;
    fesetround(FE_UPWARD);
    test->kernels->float_mode_enter(&saved);
    CHECK(fegetround() == FE_UPWARD);
    test->kernels->float_mode_leave(saved);
    CHECK(fegetround() == FE_UPWARD);
    fesetround(rounding);
#endif
}

void test_float_mode_enter(struct test *test)
{
    check_case("a pair of calls");
    mode_pair(test);
    mode_rounding(test);
}

/* A caller who flushed before still flushes after. */
void test_float_mode_leave(struct test *test)
{
    check_case("within a mode of the caller's");
    uint64_t caller, saved;
    test->kernels->float_mode_enter(&caller);
    test->kernels->float_mode_enter(&saved);
    test->kernels->float_mode_leave(saved);
    CHECK((product(FLT_MIN, 0.5f) == 0) == flushes(test));
    test->kernels->float_mode_leave(caller);
    CHECK(product(FLT_MIN, 0.5f) > 0);
}

/* ---- fma_peak ---- */

/* It has no result but time: it must end, and stay inside one vector of output. */
void test_fma_peak(struct test *test)
{
    for (test->placement = PLACE_FRONT; test->placement < PLACES; test->placement++) {
        for (size_t rounds = 0; rounds < 100; rounds += 33) {
            check_case("rounds %zu placement %d", rounds, (int)test->placement);
            struct matrix sink = vector_new(test, test->kernels->width);
            test->kernels->fma_peak(sink.at, rounds);
            for (size_t i = 0; i < sink.width; i++) {
                CHECK(isfinite(sink.at[i]));
            }
            case_end();
        }
    }
}
