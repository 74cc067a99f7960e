/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_MANUAL_H
#define LDAR_TOOLS_MANUAL_H

#include "options.h"

/* Writes ldar.1, an ldar-<command>.1 for each command and ldar.bash, a completion for bash, into the folder. */
enum exit_status write_manual(const char *folder, const struct command *const *commands, size_t count);

#endif
