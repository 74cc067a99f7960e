/* SPDX-License-Identifier: Apache-2.0 */
#include "variants.h"

#include "failure.h"
#include "number.h"

#include <htslib/bgzf.h>
#include <htslib/hts_log.h>
#include <htslib/kstring.h>
#include <htslib/vcf.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct variant_reader {
    char *path; /* as messages name it */
    htsFile *file;
    bcf_hdr_t *header;
    bcf1_t *record;
    kstring_t line, parsed;
    uint64_t number;
    int sample; /* whose genotypes are told; -1: of none */
    int32_t *genotypes, *phase_sets;
    int genotype_room, phase_set_room;
};

/* What htslib minds about a record; that a contig or a tag has no line in the header is none of it. */
static const struct {
    int bit;
    const char *words;
} faults[] = {
    {BCF_ERR_NCOLS, "it has too few or too many columns"},
    {BCF_ERR_LIMITS, "a number or a list is beyond the limits of the format"},
    {BCF_ERR_CHAR, "a character is not allowed where it stands"},
    {BCF_ERR_CTG_INVALID, "its contig has no valid name"},
    {BCF_ERR_TAG_INVALID, "a tag has no valid name"},
};

static const int tolerated = BCF_ERR_CTG_UNDEF | BCF_ERR_TAG_UNDEF;

/* ---- opening ---- */

static enum ldar_status open_header(variant_reader *reader, const char *path, struct ldar_error *error)
{
    errno = 0;
    reader->file = hts_open(path, "r");
    if (!reader->file) {
        return errno && errno != ENOEXEC ? fail(error, LDAR_ERROR_IO, "%s: %s", reader->path, strerror(errno))
                                         : fail(error, LDAR_ERROR_FORMAT, "%s: neither VCF nor BCF", reader->path);
    }
    const htsFormat *format = hts_get_format(reader->file);
    if (format->format != vcf && format->format != bcf) {
        return fail(error, LDAR_ERROR_FORMAT,
                    "%s: neither VCF nor BCF: a VCF file begins with the line ##fileformat=VCFv4.2", reader->path);
    }
    reader->header = bcf_hdr_read(reader->file);
    return reader->header ? LDAR_OK
                          : fail(error, LDAR_ERROR_FORMAT,
                                 "%s: its header is damaged or cut off: lines that begin with ## and at last one that "
                                 "begins with #CHROM are expected",
                                 reader->path);
}

enum ldar_status variant_reader_open(const char *path, variant_reader **out, struct ldar_error *error)
{
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    *out = NULL;
    hts_set_log_level(HTS_LOG_OFF);
    variant_reader *reader = calloc(1, sizeof *reader);
    if (!reader) {
        return fail_memory(error, name, "reading");
    }
    reader->sample = -1;
    reader->path = malloc(strlen(name) + 1);
    reader->record = bcf_init();
    enum ldar_status status = LDAR_OK;
    if (reader->path && reader->record) {
        strcpy(reader->path, name);
        status = open_header(reader, path, error);
    } else {
        status = fail_memory(error, name, "reading");
    }
    if (status) {
        variant_reader_close(reader);
        return status;
    }
    *out = reader;
    return LDAR_OK;
}

void variant_reader_close(variant_reader *reader)
{
    if (!reader) {
        return;
    }
    if (reader->record) {
        bcf_destroy(reader->record);
    }
    if (reader->header) {
        bcf_hdr_destroy(reader->header);
    }
    if (reader->file) {
        (void)hts_close(reader->file);
    }
    free(reader->line.s);
    free(reader->parsed.s);
    free(reader->genotypes);
    free(reader->phase_sets);
    free(reader->path);
    free(reader);
}

enum ldar_status variant_reader_sample(variant_reader *reader, const char *sample, struct ldar_error *error)
{
    if (bcf_hdr_nsamples(reader->header) == 0) {
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: has no samples, and so no haplotypes", reader->path);
    }
    reader->sample = sample ? bcf_hdr_id2int(reader->header, BCF_DT_SAMPLE, sample) : 0;
    return reader->sample >= 0
               ? LDAR_OK
               : fail(error, LDAR_ERROR_ARGUMENT, "%s: has no sample \"%.200s\"; its first is \"%.200s\"", reader->path,
                      sample, reader->header->samples[0]);
}

/* ---- records ---- */

static enum ldar_status fail_record(const variant_reader *reader, const char *what, struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_FORMAT, "%s: record %" PRIu64 ": not what the format demands: %s", reader->path,
                reader->number, what);
}

