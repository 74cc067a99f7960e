/* SPDX-License-Identifier: Apache-2.0 */
#include "part.h"

#include "formats/journal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct part {
    const char *path;
    struct part_header header;
};

struct replay {
    struct part *parts; /* (count), by shard once all are opened */
    size_t count;
    void *prologue;
    size_t prologue_bytes;
};

/* ---- opening ---- */

static enum ldar_status open_part(const char *path, struct part *part, struct ldar_error *error)
{
    journal_reader *reader;
    enum ldar_status status = journal_open(path, &reader, error);
    if (status != LDAR_OK)
        return status;
    part->path = path;
    status = part_header_parse(path, journal_header(reader), &part->header, error);
    journal_reader_close(reader);
    return status;
}

static int by_shard(const void *a, const void *b)
{
    const uint64_t left = ((const struct part *)a)->header.shard, right = ((const struct part *)b)->header.shard;
    return (left > right) - (left < right);
}

static enum ldar_status check_same_run(const struct replay *replay, struct ldar_error *error)
{
    char what[700];
    for (size_t i = 1; i < replay->count; i++)
        if (!part_headers_agree(&replay->parts[0].header, &replay->parts[i].header, what, sizeof what))
            return fail(error, LDAR_ERROR_ARGUMENT,
                        "%s: not of the run of %s: %s; parts are made by one command, on the same files, with the same "
                        "ldar and instruction set (LDAR_ISA)",
                        replay->parts[i].path, replay->parts[0].path, what);
    return LDAR_OK;
}

/* Names the shards that are missing among the sorted ones. */
static enum ldar_status fail_missing(const struct replay *replay, struct ldar_error *error)
{
    const uint64_t shards = replay->parts[0].header.shards;
    char list[400] = "";
    size_t length = 0, next = 0;
    for (uint64_t shard = 1; shard <= shards && length + 40 < sizeof list; shard++) {
        if (next < replay->count && replay->parts[next].header.shard == shard)
            next++;
        else
            length +=
                (size_t)snprintf(list + length, sizeof list - length, "%s%" PRIu64, length > 0 ? ", " : "", shard);
    }
    return fail(error, LDAR_ERROR_ARGUMENT, "of the %" PRIu64 " parts of the run of %s these are missing: shard %s%s",
                shards, replay->parts[0].path, list, length + 40 < sizeof list ? "" : ", ...");
}

static enum ldar_status check_all_there(const struct replay *replay, struct ldar_error *error)
{
    const struct part *parts = replay->parts;
    for (size_t i = 1; i < replay->count; i++)
        if (parts[i].header.shard == parts[i - 1].header.shard)
            return fail(error, LDAR_ERROR_ARGUMENT, "%s and %s are both shard %" PRIu64 ": name one of them",
                        parts[i - 1].path, parts[i].path, parts[i].header.shard);
    return replay->count < parts[0].header.shards ? fail_missing(replay, error) : LDAR_OK;
}

/* The first blob of the first part, of which a copy is kept. */
static enum ldar_status read_prologue(struct replay *replay, struct ldar_error *error)
{
    journal_reader *reader;
    const void *blob;
    enum ldar_status status = journal_open(replay->parts[0].path, &reader, error);
    if (status != LDAR_OK)
        return status;
    status = journal_next(reader, &blob, &replay->prologue_bytes, error);
    if (status == LDAR_OK && !blob)
        status = fail(error, LDAR_ERROR_FORMAT, "%s: holds no results", replay->parts[0].path);
    if (status == LDAR_OK) {
        replay->prologue = malloc(replay->prologue_bytes + 1);
        if (replay->prologue)
            memcpy(replay->prologue, blob, replay->prologue_bytes);
        else
            status = fail(error, LDAR_ERROR_MEMORY, "%s: no memory for what the parts share", replay->parts[0].path);
    }
    journal_reader_close(reader);
    return status;
}

