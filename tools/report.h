/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_REPORT_H
#define LDAR_TOOLS_REPORT_H

#include <ldar/status.h>

/* What the log of a run holds. */
enum report_kind { REPORT_PRETRAINING, REPORT_FINETUNING };

/*
 * One page that needs nothing beside itself: the curves of a run's log, drawn as SVG. `title` names the run and
 * `command` what made it; steps are those of the whole plan, 0: those that were taken.
 */
LDAR_MUST_USE enum ldar_status report_write(enum report_kind kind, const char *log, const char *path, const char *title,
                                            const char *command, unsigned long long steps, struct ldar_error *error);

#endif
