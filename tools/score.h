/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_SCORE_H
#define LDAR_TOOLS_SCORE_H

#include "calls.h"
#include "session.h"

#include "formats/sites.h"

/* The settings of ldar score. */
struct score {
    struct common common;
    const char *genome;
    struct texts regions;
    const char *bed;
    int mode; /* enum marginal_mode */
    uint64_t window;
    int phased, strict;
    const char *sample;
};

/* The fields of INFO that are written, in this order. */
enum score_field { SCORE_LLR, SCORE_DIST, SCORE_DTOK, SCORE_NOTE, SCORE_FIELDS };
extern const struct variant_field score_fields[SCORE_FIELDS];

/*
 * Where one unit of work ends and the next begins: some hundred records, as they follow one another in the file. No
 * number depends on it.
 */
struct score_cutter {
    uint64_t units;
    size_t in_unit, contig;
    uint64_t window; /* of the last record (effects_window) */
};

/* Records on their way from a file to lines with values, unit by unit. */
struct scoring {
    const struct score *score;
    reference *genome;
    struct stretches within; /* no list: everywhere */
    variant_reader *reader;
    effects *effects;
    struct calls calls;
    struct score_cutter cutter;
    size_t begun;                   /* of the calls, those of units that are done; they stay as the context of others */
    size_t end;                     /* past the last call of the unit that is next */
    int ended;                      /* the file has no more records */
    int ordered;                    /* records must be sorted */
    uint64_t records, notes[NOTES]; /* computed so far; of ALTs by note */
};

/* What a file holds, found by reading it once. */
struct score_survey {
    uint64_t units, records, letters; /* letters of REF */
    uint64_t bytes;                   /* of lines */
    uint32_t checksum;                /* CRC-32 of the lines */
};

/* `ordered`: records that are not sorted are an error. On failure scoring_close is due all the same. */
LDAR_MUST_USE enum ldar_status scoring_open(const struct score *score, const struct session *session, int ordered,
                                            struct scoring *scoring, struct ldar_error *error);
void scoring_close(struct scoring *scoring);

/* Reads the file once more than it is computed. */
LDAR_MUST_USE enum ldar_status scoring_survey(struct scoring *scoring, struct score_survey *survey,
                                              struct ldar_error *error);

/* Reads the next unit; *there is 0 behind the last, and *unit its number. */
LDAR_MUST_USE enum ldar_status scoring_read(struct scoring *scoring, int *there, uint64_t *unit,
                                            struct ldar_error *error);

/* The lines of the unit that was read, with values. */
LDAR_MUST_USE enum ldar_status scoring_compute(struct scoring *scoring, struct variant_text *blob,
                                               struct ldar_error *error);

/* The effects of at most `most` ALTs of the unit that was read, which go nowhere: for measuring. */
LDAR_MUST_USE enum ldar_status scoring_try(struct scoring *scoring, size_t most, struct ldar_error *error);

/* Done with the unit that was read. */
void scoring_pass(struct scoring *scoring);

#endif
