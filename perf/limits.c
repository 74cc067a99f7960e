/* SPDX-License-Identifier: Apache-2.0 */
#include "limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "loops.h"

/* A rate is the best of runs so short that the rest of the machine leaves some of them alone. */
enum { ROUNDS_OF_RUN = 4000 };

/* Memory is read over four times the last cache, half of the room, and no stream of a kernel needs more than this. */
enum { LEAST_ROOM = 64 << 20, MOST_ROOM = 1 << 30 };

/* The bytes of streams that are written lie behind those that are read, and never at the same place within a page. */
enum { PAGE = 4096, APART = 1984, HUGE_PAGE = 2 << 20 };

static const double level_seconds = 0.03;

static float *room;
static size_t room_size;
static const struct perf_loops *widest;

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const struct perf_loops *loops_of(const struct ldar_kernels *kernels)
{
#define ISA(name, NAME, FLOATS)                                                                                        \
    if (LDAR_BUILD_##NAME && kernels == &ldar_kernels_##name)                                                          \
        return &perf_loops_##name;
#include "simd/isa.def"
#undef ISA
    return NULL;
}

void *perf_allocate(size_t bytes)
{
    bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *p = aligned_alloc(HUGE_PAGE, bytes);
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
#ifdef MADV_HUGEPAGE
    madvise(p, bytes, MADV_HUGEPAGE);
#endif
    memset(p, 0, bytes);
    return p;
}

/* ---- arithmetic ---- */

static double rate_of(void (*rounds)(float *sink, size_t rounds), double lanes_of_round, double seconds)
{
    float sink[64];
    double best = 0;
    for (double start = seconds_now(), end = start; end - start < seconds;) {
        double before = seconds_now();
        rounds(sink, ROUNDS_OF_RUN);
        end = seconds_now();
        double rate = 1e-9 * lanes_of_round * ROUNDS_OF_RUN / (end - before);
        best = rate > best ? rate : best;
    }
    return best;
}

struct perf_rates perf_measure_rates(const struct ldar_kernels *kernels, double seconds)
{
    const struct perf_loops *loops = loops_of(kernels);
    const double lanes = (double)loops->width;
    const double products = LDAR_PEAK_CHAINS * lanes * sizeof(float) / (double)kernels->element;
    return (struct perf_rates){
        rate_of(kernels->fma_peak, products, seconds), rate_of(loops->multiply_add, PERF_CHAINS * lanes, seconds),
        rate_of(loops->multiply, PERF_CHAINS * lanes, seconds), rate_of(loops->divide, PERF_CHAINS * lanes, seconds)};
}

/*
 * Multiplications with and without an addition share the units. Where a multiply-add is slower, being put together from
 * several instructions, the multiplications may hide behind it.
 */
static double multiply_seconds(const struct perf_rates *rates, const struct perf_work *work)
{
    double shared = (work->multiply_adds + work->multiplications) / rates->multiplications;
    double alone = work->multiply_adds / rates->multiply_adds;
    return 1e-9 * (work->products / rates->products + (shared > alone ? shared : alone));
}

/* ---- bytes ---- */

/* Whole lines of one of `rows` rows of a range. */
static size_t row_floats(double bytes, size_t rows)
{
    const size_t line = PERF_LINE * sizeof(float);
    return ((size_t)bytes / rows + line - 1) / line * PERF_LINE;
}

/* Seconds of one pass that reads and writes in turns, `rows` times; so many passes that the clock's step is nothing. */
static double stream_once(double read, double written, size_t rows, int fill)
{
    enum { LEAST_BYTES = 4 << 20 };
    const size_t in = row_floats(read, rows), out = row_floats(written, rows);
    const size_t out_at = (in * rows * sizeof *room + PAGE - 1) / PAGE * PAGE + APART;
    const size_t passes = LEAST_BYTES / ((in + out) * rows * sizeof *room) + 1;
    volatile float keep;
    if (out_at + out * rows * sizeof *room > room_size) {
        fprintf(stderr, "a stream of %.0f bytes does not fit\n", read + written);
        exit(1);
    }
    const double start = seconds_now();
    for (size_t i = 0; i < passes; i++)
        keep = widest->stream(room + out_at / sizeof *room, out, room, in, rows, fill);
    (void)keep;
    return (seconds_now() - start) / (double)passes;
}

/* At best: in turns of some KiB, as kernels do from row to row, or reading first; by stores, or by memset. */
static double stream_seconds(double read, double written, double seconds)
{
    const size_t rows = (size_t)(read + written) / 8192 + 1;
    double best = INFINITY;
    for (double start = seconds_now(), end = start; end - start < seconds; end = seconds_now())
        for (int way = 0; way < (written > 0 ? 4 : 2); way++) {
            double one = stream_once(read, written, way % 2 ? 1 : rows, way / 2);
            best = one < best ? one : best;
        }
    return best;
}

static const char *level_of(const struct perf_machine *machine, double bytes)
{
    int i = 0;
    while (i < PERF_LEVELS - 1 && bytes > (double)machine->level[i].size)
        i++;
    return machine->level[i].name;
}

struct perf_limit perf_measure_limit(const struct perf_machine *machine, const struct ldar_kernels *kernels,
                                     const struct perf_work *work, double seconds)
{
    const struct perf_rates rates = perf_measure_rates(kernels, seconds);
    struct perf_limit limit = {multiply_seconds(&rates, work), "multiply"};
    double divide = 1e-9 * work->divisions / rates.divisions;
    if (divide > limit.seconds)
        limit = (struct perf_limit){divide, "divide"};
    if (work->read + work->written > 0) {
        double stream = stream_seconds(work->read, work->written, seconds) * (work->passes > 0 ? work->passes : 1);
        if (stream > limit.seconds)
            limit = (struct perf_limit){stream, level_of(machine, work->read + work->written)};
    }
    return limit;
}

/* ---- the machine ---- */

static void read_cpu_name(char *name, size_t size)
{
    char line[512];
    FILE *in = fopen("/proc/cpuinfo", "r");
    while (in && !name[0] && fgets(line, sizeof line, in)) {
        const char *colon = strchr(line, ':');
        if (colon && !strncmp(line, "model name", 10))
            snprintf(name, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    }
    if (in)
        fclose(in);
}

/* The first line of a file that describes a cache of the first core; empty when there is none. */
static void read_cache(int index, const char *what, char *line, int size)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, what);
    FILE *in = fopen(path, "r");
    if (!in || !fgets(line, size, in))
        line[0] = '\0';
    if (in)
        fclose(in);
}

