/* SPDX-License-Identifier: Apache-2.0 */
#include "forecast.h"
#include "interrupt.h"
#include "message.h"

#include <ldar/context.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

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
    printf("passes\t%.4g\t%.4g passes\n", forecast->passes, forecast->passes);
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

double forecast_boundary_flops(const struct ldar_config *config, size_t length)
{
    struct ldar_config encoder = *config;
    encoder.stage[0].decoder[0] = '\0';
    /* Without the inner network no position begins a chunk. */
    return ldar_forward_flops(&encoder, length, 1e12);
}

const char *forecast_folder(void)
{
    static char folder[] = "/tmp/ldar-XXXXXX";
    if (!mkdtemp(folder))
        return NULL;
    interrupt_watch_scratch(folder);
    return folder;
}

double forecast_empty_folder(const char *folder)
{
    double bytes = 0;
    char path[512];
    DIR *entries = opendir(folder);
    for (struct dirent *entry = entries ? readdir(entries) : NULL; entry; entry = readdir(entries)) {
        const char *name = entry->d_name, *ending = strrchr(name, '.');
        struct stat status;
        if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path || stat(path, &status) != 0
            || !S_ISREG(status.st_mode))
            continue;
        if (!ending || strcmp(ending, ".json") != 0)
            bytes += (double)status.st_size;
        unlink(path);
    }
    if (entries)
        closedir(entries);
    return bytes;
}
