/* SPDX-License-Identifier: Apache-2.0 */
#include "io/config_json.h"

#include "io/json.h"
#include "io/text.h"
#include "status.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { MAX_TEXT = 1 << 16 };

/* A configuration text while it is read; its syntax has been checked. */
struct source {
    const char *where;
    struct ldar_json root;
    struct ldar_error *error;
};

/* A key of the outermost object, or of a group in it. On failure it is missing or there twice. */
static enum ldar_status find(const struct source *source, const char *group, const char *key, struct ldar_json *value)
{
    struct ldar_json object = source->root;
    *value = (struct ldar_json){0};
    if ((!group || ldar_json_member(&source->root, group, &object)) && ldar_json_member(&object, key, value)) {
        return LDAR_OK;
    }
    return ldar_fail(source->error, LDAR_ERROR_CONFIG, "%s: %s%s%s %s", source->where, group ? group : "",
                     group ? "." : "", key, value->fault ? value->fault : "is missing");
}

/* ["m3t1", ["M10"], "m4"]: outermost first, one level per stage. */
static enum ldar_status read_layout(const struct source *source, struct ldar_config *config)
{
    struct ldar_json json;
    enum ldar_status status = find(source, NULL, "arch_layout", &json);
    if (status) {
        return status;
    }
    size_t length;
    do {
        if (config->stages == LDAR_MAX_STAGES) {
            return ldar_fail(source->error, LDAR_ERROR_CONFIG, "%s: arch_layout has more than %d stages", source->where,
                             LDAR_MAX_STAGES);
        }
        ldar_json_take(&json, '[');
        ldar_json_string(&json, config->stage[config->stages].encoder, LDAR_MAX_LAYOUT, &length);
        config->stages++;
    } while (!json.fault && ldar_json_try(&json, ','));
    ldar_json_take(&json, ']');
    for (uint32_t s = config->stages - 1; !json.fault && s-- > 0;) {
        ldar_json_take(&json, ',');
        ldar_json_string(&json, config->stage[s].decoder, LDAR_MAX_LAYOUT, &length);
        ldar_json_take(&json, ']');
    }
    if (json.fault) {
        return ldar_fail(source->error, LDAR_ERROR_CONFIG,
                         "%s: arch_layout must be nested as [encoder, [...], decoder], innermost [layout], each a "
                         "string of at most %d characters: %s",
                         source->where, LDAR_MAX_LAYOUT - 1, json.fault);
    }
    return LDAR_OK;
}

/* A number, or a list of one per stage. */
struct field {
    const char *group, *key; /* group NULL: a key of the outermost object */
    int32_t least;
    size_t offset; /* of a 32-bit field of struct ldar_stage_config */
};

/* An integer from `least` to the largest int32_t. */
static int read_number(struct ldar_json *json, int32_t least, int32_t *number)
{
    const int negative = ldar_json_try(json, '-');
    uint64_t magnitude;
    if (!ldar_json_integer(json, &magnitude) || magnitude > INT32_MAX) {
        return 0;
    }
    *number = negative ? -(int32_t)magnitude : (int32_t)magnitude;
    return *number >= least;
}

/* A number counts for all stages. */
static enum ldar_status read_numbers(const struct source *source, const struct field *field, uint32_t stages,
                                     int32_t numbers[LDAR_MAX_STAGES])
{
    struct ldar_json json;
    enum ldar_status status = find(source, field->group, field->key, &json);
    if (status) {
        return status;
    }
    const int list = ldar_json_try(&json, '[');
    uint32_t read = 0;
    do {
        if (read == stages || !read_number(&json, field->least, &numbers[read])) {
            read = 0;
            break;
        }
        read++;
    } while (list && ldar_json_try(&json, ','));
    if (read == 0 || (list && (read != stages || !ldar_json_take(&json, ']')))) {
        return ldar_fail(source->error, LDAR_ERROR_CONFIG,
                         "%s: %s%s%s must be an integer from %d to %d, or a list of one for each of the %u stages",
                         source->where, field->group ? field->group : "", field->group ? "." : "", field->key,
                         (int)field->least, INT32_MAX, stages);
    }
    for (; read < stages; read++) {
        numbers[read] = numbers[0];
    }
    return LDAR_OK;
}

