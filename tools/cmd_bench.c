/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_pass.h"
#include "commands.h"
#include "configuration.h"
#include "message.h"

#include <stdlib.h>

/*
 * The checksum of a pass that nobody times, on one thread: what every timed pass must give to the bit. With `say`, says
 * what arithmetic takes the place of one that this machine does not have.
 */
static enum ldar_status untimed_sum(const struct bench *bench, const ldar_model *model, const struct shape *shape,
                                    int say, uint64_t *sum, struct ldar_error *error)
{
    struct shape alone = *shape;
    struct pass pass;
    double seconds;
    alone.threads = 1;
    enum ldar_status status = pass_open(&bench->common, model, &alone, &pass, error);
    if (status != LDAR_OK)
        return status;
    if (say)
        say_settled(pass_isa(&pass), pass_dtype(&pass), shape->dtype);
    status = pass_run(&pass, &seconds, sum, error);
    pass_close(&pass);
    return status;
}

/* ---- one measurement ---- */

/* Of `repeats` passes. */
struct samples {
    double *rate, *fraction; /* nt/s, and of the peak beside each pass */
    double seconds;          /* of all passes together */
    double flops;            /* of a nucleotide */
    uint64_t sum;            /* that every pass has */
};

/* One pass between two measurements of the peak: machines drift, so that only neighbours in time compare. */
static enum ldar_status time_pass(const struct shape *shape, struct pass *pass, struct samples *samples, double *rate,
                                  double *fraction, struct ldar_error *error)
{
    const enum ldar_isa isa = pass_isa(pass);
    const enum ldar_dtype dtype = pass_dtype(pass);
    double before, after, seconds;
    uint64_t sum;
    enum ldar_status status = ldar_measure_peak(isa, dtype, shape->threads, BENCH_PEAK_SECONDS, &before, error);
    if (status == LDAR_OK)
        status = pass_run(pass, &seconds, &sum, error);
    if (status == LDAR_OK)
        status = ldar_measure_peak(isa, dtype, shape->threads, BENCH_PEAK_SECONDS, &after, error);
    if (status != LDAR_OK)
        return status;
    if (sum != samples->sum)
        return fail(error, LDAR_ERROR_INTERNAL,
                    "a timed pass of %zu x %zu nucleotides on %d threads computed something else than an untimed pass "
                    "on one thread (checksum %016llx, not %016llx): no speed is worth reporting",
                    shape->batch, shape->length, shape->threads, (unsigned long long)sum,
                    (unsigned long long)samples->sum);
    samples->seconds += seconds;
    *rate = (double)(shape->length * shape->batch) / seconds;
    *fraction = *rate * samples->flops * 1e-9 / ((before + after) / 2);
    return LDAR_OK;
}

static enum ldar_status time_passes(const struct shape *shape, struct pass *pass, size_t repeats,
                                    struct samples *samples, struct ldar_error *error)
{
    double rate, fraction;
    enum ldar_status status = time_pass(shape, pass, samples, &rate, &fraction, error);
    pass_reset_profile(pass);
    samples->seconds = 0;
    for (size_t i = 0; i < repeats && status == LDAR_OK; i++)
        status = time_pass(shape, pass, samples, &samples->rate[i], &samples->fraction[i], error);
    return status;
}

/* ---- reporting ---- */

/* The seconds of a pass, summed over the threads, and what share of all that the threads had they are. */
static void report_profile(struct report *report, const struct pass *pass, const struct shape *shape,
                           const struct samples *samples, size_t repeats)
{
    struct ldar_profile profile;
    pass_profile(pass, &profile);
    const double known = profile.gemm + profile.scan + profile.attention + profile.other + profile.waiting;
    report_value(report, "seconds_gemm", profile.gemm / (double)repeats);
    report_value(report, "seconds_scan", profile.scan / (double)repeats);
    report_value(report, "seconds_attention", profile.attention / (double)repeats);
    report_value(report, "seconds_other", profile.other / (double)repeats);
    report_value(report, "seconds_waiting", profile.waiting / (double)repeats);
    report_value(report, "explained", known / ((double)shape->threads * samples->seconds));
    report_count(report, "peak_bytes", profile.peak_bytes);
}

