/* SPDX-License-Identifier: Apache-2.0 */
#include "model/head.h"

#include "io/json.h"
#include "io/text.h"
#include "status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* All names together. A character becomes four at most in a file's header, where they are JSON text within JSON text,
 * and a header has at most 16 MiB. */
enum { MAX_NAMES = 2 << 20 };

/* ---- names ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum ldar_status check_name(const char *where, enum ldar_status fault, const char *name, size_t index,
                                   struct ldar_error *error)
{
    if (!name || !name[0]) {
        return ldar_fail(error, fault, "%s: output %zu has an empty name", where, index);
    }
    if (strlen(name) > LDAR_MAX_OUTPUT_NAME || !ldar_json_is_utf8(name)) {
        return ldar_fail(error, fault, "%s: the name of output %zu, '%.40s', is longer than %d bytes or no UTF-8",
                         where, index, name, LDAR_MAX_OUTPUT_NAME);
    }
    for (const char *c = name; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            return ldar_fail(error, fault, "%s: the name of output %zu, '%.40s', has control characters", where, index,
                             name);
        }
    }
    return LDAR_OK;
}

static enum ldar_status check_distinct(const char *where, enum ldar_status fault, const struct ldar_head *head,
                                       struct ldar_error *error)
{
    const char **sorted = malloc(head->outputs * sizeof *sorted);
    if (!sorted) {
        return ldar_fail_memory(error, head->outputs * sizeof *sorted, "the names of a head");
    }
    memcpy(sorted, head->names, head->outputs * sizeof *sorted);
    qsort(sorted, head->outputs, sizeof *sorted, compare_texts);
    enum ldar_status status = LDAR_OK;
    for (size_t i = 1; i < head->outputs && !status; i++) {
        if (strcmp(sorted[i - 1], sorted[i]) == 0) {
            status = ldar_fail(error, fault, "%s: the class '%.60s' is named twice", where, sorted[i]);
        }
    }
    free(sorted);
    return status;
}

enum ldar_status ldar_head_check(const char *where, enum ldar_status fault, const struct ldar_head *head,
                                 struct ldar_error *error)
{
    if (head->kind != LDAR_HEAD_CLASSES && head->kind != LDAR_HEAD_VALUE) {
        return ldar_fail(error, fault, "%s: no kind of head has the number %d", where, (int)head->kind);
    }
    const size_t least = head->kind == LDAR_HEAD_CLASSES ? 2 : 1, most = least == 2 ? LDAR_MAX_OUTPUTS : 1;
    if (head->outputs < least || head->outputs > most) {
        return ldar_fail(error, fault, "%s: a head of %s has %s, not %zu", where, least == 2 ? "classes" : "a value",
                         least == 2 ? "2 to 65536 outputs" : "one output", head->outputs);
    }
    if (head->parts > LDAR_MAX_PARTS) {
        return ldar_fail(error, fault, "%s: a head of %zu parts, more than %d", where, head->parts, LDAR_MAX_PARTS);
    }
    if (!head->names) {
        return ldar_fail(error, fault, "%s: a head without names", where);
    }
    size_t bytes = 0;
    for (size_t i = 0; i < head->outputs; i++) {
        const enum ldar_status status = check_name(where, fault, head->names[i], i, error);
        if (status) {
            return status;
        }
        bytes += strlen(head->names[i]);
    }
    if (bytes > MAX_NAMES) {
        return ldar_fail(error, fault, "%s: the names of the classes take %zu bytes, more than %d in all", where, bytes,
                         MAX_NAMES);
    }
    return check_distinct(where, fault, head, error);
}

enum ldar_status ldar_head_copy_names(struct ldar_head *head, void **block, struct ldar_error *error)
{
    size_t bytes = head->outputs * sizeof *head->names;
    for (size_t i = 0; i < head->outputs; i++) {
        bytes += strlen(head->names[i]) + 1;
    }
    const char **names = *block = malloc(bytes);
    if (!names) {
        return ldar_fail_memory(error, bytes, "the names of a head");
    }
    char *room = (char *)(names + head->outputs);
    for (size_t i = 0; i < head->outputs; i++) {
        names[i] = strcpy(room, head->names[i]);
        room += strlen(room) + 1;
    }
    head->names = names;
    return LDAR_OK;
}

/* ---- their text ---- */

