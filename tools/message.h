/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_MESSAGE_H
#define LDAR_TOOLS_MESSAGE_H

#include <ldar/status.h>

/*
 * What the program says on stderr: lines that begin with "ldar COMMAND: ", and
 * a progress bar. All of it from one thread at a time.
 */

enum loudness { MESSAGES_ERRORS, MESSAGES_QUIET, MESSAGES_NORMAL, MESSAGES_VERBOSE };

/* `command` may be NULL; it must outlive all messages. */
void messages_begin(const char *command, enum loudness loudness);

#if defined(__GNUC__)
#define PRINTF_LIKE __attribute__((format(printf, 1, 2)))
#else
#define PRINTF_LIKE
#endif

/* Does not return while a signal is ending the program (interrupt_settle): the error may be of its making. */
void say_error(const char *format, ...) PRINTF_LIKE;
void say_warning(const char *format, ...) PRINTF_LIKE;
void say_note(const char *format, ...) PRINTF_LIKE;   /* unless quiet */
void say_detail(const char *format, ...) PRINTF_LIKE; /* when verbose */

/*
 * Progress of one task at a time, counted in `unit`. On a terminal a bar with rate and time left that is redrawn a few
 * times a second; otherwise a line now and then; nothing when quiet.
 */
void progress_begin(const char *unit);

/* `done` units so far; `fraction` of the whole in 0..1, or negative when it is not known. */
void progress_update(double done, double fraction);

/* What is shown from now on in place of the amount done, as "step 3 of 100, loss 1.35". */
void progress_remark(const char *format, ...) PRINTF_LIKE;

/* Takes the bar away and leaves one line: how much, in what time, at which rate. */
void progress_end(double done);

/* Seconds of a clock that never goes back. */
double seconds_now(void);

#endif