static enum ldar_status read_stages(const struct source *source, struct ldar_config *config)
{
    static const struct field fields[] = {
        {NULL, "d_model", 0, offsetof(struct ldar_stage_config, width)},
        {NULL, "d_intermediate", 0, offsetof(struct ldar_stage_config, intermediate)},
        {"attn_cfg", "num_heads", 0, offsetof(struct ldar_stage_config, attention_heads)},
        {"attn_cfg", "rotary_emb_dim", 0, offsetof(struct ldar_stage_config, rotary)},
        {"attn_cfg", "window_size", -1, offsetof(struct ldar_stage_config, window)},
        {"ssm_cfg", "d_state", 0, offsetof(struct ldar_stage_config, state)},
        {"ssm_cfg", "d_conv", 0, offsetof(struct ldar_stage_config, conv)},
        {"ssm_cfg", "expand", 0, offsetof(struct ldar_stage_config, expand)},
    };
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
        int32_t numbers[LDAR_MAX_STAGES] = {0};
        enum ldar_status status = read_numbers(source, &fields[f], config->stages, numbers);
        if (status) {
            return status;
        }
        for (uint32_t s = 0; s < config->stages; s++) {
            memcpy((char *)&config->stage[s] + fields[f].offset, &numbers[s], sizeof numbers[s]);
        }
    }
    return LDAR_OK;
}

static enum ldar_status read_globals(const struct source *source, struct ldar_config *config)
{
    static const struct field field = {NULL, "vocab_size", 0, 0};
    int32_t vocabulary[LDAR_MAX_STAGES] = {0};
    enum ldar_status status = read_numbers(source, &field, 1, vocabulary);
    if (status) {
        return status;
    }
    if (vocabulary[0] != LDAR_SYMBOLS) {
        return ldar_fail(source->error, LDAR_ERROR_CONFIG, "%s: vocab_size is %d, not %d (A C G T N [MASK] [PAD])",
                         source->where, (int)vocabulary[0], LDAR_SYMBOLS);
    }
    struct ldar_json tie = {0};
    if (ldar_json_member(&source->root, "tie_embeddings", &tie)) {
        config->tie_embeddings = ldar_json_try(&tie, 't');
        if (!config->tie_embeddings && !ldar_json_try(&tie, 'f')) {
            tie.fault = "must be true or false";
        }
    }
    return tie.fault ? ldar_fail(source->error, LDAR_ERROR_CONFIG, "%s: tie_embeddings %s", source->where, tie.fault)
                     : LDAR_OK;
}

static enum ldar_status check_syntax(const struct source *source, size_t bytes)
{
    struct ldar_json json = source->root;
    if (bytes > MAX_TEXT) {
        return ldar_fail(source->error, LDAR_ERROR_CONFIG, "%s: the configuration has %zu bytes, more than %d",
                         source->where, bytes, MAX_TEXT);
    }
    if (ldar_json_skip(&json)) {
        while (json.at < json.end && memchr(" \t\r\n", *json.at, 4)) {
            json.at++;
        }
        if (json.at < json.end) {
            ldar_json_fail(&json, "something after the end");
        }
    }
    if (json.fault) {
        return ldar_fail(source->error, LDAR_ERROR_CONFIG, "%s: no JSON at byte %zu: %s", source->where,
                         (size_t)(json.at - json.begin), json.fault);
    }
    json = source->root;
    return ldar_json_try(&json, '{')
               ? LDAR_OK
               : ldar_fail(source->error, LDAR_ERROR_CONFIG, "%s: the configuration is no JSON object", source->where);
}

