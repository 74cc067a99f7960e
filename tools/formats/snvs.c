/* SPDX-License-Identifier: Apache-2.0 */
#include "snvs.h"

#include "failure.h"
#include "number.h"
#include "tabix.h"

#include <ldar/model.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LETTERS = 4, LLR_DECIMALS = 4, P_DECIMALS = 5, COLUMNS_BYTES = 6 * NUMBER_CHARACTERS };

static const char letters[LETTERS] = "ACGT";

struct snvs {
    tabix *table;
    char *line; /* that of the current row, which begins with the contig's name and a tab */
    size_t name_bytes;
    uint64_t position; /* of the next base */
};

static enum ldar_status write_header(snvs *snvs, const struct provenance *provenance, const char *about,
                                     struct ldar_error *error)
{
    static const char columns[] = "#chrom\tpos\tref\talt\tllr\tp_ref\tp_alt\n";
    char *line = provenance_line(provenance);
    const char *const texts[] = {"## ", line, "\n## llr: natural logarithm of p_alt / p_ref; ", about, "\n", columns};
    enum ldar_status status = line ? LDAR_OK : fail(error, LDAR_ERROR_MEMORY, "out of memory");
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !status; ++i) {
        status = tabix_text(snvs->table, texts[i], strlen(texts[i]), error);
    }
    free(line);
    return status;
}

enum ldar_status snvs_create(const char *path, const struct contigs *contigs, const struct provenance *provenance,
                             const char *about, snvs **out, struct ldar_error *error)
{
    *out = NULL;
    snvs *snvs = calloc(1, sizeof *snvs);
    if (!snvs) {
        return fail_memory(error, path, "writing");
    }
    enum ldar_status status = tabix_create(path, contigs, &snvs->table, error);
    if (!status) {
        status = write_header(snvs, provenance, about, error);
    }
    if (status) {
        snvs_abandon(snvs);
        return status;
    }
    *out = snvs;
    return LDAR_OK;
}

enum ldar_status snvs_seek(snvs *snvs, const char *name, uint64_t start, struct ldar_error *error)
{
    snvs->position = start;
    if (snvs->line && strlen(name) + 1 == snvs->name_bytes && memcmp(snvs->line, name, snvs->name_bytes - 1) == 0) {
        return LDAR_OK;
    }
    free(snvs->line);
    snvs->name_bytes = strlen(name) + 1;
    snvs->line = malloc(snvs->name_bytes + COLUMNS_BYTES);
    if (!snvs->line) {
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    }
    memcpy(snvs->line, name, snvs->name_bytes - 1);
    snvs->line[snvs->name_bytes - 1] = '\t';
    return LDAR_OK;
}

/* The rows of a base that is no N: all but their ALTs, LLRs and p_alt is put once. */
static enum ldar_status write_base(snvs *snvs, unsigned ref, const float *log_p, struct ldar_error *error)
{
    char p_ref[NUMBER_CHARACTERS];
    const size_t p_ref_bytes = (size_t)(put_decimal(p_ref, exp((double)log_p[ref]), P_DECIMALS) - p_ref);
    char *prefix = put_number(snvs->line + snvs->name_bytes, snvs->position + 1);
    enum ldar_status status = LDAR_OK;
    *prefix++ = '\t';
    *prefix++ = letters[ref];
    *prefix++ = '\t';
    for (unsigned alt = 0; alt < LETTERS && !status; ++alt) {
        char *to = prefix;
        if (alt == ref) {
            continue;
        }
        *to++ = letters[alt];
        *to++ = '\t';
        to = put_decimal(to, (double)log_p[alt] - (double)log_p[ref], LLR_DECIMALS);
        *to++ = '\t';
        memcpy(to, p_ref, p_ref_bytes);
        to += p_ref_bytes;
        *to++ = '\t';
        to = put_decimal(to, exp((double)log_p[alt]), P_DECIMALS);
        *to++ = '\n';
        status = tabix_line(snvs->table, snvs->position, snvs->line, (size_t)(to - snvs->line), error);
    }
    return status;
}

/* The contig takes its place in the index with its first row, as tabix itself would have it. */
static enum ldar_status enter_contig(snvs *snvs, struct ldar_error *error)
{
    char *end = snvs->line + snvs->name_bytes - 1;
    *end = '\0';
    const enum ldar_status status = tabix_sequence(snvs->table, snvs->line, error);
    *end = '\t';
    return status;
}

enum ldar_status snvs_write(snvs *snvs, const uint8_t *ids, const float *log_p, size_t count, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    bool entered = false;
    for (size_t i = 0; i < count && !status; ++i) {
        if (ids[i] <= LDAR_T) {
            status = entered ? LDAR_OK : enter_contig(snvs, error);
            entered = true;
            status = status ? status : write_base(snvs, ids[i], log_p + i * LETTERS, error);
        }
        ++snvs->position;
    }
    return status;
}

enum ldar_status snvs_finish(snvs *snvs, struct ldar_error *error)
{
    return tabix_finish(snvs->table, error);
}

enum ldar_status snvs_commit(snvs *snvs, struct ldar_error *error)
{
    const enum ldar_status status = tabix_commit(snvs->table, error);
    snvs->table = NULL;
    snvs_abandon(snvs);
    return status;
}

void snvs_abandon(snvs *snvs)
{
    if (snvs) {
        tabix_abandon(snvs->table);
        free(snvs->line);
        free(snvs);
    }
}
