/* SPDX-License-Identifier: Apache-2.0 */
#include "forecast.h"
#include "message.h"

#include <stdio.h>
#include <sys/resource.h>

/* A first pass of as many seconds loses little by what it warms up; and so long passes are measured. */
static const double long_pass = 3, measuring = 1;

/* "12.3 M" */
static void print_amount(const char *name, double value, const char *unit, double step)
{
    static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E", "Z"};
    size_t i = 0;
    double amount = value;
    if (value < 0) {
        printf("%s\t-\t-\n", name);
        return;
    }
    while (amount >= step && i + 1 < sizeof prefixes / sizeof *prefixes) {
        amount /= step;
        i++;
    }
    printf("%s\t%.0f\t%.*f %s%s%s\n", name, value, (int)(i > 0 && amount < 100), amount, prefixes[i],
           (step > 1000 && i > 0) ? "i" : "", unit);
}

static void print_time(double seconds)
{
    const double minutes = seconds / 60, hours = minutes / 60, days = hours / 24;
    printf("seconds\t%.3g\t", seconds);
    if (minutes < 2)
        printf("%.1f s\n", seconds);
    else if (hours < 2)
        printf("%.1f min\n", minutes);
    else if (days < 2)
        printf("%.1f h\n", hours);
    else
        printf("%.1f days\n", days);
}

void forecast_print(const struct forecast *forecast)
{
    print_amount("records", (double)forecast->records, "records", 1000);
    print_amount("bases", (double)forecast->bases, "nt", 1000);
    print_amount("windows", (double)forecast->windows, "windows", 1000);
    print_amount("computed", forecast->computed, "nt in all windows, which overlap", 1000);
    print_amount("passes", forecast->passes, "passes over each window", 1000);
    print_amount("flop", forecast->flop, "FLOP", 1000);
    print_amount("nt_per_s", forecast->rate, "nt/s", 1000);
    print_time(forecast->seconds);
    print_amount("memory", forecast->memory, "B", 1024);
    print_amount("output", forecast->output, "B", 1024);
}

enum ldar_status forecast_seconds(const struct forecast_pass *pass, double *seconds, struct ldar_error *error)
{
    double start = seconds_now();
    enum ldar_status status = pass->pass(pass->user, error);
    *seconds = seconds_now() - start;
    if (status != LDAR_OK || *seconds > long_pass)
        return status;
    double elapsed = 0;
    int count = 0;
    start = seconds_now();
    while (status == LDAR_OK && elapsed < measuring) {
        status = pass->pass(pass->user, error);
        elapsed = seconds_now() - start;
        count++;
    }
    *seconds = elapsed / count;
    return status;
}

double forecast_resident(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? 1024.0 * (double)usage.ru_maxrss : -1;
}
