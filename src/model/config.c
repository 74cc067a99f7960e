/* SPDX-License-Identifier: Apache-2.0 */
#include "model/config.h"

#include "io/config_json.h"
#include "model/parameters.h"
#include "status.h"

#include <stdint.h>
#include <string.h>

enum {
    MAX_WIDTH = 16384,
    MAX_STATE = 1024,
    MAX_CONV = 4,
    MAX_EXPAND = 16,
    MAX_INTERMEDIATE = 1 << 18,
    HEAD_WIDTH = 64,    /* of a Mamba-2 layer */
    MAX_ATTENTION = 256 /* width of an attention head; the kernels' LDAR_ATTENTION_WIDTH */
};

static const struct {
    const char *name;
    struct ldar_config config;
} presets[] = {
    {"110m",
     {.stages = 2,
      .stage = {{"m3t1", "m4", 512, 0, 16, 32, 1023, 128, 4, 2}, {"M10", "", 768, 2560, 16, 48, -1, 128, 4, 2}}}},
    {"2m",
     {.stages = 2,
      .stage = {{"m3t1", "m3", 64, 0, 2, 32, 1023, 128, 4, 2}, {"M6", "", 128, 384, 4, 32, -1, 128, 4, 2}}}},
};

enum ldar_status ldar_config_preset(const char *name, struct ldar_config *config, struct ldar_error *error)
{
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        if (strcmp(name, presets[i].name) == 0) {
            *config = presets[i].config;
            return LDAR_OK;
        }
    }
    return ldar_fail(error, LDAR_ERROR_ARGUMENT, "unknown preset '%.40s': the presets are 110m and 2m", name);
}

size_t ldar_swiglu_width(const struct ldar_stage_config *stage)
{
    return ((size_t)stage->intermediate + 127) / 128 * 128;
}

size_t ldar_layout_kinds(const char *layout, char kinds[LDAR_MAX_LAYERS])
{
    size_t layers = 0;
    while (*layout) {
        char kind = *layout++;
        if (!strchr("mtMT", kind) || *layout < '0' || *layout > '9') {
            return SIZE_MAX;
        }
        size_t count = 0;
        for (; *layout >= '0' && *layout <= '9'; layout++) {
            count = count * 10 + (size_t)(*layout - '0');
            if (count > LDAR_MAX_LAYERS) {
                return SIZE_MAX;
            }
        }
        if (count > LDAR_MAX_LAYERS - layers) {
            return SIZE_MAX;
        }
        memset(kinds + layers, kind, count);
        layers += count;
    }
    return layers;
}

/* Where a value stands, for messages. */
struct place {
    const char *where;
    uint32_t stage;
    struct ldar_error *error;
};

static enum ldar_status out_of_range(const struct place *place, const char *key, long long value, long long least,
                                     long long most)
{
    return ldar_fail(place->error, LDAR_ERROR_CONFIG, "%s: %s of stage %u is %lld, not within %lld..%lld", place->where,
                     key, place->stage, value, least, most);
}

static enum ldar_status check_ranges(const struct place *place, const struct ldar_stage_config *stage)
{
    const struct {
        const char *key;
        long long value, least, most;
    } ranges[] = {
        {"d_model", stage->width, 1, MAX_WIDTH},
        {"d_intermediate", stage->intermediate, 0, MAX_INTERMEDIATE},
        {"num_heads", stage->attention_heads, 1, MAX_WIDTH},
        {"rotary_emb_dim", stage->rotary, 0, MAX_WIDTH},
        {"window_size", stage->window, -1, INT32_MAX},
        {"d_state", stage->state, 1, MAX_STATE},
        {"d_conv", stage->conv, 1, MAX_CONV},
        {"expand", stage->expand, 1, MAX_EXPAND},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (ranges[i].value < ranges[i].least || ranges[i].value > ranges[i].most) {
            return out_of_range(place, ranges[i].key, ranges[i].value, ranges[i].least, ranges[i].most);
        }
    }
    return LDAR_OK;
}

/* What a stage's layers demand of its numbers. A number that no layer of the stage uses may be anything in range. */
static enum ldar_status check_relations(const struct place *place, const struct ldar_stage_config *stage,
                                        const char *kinds)
{
    if (strpbrk(kinds, "mM") && (size_t)stage->width * stage->expand % HEAD_WIDTH != 0) {
        return ldar_fail(place->error, LDAR_ERROR_CONFIG,
                         "%s: expand x d_model of stage %u is %zu, which is no multiple of the head width %d",
                         place->where, place->stage, (size_t)stage->width * stage->expand, HEAD_WIDTH);
    }
    if (strpbrk(kinds, "tT")) {
        if (stage->width % stage->attention_heads != 0) {
            return ldar_fail(place->error, LDAR_ERROR_CONFIG,
                             "%s: d_model of stage %u is %u, which is no multiple of num_heads, %u", place->where,
                             place->stage, stage->width, stage->attention_heads);
        }
        uint32_t head = stage->width / stage->attention_heads;
        if (head > MAX_ATTENTION) {
            return ldar_fail(place->error, LDAR_ERROR_CONFIG,
                             "%s: the attention heads of stage %u are %u wide, more than %d: raise num_heads",
                             place->where, place->stage, head, MAX_ATTENTION);
        }
        if (stage->rotary > head || stage->rotary % 2 != 0) {
            return ldar_fail(place->error, LDAR_ERROR_CONFIG,
                             "%s: rotary_emb_dim of stage %u is %u; it must be even and at most the head width, %u",
                             place->where, place->stage, stage->rotary, head);
        }
    }
    if (strpbrk(kinds, "MT") && stage->intermediate == 0) {
        return ldar_fail(place->error, LDAR_ERROR_CONFIG,
                         "%s: arch_layout has a SwiGLU in stage %u, but its d_intermediate is 0", place->where,
                         place->stage);
    }
    return LDAR_OK;
}

