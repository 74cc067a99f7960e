/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"
#include "commands.h"
#include "configuration.h"
#include "message.h"

#include <stdlib.h>
#include <string.h>

enum bench_what { BENCH_FORWARD, BENCH_KERNELS };

/* ---- one measurement of the forward pass ---- */

struct shape {
    int threads;
    size_t length, batch, ratio;
};

struct sequences {
    uint8_t *ids;
    size_t *offsets;
    float *logits;
};

struct samples {
    double *rate, *fraction; /* (repeats) nt/s, and of the peak beside each pass */
};

static void sequences_free(struct sequences *sequences)
{
    free(sequences->ids);
    free(sequences->offsets);
    free(sequences->logits);
}

/* Random A, C, G and T. */
static enum ldar_status sequences_make(const struct shape *shape, uint64_t seed, struct sequences *sequences,
                                       struct ldar_error *error)
{
    size_t count = shape->length * shape->batch;
    sequences->ids = malloc(count);
    sequences->offsets = malloc((shape->batch + 1) * sizeof *sequences->offsets);
    sequences->logits = malloc(count * LDAR_SYMBOLS * sizeof *sequences->logits);
    if (!sequences->ids || !sequences->offsets || !sequences->logits) {
        sequences_free(sequences);
        return fail(error, LDAR_ERROR_MEMORY, "no memory for %zu sequences of %zu nucleotides", shape->batch,
                    shape->length);
    }
    for (size_t i = 0; i < count; i++)
        sequences->ids[i] = (uint8_t)(next_random(&seed) >> 62);
    for (size_t i = 0; i <= shape->batch; i++)
        sequences->offsets[i] = i * shape->length;
    return LDAR_OK;
}

/* One pass between two measurements of the peak: machines drift, so that only neighbours in time compare. */
static enum ldar_status time_pass(ldar_context *context, const struct shape *shape, const struct sequences *sequences,
                                  double flops, double *rate, double *fraction, struct ldar_error *error)
{
    struct ldar_batch batch = {sequences->ids, sequences->offsets, shape->batch};
    struct ldar_boundaries boundaries = {.size = sizeof boundaries, .every = shape->ratio};
    struct ldar_outputs outputs = {.size = sizeof outputs, .logits = sequences->logits};
    enum ldar_isa isa = ldar_context_isa(context);
    double before, after;
    enum ldar_status status = ldar_measure_peak(isa, shape->threads, BENCH_PEAK_SECONDS, &before, error);
    if (status != LDAR_OK)
        return status;
    double start = seconds_now();
    status = ldar_forward(context, &batch, &boundaries, &outputs, error);
    double seconds = seconds_now() - start;
    if (status == LDAR_OK)
        status = ldar_measure_peak(isa, shape->threads, BENCH_PEAK_SECONDS, &after, error);
    if (status != LDAR_OK)
        return status;
    *rate = (double)(shape->length * shape->batch) / seconds;
    *fraction = *rate * flops * 1e-9 / ((before + after) / 2);
    return LDAR_OK;
}

static enum ldar_status time_passes(ldar_context *context, const struct shape *shape, const struct sequences *sequences,
                                    double flops, size_t repeats, struct samples *samples, struct ldar_error *error)
{
    double rate, fraction;
    enum ldar_status status = time_pass(context, shape, sequences, flops, &rate, &fraction, error);
    ldar_context_reset_profile(context);
    for (size_t i = 0; i < repeats && status == LDAR_OK; i++)
        status = time_pass(context, shape, sequences, flops, &samples->rate[i], &samples->fraction[i], error);
    return status;
}

/* ---- reporting ---- */

/*
 * peak_gflops is the peak that goes with the median fraction, so that the three figures agree; seconds_* are those of a
 * pass, summed over the threads.
 */
