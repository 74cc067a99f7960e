/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- reports ---- */

static struct cell *next_cell(struct report *report, const char *name, int quoted)
{
    struct cell *cell = &report->cell[report->cells++];
    cell->name = name;
    cell->quoted = quoted;
    return cell;
}

/* `text` holds nothing that JSON would escape. */
void report_text(struct report *report, const char *name, const char *text)
{
    struct cell *cell = next_cell(report, name, 1);
    snprintf(cell->text, sizeof cell->text, "%s", text);
}

void report_count(struct report *report, const char *name, uint64_t value)
{
    struct cell *cell = next_cell(report, name, 0);
    snprintf(cell->text, sizeof cell->text, "%" PRIu64, value);
}

void report_value(struct report *report, const char *name, double value)
{
    struct cell *cell = next_cell(report, name, 0);
    snprintf(cell->text, sizeof cell->text, report->format == BENCH_JSON ? "%.9g" : "%.4g", value);
}

static void put_row(const struct report *report, const char *begin, const char *between, const char *end, int names)
{
    for (size_t i = 0; i < report->cells; i++)
        printf("%s%s", i > 0 ? between : begin, names ? report->cell[i].name : report->cell[i].text);
    fputs(end, stdout);
}

static void put_object(const struct report *report)
{
    fputs(report->rows > 0 ? ",\n {" : "[{", stdout);
    for (size_t i = 0; i < report->cells; i++) {
        const struct cell *cell = &report->cell[i];
        const char *quote = cell->quoted ? "\"" : "";
        printf("%s\"%s\": %s%s%s", i > 0 ? ", " : "", cell->name, quote, cell->text, quote);
    }
    fputs("}", stdout);
}

void report_row(struct report *report)
{
    if (report->format == BENCH_JSON) {
        put_object(report);
    } else {
        if (report->rows == 0) {
            put_row(report, "| ", " | ", " |\n", 1);
            for (size_t i = 0; i < report->cells; i++)
                fputs("|---", stdout);
            fputs("|\n", stdout);
        }
        put_row(report, "| ", " | ", " |\n", 0);
    }
    fflush(stdout);
    report->rows++;
    report->cells = 0;
}

void report_end(struct report *report)
{
    if (report->format == BENCH_JSON)
        fputs(report->rows > 0 ? "]\n" : "[]\n", stdout);
}

/* ---- samples ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *samples, size_t count)
{
    qsort(samples, count, sizeof *samples, compare);
    return count % 2 ? samples[count / 2] : (samples[count / 2 - 1] + samples[count / 2]) / 2;
}

uint64_t next_random(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void fill_random(float *out, size_t n, float low, float high, uint64_t *seed)
{
    for (size_t i = 0; i < n; i++)
        out[i] = low + (high - low) * (float)(next_random(seed) >> 40) * 0x1p-24f;
}

uint64_t checksum(const void *data, size_t bytes)
{
    const unsigned char *at = data;
    uint64_t sum = bytes;
    for (size_t left = bytes; left > 0;) {
        uint64_t word = 0;
        const size_t part = left < sizeof word ? left : sizeof word;
        memcpy(&word, at, part);
        /* The finaliser of SplitMix64 is a bijection: two sums that differ once differ for good, but for chance. */
        sum = next_random(&(uint64_t){sum ^ word});
        at += part;
        left -= part;
    }
    return sum;
}