enum ldar_status replay_open(char *const *paths, size_t count, struct replay **out, struct ldar_error *error)
{
    struct replay *replay = calloc(1, sizeof *replay);
    enum ldar_status status = LDAR_OK;
    *out = NULL;
    if (!replay || !(replay->parts = calloc(count + 1, sizeof *replay->parts)))
        status = fail(error, LDAR_ERROR_MEMORY, "no memory for %zu parts", count);
    while (status == LDAR_OK && replay->count < count) {
        status = open_part(paths[replay->count], &replay->parts[replay->count], error);
        replay->count += status == LDAR_OK;
    }
    if (status == LDAR_OK)
        status = check_same_run(replay, error);
    if (status == LDAR_OK) {
        qsort(replay->parts, count, sizeof *replay->parts, by_shard);
        status = check_all_there(replay, error);
    }
    if (status == LDAR_OK)
        status = read_prologue(replay, error);
    if (status != LDAR_OK) {
        replay_close(replay);
        return status;
    }
    *out = replay;
    return LDAR_OK;
}

void replay_close(struct replay *replay)
{
    if (!replay)
        return;
    for (size_t i = 0; i < replay->count; i++)
        part_header_free(&replay->parts[i].header);
    free(replay->parts);
    free(replay->prologue);
    free(replay);
}

/* ---- what the parts say ---- */

const char *replay_command(const struct replay *replay)
{
    return replay->parts[0].header.kind;
}

char **replay_arguments(const struct replay *replay, size_t *count)
{
    *count = replay->parts[0].header.argument_count;
    return replay->parts[0].header.arguments;
}

const char *replay_command_line(const struct replay *replay)
{
    return replay->parts[0].header.command;
}

const void *replay_prologue(const struct replay *replay, size_t *bytes)
{
    *bytes = replay->prologue_bytes;
    return replay->prologue;
}

enum ldar_status replay_session(const struct replay *replay, struct session *session, struct ldar_error *error)
{
    const struct part_header *header = &replay->parts[0].header;
    *session = (struct session){0};
    if (header->sha256)
        snprintf(session->info.sha256, sizeof session->info.sha256, "%s", header->sha256);
    session->provenance = (struct provenance){header->version, header->command, header->model, session->info.sha256};
    return header->config ? ldar_config_parse(header->config, strlen(header->config), &session->info.config, error)
                          : LDAR_OK;
}

/* ---- applying ---- */

/* A blob that is none of the command's is told by the file that it comes from. */
static enum ldar_status apply_blob(const struct part *part, const struct applier *applier, const void *blob,
                                   size_t bytes, struct ldar_error *error)
{
    struct ldar_error found;
    const enum ldar_status status = applier->apply(applier->user, blob, bytes, &found);
    if (status == LDAR_ERROR_FORMAT)
        return fail(error, status, "%s: %s", part->path, found.message);
    if (status != LDAR_OK)
        *error = found;
    return status;
}

/* The units of a part, of which `applied` came before; *applied grows. */
static enum ldar_status apply_part(const struct part *part, const struct applier *applier, uint64_t *applied,
                                   struct ldar_error *error)
{
    journal_reader *reader;
    const void *blob;
    size_t bytes;
    if (part->header.first != *applied)
        return fail(error, LDAR_ERROR_FORMAT,
                    "%s: begins with unit %" PRIu64 ", but the part before it ended with unit %" PRIu64, part->path,
                    part->header.first + 1, *applied);
    enum ldar_status status = journal_open(part->path, &reader, error);
    if (status != LDAR_OK)
        return status;
    status = journal_next(reader, &blob, &bytes, error); /* the prologue */
    while (status == LDAR_OK && blob && (status = journal_next(reader, &blob, &bytes, error)) == LDAR_OK && blob) {
        status = apply_blob(part, applier, blob, bytes, error);
        ++*applied;
    }
    if (status == LDAR_OK && !journal_ended(reader))
        status = fail(error, LDAR_ERROR_FORMAT,
                      "%s: ends before its last result; its command with --resume goes on with it", part->path);
    journal_reader_close(reader);
    return status;
}

enum ldar_status replay_apply(const struct replay *replay, const struct applier *applier, struct ldar_error *error)
{
    uint64_t applied = 0;
    enum ldar_status status = applier->open ? applier->open(applier->user, error) : LDAR_OK;
    for (size_t i = 0; i < replay->count && status == LDAR_OK; i++)
        status = apply_part(&replay->parts[i], applier, &applied, error);
    if (status == LDAR_OK && applied != replay->parts[0].header.units)
        status = fail(error, LDAR_ERROR_FORMAT, "%s: the parts hold %" PRIu64 " units of %" PRIu64,
                      replay->parts[replay->count - 1].path, applied, replay->parts[0].header.units);
    return status;
}