static enum ldar_status check_faults(const variant_reader *reader, int code, struct ldar_error *error)
{
    for (size_t i = 0; i < sizeof faults / sizeof *faults; ++i) {
        if (code & faults[i].bit) {
            return fail_record(reader, faults[i].words, error);
        }
    }
    return code & ~tolerated ? fail_record(reader, "htslib cannot read it", error) : LDAR_OK;
}

/* What htslib's reading of compressed data stumbled over; it may go on behind a block that is damaged. */
static bool stumbled(const variant_reader *reader)
{
    return reader->file->is_bgzf && reader->file->fp.bgzf->errcode;
}

/* BGZF ends with an empty block, by which a file that was cut between two blocks is told from a whole one. */
static bool lacks_end(const variant_reader *reader)
{
    return reader->file->is_bgzf && reader->file->format.compression == bgzf && !reader->file->fp.bgzf->last_block_eof;
}

/* What became of a read that returned `got`: negative at the end of the file, or of what can be read of it. */
static enum ldar_status check_read(const variant_reader *reader, int got, struct ldar_error *error)
{
    if (!stumbled(reader) && (got >= 0 || (got == -1 && !lacks_end(reader)))) {
        return LDAR_OK;
    }
    return fail(error, LDAR_ERROR_FORMAT, "%s: behind record %" PRIu64 ": the file is cut off or damaged", reader->path,
                reader->number);
}

/* htslib takes a position that is no number for 0. */
static bool has_position(const kstring_t *line)
{
    const char *end = line->s + line->l, *tab = memchr(line->s, '\t', line->l);
    const char *digits = tab ? tab + 1 : end, *next = memchr(digits, '\t', (size_t)(end - digits));
    uint64_t position;
    return next && parse_number(digits, (size_t)(next - digits), &position);
}

/* The next record as a line and unpacked; *ended instead where there is none. */
static enum ldar_status read_vcf(variant_reader *reader, bool *ended, struct ldar_error *error)
{
    const int got = hts_getline(reader->file, '\n', &reader->line);
    enum ldar_status status = check_read(reader, got, error);
    *ended = got < 0;
    if (status || *ended) {
        return status;
    }
    reader->number++;
    reader->parsed.l = 0;
    if (memchr(reader->line.s, '\0', reader->line.l)) {
        return fail_record(reader, "a byte of it is 0", error);
    }
    if (!has_position(&reader->line)) {
        return fail_record(reader, "its second column, POS, is no whole number", error);
    }
    if (kputsn(reader->line.s, reader->line.l, &reader->parsed) < 0) {
        return fail_memory(error, reader->path, "a record");
    }
    bcf_clear(reader->record);
    const int parsed = vcf_parse(&reader->parsed, reader->header, reader->record);
    status = check_faults(reader, reader->record->errcode, error);
    if (!status && parsed < 0) {
        return fail_record(reader, "CHROM, POS, ID, REF, ALT, QUAL, FILTER and INFO are expected, between tabs", error);
    }
    return status;
}

static enum ldar_status read_bcf(variant_reader *reader, bool *ended, struct ldar_error *error)
{
    const int got = bcf_read(reader->file, reader->header, reader->record);
    enum ldar_status status = check_read(reader, got, error);
    *ended = got < 0;
    if (status || *ended) {
        return status;
    }
    reader->number++;
    reader->line.l = 0;
    status = check_faults(reader, reader->record->errcode, error);
    if (!status && vcf_format(reader->header, reader->record, &reader->line) < 0) {
        return fail_record(reader, "htslib cannot print it", error);
    }
    while (reader->line.l > 0 && reader->line.s[reader->line.l - 1] == '\n') {
        reader->line.l--;
    }
    return status;
}

/* Whether the record has the tag, as whole numbers: at any other type htslib ends the process. */
static bool has_integers(const variant_reader *reader, const char *tag)
{
    const bcf_fmt_t *field = bcf_get_fmt(reader->header, reader->record, tag);
    return field && (field->type == BCF_BT_INT8 || field->type == BCF_BT_INT16 || field->type == BCF_BT_INT32);
}

