/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "configuration.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct info {
    struct common common;
    int json;
};

/* ---- the head of a model ---- */

/* What the file says that its head puts out, which the caller frees: of classes a JSON array, of a value its name. The
 * file has been peeked into, so that the text is well-formed. */
static char *read_outputs(const char *path, enum ldar_head_kind kind)
{
    ldar_tensors *file;
    struct ldar_error error;
    if (ldar_tensors_open(path, 0, &file, &error) != LDAR_OK)
        return NULL;
    const char *text = ldar_tensors_metadata(file, kind == LDAR_HEAD_CLASSES ? "classes" : "target");
    char *copy = text ? strdup(text) : NULL;
    ldar_tensors_close(file);
    return copy;
}

static enum exit_status no_memory(void)
{
    return failed(&(struct ldar_error){LDAR_ERROR_MEMORY, "out of memory"});
}

static enum exit_status print_head(const char *path, const struct ldar_model_info *info)
{
    char *outputs = info->head ? read_outputs(path, info->head) : NULL;
    if (!info->head)
        return EXIT_DONE;
    if (!outputs)
        return no_memory();
    if (info->head == LDAR_HEAD_CLASSES) {
        char *begin = strchr(outputs, '[') + 1;
        *strrchr(begin, ']') = '\0';
        for (char *c = begin; *c; c++) /* control characters are escaped within strings, and white space between them */
            *c = *c > 0 && *c < ' ' ? ' ' : *c;
        printf("head         %zu classes: %s\n", info->outputs, begin);
    } else {
        printf("head         a value: %s\n", outputs);
    }
    if (info->parts > 1)
        printf("parts        %zu of each sequence, told apart\n", info->parts);
    free(outputs);
    return EXIT_DONE;
}

static enum exit_status print_head_json(const char *path, const struct ldar_model_info *info)
{
    char *outputs = info->head ? read_outputs(path, info->head) : NULL;
    if (!info->head) {
        fputs(", \"head\": null", stdout);
        return EXIT_DONE;
    }
    char *name = outputs ? quote_json(outputs) : NULL;
    if (name && info->head == LDAR_HEAD_CLASSES)
        printf(", \"head\": {\"kind\": \"classes\", \"outputs\": %zu, \"parts\": %zu, \"names\": %s}", info->outputs,
               info->parts, outputs);
    else if (name)
        printf(", \"head\": {\"kind\": \"value\", \"outputs\": 1, \"parts\": %zu, \"names\": [%s]}", info->parts, name);
    const enum exit_status status = name ? EXIT_DONE : no_memory();
    free(name);
    free(outputs);
    return status;
}

/* ---- a model ---- */

static void print_stage(const struct ldar_config *config, uint32_t i)
{
    const struct ldar_stage_config *stage = &config->stage[i];
    printf("stage %-4u   width %u, %s%s%s; SSM state %u, taps %u, expand %u; attention %u heads, rotary %u, window %d; "
           "SwiGLU %u\n",
           i, stage->width, stage->encoder, stage->decoder[0] ? " ... " : "", stage->decoder, stage->state, stage->conv,
           stage->expand, stage->attention_heads, stage->rotary, stage->window, stage->intermediate);
}

static enum exit_status print_model(const char *path, const struct ldar_model_info *info)
{
    char layout[CONFIGURATION_LAYOUT];
    configuration_layout(&info->config, layout);
    printf("model        %s\nlayout       %s\n", path, layout);
    for (uint32_t i = 0; i < info->config.stages; i++)
        print_stage(&info->config, i);
    printf("embeddings   %s\nparameters   %llu\nmatrices     %s\nsha256       %s\n",
           info->config.tie_embeddings ? "tied to the head" : "apart from the head",
           (unsigned long long)info->parameters, ldar_dtype_name(info->dtype),
           info->sha256[0] ? info->sha256 : "the file does not say");
    return print_head(path, info);
}

/* The configuration as JSON text, which the caller frees. */
static char *config_json(const struct ldar_config *config)
{
    size_t length = ldar_config_format(config, NULL, 0);
    char *text = malloc(length + 1);
    if (text)
        ldar_config_format(config, text, length + 1);
    return text;
}

static enum exit_status print_model_json(const char *path, const struct ldar_model_info *info)
{
    char *config = config_json(&info->config);
    if (!config)
        return no_memory();
    printf(", \"config\": %s, \"parameters\": %llu, \"dtype\": \"%s\", \"sha256\": ", config,
           (unsigned long long)info->parameters, ldar_dtype_name(info->dtype));
    if (info->sha256[0])
        printf("\"%s\"", info->sha256);
    else
        fputs("null", stdout);
    free(config);
    return print_head_json(path, info);
}

/* ---- the machine ---- */

struct machine {
    char cpu[128];
    enum ldar_isa isa;
    char gemm[64];
    int threads;
};

