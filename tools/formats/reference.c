/* SPDX-License-Identifier: Apache-2.0 */
#include "reference.h"

#include "fai.h"
#include "failure.h"

#include <htslib/bgzf.h>
#include <htslib/faidx.h>
#include <htslib/hts_log.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct reference {
    char *path, *fai, *gzi;
    faidx_t *index;
    struct contigs contigs;
    struct contig_name *by_name; /* (contigs.count) */
    struct warnings warnings;
    bool renamed; /* a name was matched with or without "chr", and a warning has said so */
};

/* ---- the indexes ---- */

static char *path_with(const char *path, const char *suffix)
{
    char *result = malloc(strlen(path) + strlen(suffix) + 1);
    return result ? strcat(strcpy(result, path), suffix) : NULL;
}

static void warn(const reference *reference, const char *message)
{
    if (reference->warnings.warn) {
        reference->warnings.warn(reference->warnings.user, message);
    }
}

/* How the genome is stored, as bgzf_compression says: 0 plain, 1 gzip, 2 BGZF; negative when it cannot be read. */
static int genome_compression(const char *path)
{
    BGZF *file = bgzf_open(path, "r");
    if (!file) {
        return -1;
    }
    const int compression = bgzf_compression(file);
    (void)bgzf_close(file);
    return compression;
}

bool reference_is_sequential(const char *path)
{
    return genome_compression(path) == 1;
}

static enum ldar_status sync_and_rename(const char *from, const char *to, struct ldar_error *error)
{
    const int descriptor = open(from, O_RDONLY | O_CLOEXEC);
    const int failed = descriptor < 0 || fsync(descriptor) || rename(from, to);
    const int cause = errno;
    if (descriptor >= 0) {
        close(descriptor);
    }
    return failed ? fail(error, LDAR_ERROR_IO, "%s: %s", to, strerror(cause)) : LDAR_OK;
}

static enum ldar_status build_under(const reference *reference, bool bgzf, const char *fai, const char *gzi,
                                    struct ldar_error *error)
{
    errno = 0;
    if (fai_build3(reference->path, fai, gzi)) {
        if (errno == EACCES || errno == EROFS || errno == ENOSPC) {
            return fail(error, LDAR_ERROR_IO, "%s: the index cannot be written: %s", reference->fai, strerror(errno));
        }
        return fail(error, LDAR_ERROR_FORMAT,
                    "%s: cannot be indexed: it is damaged, or no FASTA in which all lines of a record but the last are "
                    "equally long",
                    reference->path);
    }
    enum ldar_status status = bgzf ? sync_and_rename(gzi, reference->gzi, error) : LDAR_OK;
    return status ? status : sync_and_rename(fai, reference->fai, error);
}

/* Makes .fai (and .gzi) under temporary names, so that none that is incomplete ever bears the name. */
static enum ldar_status build_index(const reference *reference, bool bgzf, struct ldar_error *error)
{
    char suffix[40];
    snprintf(suffix, sizeof suffix, ".tmp.%ld", (long)getpid());
    char *fai = path_with(reference->fai, suffix);
    char *gzi = path_with(reference->gzi, suffix);
    enum ldar_status status = LDAR_ERROR_MEMORY;
    if (fai && gzi) {
        status = build_under(reference, bgzf, fai, gzi, error);
        if (status) {
            unlink(fai);
            unlink(gzi);
        }
    } else {
        status = fail_memory(error, reference->path, "its index");
    }
    free(fai);
    free(gzi);
    return status;
}

/* Whether the file is there; one that is older than the genome draws a warning. */
static bool have_index(const reference *reference, const char *path, const struct stat *genome)
{
    struct stat index;
    if (stat(path, &index)) {
        return false;
    }
    if (index.st_mtime < genome->st_mtime) {
        char message[1000];
        snprintf(message, sizeof message,
                 "%.400s is older than %.400s; if the sequence changed since, remove the index, and it is made anew",
                 path, reference->path);
        warn(reference, message);
    }
    return true;
}

static enum ldar_status load_index(reference *reference, struct ldar_error *error)
{
    struct stat genome;
    if (stat(reference->path, &genome)) {
        return fail(error, LDAR_ERROR_IO, "%s: %s", reference->path, strerror(errno));
    }
    if (!S_ISREG(genome.st_mode)) {
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: not a regular file, and regions need one", reference->path);
    }
    errno = 0;
    const int compression = genome_compression(reference->path);
    if (compression < 0) {
        return fail(error, LDAR_ERROR_IO, "%s: %s", reference->path, errno ? strerror(errno) : "cannot be read");
    }
    if (compression == 1) {
        return fail(error, LDAR_ERROR_FORMAT, "%s: gzip has no random access; compress it with bgzip, or not at all",
                    reference->path);
    }
    const bool bgzf = compression == 2;
    enum ldar_status status = LDAR_OK;
    if (!have_index(reference, reference->fai, &genome) || (bgzf && !have_index(reference, reference->gzi, &genome))) {
        status = build_index(reference, bgzf, error);
    }
    if (!status) {
        status = fai_read(reference->fai, bgzf ? 0 : (uint64_t)genome.st_size, &reference->contigs, error);
    }
    if (!status && !(reference->index = fai_load3(reference->path, reference->fai, reference->gzi, 0))) {
        status = fail(error, LDAR_ERROR_FORMAT,
                      "%s: cannot be loaded with its indexes; remove them, and they are made anew", reference->path);
    }
    return status;
}

