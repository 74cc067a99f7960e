/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_PART_H
#define LDAR_TOOLS_PART_H

#include "results.h"

/*
 * The header of a journal of results: a JSON object that says which run they are of, and which part of it. Blobs are
 * the prologue, then one for each unit.
 */
struct part_header {
    char *kind; /* the command's name */
    char **arguments;
    size_t argument_count;
    char *version, *command, *model, *sha256, *config; /* NULL where there is none */
    char **keys, **values;                             /* struct identity */
    size_t key_count, value_count;
    uint64_t shard, shards; /* the shard-th, from 1 */
    uint64_t units, first;  /* of all shards; the first of this one */
};

/* The caller frees it; NULL on failure. */
char *part_header_text(const struct workload *work, struct ldar_error *error);

/* The header `text` of the file `path`. Frees nothing on failure that was not made here. */
LDAR_MUST_USE enum ldar_status part_header_parse(const char *path, const char *text, struct part_header *header,
                                                 struct ldar_error *error);
void part_header_free(struct part_header *header);

/* Whether both are of one run; else `what` says in what they differ: "its KEY is B, not A". */
int part_headers_agree(const struct part_header *a, const struct part_header *b, char *what, size_t capacity);

#endif