const char *ldar_head_key(enum ldar_head_kind kind)
{
    return kind == LDAR_HEAD_CLASSES ? "classes" : "target";
}

static void add_classes(const struct ldar_head *head, struct ldar_text *text)
{
    for (size_t i = 0; i < head->outputs; i++) {
        ldar_text_add(text, "%s", i > 0 ? "," : "[");
        ldar_text_add_json(text, head->names[i]);
    }
    ldar_text_add(text, "]");
}

char *ldar_head_format(const struct ldar_head *head)
{
    struct ldar_text text = {NULL, 0, 0};
    if (head->kind == LDAR_HEAD_VALUE) {
        return strdup(head->names[0]);
    }
    add_classes(head, &text);
    text = (struct ldar_text){malloc(text.length + 1), text.length + 1, 0};
    if (text.out) {
        add_classes(head, &text);
    }
    return text.out;
}

/* The strings of an array: each to `room`, one behind the other, and listed where `names` is not NULL. A string is
 * never longer than what stands between its quotes, so that room for the text is room for them all. */
static size_t read_strings(struct ldar_json *json, char *room, const char **names)
{
    const char *const end = room + (json->end - json->begin) + 1;
    size_t count = 0, length;
    ldar_json_take(json, '[');
    do {
        if (count == LDAR_MAX_OUTPUTS) {
            ldar_json_fail(json, "more than 65536 names");
        }
        if (!ldar_json_string(json, room, (size_t)(end - room), &length)) {
            return count;
        }
        if (names) {
            names[count] = room;
        }
        count++;
        room += length + 1;
    } while (ldar_json_try(json, ','));
    if (ldar_json_take(json, ']')) {
        ldar_json_end(json);
    }
    return count;
}

static enum ldar_status parse_classes(const char *where, const char *text, struct ldar_head *head, void **block,
                                      struct ldar_error *error)
{
    const size_t length = strlen(text);
    struct ldar_json json = {text, text, text + length, NULL};
    char *room = malloc(length + 1);
    if (!room) {
        return ldar_fail_memory(error, length, "the names of a head");
    }
    head->outputs = read_strings(&json, room, NULL);
    free(room);
    if (json.fault) {
        return ldar_fail(error, LDAR_ERROR_FORMAT, "%s: the classes in its metadata are no list of names: %s", where,
                         json.fault);
    }
    const char **names = *block = malloc(head->outputs * sizeof *names + length + 1);
    if (!names) {
        return ldar_fail_memory(error, length, "the names of a head");
    }
    json.at = text;
    read_strings(&json, (char *)(names + head->outputs), names);
    head->names = names;
    return LDAR_OK;
}

enum ldar_status ldar_head_parse(const char *where, enum ldar_head_kind kind, const char *text, struct ldar_head *head,
                                 void **block, struct ldar_error *error)
{
    enum ldar_status status;
    *block = NULL;
    head->kind = kind;
    if (kind == LDAR_HEAD_CLASSES) {
        status = parse_classes(where, text, head, block, error);
    } else {
        head->outputs = 1;
        head->names = &text;
        status = ldar_head_copy_names(head, block, error);
    }
    if (!status) {
        status = ldar_head_check(where, LDAR_ERROR_FORMAT, head, error);
    }
    if (status) {
        free(*block);
        *block = NULL;
    }
    return status;
}

/* ---- arithmetic ---- */