/* What the processor calls itself; empty where the system does not tell. */
static void read_cpu_name(char name[128])
{
    char line[512];
    FILE *in = fopen("/proc/cpuinfo", "r");
    name[0] = '\0';
    while (in && !name[0] && fgets(line, sizeof line, in)) {
        const char *colon = strchr(line, ':');
        if (colon && strncmp(line, "model name", 10) == 0)
            snprintf(name, 128, "%.*s", (int)strcspn(colon + 1 + strspn(colon + 1, " "), "\n"),
                     colon + 1 + strspn(colon + 1, " "));
    }
    if (in)
        fclose(in);
}

/* What a context settles on does not depend on the model, so the smallest one tells it. */
static enum ldar_status probe(const struct common *common, struct machine *machine, struct ldar_error *error)
{
    struct ldar_stage_config stage = {
        .encoder = "m1", .width = 32, .attention_heads = 1, .state = 16, .conv = 4, .expand = 2, .window = -1};
    struct ldar_config config = {.stages = 2, .stage = {stage, stage}};
    struct ldar_context_options options = context_options(common);
    ldar_context *context = NULL;
    ldar_model *model;
    memcpy(config.stage[0].decoder, "m1", 3);
    enum ldar_status status = ldar_model_create(&config, 0, &model, error);
    if (status == LDAR_OK)
        status = ldar_context_create(model, &options, &context, error);
    if (status == LDAR_OK) {
        read_cpu_name(machine->cpu);
        machine->isa = ldar_context_isa(context);
        machine->threads = ldar_context_threads(context);
        snprintf(machine->gemm, sizeof machine->gemm, "%s", ldar_context_gemm(context));
    }
    ldar_context_destroy(context);
    ldar_model_destroy(model);
    return status;
}

static void print_isas(const char *quote, const char *between)
{
    const char *separator = "";
    for (int isa = LDAR_ISA_AUTO + 1; ldar_isa_name((enum ldar_isa)isa); isa++)
        if (ldar_isa_runs((enum ldar_isa)isa)) {
            printf("%s%s%s%s", separator, quote, ldar_isa_name((enum ldar_isa)isa), quote);
            separator = between;
        }
}

static void print_machine(const struct machine *machine)
{
    printf("version      %s\ncpu          %s\ninstructions %s (of ", ldar_version(),
           machine->cpu[0] ? machine->cpu : "the system does not say", ldar_isa_name(machine->isa));
    print_isas("", " ");
    printf(")\ngemm         %s (built in:", machine->gemm);
    for (int gemm = LDAR_GEMM_AUTO + 1; ldar_gemm_name((enum ldar_gemm)gemm); gemm++)
        if (ldar_gemm_built((enum ldar_gemm)gemm))
            printf(" %s", ldar_gemm_name((enum ldar_gemm)gemm));
    printf(")\nthreads      %d\ndevice       cpu\n", machine->threads);
}

static enum exit_status print_machine_json(const struct machine *machine)
{
    char *cpu = quote_json(machine->cpu), *gemm = quote_json(machine->gemm);
    enum exit_status status = EXIT_DONE;
    if (cpu && gemm) {
        printf("{\"version\": \"%s\", \"isa\": \"%s\", \"isas\": [", ldar_version(), ldar_isa_name(machine->isa));
        print_isas("\"", ", ");
        printf("], \"gemm\": %s, \"threads\": %d, \"device\": \"cpu\", \"cpu\": %s", gemm, machine->threads, cpu);
    } else {
        status = failed(&(struct ldar_error){LDAR_ERROR_MEMORY, "out of memory"});
    }
    free(cpu);
    free(gemm);
    return status;
}

/* ---- the command ---- */

static enum exit_status run(void *settings)
{
    const struct info *info = settings;
    const char *path = info->common.file_count > 0 ? info->common.files[0] : NULL;
    struct ldar_model_info model;
    struct machine machine;
    struct ldar_error error;
    if (check_device(info->common.device) != EXIT_DONE)
        return EXIT_FAILED;
    if (path && ldar_model_peek(path, &model, &error) != LDAR_OK)
        return failed(&error);
    if ((!path || info->json) && probe(&info->common, &machine, &error) != LDAR_OK)
        return failed(&error);
    if (!info->json) {
        if (path)
            return print_model(path, &model);
        print_machine(&machine);
        return EXIT_DONE;
    }
    if (print_machine_json(&machine) != EXIT_DONE || (path && print_model_json(path, &model) != EXIT_DONE))
        return EXIT_FAILED;
    puts("}");
    return EXIT_DONE;
}

static const struct option json_option = {
    .name = "json",
    .kind = OPTION_FLAG,
    .place = offsetof(struct info, json),
    .help = "Print a JSON object.",
};

static const struct option *const options[] = {&json_option, &option_threads,  &option_device,
                                               &option_gemm, OPTIONS_MESSAGES, NULL};

const struct command command_info = {
    .name = "info",
    .files = "[MODEL]",
    .summary = "The CPU, kernels and libraries in use, or what a model is",
    .description =
        "Without a file: processor, instruction set, matrix multiplication and threads that a command given the same "
        "options would use. With a model: its layout, parameters, storage, hash and head; only the file's header is "
        "read.\n"
        "\n"
        "  ldar info --json\n"
        "  ldar info model.safetensors\n",
    .min_files = 0,
    .max_files = 1,
    .options = options,
    .settings = sizeof(struct info),
    .run = run,
};
