/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"
#include "chart.h"
#include "page.h"

#include "formats/members.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LOG_LINE = 1026 };

/* What of the log is drawn. */
enum series {
    LOSS,
    VALIDATION,
    COMPRESSION,
    VALIDATION_COMPRESSION,
    RATE,
    NORM,
    SPEED,
    ACCURACY,
    VALIDATION_ACCURACY,
    MERIT,
    SERIES
};

enum { CHARTS_MOST = 6, KEYS_MOST = 2 };

/* A kind of log: its keys, of which a series takes the first that a line has, and what is drawn of it. */
struct form {
    const char *key[SERIES][KEYS_MOST];
    struct {
        const char *title;
        int curve, marks; /* enum series; -1: none */
    } chart[CHARTS_MOST];
    size_t charts;
    const char *loss_name, *merit_name;
};

static const struct form forms[] = {
    [REPORT_PRETRAINING] = {.key = {[LOSS] = {"mlm"},
                                    [VALIDATION] = {"validation_loss"},
                                    [COMPRESSION] = {"compression"},
                                    [VALIDATION_COMPRESSION] = {"validation_compression"},
                                    [RATE] = {"rate"},
                                    [NORM] = {"gradient_norm"},
                                    [SPEED] = {"nt_per_s"}},
                            .chart = {{"Masked loss, nats", LOSS, VALIDATION},
                                      {"Nucleotides per token", COMPRESSION, VALIDATION_COMPRESSION},
                                      {"Learning rate", RATE, -1},
                                      {"Norm of the gradient, before clipping", NORM, -1},
                                      {"Nucleotides per second", SPEED, -1}},
                            .charts = 5,
                            .loss_name = "masked loss, nats, mean of the last steps"},
    [REPORT_FINETUNING] =
        {.key = {[LOSS] = {"loss"},
                 [VALIDATION] = {"validation_loss"},
                 [COMPRESSION] = {"compression"},
                 [RATE] = {"rate"},
                 [NORM] = {"gradient_norm"},
                 [SPEED] = {"nt_per_s"},
                 [ACCURACY] = {"accuracy"},
                 [VALIDATION_ACCURACY] = {"validation_accuracy"},
                 [MERIT] = {"validation_mcc", "validation_r2"}},
         .chart = {{"Loss", LOSS, VALIDATION},
                   {"Accuracy", ACCURACY, VALIDATION_ACCURACY},
                   {"Nucleotides per token", COMPRESSION, -1},
                   {"Learning rate", RATE, -1},
                   {"Norm of the gradient, before clipping", NORM, -1},
                   {"Nucleotides per second", SPEED, -1}},
         .charts = 6,
         .loss_name = "loss, mean of the last steps",
         .merit_name = "validation MCC (of values: R2), best"},
};

struct history {
    const struct form *form;
    struct curve curve[SERIES];
    double last_step;
    size_t skipped;
};

/* ---- the log ---- */

static enum ldar_status read_line(struct history *history, const char *line, struct ldar_error *error)
{
    double step, value;
    if (!member_number(line, "step", &step))
        return LDAR_OK;
    history->last_step = step;
    history->skipped += member_find(line, "skipped") != NULL;
    for (int i = 0; i < SERIES; i++)
        for (size_t k = 0; k < KEYS_MOST && history->form->key[i][k]; k++)
            if (member_number(line, history->form->key[i][k], &value) && !curve_add(&history->curve[i], step, value))
                return fail(error, LDAR_ERROR_MEMORY, "no memory for the report's curves");
    return LDAR_OK;
}