/* The genotype of the chosen sample, and its phase set. */
static void tell_genotype(variant_reader *reader, struct variant *variant)
{
    bcf1_t *record = reader->record;
    const int samples = bcf_hdr_nsamples(reader->header);
    if (!has_integers(reader, "GT")) {
        return;
    }
    const int count = bcf_get_genotypes(reader->header, record, &reader->genotypes, &reader->genotype_room);
    if (count != samples * VARIANT_PLOIDY) {
        return; /* none, or of another ploidy in all samples */
    }
    const int32_t *genotype = reader->genotypes + reader->sample * VARIANT_PLOIDY;
    for (int i = 0; i < VARIANT_PLOIDY; ++i) {
        /* A missing allele and one that is beyond the genotype's end are negative. */
        if (bcf_gt_allele(genotype[i]) < 0 || bcf_gt_allele(genotype[i]) >= (int)variant->alleles) {
            variant->carried[0] = variant->carried[1] = -1;
            return;
        }
        variant->carried[i] = bcf_gt_allele(genotype[i]);
    }
    variant->phased = bcf_gt_is_phased(genotype[1]) || variant->carried[0] == variant->carried[1];
    if (has_integers(reader, "PS")
        && bcf_get_format_int32(reader->header, record, "PS", &reader->phase_sets, &reader->phase_set_room) == samples
        && reader->phase_sets[reader->sample] >= 0) {
        variant->phase_set = reader->phase_sets[reader->sample];
    }
}

static void describe(variant_reader *reader, struct variant *variant)
{
    bcf1_t *record = reader->record;
    variant->line = reader->line.s;
    variant->bytes = reader->line.l;
    variant->number = reader->number;
    variant->contig = bcf_seqname_safe(reader->header, record);
    variant->position = record->pos;
    variant->alleles = record->n_allele;
    variant->allele = (const char *const *)record->d.allele;
    if (reader->sample >= 0) {
        tell_genotype(reader, variant);
    }
}

enum ldar_status variant_reader_next(variant_reader *reader, struct variant *variant, struct ldar_error *error)
{
    bool ended = false;
    *variant = (struct variant){.carried = {-1, -1}, .phase_set = -1};
    enum ldar_status status =
        reader->file->format.format == bcf ? read_bcf(reader, &ended, error) : read_vcf(reader, &ended, error);
    if (status || ended) {
        return status;
    }
    if (bcf_unpack(reader->record, reader->sample >= 0 ? BCF_UN_ALL : BCF_UN_STR) < 0
        || reader->record->n_allele == 0) {
        return fail_record(reader, "it has no alleles", error);
    }
    describe(reader, variant);
    return LDAR_OK;
}

/* ---- the header of what is made of it ---- */

static bool add_fields(bcf_hdr_t *header, const struct variant_field *fields, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        bcf_hdr_remove(header, BCF_HL_INFO, fields[i].id);
        if (bcf_hdr_printf(header, "##INFO=<ID=%s,Number=%s,Type=%s,Description=\"%s\">", fields[i].id,
                           fields[i].number, fields[i].type, fields[i].description)) {
            return false;
        }
    }
    return true;
}

static bool add_contigs(bcf_hdr_t *header, const struct contigs *contigs, size_t *added)
{
    *added = 0;
    for (size_t i = 0; i < contigs->count; ++i) {
        if (bcf_hdr_name2id(header, contigs->names[i]) >= 0) {
            continue;
        }
        if (bcf_hdr_printf(header, "##contig=<ID=%s,length=%" PRIu64 ">", contigs->names[i], contigs->lengths[i])) {
            return false;
        }
        ++*added;
    }
    return true;
}

static bool add_provenance(bcf_hdr_t *header, const struct provenance *provenance)
{
    char *line = provenance_line(provenance);
    const bool added = line && bcf_hdr_printf(header, "##ldar=%s", line) == 0;
    free(line);
    return added;
}

char *variant_reader_header(const variant_reader *reader, const struct contigs *contigs,
                            const struct variant_field *fields, size_t count, const struct provenance *provenance,
                            size_t *added, struct ldar_error *error)
{
    kstring_t text = {0};
    bcf_hdr_t *header = bcf_hdr_dup(reader->header);
    const bool made = header && add_contigs(header, contigs, added) && add_fields(header, fields, count)
                      && add_provenance(header, provenance) && bcf_hdr_sync(header) == 0
                      && bcf_hdr_format(header, 0, &text) == 0;
    if (header) {
        bcf_hdr_destroy(header);
    }
    if (!made) {
        free(text.s);
        (void)fail(error, LDAR_ERROR_FORMAT, "%s: htslib cannot add lines to its header", reader->path);
        return NULL;
    }
    return text.s;
}
