/* SPDX-License-Identifier: Apache-2.0 */
#include "npy.h"

#include "failure.h"
#include "output.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The whole header; 64 divides it, as the format asks for, and two numbers of 20 digits fit. */
enum { HEADER = 128, PREFIX = 10 };

struct npy {
    output *matrix;
    output *records; /* the .json, or NULL */
    char *json_path; /* of it */
    size_t width;
    uint64_t rows;
    uint64_t record_count;
    uint64_t record_start, record_offset; /* of the current record */
    char *record_name;                    /* as JSON; NULL without a .json */
};

/* ---- the header ---- */

/* float32 in this machine's byte order, as a dtype of numpy. */
static const char *float_descriptor(void)
{
    const uint16_t one = 1;
    return *(const uint8_t *)&one ? "<f4" : ">f4";
}

/* Version 1.0: magic, version, length of the rest, and a Python dictionary padded with blanks to a line. */
static void make_header(const npy *npy, char header[HEADER + 1])
{
    static const char magic[] = "\x93NUMPY\x01";
    memset(header, ' ', HEADER);
    memcpy(header, magic, sizeof magic); /* with its NUL, the minor version */
    header[8] = (char)(HEADER - PREFIX);
    header[9] = 0;
    const int used = snprintf(header + PREFIX, HEADER - PREFIX,
                              "{'descr': '%s', 'fortran_order': False, 'shape': (%" PRIu64 ", %zu), }",
                              float_descriptor(), npy->rows, npy->width);
    header[PREFIX + used] = ' ';
    header[HEADER - 1] = '\n';
}

static enum ldar_status begin_matrix(npy *npy, const char *path, struct ldar_error *error)
{
    char header[HEADER + 1];
    enum ldar_status status = output_create(path, &npy->matrix, error);
    if (status) {
        return status;
    }
    if (!output_can_rewrite(npy->matrix)) {
        return fail(error, LDAR_ERROR_ARGUMENT,
                    "%s: a pipe cannot hold a .npy, whose number of rows is known last but stands first; give -o FILE",
                    strcmp(path, "-") == 0 ? "standard output" : path);
    }
    make_header(npy, header);
    return output_write(npy->matrix, header, HEADER, error);
}

/* ---- the side file ---- */

static enum ldar_status print_opening(npy *npy, const char *provenance, enum npy_rows rows, struct ldar_error *error)
{
    static const char *const names[] = {
        [NPY_ROW_PER_NUCLEOTIDE] = "nucleotide", [NPY_ROW_PER_TOKEN] = "token", [NPY_ROW_PER_RECORD] = "record"};
    enum ldar_status status = output_write(npy->records, "{", 1, error);
    if (!status) {
        status = output_write(npy->records, provenance, strlen(provenance), error);
    }
    if (!status) {
        status = output_print(npy->records, error, ",\n\"dtype\": \"float32\", \"rows\": \"%s\",\n\"records\": [",
                              names[rows]);
    }
    return status;
}

static enum ldar_status begin_records(npy *npy, const char *path, enum npy_rows rows,
                                      const struct provenance *provenance, struct ldar_error *error)
{
    if (!output_has_neighbour(path)) {
        return LDAR_OK;
    }
    char *members = provenance_json(provenance);
    npy->json_path = output_neighbour(path);
    enum ldar_status status =
        members && npy->json_path ? LDAR_OK : fail_memory(error, path, "the names of its records");
    if (!status) {
        status = output_create(npy->json_path, &npy->records, error);
    }
    if (!status) {
        status = print_opening(npy, members, rows, error);
    }
    free(members);
    return status;
}

/* ---- records and rows ---- */

enum ldar_status npy_create(const char *path, size_t width, enum npy_rows rows, const struct provenance *provenance,
                            npy **out, struct ldar_error *error)
{
    *out = NULL;
    npy *npy = calloc(1, sizeof *npy);
    if (!npy) {
        return fail_memory(error, path, "writing");
    }
    npy->width = width;
    enum ldar_status status = begin_matrix(npy, path, error);
    if (!status) {
        status = begin_records(npy, path, rows, provenance, error);
    }
    if (status) {
        npy_abandon(npy);
        return status;
    }
    *out = npy;
    return LDAR_OK;
}

enum ldar_status npy_record(npy *npy, const char *name, uint64_t start, struct ldar_error *error)
{
    npy->record_start = start;
    npy->record_offset = npy->rows;
    free(npy->record_name);
    npy->record_name = npy->records ? quote_json(name) : NULL;
    return npy->records && !npy->record_name ? fail_memory(error, name, "its name") : LDAR_OK;
}

enum ldar_status npy_write(npy *npy, const float *rows, size_t count, struct ldar_error *error)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, npy->width, &bytes) || __builtin_mul_overflow(bytes, sizeof *rows, &bytes)) {
        return fail(error, LDAR_ERROR_ARGUMENT, "%zu rows of %zu are more than memory holds", count, npy->width);
    }
    npy->rows += count;
    return output_write(npy->matrix, rows, bytes, error);
}

enum ldar_status npy_record_end(npy *npy, uint64_t length, struct ldar_error *error)
{
    if (!npy->records) {
        return LDAR_OK;
    }
    enum ldar_status status = output_print(npy->records, error, "%s\n{\"name\": ", npy->record_count++ ? "," : "");
    if (!status) {
        status = output_write(npy->records, npy->record_name, strlen(npy->record_name), error);
    }
    if (!status) {
        status = output_print(npy->records, error,
                              ", \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"offset\": %" PRIu64
                              ", \"rows\": %" PRIu64 "}",
                              npy->record_start, length, npy->record_offset, npy->rows - npy->record_offset);
    }
    return status;
}

/* ---- the end ---- */

/* Frees all but the outputs, which are gone by now. */
static void release(npy *npy)
{
    free(npy->json_path);
    free(npy->record_name);
    free(npy);
}

static enum ldar_status complete(npy *npy, struct ldar_error *error)
{
    char header[HEADER + 1];
    make_header(npy, header);
    const enum ldar_status status = output_rewrite(npy->matrix, 0, header, HEADER, error);
    if (status || !npy->records) {
        return status;
    }
    return output_print(npy->records, error, "\n],\n\"shape\": [%" PRIu64 ", %zu]}\n", npy->rows, npy->width);
}

enum ldar_status npy_commit(npy *npy, struct ldar_error *error)
{
    enum ldar_status status = complete(npy, error);
    if (status) {
        npy_abandon(npy);
        return status;
    }
    status = npy->records ? output_commit(npy->records, error) : LDAR_OK;
    if (status) {
        output_abandon(npy->matrix);
    } else {
        status = output_commit(npy->matrix, error);
        if (status && npy->json_path) {
            unlink(npy->json_path);
        }
    }
    release(npy);
    return status;
}

void npy_abandon(npy *npy)
{
    if (npy) {
        output_abandon(npy->matrix);
        output_abandon(npy->records);
        release(npy);
    }
}