static enum ldar_status read_log(struct history *history, const char *path, struct ldar_error *error)
{
    char line[LOG_LINE];
    enum ldar_status status = LDAR_OK;
    FILE *in = fopen(path, "r");
    if (!in)
        return fail(error, LDAR_ERROR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    for (int i = 0; i < SERIES; i++)
        history->curve[i].name =
            i == VALIDATION || i == VALIDATION_COMPRESSION || i == VALIDATION_ACCURACY ? "validation" : "training";
    while (status == LDAR_OK && fgets(line, sizeof line, in))
        status = read_line(history, line, error);
    if (status == LDAR_OK && ferror(in))
        status = fail(error, LDAR_ERROR_IO, "%s: cannot be read: %s", path, strerror(errno));
    fclose(in);
    return status;
}

/* ---- the page ---- */

static double last_of(const struct curve *curve)
{
    return curve->count > 0 ? curve->values[curve->count - 1] : NAN;
}

static double least_of(const struct curve *curve)
{
    double least = NAN;
    for (size_t i = 0; i < curve->count; i++)
        least = fmin(least, curve->values[i]);
    return least;
}

static double most_of(const struct curve *curve)
{
    double most = NAN;
    for (size_t i = 0; i < curve->count; i++)
        most = fmax(most, curve->values[i]);
    return most;
}

/* The mean of the last hundredth of the steps, or of the last ten. */
static double recent(const struct curve *curve)
{
    const size_t share = curve->count / 100 > 10 ? curve->count / 100 : 10;
    const size_t count = share < curve->count ? share : curve->count;
    double sum = 0;
    for (size_t i = curve->count - count; i < curve->count; i++)
        sum += curve->values[i];
    return count > 0 ? sum / (double)count : NAN;
}

/* A row of the table; what is not known has none. */
static enum ldar_status write_row(output *page, const char *name, int decimals, double value, struct ldar_error *error)
{
    return isnan(value) ? LDAR_OK
                        : output_print(page, error, "<tr><td>%s</td><td>%.*f</td></tr>\n", name, decimals, value);
}

static enum ldar_status write_table(output *page, const struct history *history, double steps, struct ldar_error *error)
{
    const struct curve *curve = history->curve;
    const struct {
        const char *name;
        int decimals;
        double value;
    } rows[] = {
        {"steps", 0, history->last_step},
        {"of", 0, steps > 0 ? steps : NAN},
        {history->form->loss_name, 4, recent(&curve[LOSS])},
        {"validation loss, last", 4, last_of(&curve[VALIDATION])},
        {"validation loss, best", 4, least_of(&curve[VALIDATION])},
        {history->form->merit_name, 4, most_of(&curve[MERIT])},
        {"nucleotides per token", 4, recent(&curve[COMPRESSION])},
        {"nucleotides per second", 0, recent(&curve[SPEED])},
        {"steps skipped", 0, (double)history->skipped},
    };
    enum ldar_status status = output_print(page, error, "\n<table>\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows && status == LDAR_OK; i++)
        status = write_row(page, rows[i].name, rows[i].decimals, rows[i].value, error);
    return status == LDAR_OK ? output_print(page, error, "</table>\n") : status;
}

static enum ldar_status write_charts(output *page, const struct history *history, double steps,
                                     struct ldar_error *error)
{
    const struct form *form = history->form;
    enum ldar_status status = LDAR_OK;
    steps = steps > 0 ? steps : history->last_step;
    for (size_t i = 0; i < form->charts && status == LDAR_OK; i++)
        if (history->curve[form->chart[i].curve].count > 0)
            status = chart_draw(page, form->chart[i].title, &history->curve[form->chart[i].curve],
                                form->chart[i].marks < 0 ? NULL : &history->curve[form->chart[i].marks], steps, error);
    return status;
}

static enum ldar_status write_page(output *page, const struct history *history, const char *title, const char *command,
                                   double steps, struct ldar_error *error)
{
    enum ldar_status status = page_begin(page, title, command, error);
    if (status == LDAR_OK)
        status = write_table(page, history, steps, error);
    if (status == LDAR_OK)
        status = write_charts(page, history, steps, error);
    return status == LDAR_OK ? page_end(page, error) : status;
}

enum ldar_status report_write(enum report_kind kind, const char *log, const char *path, const char *title,
                              const char *command, unsigned long long steps, struct ldar_error *error)
{
    struct history history = {.form = &forms[kind]};
    output *page;
    enum ldar_status status = read_log(&history, log, error);
    if (status == LDAR_OK)
        status = output_create(path, &page, error);
    if (status == LDAR_OK) {
        status = write_page(page, &history, title, command, (double)steps, error);
        if (status == LDAR_OK)
            status = output_commit(page, error);
        else
            output_abandon(page);
    }
    for (int i = 0; i < SERIES; i++)
        curve_free(&history.curve[i]);
    return status;
}