void ldar_head_part(size_t length, size_t parts, size_t index, size_t *first, size_t *end)
{
    const size_t next = (index + 1) * length / parts;
    *first = index * length / parts;
    *end = next > *first ? next : *first + 1;
}

void ldar_head_apply(const struct ldar_head *head, size_t width, const float *mean, size_t sequences, double *scores)
{
    const size_t columns = ldar_head_columns(head, width);
    for (size_t s = 0; s < sequences; s++) {
        for (size_t c = 0; c < head->outputs; c++) {
            const float *x = mean + s * columns, *w = head->weight + c * columns;
            double sum = (double)head->bias[c];
            for (size_t k = 0; k < columns; k++) {
                sum += (double)x[k] * (double)w[k];
            }
            scores[s * head->outputs + c] = sum;
        }
    }
}

void ldar_head_scores(const struct ldar_head *head, size_t width, const float *mean, size_t sequences, float *scores)
{
    const size_t columns = ldar_head_columns(head, width);
    for (size_t s = 0; s < sequences; s++) {
        for (size_t c = 0; c < head->outputs; c++) {
            const struct ldar_head one = {.kind = head->kind,
                                          .outputs = 1,
                                          .weight = head->weight + c * columns,
                                          .bias = head->bias + c,
                                          .parts = head->parts};
            double score;
            ldar_head_apply(&one, width, mean + s * columns, 1, &score);
            scores[s * head->outputs + c] = (float)score;
        }
    }
}

/* Cross-entropy of one sequence; its scores become the gradient by them. */
static double class_loss(size_t classes, size_t target, double scale, double *scores, size_t *correct)
{
    size_t best = 0;
    double total = 0;
    for (size_t c = 1; c < classes; c++) {
        best = scores[c] > scores[best] ? c : best;
    }
    *correct += best == target;
    const double highest = scores[best], own = scores[target];
    for (size_t c = 0; c < classes; c++) {
        total += scores[c] = exp(scores[c] - highest);
    }
    for (size_t c = 0; c < classes; c++) {
        scores[c] = (scores[c] / total - (c == target)) * scale;
    }
    return log(total) + (highest - own);
}

double ldar_head_loss(const struct ldar_head *head, const float *targets, size_t sequences, double scale,
                      double *scores, size_t *correct)
{
    double sum = 0;
    *correct = 0;
    for (size_t s = 0; s < sequences; s++, scores += head->outputs) {
        if (head->kind == LDAR_HEAD_CLASSES) {
            sum += class_loss(head->outputs, (size_t)targets[s], scale, scores, correct);
        } else {
            const double difference = scores[0] - (double)targets[s];
            sum += difference * difference / 2;
            scores[0] = difference * scale;
        }
    }
    return sum;
}

void ldar_head_backward(const struct ldar_head *head, size_t width, const float *mean, const double *dscores,
                        size_t sequences, float *dweight, float *dbias, float *dmean, double *row)
{
    const size_t outputs = head->outputs, columns = ldar_head_columns(head, width);
    for (size_t c = 0; c < outputs; c++) {
        double sum = 0;
        memset(row, 0, columns * sizeof *row);
        for (size_t s = 0; s < sequences; s++) {
            const double d = dscores[s * outputs + c];
            sum += d;
            for (size_t k = 0; k < columns; k++) {
                row[k] += d * (double)mean[s * columns + k];
            }
        }
        dbias[c] += (float)sum;
        for (size_t k = 0; k < columns; k++) {
            dweight[c * columns + k] += (float)row[k];
        }
    }
    for (size_t s = 0; s < sequences; s++) {
        memset(row, 0, columns * sizeof *row);
        for (size_t c = 0; c < outputs; c++) {
            for (size_t k = 0; k < columns; k++) {
                row[k] += dscores[s * outputs + c] * (double)head->weight[c * columns + k];
            }
        }
        for (size_t k = 0; k < columns; k++) {
            dmean[s * columns + k] = (float)row[k];
        }
    }
}
