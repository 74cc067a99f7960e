/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_SHIPPED_H
#define LDAR_TOOLS_SHIPPED_H

/* What ships beside the program: the model that a command reads when -m is left out, and published results. */

#define SHIPPED_MODEL "ldar-2m.safetensors"
#define SHIPPED_PUBLISHED "published.json"

/*
 * The path of a file: where the program is installed, or in the source tree that it was built from. Both are found from
 * the running program's own file, so that an installation may be moved as a whole. NULL when it is nowhere, or without
 * memory; the caller frees it.
 */
char *shipped_file(const char *name);

/* That of the model. */
char *shipped_model(void);

#endif
