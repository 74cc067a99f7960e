/* SPDX-License-Identifier: Apache-2.0 */
#include "results.h"
#include "message.h"
#include "part.h"

#include "formats/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- shards ---- */

enum { SHARDS_MAX = 1000000 };

/* "i/N"; 0 for any other text. */
static int parse_shard(const char *text, struct shard *shard)
{
    char *end;
    if (*text < '1' || *text > '9')
        return 0;
    const unsigned long index = strtoul(text, &end, 10);
    if (*end != '/' || end[1] < '1' || end[1] > '9')
        return 0;
    const unsigned long count = strtoul(end + 1, &end, 10);
    *shard = (struct shard){index - 1, count};
    return *end == '\0' && index <= count && count <= SHARDS_MAX;
}

struct shard shard_of(const struct common *common)
{
    struct shard shard = {0, 1};
    if (common->shard && !parse_shard(common->shard, &shard))
        shard = (struct shard){0, 1};
    return shard;
}

uint64_t shard_border(uint64_t total, struct shard shard)
{
    /* total * index / count, without the product. */
    return total / shard.count * shard.index + total % shard.count * shard.index / shard.count;
}

enum exit_status shards_check(const struct common *common, const char *input)
{
    struct shard shard;
    const char *option = common->shard ? "--shard" : common->resume ? "--resume" : "--dry-run";
    if (common->shard && !parse_shard(common->shard, &shard)) {
        say_error("option --shard: '%s' is not valid; it takes i/N with 1 <= i <= N <= %d", common->shard, SHARDS_MAX);
        return EXIT_USAGE;
    }
    if (!common->shard && !common->resume && !common->dry_run)
        return EXIT_DONE;
    if (input && strcmp(input, "-") == 0) {
        say_error("option %s: the standard input can be read only once: name a file", option);
        return EXIT_USAGE;
    }
    if (!common->dry_run && (!common->output || strcmp(common->output, "-") == 0)) {
        say_error("option %s needs a file to write: -o FILE", option);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

/* ---- identity ---- */

void identity_add(struct identity *identity, const char *key, const char *format, ...)
{
    va_list arguments;
    if (identity->count == sizeof identity->item / sizeof *identity->item)
        return;
    char *value = NULL;
    va_start(arguments, format);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length >= 0)
        value = malloc((size_t)length + 1);
    if (value) {
        va_start(arguments, format);
        vsnprintf(value, (size_t)length + 1, format, arguments);
        va_end(arguments);
    }
    identity->item[identity->count].key = key;
    identity->item[identity->count++].value = value;
}

void identity_add_session(struct identity *identity, const struct common *common, const struct session *session)
{
    identity_add(identity, "version of ldar", "%s", ldar_version());
    identity_add(identity, "command", "%s", common->command_line);
    if (!session)
        return;
    identity_add(identity, "model", "%s", session->info.sha256);
    identity_add(identity, "instruction set", "%s", ldar_isa_name(ldar_context_isa(session->context)));
    identity_add(identity, "matrix multiplication", "%s", ldar_context_gemm(session->context));
    identity_add(identity, "type", "%s", ldar_dtype_name(ldar_context_dtype(session->context)));
}

void identity_free(struct identity *identity)
{
    for (size_t i = 0; i < identity->count; i++)
        free(identity->item[i].value);
    identity->count = 0;
}

/* ---- results ---- */

struct results {
    const struct workload *work;
    enum { AT_ONCE, KEPT, PART } way;
    char *path; /* OUT.part */
    journal *journal;
    uint64_t put; /* units in the journal */
};

/* A header to compare others with. */
struct expected {
    const char *path;
    const struct part_header *header;
};

static enum ldar_status check_header(void *user, const char *text, struct ldar_error *error)
{
    const struct expected *expected = user;
    const struct part_header *own = expected->header;
    struct part_header other;
    char what[700];
    enum ldar_status status = part_header_parse(expected->path, text, &other, error);
    if (status != LDAR_OK)
        return status;
    int same = part_headers_agree(own, &other, what, sizeof what);
    if (same && (own->shard != other.shard || own->first != other.first)) {
        snprintf(what, sizeof what, "it is of shard %llu, not %llu", (unsigned long long)other.shard,
                 (unsigned long long)own->shard);
        same = 0;
    }
    part_header_free(&other);
    return same ? LDAR_OK
                : fail(error, LDAR_ERROR_ARGUMENT,
                       "%s: holds results of another run: %s; repeat that run, remove the file, or name another output",
                       expected->path, what);
}

/* Whether the path bears a complete part with the header. */
static int is_complete(const char *path, const struct part_header *header)
{
    struct expected expected = {path, header};
    struct ldar_error ignored;
    journal_reader *reader;
    const void *blob;
    size_t bytes;
    if (journal_open(path, &reader, &ignored) != LDAR_OK)
        return 0;
    enum ldar_status status = check_header(&expected, journal_header(reader), &ignored);
    while (status == LDAR_OK && (status = journal_next(reader, &blob, &bytes, &ignored)) == LDAR_OK && blob)
        ;
    const int complete = status == LDAR_OK && journal_ended(reader);
    journal_reader_close(reader);
    return complete;
}

/* Opens the journal, or makes it; *done as in results_begin. */
static enum ldar_status open_journal(results *results, const char *text, const struct part_header *header,
                                     uint64_t *done, struct ldar_error *error)
{
    const struct workload *work = results->work;
    struct expected expected = {results->path, header};
    uint64_t blobs = 0;
    enum ldar_status status = LDAR_OK;
    if (results->way == PART && work->common->resume && is_complete(work->common->output, header)) {
        say_note("%s is complete", work->common->output);
        *done = RESULTS_ALL;
        return LDAR_OK;
    }
    if (work->common->resume)
        status = journal_continue(results->path, &(struct journal_check){check_header, &expected}, &results->journal,
                                  &blobs, error);
    if (status == LDAR_OK && !results->journal)
        status = journal_create(results->path, text, &results->journal, error);
    if (status == LDAR_OK && blobs == 0)
        status = journal_append(results->journal, work->prologue, work->prologue_bytes, error);
    results->put = *done = blobs > 0 ? blobs - 1 : 0;
    if (status == LDAR_OK && *done > 0)
        say_note("%s holds %llu of the results already", results->path, (unsigned long long)*done);
    return status;
}

static enum ldar_status begin_kept(results *results, uint64_t *done, struct ldar_error *error)
{
    static const char suffix[] = ".part";
    const char *output = results->work->common->output;
    struct part_header header;
    results->path = malloc(strlen(output) + sizeof suffix);
    if (!results->path)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    strcat(strcpy(results->path, output), suffix);
    char *text = part_header_text(results->work, error);
    if (!text)
        return error->status;
    enum ldar_status status = part_header_parse(results->path, text, &header, error);
    if (status == LDAR_OK) {
        status = open_journal(results, text, &header, done, error);
        part_header_free(&header);
    }
    free(text);
    return status;
}

enum ldar_status results_begin(const struct workload *work, results **out, uint64_t *done, struct ldar_error *error)
{
    results *results = calloc(1, sizeof *results);
    *out = NULL;
    *done = 0;
    if (!results)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    results->work = work;
    results->way = work->common->shard ? PART : work->common->resume ? KEPT : AT_ONCE;
    enum ldar_status status = LDAR_OK;
    if (results->way != AT_ONCE)
        status = begin_kept(results, done, error);
    else if (work->applier.open)
        status = work->applier.open(work->applier.user, error);
    if (status != LDAR_OK) {
        results_close(results, 0);
        return status;
    }
    *out = results;
    return LDAR_OK;
}

int results_at_once(const results *results)
{
    return results->way == AT_ONCE;
}

int results_are_applied(const results *results)
{
    return results->way != PART;
}

enum ldar_status results_put(results *results, const void *blob, size_t bytes, struct ldar_error *error)
{
    const struct applier *applier = &results->work->applier;
    if (results->way == AT_ONCE)
        return applier->apply(applier->user, blob, bytes, error);
    results->put++;
    return journal_append(results->journal, blob, bytes, error);
}

static enum ldar_status end_journal(results *results, struct ldar_error *error)
{
    enum ldar_status status = journal_end(results->journal, error);
    journal *journal = results->journal;
    results->journal = NULL;
    if (status != LDAR_OK) {
        (void)!journal_close(journal, NULL);
        return status;
    }
    return journal_close(journal, error);
}

/* Makes a new name durable; of where a file system cannot, nothing is said. */
static void sync_folder_of(const char *path)
{
    char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;
    if (slash)
        slash[slash == folder] = '\0';
    const int descriptor = folder ? open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (descriptor >= 0) {
        fsync(descriptor);
        close(descriptor);
    }
    free(folder);
}

static enum ldar_status name_part(const results *results, struct ldar_error *error)
{
    const char *output = results->work->common->output;
    if (rename(results->path, output) != 0)
        return fail(error, LDAR_ERROR_IO, "%s: cannot be given its name: %s", output, strerror(errno));
    sync_folder_of(output);
    return LDAR_OK;
}

/* All blobs of a complete journal but the prologue. */
static enum ldar_status apply_journal(const results *results, struct ldar_error *error)
{
    const struct applier *applier = &results->work->applier;
    journal_reader *reader;
    const void *blob;
    size_t bytes;
    enum ldar_status status = journal_open(results->path, &reader, error);
    if (status != LDAR_OK)
        return status;
    status = journal_next(reader, &blob, &bytes, error);
    while (status == LDAR_OK && blob && (status = journal_next(reader, &blob, &bytes, error)) == LDAR_OK && blob)
        status = applier->apply(applier->user, blob, bytes, error);
    if (status == LDAR_OK && !journal_ended(reader))
        status = fail(error, LDAR_ERROR_IO, "%s: was cut meanwhile", results->path);
    journal_reader_close(reader);
    return status;
}

enum ldar_status results_complete(results *results, struct ldar_error *error)
{
    const struct applier *applier = &results->work->applier;
    if (results->way == AT_ONCE || !results->journal)
        return LDAR_OK;
    enum ldar_status status = end_journal(results, error);
    if (status == LDAR_OK && results->way == PART)
        return name_part(results, error);
    if (status == LDAR_OK && applier->open)
        status = applier->open(applier->user, error);
    return status == LDAR_OK ? apply_journal(results, error) : status;
}

void results_close(results *results, int done)
{
    if (!results)
        return;
    if (results->journal) {
        (void)!journal_close(results->journal, NULL);
        /* Without a result in it there is nothing to go on with. */
        if (results->put == 0)
            unlink(results->path);
        else
            say_note("%s keeps what was computed; with --resume the same command goes on from there", results->path);
    }
    if (done && results->way == KEPT)
        unlink(results->path);
    free(results->path);
    free(results);
}