/* ---- the reference ---- */

enum ldar_status reference_open(const char *path, const struct warnings *warnings, reference **out,
                                struct ldar_error *error)
{
    *out = NULL;
    hts_set_log_level(HTS_LOG_OFF);
    reference *reference = calloc(1, sizeof *reference);
    if (!reference) {
        return fail_memory(error, path, "its index");
    }
    enum ldar_status status = LDAR_OK;
    reference->warnings = warnings ? *warnings : (struct warnings){0};
    reference->path = path_with(path, "");
    reference->fai = path_with(path, ".fai");
    reference->gzi = path_with(path, ".gzi");
    if (!reference->path || !reference->fai || !reference->gzi) {
        status = fail_memory(error, path, "its index");
    } else {
        status = load_index(reference, error);
    }
    if (!status && !(reference->by_name = contigs_sort(&reference->contigs))) {
        status = fail_memory(error, path, "its index");
    }
    if (status) {
        reference_close(reference);
        return status;
    }
    *out = reference;
    return LDAR_OK;
}

const char *reference_path(const reference *reference)
{
    return reference->path;
}

const struct warnings *reference_warnings(const reference *reference)
{
    return &reference->warnings;
}

const struct contigs *reference_contigs(const reference *reference)
{
    return &reference->contigs;
}

void reference_close(reference *reference)
{
    if (reference) {
        if (reference->index) {
            fai_destroy(reference->index);
        }
        contigs_free(&reference->contigs);
        free(reference->by_name);
        free(reference->path);
        free(reference->fai);
        free(reference->gzi);
        free(reference);
    }
}

/* ---- finding a contig ---- */

static const struct contig_name *find_exact(const reference *reference, const char *name)
{
    return contigs_find(reference->by_name, reference->contigs.count, name);
}

/* Under the name that the other of the two conventions gives it: 1 and chr1, MT and chrM. */
static const struct contig_name *find_renamed(const reference *reference, const char *name)
{
    static const char *const mitochondrion[] = {"chrM", "MT", "M", "chrMT"};
    const size_t count = sizeof mitochondrion / sizeof *mitochondrion;
    char *with_chr = path_with("chr", name);
    const struct contig_name *found = strncmp(name, "chr", 3) == 0 ? find_exact(reference, name + 3)
                                      : with_chr                   ? find_exact(reference, with_chr)
                                                                   : NULL;
    free(with_chr);
    for (size_t i = 0; !found && i < count; ++i) {
        if (strcmp(name, mitochondrion[i]) == 0) {
            for (size_t j = 0; !found && j < count; ++j) {
                found = find_exact(reference, mitochondrion[j]);
            }
        }
    }
    return found;
}

static void warn_renamed(reference *reference, const char *asked, const char *taken)
{
    char message[1000];
    snprintf(message, sizeof message,
             "%.400s has no sequence \"%.200s\"; \"%.200s\" is taken for it, and so for others", reference->path, asked,
             taken);
    if (!reference->renamed) {
        warn(reference, message);
    }
    reference->renamed = true;
}

bool reference_has(const reference *reference, const char *name, size_t *contig)
{
    const struct contig_name *found = find_exact(reference, name);
    if (found) {
        *contig = found->contig;
    }
    return found;
}

bool reference_find(reference *reference, const char *name, size_t *contig)
{
    if (reference_has(reference, name, contig)) {
        return true;
    }
    const struct contig_name *found = find_renamed(reference, name);
    if (found) {
        warn_renamed(reference, name, found->name);
        *contig = found->contig;
    }
    return found;
}

/* ---- letters ---- */

enum ldar_status reference_fetch(reference *reference, size_t contig, uint64_t start, size_t count, char **letters,
                                 struct ldar_error *error)
{
    const char *name = reference->contigs.names[contig];
    hts_pos_t got = 0;
    *letters = faidx_fetch_seq64(reference->index, name, (hts_pos_t)start, (hts_pos_t)(start + count) - 1, &got);
    if (!*letters || got != (hts_pos_t)count) {
        free(*letters);
        *letters = NULL;
        return fail(error, LDAR_ERROR_FORMAT,
                    "%s: sequence \"%.200s\" ends before position %" PRIu64
                    ": the file is cut off or its index is of another file; remove the index, and it is made anew",
                    reference->path, name, start + count);
    }
    return LDAR_OK;
}
