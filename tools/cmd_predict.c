/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"
#include "message.h"
#include "metrics.h"
#include "pipeline.h"

#include "formats/number.h"
#include "formats/output.h"
#include "formats/strands.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct predict {
    struct input input;
    int both_strands;
};

/* Records on their way to the table. */
struct prediction {
    const struct predict *settings;
    ldar_context *context;
    ldar_model *own; /* the classifier where parts are merged, which have no session with a model */
    const struct ldar_head *head;
    struct provenance provenance;
    output *out;
    size_t width;
    double *sum; /* (head->parts, width) of the record's hidden states so far */
    uint64_t rows;
    float *mean;   /* (head->parts, width) */
    float *scores; /* (head->outputs) */
    double *p;     /* (head->outputs) */
    char *name;    /* of the record */
    size_t name_room;
    /* The other strand of a batch; (room), (room, width). */
    uint8_t *ids;
    float *hidden;
    size_t room;
};

/* ---- the table ---- */

/* Class names and record names may hold what would end a column. */
static enum ldar_status write_name(output *out, const char *name, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    while (*name && status == LDAR_OK) {
        const size_t plain = strcspn(name, "\t\n\r");
        status = output_write(out, name, plain, error);
        name += plain;
        if (*name && status == LDAR_OK) {
            status = output_write(out, " ", 1, error);
            name++;
        }
    }
    return status;
}

static enum ldar_status write_text(output *out, const char *text, struct ldar_error *error)
{
    return output_write(out, text, strlen(text), error);
}

/* Provenance, the classes as they are numbered, and the names of the columns. */
static enum ldar_status write_header(const struct prediction *prediction, struct ldar_error *error)
{
    const struct ldar_head *head = prediction->head;
    output *out = prediction->out;
    char *line = provenance_line(&prediction->provenance);
    enum ldar_status status = line ? write_text(out, "# ", error) : fail(error, LDAR_ERROR_MEMORY, "out of memory");
    if (status == LDAR_OK)
        status = write_text(out, line, error);
    free(line);
    for (size_t c = 0; head->kind == LDAR_HEAD_CLASSES && c < head->outputs && status == LDAR_OK; c++) {
        status = output_print(out, error, c == 0 ? "\n# classes: %zu " : ", %zu ", c);
        if (status == LDAR_OK)
            status = write_name(out, head->names[c], error);
    }
    if (status == LDAR_OK)
        status = write_text(out, head->kind == LDAR_HEAD_VALUE ? "\nname\tvalue" : "\nname\tlabel", error);
    for (size_t c = 0; head->kind == LDAR_HEAD_CLASSES && c < head->outputs && status == LDAR_OK; c++)
        status = output_print(out, error, "\tp_%zu", c);
    return status == LDAR_OK ? write_text(out, "\n", error) : status;
}

static enum ldar_status write_number(output *out, double value, struct ldar_error *error)
{
    char text[NUMBER_CHARACTERS + 1] = "\t";
    const char *end = isnan(value) ? strcpy(text + 1, "nan") + 3 : put_float_text(text + 1, (float)value);
    return output_write(out, text, (size_t)(end - text), error);
}

static enum ldar_status write_answer(const struct prediction *prediction, int known, struct ldar_error *error)
{
    const struct ldar_head *head = prediction->head;
    output *out = prediction->out;
    enum ldar_status status = write_name(out, prediction->name, error);
    if (head->kind == LDAR_HEAD_VALUE)
        return status == LDAR_OK ? write_number(out, known ? (double)prediction->scores[0] : NAN, error) : status;
    if (status == LDAR_OK)
        status = write_text(out, "\t", error);
    if (status == LDAR_OK)
        status =
            write_name(out, known ? head->names[metrics_largest(prediction->scores, head->outputs)] : "nan", error);
    for (size_t c = 0; c < head->outputs && status == LDAR_OK; c++)
        status = write_number(out, known ? prediction->p[c] : NAN, error);
    return status;
}

/* ---- records ---- */

static enum ldar_status begin_record(void *user, const struct record *record, struct ldar_error *error)
{
    struct prediction *prediction = user;
    const size_t bytes = strlen(record->name) + 1;
    memset(prediction->sum, 0, prediction->head->parts * prediction->width * sizeof *prediction->sum);
    prediction->rows = 0;
    if (bytes > prediction->name_room) {
        char *name = realloc(prediction->name, 2 * bytes);
        if (!name)
            return fail(error, LDAR_ERROR_MEMORY, "no memory for the name of a record");
        prediction->name = name;
        prediction->name_room = 2 * bytes;
    }
    memcpy(prediction->name, record->name, bytes);
    return LDAR_OK;
}

static enum ldar_status take_rows(void *user, const struct pipeline_rows *rows, struct ldar_error *error)
{
    struct prediction *prediction = user;
    (void)error;
    for (size_t i = 0; i < prediction->head->parts * prediction->width; i++)
        prediction->sum[i] += rows->sum[i];
    prediction->rows += rows->sum_rows;
    return LDAR_OK;
}