static void report_shape(struct report *report, const struct bench *bench, const struct pass *pass,
                         const struct shape *shape, struct samples *samples)
{
    static const char *const whats[] = {
        [BENCH_FORWARD] = "forward", [BENCH_BOUNDARIES] = "boundaries", [BENCH_TRAIN] = "train"};
    const size_t repeats = (size_t)bench->repeats;
    const double rate = median(samples->rate, repeats), fraction = median(samples->fraction, repeats);
    const double gflops = rate * samples->flops * 1e-9;
    char preset[16];
    choice_word(CONFIGURATION_PRESETS, (size_t)bench->preset, preset, sizeof preset);
    report_text(report, "what", whats[shape->what]);
    report_text(report, "preset", bench->common.model ? "file" : preset);
    report_text(report, "dtype", ldar_dtype_name(pass_dtype(pass)));
    report_text(report, "isa", ldar_isa_name(pass_isa(pass)));
    report_text(report, "device", "cpu");
    report_text(report, "gemm", pass_gemm(pass));
    report_count(report, "threads", (uint64_t)shape->threads);
    report_count(report, "length", shape->length);
    report_count(report, "batch", shape->batch);
    report_count(report, "ratio", shape->ratio);
    report_count(report, "repeats", repeats);
    report_value(report, "nt_per_s", rate);
    report_value(report, "nt_per_s_min", samples->rate[0]);
    report_value(report, "nt_per_s_max", samples->rate[repeats - 1]);
    if (samples->flops > 0) {
        report_value(report, "flop_per_nt", samples->flops);
        report_value(report, "gflops", gflops);
        /* The peak that goes with the median fraction, so that the three figures agree. */
        report_value(report, "peak_gflops", gflops / fraction);
        report_value(report, "fraction", fraction);
    }
    report_profile(report, pass, shape, samples, repeats);
    report_row(report);
}

/* A context or trainer of its own for each shape, so that peak_bytes is that shape's. */
static enum ldar_status bench_shape(const struct bench *bench, const ldar_model *model, const struct shape *shape,
                                    uint64_t sum, struct report *report, struct ldar_error *error)
{
    struct pass pass;
    struct samples samples = {.sum = sum, .flops = pass_flops(model, shape)};
    const size_t repeats = (size_t)bench->repeats;
    enum ldar_status status = pass_open(&bench->common, model, shape, &pass, error);
    if (status != LDAR_OK)
        return status;
    samples.rate = malloc(repeats * sizeof(double));
    samples.fraction = malloc(repeats * sizeof(double));
    if (!samples.rate || !samples.fraction)
        status = fail(error, LDAR_ERROR_MEMORY, "out of memory");
    else
        status = time_passes(shape, &pass, repeats, &samples, error);
    if (status == LDAR_OK)
        report_shape(report, bench, &pass, shape, &samples);
    free(samples.rate);
    free(samples.fraction);
    pass_close(&pass);
    return status;
}

/* The index-th of the shapes that the lists span; those of one number of threads follow one another. */
static struct shape shape_at(const struct bench *bench, size_t index)
{
    struct shape shape = {.what = (enum bench_what)bench->what};
    shape.ratio = (size_t)bench->ratios.item[index % bench->ratios.count];
    index /= bench->ratios.count;
    shape.batch = (size_t)bench->batches.item[index % bench->batches.count];
    index /= bench->batches.count;
    shape.length = (size_t)bench->lengths.item[index % bench->lengths.count];
    index /= bench->lengths.count;
    shape.dtype = (enum ldar_dtype)bench->dtypes.item[index % bench->dtypes.count];
    shape.threads = (int)bench->threads.item[index / bench->dtypes.count];
    return shape;
}

static enum ldar_status bench_passes(const struct bench *bench, const ldar_model *model, struct report *report,
                                     struct ldar_error *error)
{
    const size_t of_dtype = bench->lengths.count * bench->batches.count * bench->ratios.count;
    const size_t works = of_dtype * bench->dtypes.count;
    uint64_t *sums = malloc(works * sizeof *sums); /* the number of threads changes none of them */
    enum ldar_status status = sums ? LDAR_OK : fail(error, LDAR_ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < works * bench->threads.count && status == LDAR_OK; i++) {
        const struct shape shape = shape_at(bench, i);
        if (i < works)
            status = untimed_sum(bench, model, &shape, i % of_dtype == 0, &sums[i], error);
        if (status == LDAR_OK)
            status = bench_shape(bench, model, &shape, sums[i % works], report, error);
    }
    free(sums);
    return status;
}

/* ---- the command ---- */

static enum ldar_status open_model(const struct bench *bench, ldar_model **model, struct ldar_error *error)
{
    struct ldar_config config;
    if (bench->common.model)
        return ldar_model_load(bench->common.model, model, error);
    enum ldar_status status = configuration_preset(bench->preset, &config, error);
    return status == LDAR_OK ? ldar_model_create(&config, bench->common.seed, model, error) : status;
}

static enum ldar_status measure(const struct bench *bench, struct report *report, struct ldar_error *error)
{
    ldar_model *model;
    if (bench->what == BENCH_KERNELS)
        return bench_kernels(bench, report, error);
    enum ldar_status status = open_model(bench, &model, error);
    if (status != LDAR_OK)
        return status;
    status = bench_passes(bench, model, report, error);
    ldar_model_destroy(model);
    return status;
}

