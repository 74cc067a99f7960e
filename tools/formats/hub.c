/* SPDX-License-Identifier: Apache-2.0 */
#include "hub.h"

#include <stdlib.h>
#include <string.h>

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- names ---- */

/* A track's name begins with a letter and has letters, digits and '_' alone. The caller frees it. */
static char *symbol_of(const char *prefix)
{
    static const char first[] = "ldar_";
    const char *name = last_part(prefix);
    char *symbol = malloc(sizeof first + strlen(name));
    if (symbol) {
        char *to = strcpy(symbol, first) + strlen(first);
        for (; *name; ++name) {
            *to++ = is_word(*name) ? *name : '_';
        }
        *to = '\0';
    }
    return symbol;
}

/* The file's name as a part of an address, where some characters mean something else. The caller frees it. */
static char *address_of(const char *prefix)
{
    const char *name = last_part(prefix);
    char *address = malloc(3 * strlen(name) + 1), *to = address;
    for (; address && *name; ++name) {
        if (is_word(*name) || strchr("._-~", *name)) {
            *to++ = *name;
        } else {
            static const char digits[] = "0123456789ABCDEF";
            const unsigned byte = (unsigned char)*name;
            *to++ = '%';
            *to++ = digits[byte >> 4];
            *to++ = digits[byte & 15];
        }
    }
    if (address) {
        *to = '\0';
    }
    return address;
}

/* A label is one line. The caller frees it. */
static char *label_of(const char *prefix)
{
    char *label = strdup(last_part(prefix));
    for (char *c = label; c && *c; ++c) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    return label;
}

char *hub_genome(const char *path)
{
    static const char *const endings[] = {".gz", ".bgz", ".fa", ".fasta", ".fna", ".fas"};
    char *name = strdup(last_part(path));
    for (size_t i = 0; name && i < sizeof endings / sizeof *endings; ++i) {
        const size_t length = strlen(name), cut = strlen(endings[i]);
        if (length > cut && strcmp(name + length - cut, endings[i]) == 0) {
            name[length - cut] = '\0';
        }
    }
    return name;
}

/* ---- the file ---- */

/* What is written again and again. */
struct words {
    char *symbol, *address, *label;
};

static enum ldar_status write_provenance(output *output, const struct hub *hub, struct ldar_error *error)
{
    char *line = provenance_line(hub->provenance);
    enum ldar_status status = line ? output_write(output, "# ", 2, error) : fail_memory(error, hub->prefix, "its hub");
    if (!status) {
        status = output_write(output, line, strlen(line), error);
    }
    free(line);
    return status ? status : output_write(output, "\n", 1, error);
}

static enum ldar_status write_head(output *output, const struct hub *hub, const struct words *words,
                                   struct ldar_error *error)
{
    return output_print(output, error,
                        "hub %s\nshortLabel ldar %s\nlongLabel LDARNet along the genome: %s\nuseOneFile on\n\n"
                        "genome %s\n\n",
                        words->symbol, words->label, words->label, hub->genome);
}

/* The track that the overlaid ones are parts of. */
static enum ldar_status write_overlay(output *output, const struct hub *hub, const struct words *words,
                                      const struct hub_track *track, struct ldar_error *error)
{
    return output_print(output, error,
                        "track %s_overlay\nshortLabel %s letters\nlongLabel %s\ntype bigWig\ncontainer multiWig\n"
                        "aggregate stacked\nshowSubtrackColorOnUi on\nautoScale off\nviewLimits %s\n"
                        "maxHeightPixels 128:64:16\nvisibility full\n\n",
                        words->symbol, words->label, hub->overlay, track->limits);
}

static enum ldar_status write_part(output *output, const struct words *words, const struct hub_track *track,
                                   struct ldar_error *error)
{
    return output_print(output, error,
                        "    track %s_%s\n    parent %s_overlay\n    shortLabel %s\n    longLabel %s\n"
                        "    type bigWig\n    bigDataUrl %s%s\n    color %s\n\n",
                        words->symbol, track->name, words->symbol, track->name, track->label, words->address,
                        track->suffix, track->color);
}

static enum ldar_status write_track(output *output, const struct words *words, const struct hub_track *track,
                                    struct ldar_error *error)
{
    enum ldar_status status =
        output_print(output, error,
                     "track %s_%s\nshortLabel %s %s\nlongLabel %s\ntype bigWig\nbigDataUrl %s%s\ncolor %s\n"
                     "autoScale off\nviewLimits %s\nmaxHeightPixels 128:48:16\nwindowingFunction mean\n",
                     words->symbol, track->name, words->label, track->name, track->label, words->address, track->suffix,
                     track->color, track->limits);
    if (!status && track->mark) {
        status = output_print(output, error, "yLineMark %s\nyLineOnOff on\n", track->mark);
    }
    return status ? status : output_print(output, error, "visibility full\n\n");
}

static enum ldar_status write_all(output *output, const struct hub *hub, const struct words *words,
                                  struct ldar_error *error)
{
    enum ldar_status status = write_provenance(output, hub, error);
    if (!status) {
        status = write_head(output, hub, words, error);
    }
    for (size_t i = 0; i < hub->count && !status; ++i) {
        const struct hub_track *track = &hub->tracks[i];
        if (track->overlaid && (i == 0 || !hub->tracks[i - 1].overlaid)) {
            status = write_overlay(output, hub, words, track, error);
        }
        if (!status) {
            status =
                track->overlaid ? write_part(output, words, track, error) : write_track(output, words, track, error);
        }
    }
    return status;
}

enum ldar_status hub_begin(const struct hub *hub, output **out, struct ldar_error *error)
{
    static const char suffix[] = ".hub.txt";
    const struct words words = {symbol_of(hub->prefix), address_of(hub->prefix), label_of(hub->prefix)};
    char *path = malloc(strlen(hub->prefix) + sizeof suffix);
    enum ldar_status status = LDAR_OK;
    *out = NULL;
    if (!path || !words.symbol || !words.address || !words.label) {
        status = fail_memory(error, hub->prefix, "its hub");
    } else {
        status = output_create(strcat(strcpy(path, hub->prefix), suffix), out, error);
    }
    if (!status) {
        status = write_all(*out, hub, &words, error);
    }
    if (status) {
        output_abandon(*out);
        *out = NULL;
    }
    free(path);
    free(words.symbol);
    free(words.address);
    free(words.label);
    return status;
}