static void find_means(struct prediction *prediction)
{
    const size_t width = prediction->width, parts = prediction->head->parts;
    for (size_t part = 0; part < parts; part++) {
        size_t first, end;
        ldar_head_part(prediction->rows, parts, part, &first, &end);
        for (size_t i = part * width; i < (part + 1) * width; i++)
            prediction->mean[i] = (float)(prediction->sum[i] / (double)(end - first));
    }
}

static enum ldar_status end_record(void *user, uint64_t length, struct ldar_error *error)
{
    struct prediction *prediction = user;
    const struct ldar_head *head = prediction->head;
    if (length > 0) {
        find_means(prediction);
        ldar_head_scores(head, prediction->width, prediction->mean, 1, prediction->scores);
        if (head->kind == LDAR_HEAD_CLASSES)
            metrics_softmax(prediction->scores, head->outputs, prediction->p);
    }
    const enum ldar_status status = write_answer(prediction, length > 0, error);
    return status == LDAR_OK ? write_text(prediction->out, "\n", error) : status;
}

/* ---- both strands ---- */

static bool reserve_reverse(struct prediction *prediction, size_t nucleotides)
{
    if (nucleotides <= prediction->room)
        return true;
    free(prediction->ids);
    free(prediction->hidden);
    prediction->ids = malloc(nucleotides);
    prediction->hidden = malloc(nucleotides * prediction->width * sizeof *prediction->hidden);
    prediction->room = prediction->ids && prediction->hidden ? nucleotides : 0;
    return prediction->room > 0;
}

/*
 * Each row becomes the mean of that and of a row of the other strand, since the head is linear: of the same base, as
 * windows share a record by bases, or where the head tells parts apart of the same place.
 */
static void average_rows(const struct prediction *prediction, const struct ldar_batch *batch, float *hidden)
{
    const size_t width = prediction->width;
    const int by_place = prediction->head->parts > 1;
    for (size_t s = 0; s < batch->sequences; s++)
        for (size_t i = batch->offsets[s]; i < batch->offsets[s + 1]; i++) {
            const size_t same_base = batch->offsets[s] + batch->offsets[s + 1] - 1 - i;
            const float *other = prediction->hidden + (by_place ? i : same_base) * width;
            for (size_t k = 0; k < width; k++)
                hidden[i * width + k] = (hidden[i * width + k] + other[k]) / 2;
        }
}

static enum ldar_status compute_both(void *user, const struct ldar_batch *batch, const struct window *windows,
                                     const struct ldar_outputs *outputs, float *log_p, struct ldar_error *error)
{
    struct prediction *prediction = user;
    ldar_context *context = prediction->context;
    (void)windows;
    (void)log_p;
    if (!reserve_reverse(prediction, batch->offsets[batch->sequences]))
        return fail(error, LDAR_ERROR_MEMORY, "no memory for the other strand; a smaller --window needs less");
    for (size_t s = 0; s < batch->sequences; s++)
        reverse_complement(batch->ids + batch->offsets[s], batch->offsets[s + 1] - batch->offsets[s],
                           prediction->ids + batch->offsets[s]);
    const struct ldar_batch other = {prediction->ids, batch->offsets, batch->sequences};
    const struct ldar_outputs other_outputs = {.size = sizeof other_outputs, .hidden = prediction->hidden};
    enum ldar_status status = ldar_forward(context, batch, NULL, outputs, error);
    if (status == LDAR_OK)
        status = ldar_forward(context, &other, NULL, &other_outputs, error);
    if (status == LDAR_OK)
        average_rows(prediction, batch, outputs->hidden);
    return status;
}

/* ---- the command ---- */

/* Results to be merged tell which classifier made them: its head is read again, and must be the same. */
static enum ldar_status reopen(struct prediction *prediction, const struct session *session, struct ldar_error *error)
{
    const char *path = prediction->settings->input.common.model;
    struct ldar_model_info info;
    const enum ldar_status status = ldar_model_load(path, &prediction->own, error);
    if (status != LDAR_OK)
        return status;
    ldar_model_describe(prediction->own, &info);
    return strcmp(info.sha256, session->info.sha256) == 0
               ? LDAR_OK
               : fail(error, LDAR_ERROR_ARGUMENT, "%s is no longer the classifier that the parts were made with", path);
}

static enum ldar_status find_head(struct prediction *prediction, const struct session *session,
                                  struct ldar_error *error)
{
    const enum ldar_status status = session->model ? LDAR_OK : reopen(prediction, session, error);
    if (status != LDAR_OK)
        return status;
    prediction->head = ldar_model_head(session->model ? session->model : prediction->own);
    return prediction->head
               ? LDAR_OK
               : fail(error, LDAR_ERROR_ARGUMENT, "%s is no classifier: make one of it with `ldar finetune`",
                      prediction->settings->input.common.model);
}

