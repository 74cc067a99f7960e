/* SPDX-License-Identifier: Apache-2.0 */
#include "part.h"

#include "formats/members.h"

#include <ldar/version.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of a header are read as doubles. */
#define NUMBER_MAX 9007199254740992.0

/* ---- writing ---- */

/* What is kept must come back as it is, which JSON allows UTF-8 alone. */
static enum ldar_status put_string(FILE *out, const char *text, struct ldar_error *error)
{
    char *quoted = text ? quote_json(text) : NULL;
    enum ldar_status status = LDAR_OK;
    if (text && !quoted)
        status = fail(error, LDAR_ERROR_MEMORY, "out of memory");
    else if (quoted && strstr(quoted, "\\ufffd"))
        status = fail(error, LDAR_ERROR_ARGUMENT,
                      "'%s' is no UTF-8, and could not be kept with the results: rename the file or the folder", text);
    else
        fputs(quoted ? quoted : "null", out);
    free(quoted);
    return status;
}

static enum ldar_status put_member(FILE *out, const char *key, const char *text, struct ldar_error *error)
{
    fprintf(out, ", \"%s\": ", key);
    return put_string(out, text, error);
}

static enum ldar_status put_arguments(FILE *out, const struct common *common, struct ldar_error *error)
{
    char **words = options_words(common);
    enum ldar_status status = words ? LDAR_OK : fail(error, LDAR_ERROR_MEMORY, "out of memory");
    fputs(", \"arguments\": [", out);
    for (size_t i = 0; words && words[i] && status == LDAR_OK; i++) {
        fputs(i > 0 ? ", " : "", out);
        status = put_string(out, words[i], error);
    }
    fputs("]", out);
    options_words_free(words);
    return status;
}

static enum ldar_status put_identity(FILE *out, const struct identity *identity, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    fputs(", \"keys\": [", out);
    for (size_t i = 0; i < identity->count; i++)
        fprintf(out, "%s\"%s\"", i > 0 ? ", " : "", identity->item[i].key);
    fputs("], \"values\": [", out);
    for (size_t i = 0; i < identity->count && status == LDAR_OK; i++) {
        fputs(i > 0 ? ", " : "", out);
        status = identity->item[i].value ? put_string(out, identity->item[i].value, error)
                                         : fail(error, LDAR_ERROR_MEMORY, "out of memory");
    }
    fputs("]", out);
    return status;
}

static enum ldar_status put_session(FILE *out, const struct session *session, struct ldar_error *error)
{
    char config[8192];
    const size_t length = ldar_config_format(&session->info.config, config, sizeof config);
    enum ldar_status status = put_member(out, "model", session->provenance.model, error);
    if (status == LDAR_OK)
        status = put_member(out, "sha256", session->provenance.sha256, error);
    if (status == LDAR_OK && length > 0 && length < sizeof config)
        status = put_member(out, "config", config, error);
    return status;
}

static enum ldar_status put_header(FILE *out, const struct workload *work, struct ldar_error *error)
{
    const struct shard shard = shard_of(work->common);
    fprintf(out, "{\"kind\": \"%s\", \"shard\": %" PRIu64 ", \"shards\": %" PRIu64, work->common->command->name,
            shard.index + 1, shard.count);
    fprintf(out, ", \"units\": %" PRIu64 ", \"first\": %" PRIu64, work->units, work->first);
    enum ldar_status status = put_member(out, "version", ldar_version(), error);
    if (status == LDAR_OK)
        status = put_member(out, "command", work->common->command_line, error);
    if (status == LDAR_OK && work->session)
        status = put_session(out, work->session, error);
    if (status == LDAR_OK)
        status = put_arguments(out, work->common, error);
    if (status == LDAR_OK)
        status = put_identity(out, &work->identity, error);
    fputs("}\n", out);
    return status;
}

char *part_header_text(const struct workload *work, struct ldar_error *error)
{
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    if (!out) {
        fail(error, LDAR_ERROR_MEMORY, "out of memory");
        return NULL;
    }
    enum ldar_status status = put_header(out, work, error);
    if (fclose(out) != 0 && status == LDAR_OK)
        status = fail(error, LDAR_ERROR_MEMORY, "out of memory");
    if (status == LDAR_OK)
        return text;
    free(text);
    return NULL;
}

/* ---- reading ---- */

static int read_count(const char *text, const char *key, uint64_t *value)
{
    double number;
    if (!member_number(text, key, &number) || !(number >= 0 && number <= NUMBER_MAX))
        return 0;
    *value = (uint64_t)number;
    return 1;
}

enum ldar_status part_header_parse(const char *path, const char *text, struct part_header *header,
                                   struct ldar_error *error)
{
    *header = (struct part_header){
        .kind = member_string(text, "kind"),
        .version = member_string(text, "version"),
        .command = member_string(text, "command"),
        .model = member_string(text, "model"),
        .sha256 = member_string(text, "sha256"),
        .config = member_string(text, "config"),
    };
    header->arguments = member_strings(text, "arguments", &header->argument_count);
    header->keys = member_strings(text, "keys", &header->key_count);
    header->values = member_strings(text, "values", &header->value_count);
    const int whole = header->kind && header->version && header->command && header->arguments && header->keys
                      && header->values && header->key_count == header->value_count
                      && read_count(text, "shard", &header->shard) && read_count(text, "shards", &header->shards)
                      && read_count(text, "units", &header->units) && read_count(text, "first", &header->first);
    if (whole && header->shard >= 1 && header->shard <= header->shards && header->first <= header->units)
        return LDAR_OK;
    part_header_free(header);
    return fail(error, LDAR_ERROR_FORMAT, "%s: does not say which results it holds", path);
}

void part_header_free(struct part_header *header)
{
    char *const strings[] = {header->kind,  header->version, header->command,
                             header->model, header->sha256,  header->config};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        free(strings[i]);
    member_strings_free(header->arguments);
    member_strings_free(header->keys);
    member_strings_free(header->values);
    *header = (struct part_header){0};
}

int part_headers_agree(const struct part_header *a, const struct part_header *b, char *what, size_t capacity)
{
    if (strcmp(a->kind, b->kind) != 0) {
        snprintf(what, capacity, "it is of '%.50s', not of '%.50s'", b->kind, a->kind);
        return 0;
    }
    for (size_t i = 0; i < a->key_count && i < b->key_count; i++)
        if (strcmp(a->keys[i], b->keys[i]) != 0 || strcmp(a->values[i], b->values[i]) != 0) {
            snprintf(what, capacity, "its %.40s is %.250s, not %.250s", b->keys[i], b->values[i], a->values[i]);
            return 0;
        }
    if (a->key_count != b->key_count || a->shards != b->shards || a->units != b->units) {
        snprintf(what, capacity,
                 "it is one of %" PRIu64 " parts, with %" PRIu64 " units in all; not of %" PRIu64 " with %" PRIu64,
                 b->shards, b->units, a->shards, a->units);
        return 0;
    }
    return 1;
}