static void read_cache_sizes(struct perf_machine *machine)
{
    char level[16], type[32], size[32];
    for (int index = 0; index < 8; index++) {
        read_cache(index, "level", level, sizeof level);
        read_cache(index, "type", type, sizeof type);
        read_cache(index, "size", size, sizeof size);
        size_t number = (size_t)strtoul(level, NULL, 10);
        if (number < 1 || number >= PERF_LEVELS || type[0] == 'I')
            continue;
        char *unit;
        size_t count = (size_t)strtoul(size, &unit, 10);
        machine->level[number - 1].size = count << (*unit == 'M' ? 20 : *unit == 'K' ? 10 : 0);
    }
}

void perf_machine_open(struct perf_machine *machine, const struct ldar_kernels *best)
{
    static const struct perf_level usual[PERF_LEVELS] = {
        {"L1", 32 << 10, 0}, {"L2", 512 << 10, 0}, {"L3", 8 << 20, 0}, {"memory", 0, 0}};
    memset(machine, 0, sizeof *machine);
    memcpy(machine->level, usual, sizeof usual);
    read_cpu_name(machine->cpu, sizeof machine->cpu);
    read_cache_sizes(machine);
    widest = loops_of(best);
    room_size = 8 * machine->level[PERF_LEVELS - 2].size;
    room_size = room_size < LEAST_ROOM ? LEAST_ROOM : room_size > MOST_ROOM ? MOST_ROOM : room_size;
    room = perf_allocate(room_size);
    for (int i = 0; i < PERF_LEVELS; i++) {
        struct perf_level *level = &machine->level[i];
        double bytes = level->size ? (double)level->size / 2 : (double)room_size / 2;
        level->read = 1e-9 * bytes / stream_seconds(bytes, 0, level_seconds);
    }
}

void perf_machine_close(void)
{
    free(room);
}
