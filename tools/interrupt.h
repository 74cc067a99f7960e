/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_INTERRUPT_H
#define LDAR_TOOLS_INTERRUPT_H

/*
 * SIGINT, SIGTERM and SIGHUP end the program at once, however long a pass through the model takes, and leave no
 * temporary file. A thread of its own does the work, since a signal handler may not read folders. A file that reaches
 * the limit of its size is an error of writing, not a signal.
 */
void interrupt_begin(void);

/*
 * From here on the first signal is only noted, so that a run which must not lose its work can end in good order;
 * another signal ends the program at once.
 */
void interrupt_hold(void);

/* The signal that was noted, or 0. */
int interrupt_noted(void);

/* Ends the process as the signal would have. */
void interrupt_end(int number);

/*
 * Does not return while a signal is ending the program: what is taken away then can make the run fail, which is neither
 * an error to tell nor the status to end with.
 */
void interrupt_settle(void);

/*
 * `path` names an output, or a genome, beside which indexes are made: what this process has there under a temporary
 * name (ldar/file.h: "NAME.tmp.<process>.<n>"), NAME being that of path or one that begins with it, is removed.
 * Borrowed. At most 4 paths, those of folders among them.
 */
void interrupt_watch(const char *path);

/*
 * What this process has in the folder under a temporary name is removed, and the folder if this process `made` it and
 * nothing else is in it. Borrowed.
 */
void interrupt_watch_folder(const char *folder, int made);

/* The folder, which this process made, is removed with all files in it. Borrowed. */
void interrupt_watch_scratch(const char *folder);

#endif
