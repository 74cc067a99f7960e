/* SPDX-License-Identifier: Apache-2.0 */
/* gradients FAMILY: the gradients of one family of kernels. */
#include <stdio.h>
#include <stdlib.h>

#include "gradients.h"

enum { ARRAYS = 256 };

static void *arrays[ARRAYS];
static size_t array_count;

struct random gradients_random;

/* Derivatives compared, and those of them that are not zero. */
static size_t compared, nonzero;

double *gradients_zeros(size_t count)
{
    const size_t line = 64, bytes = (count * sizeof(double) + line) / line * line;
    void *array = aligned_alloc(line, bytes);
    if (!array || array_count == ARRAYS) {
        abort();
    }
    memset(array, 0, bytes);
    return arrays[array_count++] = array;
}

double *gradients_normal(size_t count)
{
    double *array = gradients_zeros(count);
    for (size_t i = 0; i < count; i++) {
        array[i] = random_normal(&gradients_random);
    }
    return array;
}

double *gradients_uniform(size_t count, double low, double high)
{
    double *array = gradients_zeros(count);
    for (size_t i = 0; i < count; i++) {
        array[i] = random_uniform(&gradients_random, low, high);
    }
    return array;
}

void gradients_end(void)
{
    while (array_count) {
        free(arrays[--array_count]);
    }
}

double gradients_dot(const double *a, const double *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static void check_one(const char *input, double *x, size_t i, double gradient, double (*loss)(void *of), void *of)
{
    const double step = 1e-6, absolute = 1e-7, relative = 1e-5, here = x[i], above = here + step, below = here - step;
    x[i] = above;
    const double up = loss(of);
    x[i] = below;
    const double down = loss(of);
    x[i] = here;
    const double slope = (up - down) / (above - below);
    compared++;
    nonzero += fabs(slope) > absolute;
    if (!(fabs(gradient - slope) <= absolute + relative * fabs(slope))) {
        check_fail("d%s[%zu]: %.12g, the difference says %.12g", input, i, gradient, slope);
    }
}

void gradients_check(const char *input, double *x, size_t count, const double *gradient, double (*loss)(void *of),
                     void *of)
{
    for (size_t i = 0; i < count; i++) {
        check_one(input, x, i, gradient[i], loss, of);
    }
}

void gradients_check_some(const char *input, double *x, size_t count, const double *gradient, double (*loss)(void *of),
                          void *of, size_t samples)
{
    for (size_t sample = 0; count && sample < samples; sample++) {
        const size_t i = random_below(&gradients_random, count);
        check_one(input, x, i, gradient[i], loss, of);
    }
}

static const struct {
    const char *name;
    void (*run)(void);
} families[] = {
#define FAMILY(name) {#name, gradients_##name},
#include "families.def"
#undef FAMILY
};

/* Runs a family; one that compares hardly anything but zeros does not test its kernels. */
static void run(size_t family)
{
    check_test("gradients.%s", families[family].name);
    compared = nonzero = 0;
    gradients_random = random_start(random_seed());
    families[family].run();
    gradients_end();
    check_case("afterwards");
    if (nonzero * 2 < compared || !compared) {
        check_fail("mistrusted: of %zu derivatives compared %zu are not zero", compared, nonzero);
    }
    printf("%s gradients.%s: %zu derivatives, seed %llu\n", check_failures() ? "FAIL" : "ok  ", families[family].name,
           compared, (unsigned long long)random_seed());
}

int main(int count, char **words)
{
    size_t found = 0;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (count == 1 || (count == 2 && strcmp(words[1], families[i].name) == 0)) {
            run(i);
            found++;
        }
    }
    if (!found) {
        fprintf(stderr, "usage: test_gradients [FAMILY]\n");
        return 2;
    }
    return check_total() ? 1 : 0;
}