static enum exit_status run(void *settings)
{
    struct bench *bench = settings;
    struct report report = {.format = (enum bench_format)bench->format};
    struct ldar_error error;
    if (bench->common.model && option_given(&bench->common, "preset")) {
        say_error("options --preset and -m exclude each other");
        return EXIT_USAGE;
    }
    if (check_device(bench->common.device) != EXIT_DONE)
        return EXIT_FAILED;
    if (bench->threads.count == 0)
        bench->threads = (struct counts){1, {(uint64_t)ldar_cpu_count()}};
    if (measure(bench, &report, &error) != LDAR_OK)
        return failed(&error);
    report_end(&report);
    return EXIT_DONE;
}

static const struct option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = OPTION_CHOICE,
    .argument = "md|json",
    .place = offsetof(struct bench, format),
    .initial = "md",
    .help = "A table or a JSON array.",
};

static const struct option what_option = {
    .name = "what",
    .kind = OPTION_CHOICE,
    .argument = "forward|boundaries|train|kernels",
    .place = offsetof(struct bench, what),
    .initial = "forward",
    .help = "The whole forward pass; as far as boundaries, which is what segment computes; a step of training; or "
            "kernels one by one.",
};

static const struct option preset_option = {
    .name = "preset",
    .kind = OPTION_CHOICE,
    .argument = CONFIGURATION_PRESETS,
    .place = offsetof(struct bench, preset),
    .initial = "110m",
    .help = "A published configuration with random weights; a model file, -m, takes its place.",
};

static const struct option length_option = {
    .name = "length",
    .kind = OPTION_COUNTS,
    .argument = "N,...",
    .place = offsetof(struct bench, lengths),
    .initial = "4096",
    .min = 1,
    .max = 1 << 24,
    .help = "Nucleotides of a sequence.",
};

static const struct option batch_option = {
    .name = "batch",
    .kind = OPTION_COUNTS,
    .argument = "N,...",
    .place = offsetof(struct bench, batches),
    .initial = "1",
    .min = 1,
    .max = 1 << 16,
    .help = "Sequences of a batch.",
};

static const struct option ratio_option = {
    .name = "ratio",
    .kind = OPTION_COUNTS,
    .argument = "R,...",
    .place = offsetof(struct bench, ratios),
    .initial = "4",
    .min = 1,
    .max = 1 << 16,
    .help = "A boundary at every R-th position of each stage, so that the work is the same everywhere.",
};

static const struct option repeats_option = {
    .name = "repeats",
    .kind = OPTION_COUNT,
    .argument = "N",
    .place = offsetof(struct bench, repeats),
    .initial = "5",
    .min = 1,
    .max = 10000,
    .help = "Measured passes, after one that is not.",
};

static const struct option model_option = {
    .name = "model",
    .letter = 'm',
    .kind = OPTION_TEXT,
    .argument = "MODEL",
    .place = offsetof(struct common, model),
    .help = "The model file to time, in place of a preset.",
};

static const struct option threads_option = {
    .name = "threads",
    .letter = '@',
    .kind = OPTION_COUNTS,
    .argument = "N,...",
    .place = offsetof(struct bench, threads),
    .min = 1,
    .max = 4096,
    .help = "Numbers of threads; by default as many as this process may use. Kernels run on one.",
};

static const struct option dtype_option = {
    .name = "dtype",
    .kind = OPTION_CHOICES,
    .argument = "f32|bf16",
    .place = offsetof(struct bench, dtypes),
    .initial = "f32",
    .help = "Arithmetic; where the CPU multiplies no bf16, that is f32 with weights rounded to bf16.",
};

static const struct option *const options[] = {&output_option,     &what_option,  &preset_option,   &model_option,
                                               &length_option,     &batch_option, &ratio_option,    &repeats_option,
                                               &threads_option,    &dtype_option, &option_device,   &option_gemm,
                                               &option_max_memory, &option_seed,  OPTIONS_MESSAGES, NULL};

const struct command command_bench = {
    .name = "bench",
    .files = "",
    .summary = "Speed beside the machine's own limits",
    .description =
        "Times passes over random A, C, G and T with fixed boundaries, and right before and after each pass "
        "the rate of multiply-adds in registers of the same threads: fraction is the median over the passes of what "
        "was reached of it. nt_per_s is the median, flop_per_nt the least arithmetic that the model takes; seconds_* "
        "are those of one pass, summed over the threads, and explained is what they add up to, of the time of all "
        "threads. Each pass must give the bits of one that is not timed, on one thread, or the command fails.\n"
        "\n"
        "With --what train a pass is a step: forward and backward over the batch with 15 % of the positions masked, "
        "clipping and AdamW. Loss and gradients must be the same bits; the rate is 0, so that each step starts from "
        "the same weights.\n"
        "\n"
        "With --what kernels the library's scan, attention and norm are timed on one thread; the rate of the norm "
        "stands beside that of copying as much memory.\n"
        "\n"
        "  ldar bench --preset 2m --length 1024,4096 -@ 1,2 -o json\n",
    .min_files = 0,
    .max_files = 0,
    .options = options,
    .settings = sizeof(struct bench),
    .run = run,
};
