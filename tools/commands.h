/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_COMMANDS_H
#define LDAR_TOOLS_COMMANDS_H

#include "options.h"

/* The commands, each in its own cmd_<name>.c; ldar.c lists them. */
extern const struct command command_init;
extern const struct command command_convert;
extern const struct command command_info;
extern const struct command command_verify;
extern const struct command command_embed;
extern const struct command command_logits;
extern const struct command command_segment;
extern const struct command command_score;
extern const struct command command_scan;
extern const struct command command_profile;
extern const struct command command_merge;
extern const struct command command_pretrain;
extern const struct command command_finetune;
extern const struct command command_evaluate;
extern const struct command command_predict;
extern const struct command command_bench;

/* The command of that name, or NULL. */
const struct command *command_named(const char *name);

#endif