static bool reserve_record(struct prediction *prediction)
{
    const size_t columns = prediction->head->parts * prediction->width;
    prediction->sum = malloc(columns * sizeof *prediction->sum);
    prediction->mean = malloc(columns * sizeof *prediction->mean);
    prediction->scores = malloc(prediction->head->outputs * sizeof *prediction->scores);
    prediction->p = malloc(prediction->head->outputs * sizeof *prediction->p);
    return prediction->sum && prediction->mean && prediction->scores && prediction->p;
}

static enum ldar_status open_table(void *user, const struct session *session, const struct pipeline *pipeline,
                                   struct ldar_error *error)
{
    struct prediction *prediction = user;
    prediction->provenance = session->provenance;
    enum ldar_status status = output_create(pipeline->output, &prediction->out, error);
    if (status == LDAR_OK)
        status = write_header(prediction, error);
    if (status != LDAR_OK)
        output_abandon(prediction->out);
    return status;
}

static enum ldar_status commit_table(void *user, struct ldar_error *error)
{
    return output_commit(((struct prediction *)user)->out, error);
}

static void abandon_table(void *user)
{
    output_abandon(((struct prediction *)user)->out);
}

static enum ldar_status predict_all(const struct predict *predict, const struct session *session,
                                    struct ldar_error *error)
{
    struct prediction prediction = {
        .settings = predict, .context = session->context, .width = session->info.config.stage[0].width};
    struct consumer consumer = {
        .user = &prediction,
        .open = open_table,
        .begin = begin_record,
        .rows = take_rows,
        .end = end_record,
        .commit = commit_table,
        .abandon = abandon_table,
        .compute = predict->both_strands ? compute_both : NULL,
        .passes = 2,
    };
    struct pipeline pipeline;
    enum ldar_status status = find_head(&prediction, session, error);
    if (status == LDAR_OK && !reserve_record(&prediction))
        status = fail(error, LDAR_ERROR_MEMORY, "no memory for the means of a sequence");
    if (status == LDAR_OK)
        status = pipeline_open(&predict->input, &pipeline, error);
    if (status == LDAR_OK) {
        consumer.parts = prediction.head->parts;
        status = pipeline_run(&predict->input, session, &pipeline, PIPELINE_HIDDEN | PIPELINE_SUM, &consumer, error);
        pipeline_close(&pipeline);
    }
    void *const own[] = {prediction.sum,  prediction.mean, prediction.scores, prediction.p,
                         prediction.name, prediction.ids,  prediction.hidden};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        free(own[i]);
    ldar_model_destroy(prediction.own);
    return status;
}

static enum exit_status run(void *place)
{
    const struct predict *predict = place;
    struct session session;
    struct ldar_error error;
    enum exit_status status = pipeline_check(&predict->input);
    if (status == EXIT_DONE && !predict->input.common.model) {
        say_error("no classifier: name one with -m CLASSIFIER, as `ldar finetune` makes it");
        return EXIT_USAGE;
    }
    if (status == EXIT_DONE)
        status = session_open(&predict->input.common, &session);
    if (status != EXIT_DONE)
        return status;
    if (predict_all(predict, &session, &error) != LDAR_OK)
        status = failed(&error);
    session_close(&session);
    return status;
}

static const struct option model_option = {
    .name = "model",
    .letter = 'm',
    .kind = OPTION_TEXT,
    .argument = "CLASSIFIER",
    .place = offsetof(struct common, model),
    .help = "The classifier: RUN/model.safetensors of `ldar finetune`.",
};

static const struct option output_option = {
    .name = "output",
    .letter = 'o',
    .kind = OPTION_TEXT,
    .argument = "FILE.tsv",
    .place = offsetof(struct common, output),
    .help = "The table (default: the standard output).",
};

static const struct option both_strands_option = {
    .name = "both-strands",
    .kind = OPTION_FLAG,
    .place = offsetof(struct predict, both_strands),
    .help = "The mean of the scores of a sequence and of its reverse complement.",
};

static const struct option *const options[] = {&model_option, &output_option,  &both_strands_option, OPTIONS_INPUT,
                                               OPTIONS_LONG,  OPTIONS_COMPUTE, OPTIONS_MESSAGES,     NULL};

const struct command command_predict = {
    .name = "predict",
    .files = "[IN]",
    .summary = "The class, or the value, of each sequence by a classifier",
    .description =
        "Reads the records of IN (FASTA or FASTQ; plain, gzip or BGZF; '-' is the standard input), or with -f regions "
        "of a genome, and writes a line for each, in the order of the input: name, label, and the probability of each "
        "class, tab-separated; with a classifier of values, name and value. Lines that begin with '#' say what made "
        "the table and how the classes are numbered. An empty record has nan.\n"
        "\n"
        "A record longer than --window is cut into windows that overlap; its hidden states are averaged over all of "
        "it. A classifier that tells parts of a sequence apart refuses such a record.\n"
        "\n"
        "  ldar predict -m run/model.safetensors reads.fq.gz -o classes.tsv\n"
        "  ldar predict -m run/model.safetensors -f genome.fa -R promoters.bed\n",
    .min_files = 0,
    .max_files = 1,
    .options = options,
    .settings = sizeof(struct predict),
    .run = run,
};