static void report_forward(struct report *report, const struct bench *bench, ldar_context *context,
                           const struct shape *shape, double flops, struct samples *samples)
{
    size_t repeats = (size_t)bench->repeats;
    double rate = median(samples->rate, repeats), fraction = median(samples->fraction, repeats);
    double gflops = rate * flops * 1e-9;
    struct ldar_profile profile;
    char preset[16];
    ldar_context_profile(context, &profile);
    choice_word(CONFIGURATION_PRESETS, (size_t)bench->preset, preset, sizeof preset);
    report_text(report, "what", "forward");
    report_text(report, "preset", bench->common.model ? "file" : preset);
    report_text(report, "dtype", ldar_dtype_name(LDAR_F32));
    report_text(report, "isa", ldar_isa_name(ldar_context_isa(context)));
    report_text(report, "device", "cpu");
    report_text(report, "gemm", ldar_context_gemm(context));
    report_count(report, "threads", (uint64_t)shape->threads);
    report_count(report, "length", shape->length);
    report_count(report, "batch", shape->batch);
    report_count(report, "ratio", shape->ratio);
    report_count(report, "repeats", repeats);
    report_value(report, "nt_per_s", rate);
    report_value(report, "nt_per_s_min", samples->rate[0]);
    report_value(report, "nt_per_s_max", samples->rate[repeats - 1]);
    report_value(report, "flop_per_nt", flops);
    report_value(report, "gflops", gflops);
    report_value(report, "peak_gflops", gflops / fraction);
    report_value(report, "fraction", fraction);
    report_value(report, "seconds_gemm", profile.gemm / (double)repeats);
    report_value(report, "seconds_scan", profile.scan / (double)repeats);
    report_value(report, "seconds_attention", profile.attention / (double)repeats);
    report_value(report, "seconds_other", profile.other / (double)repeats);
    report_value(report, "seconds_waiting", profile.waiting / (double)repeats);
    report_count(report, "peak_bytes", profile.peak_bytes);
    report_row(report);
}

/* A context of its own for each shape, so that peak_bytes is that shape's. */
static enum ldar_status bench_shape(const struct bench *bench, const ldar_model *model, struct shape shape,
                                    struct report *report, struct ldar_error *error)
{
    struct ldar_context_options options = context_options(&bench->common);
    struct sequences sequences;
    struct samples samples;
    ldar_context *context;
    size_t repeats = (size_t)bench->repeats;
    options.threads = shape.threads;
    enum ldar_status status = ldar_context_create(model, &options, &context, error);
    if (status != LDAR_OK)
        return status;
    status = sequences_make(&shape, bench->common.seed, &sequences, error);
    if (status == LDAR_OK) {
        double flops = ldar_forward_flops(ldar_model_config(model), shape.length, (double)shape.ratio);
        samples.rate = malloc(repeats * sizeof(double));
        samples.fraction = malloc(repeats * sizeof(double));
        if (!samples.rate || !samples.fraction)
            status = fail(error, LDAR_ERROR_MEMORY, "out of memory");
        else
            status = time_passes(context, &shape, &sequences, flops, repeats, &samples, error);
        if (status == LDAR_OK)
            report_forward(report, bench, context, &shape, flops, &samples);
        free(samples.rate);
        free(samples.fraction);
        sequences_free(&sequences);
    }
    ldar_context_destroy(context);
    return status;
}

static enum ldar_status bench_forward(const struct bench *bench, const ldar_model *model, struct report *report,
                                      struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    size_t shapes = bench->threads.count * bench->lengths.count * bench->batches.count * bench->ratios.count;
    for (size_t i = 0; i < shapes && status == LDAR_OK; i++) {
        size_t rest = i;
        struct shape shape;
        shape.ratio = (size_t)bench->ratios.item[rest % bench->ratios.count];
        rest /= bench->ratios.count;
        shape.batch = (size_t)bench->batches.item[rest % bench->batches.count];
        rest /= bench->batches.count;
        shape.length = (size_t)bench->lengths.item[rest % bench->lengths.count];
        shape.threads = (int)bench->threads.item[rest / bench->lengths.count];
        status = bench_shape(bench, model, shape, report, error);
    }
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
    status = bench_forward(bench, model, report, error);
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
    for (size_t i = 0; i < bench->dtypes.count; i++)
        if (check_arithmetic((enum ldar_dtype)bench->dtypes.item[i]) != EXIT_DONE)
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
    .argument = "forward|kernels",
    .place = offsetof(struct bench, what),
    .initial = "forward",
    .help = "The whole forward pass, or its kernels one by one.",
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
    .help = "Arithmetic.",
};

static const struct option *const options[] = {&output_option,     &what_option,  &preset_option,   &option_model,
                                               &length_option,     &batch_option, &ratio_option,    &repeats_option,
                                               &threads_option,    &dtype_option, &option_device,   &option_gemm,
                                               &option_max_memory, &option_seed,  OPTIONS_MESSAGES, NULL};

const struct command command_bench = {
    .name = "bench",
    .files = "",
    .summary = "Speed beside the machine's own limits",
    .description =
        "Times forward passes over random A, C, G and T with fixed boundaries, and right before and after each pass "
        "the rate of multiply-adds in registers of the same threads: fraction is the median over the passes of what "
        "was reached of it. nt_per_s is the median, flop_per_nt the least arithmetic that the model takes; seconds_* "
        "are those of one pass, summed over the threads.\n"
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
