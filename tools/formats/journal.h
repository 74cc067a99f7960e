/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_JOURNAL_H
#define FORMATS_JOURNAL_H

#include "failure.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Journals: the results of units of work, as blobs, in order. A journal grows
 * at its end alone, so that whatever kills its writer costs what was not yet
 * written, and no more; it can be gone on with. One that is complete says so.
 *
 *   8 bytes   "LDARPART"
 *   4         1, the version
 *   4         H
 *   H         the header, text that says whose results they are
 *   4         checksum
 * then for each blob
 *   8         B
 *   B         the blob
 *   4         checksum
 * and at the end
 *   8         2^64 - 1
 *   8         how many blobs there are
 *   4         checksum
 *
 * Numbers are little-endian. A checksum is the CRC-32 of all that stands in the
 * file before it, other checksums left out: so a blob that is damaged, missing,
 * of another place or of another file is found.
 *
 * Memory: a blob, and a buffer of 256 KiB.
 */

enum { JOURNAL_HEADER_MAX = 1 << 26 };

/* ---- writing; one process at a time, which a lock on the file sees to where the file system has locks ---- */

typedef struct journal journal;

/*
 * A new journal in place of one that the path may bear; another kind of file there is refused. On failure *journal is
 * NULL.
 */
LDAR_MUST_USE enum ldar_status journal_create(const char *path, const char *header, journal **journal,
                                              struct ldar_error *error);

/* Whether a journal with that header is the one to go on with; an error says why not. */
struct journal_check {
    enum ldar_status (*check)(void *user, const char *header, struct ldar_error *error);
    void *user;
};

/*
 * The journal at the path, to be gone on with: what stands behind its last whole blob, its end included, is cut off.
 * *blobs is how many it holds. Where there is none, or one that was killed within its header, *journal is NULL and
 * nothing is touched; nor is it when it is no journal or the check fails.
 */
LDAR_MUST_USE enum ldar_status journal_continue(const char *path, const struct journal_check *check, journal **journal,
                                                uint64_t *blobs, struct ldar_error *error);

/*
 * Appends a blob. It reaches the file within a fraction of a second of the next call, and the disk within seconds: a
 * kill costs little, and so does a loss of power.
 */
LDAR_MUST_USE enum ldar_status journal_append(journal *journal, const void *blob, size_t bytes,
                                              struct ldar_error *error);

/* Says that all is there, and syncs the file. */
LDAR_MUST_USE enum ldar_status journal_end(journal *journal, struct ldar_error *error);

/* What was appended reaches the file. Frees `journal`, whatever comes of it. */
LDAR_MUST_USE enum ldar_status journal_close(journal *journal, struct ldar_error *error);

/* ---- reading ---- */

typedef struct journal_reader journal_reader;

/* A file that is no journal, or whose header is damaged, is an error. On failure *reader is NULL. */
LDAR_MUST_USE enum ldar_status journal_open(const char *path, journal_reader **reader, struct ldar_error *error);

/* Its header, NUL-terminated and without another NUL; the reader's. */
const char *journal_header(const journal_reader *reader);

/*
 * The next blob, which is the reader's until the next call; *blob is never NULL for one, and NULL behind the last.
 * Damage is an error, a file that ends within a blob or without its end is one for journal_ended to tell of.
 */
LDAR_MUST_USE enum ldar_status journal_next(journal_reader *reader, const void **blob, size_t *bytes,
                                            struct ldar_error *error);

/* Behind the last blob: whether the journal says that this is all. */
bool journal_ended(const journal_reader *reader);

/* Does nothing for NULL. */
void journal_reader_close(journal_reader *reader);

#endif
