/* SPDX-License-Identifier: Apache-2.0 */
#include "tracks.h"

#include "bigwig.h"
#include "failure.h"
#include "number.h"
#include "output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct track {
    enum track_format format;
    output *output; /* of BED and bedGraph */
    bigwig *bigwig;
    output *side;      /* the provenance beside a bigWig, or NULL */
    char *name;        /* of the current record, and a tab */
    size_t name_bytes; /* without NUL */
    uint64_t position; /* of the next base */
    uint64_t open;     /* where the token or run begins that goes on; `position` when none does */
    float value;       /* its probability */
};

static const char *const format_names[] = {
    [TRACK_BED] = "bed", [TRACK_BEDGRAPH] = "bedgraph", [TRACK_BIGWIG] = "bigwig"};
enum { FORMATS = sizeof format_names / sizeof *format_names };

const char *track_format_name(enum track_format format)
{
    return format_names[format];
}

enum ldar_status track_format_parse(const char *name, enum track_format *format, struct ldar_error *error)
{
    for (int i = 0; i < FORMATS; ++i) {
        if (strcmp(name, format_names[i]) == 0) {
            *format = (enum track_format)i;
            return LDAR_OK;
        }
    }
    return fail(error, LDAR_ERROR_ARGUMENT, "\"%.100s\" is no track format; there are bed, bedgraph and bigwig", name);
}

/* ---- creation ---- */

static enum ldar_status begin_text(track *track, const char *path, const struct provenance *provenance,
                                   struct ldar_error *error)
{
    char *line = provenance_line(provenance);
    if (!line) {
        return fail_memory(error, path, "its provenance");
    }
    enum ldar_status status = output_create(path, &track->output, error);
    if (!status) {
        status = output_write(track->output, "# ", 2, error);
    }
    if (!status) {
        status = output_write(track->output, line, strlen(line), error);
    }
    if (!status) {
        status = output_write(track->output, "\n", 1, error);
    }
    free(line);
    return status;
}

static enum ldar_status begin_bigwig(track *track, const char *path, const struct contigs *contigs,
                                     const struct provenance *provenance, struct ldar_error *error)
{
    const enum ldar_status status = bigwig_create(path, contigs, &track->bigwig, error);
    return status ? status : provenance_begin_beside(path, provenance, &track->side, error);
}

enum ldar_status track_create(const char *path, enum track_format format, const struct contigs *contigs,
                              const struct provenance *provenance, track **out, struct ldar_error *error)
{
    *out = NULL;
    track *track = calloc(1, sizeof *track);
    if (!track) {
        return fail_memory(error, path, "writing");
    }
    track->format = format;
    const enum ldar_status status = format == TRACK_BIGWIG ? begin_bigwig(track, path, contigs, provenance, error)
                                                           : begin_text(track, path, provenance, error);
    if (status) {
        track_abandon(track);
        return status;
    }
    *out = track;
    return LDAR_OK;
}

/* ---- lines ---- */

/* round(1000 p), for which a probability that is none counts as 0. */
static uint64_t score(float probability)
{
    return probability > 0 ? (uint64_t)round(1000 * fmin(probability, 1)) : 0;
}

/* The line of the token or run that ends at `position`, if one is open. */
static enum ldar_status close_line(track *track, struct ldar_error *error)
{
    if (track->open == track->position) {
        return LDAR_OK;
    }
    char line[4 * NUMBER_CHARACTERS];
    char *to = put_number(line, track->open);
    *to++ = '\t';
    to = put_number(to, track->position);
    if (track->format == TRACK_BED) {
        memcpy(to, "\t.\t", 3);
        to = put_number(to + 3, score(track->value));
        memcpy(to, "\t.\n", 3);
        to += 3;
    } else {
        *to++ = '\t';
        to = put_float_text(to, track->value);
        *to++ = '\n';
    }
    track->open = track->position;
    const enum ldar_status status = output_write(track->output, track->name, track->name_bytes, error);
    return status ? status : output_write(track->output, line, (size_t)(to - line), error);
}

static enum ldar_status write_lines(track *track, const float *prob, const uint8_t *boundary, size_t count,
                                    struct ldar_error *error)
{
    for (size_t i = 0; i < count; ++i) {
        const bool ends = track->format == TRACK_BED ? boundary[i] != 0 : prob[i] != track->value;
        if (ends) {
            const enum ldar_status status = close_line(track, error);
            if (status) {
                return status;
            }
        }
        if (track->open == track->position) {
            track->value = prob[i];
        }
        ++track->position;
    }
    return LDAR_OK;
}

/* ---- records ---- */

enum ldar_status track_record(track *track, const char *name, uint64_t start, struct ldar_error *error)
{
    if (track->bigwig) {
        return bigwig_seek(track->bigwig, name, start, error);
    }
    free(track->name);
    track->name_bytes = strlen(name) + 1;
    track->name = malloc(track->name_bytes + 1);
    if (!track->name) {
        return fail_memory(error, name, "its name");
    }
    strcat(strcpy(track->name, name), "\t");
    track->position = track->open = start;
    return LDAR_OK;
}

enum ldar_status track_write(track *track, const float *prob, const uint8_t *boundary, size_t count,
                             struct ldar_error *error)
{
    return track->bigwig ? bigwig_write(track->bigwig, prob, count, error)
                         : write_lines(track, prob, boundary, count, error);
}

enum ldar_status track_record_end(track *track, struct ldar_error *error)
{
    return track->bigwig ? LDAR_OK : close_line(track, error);
}

/* ---- the end ---- */

/* The provenance first: a bigWig that stands has it beside it. */
static enum ldar_status commit_bigwig(track *track, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    if (track->side) {
        status = output_commit(track->side, error);
        track->side = NULL;
    }
    if (!status) {
        status = bigwig_commit(track->bigwig, error);
        track->bigwig = NULL;
    }
    return status;
}

enum ldar_status track_commit(track *track, struct ldar_error *error)
{
    enum ldar_status status;
    if (track->bigwig) {
        status = commit_bigwig(track, error);
    } else {
        status = output_commit(track->output, error);
        track->output = NULL;
    }
    track_abandon(track);
    return status;
}

void track_abandon(track *track)
{
    if (track) {
        output_abandon(track->output);
        output_abandon(track->side);
        bigwig_abandon(track->bigwig);
        free(track->name);
        free(track);
    }
}