/* Appends the layers of a layout to kinds, which holds *layers of the whole model so far. */
static enum ldar_status check_layout(const struct place *place, const char layout[LDAR_MAX_LAYOUT], char *kinds,
                                     size_t *layers)
{
    char stack[LDAR_MAX_LAYERS];
    size_t count = memchr(layout, '\0', LDAR_MAX_LAYOUT) ? ldar_layout_kinds(layout, stack) : SIZE_MAX;
    if (count == SIZE_MAX || count == 0) {
        return ldar_fail(place->error, LDAR_ERROR_CONFIG,
                         "%s: arch_layout of stage %u is '%.*s', not kinds (m, t, M, T) and counts like m3t1",
                         place->where, place->stage, LDAR_MAX_LAYOUT - 1, layout);
    }
    if (count > LDAR_MAX_LAYERS - *layers) {
        return ldar_fail(place->error, LDAR_ERROR_CONFIG, "%s: arch_layout has more than %d layers", place->where,
                         LDAR_MAX_LAYERS);
    }
    memcpy(kinds + *layers, stack, count);
    *layers += count;
    return LDAR_OK;
}

enum ldar_status ldar_config_check(const struct ldar_config *config, const char *where, struct ldar_error *error)
{
    if (config->stages < 2 || config->stages > LDAR_MAX_STAGES) {
        return ldar_fail(error, LDAR_ERROR_CONFIG, "%s: arch_layout has %u stages, not 2..%d", where, config->stages,
                         LDAR_MAX_STAGES);
    }
    char kinds[LDAR_MAX_LAYERS + 1];
    size_t layers = 0;
    for (uint32_t s = 0; s < config->stages; s++) {
        const struct ldar_stage_config *stage = &config->stage[s];
        const struct place place = {where, s, error};
        const int innermost = s + 1 == config->stages;
        const size_t outer_layers = layers;
        enum ldar_status status = check_layout(&place, stage->encoder, kinds, &layers);
        if (!status && innermost && stage->decoder[0]) {
            status = ldar_fail(error, LDAR_ERROR_CONFIG, "%s: arch_layout gives the innermost stage a decoder", where);
        }
        if (!status && !innermost) {
            status = check_layout(&place, stage->decoder, kinds, &layers);
        }
        kinds[layers] = '\0';
        if (!status) {
            status = check_ranges(&place, stage);
        }
        if (!status) {
            status = check_relations(&place, stage, kinds + outer_layers);
        }
        if (!status && s > 0 && stage->width < config->stage[s - 1].width) {
            status = out_of_range(&place, "d_model", stage->width, config->stage[s - 1].width, MAX_WIDTH);
        }
        if (status) {
            return status;
        }
    }
    return LDAR_OK;
}

enum ldar_status ldar_config_parse_at(const char *where, const char *json, size_t bytes, struct ldar_config *config,
                                      struct ldar_error *error)
{
    struct ldar_config parsed;
    enum ldar_status status = ldar_config_from_json(where, json, bytes, &parsed, error);
    if (!status) {
        status = ldar_config_check(&parsed, where, error);
    }
    if (!status) {
        *config = parsed;
    }
    return status;
}

enum ldar_status ldar_config_parse(const char *json, size_t bytes, struct ldar_config *config, struct ldar_error *error)
{
    return ldar_config_parse_at("configuration", json, bytes, config, error);
}

size_t ldar_config_format(const struct ldar_config *config, char *text, size_t capacity)
{
    if (ldar_config_check(config, "", NULL) != LDAR_OK) {
        return 0;
    }
    return ldar_config_to_json(config, text, capacity);
}

int ldar_config_equal(const struct ldar_config *a, const struct ldar_config *b)
{
    if (a->stages != b->stages || !a->tie_embeddings != !b->tie_embeddings) {
        return 0;
    }
    for (uint32_t s = 0; s < a->stages; s++) {
        const struct ldar_stage_config *x = &a->stage[s], *y = &b->stage[s];
        if (strcmp(x->encoder, y->encoder) != 0 || strcmp(x->decoder, y->decoder) != 0 || x->width != y->width
            || x->intermediate != y->intermediate || x->attention_heads != y->attention_heads || x->rotary != y->rotary
            || x->window != y->window || x->state != y->state || x->conv != y->conv || x->expand != y->expand) {
            return 0;
        }
    }
    return 1;
}

size_t ldar_config_blocks(const struct ldar_config *config)
{
    char kinds[LDAR_MAX_LAYERS];
    size_t blocks = 0;
    for (uint32_t s = 0; s < config->stages && s < LDAR_MAX_STAGES; s++) {
        const size_t encoder = ldar_layout_kinds(config->stage[s].encoder, kinds);
        const size_t decoder = ldar_layout_kinds(config->stage[s].decoder, kinds);
        if (encoder == SIZE_MAX || decoder == SIZE_MAX) {
            return 0;
        }
        blocks += encoder + decoder;
    }
    return blocks;
}