enum ldar_status ldar_config_from_json(const char *where, const char *json, size_t bytes, struct ldar_config *config,
                                       struct ldar_error *error)
{
    const struct source source = {where, {json, json, json + bytes, NULL}, error};
    memset(config, 0, sizeof *config);
    enum ldar_status status = check_syntax(&source, bytes);
    if (!status) {
        status = read_layout(&source, config);
    }
    if (!status) {
        status = read_stages(&source, config);
    }
    return status ? status : read_globals(&source, config);
}

/* ---- writing ---- */

static void add_numbers(struct ldar_text *text, const struct ldar_config *config, const char *key, size_t offset)
{
    ldar_text_add(text, "\"%s\": [", key);
    for (uint32_t s = 0; s < config->stages; s++) {
        int32_t number;
        memcpy(&number, (const char *)&config->stage[s] + offset, sizeof number);
        ldar_text_add(text, "%s%d", s > 0 ? ", " : "", (int)number);
    }
    ldar_text_add(text, "]");
}

/* A number where all stages agree, as published, else a list. */
static void add_common(struct ldar_text *text, const struct ldar_config *config, const char *key, size_t offset)
{
    int32_t first, other;
    memcpy(&first, (const char *)&config->stage[0] + offset, sizeof first);
    for (uint32_t s = 1; s < config->stages; s++) {
        memcpy(&other, (const char *)&config->stage[s] + offset, sizeof other);
        if (other != first) {
            add_numbers(text, config, key, offset);
            return;
        }
    }
    ldar_text_add(text, "\"%s\": %d", key, (int)first);
}

static void add_layout(struct ldar_text *text, const struct ldar_config *config)
{
    uint32_t innermost = config->stages - 1;
    ldar_text_add(text, "\"arch_layout\": ");
    for (uint32_t s = 0; s < innermost; s++) {
        ldar_text_add(text, "[\"%s\", ", config->stage[s].encoder);
    }
    ldar_text_add(text, "[\"%s\"]", config->stage[innermost].encoder);
    for (uint32_t s = innermost; s-- > 0;) {
        ldar_text_add(text, ", \"%s\"]", config->stage[s].decoder);
    }
}

size_t ldar_config_to_json(const struct ldar_config *config, char *out, size_t capacity)
{
    struct ldar_text text = {out, capacity, 0};
    ldar_text_add(&text, "{");
    add_layout(&text, config);
    ldar_text_add(&text, ", ");
    add_numbers(&text, config, "d_model", offsetof(struct ldar_stage_config, width));
    ldar_text_add(&text, ", ");
    add_numbers(&text, config, "d_intermediate", offsetof(struct ldar_stage_config, intermediate));
    /* chunk_size is how the published code tiles its scan; it demands one. */
    ldar_text_add(&text, ", \"vocab_size\": %d, \"ssm_cfg\": {\"chunk_size\": 256, ", LDAR_SYMBOLS);
    add_common(&text, config, "d_conv", offsetof(struct ldar_stage_config, conv));
    ldar_text_add(&text, ", ");
    add_common(&text, config, "d_state", offsetof(struct ldar_stage_config, state));
    ldar_text_add(&text, ", ");
    add_common(&text, config, "expand", offsetof(struct ldar_stage_config, expand));
    ldar_text_add(&text, "}, \"attn_cfg\": {");
    add_numbers(&text, config, "num_heads", offsetof(struct ldar_stage_config, attention_heads));
    ldar_text_add(&text, ", ");
    add_numbers(&text, config, "rotary_emb_dim", offsetof(struct ldar_stage_config, rotary));
    ldar_text_add(&text, ", ");
    add_numbers(&text, config, "window_size", offsetof(struct ldar_stage_config, window));
    ldar_text_add(&text, "}, \"tie_embeddings\": %s}", config->tie_embeddings ? "true" : "false");
    return text.length;
}
