/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_MEMBERS_H
#define FORMATS_MEMBERS_H

#include <ldar/status.h>

#include <stdbool.h>
#include <stddef.h>

/*
 * The members of a JSON object as this program writes it: a line of a log, the
 * options of a run. No check of what is passed over; a text that is no object has no members.
 */

/* Where the value of `key` begins in the object `text`, or NULL when there is none. */
const char *member_find(const char *text, const char *key);

/* A number; false when the member is none, or is null. */
bool member_number(const char *text, const char *key, double *value);

/* A string, escapes resolved; the caller frees it. NULL when the member is none, or without memory. */
char *member_string(const char *text, const char *key);

/* An array of strings, the last of which NULL follows; the caller frees it with member_strings_free. NULL as above. */
char **member_strings(const char *text, const char *key, size_t *count);
void member_strings_free(char **strings);

/*
 * The whole of a small file, with a NUL behind it, to look for members in; what is beyond 16 MiB is left out. The
 * caller frees it. NULL after an error.
 */
char *members_read(const char *path, struct ldar_error *error);

#endif
