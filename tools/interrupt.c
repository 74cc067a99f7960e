/* SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700 /* realpath */

#include "interrupt.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATHS = 4, PREFIX = 100 }; /* a long NAME is cut in a temporary name, but never to less than PREFIX bytes */

static struct {
    pthread_mutex_t lock;
    const char *paths[PATHS];
    size_t count;
    int pipe[2]; /* from the handler to the thread: the signal's number */
    atomic_int held, noted;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Cuts `path` in place; the name is what follows the last slash. */
static const char *split(char *path, const char **folder)
{
    char *slash = strrchr(path, '/');
    *folder = slash == path ? "/" : slash ? path : ".";
    if (!slash)
        return path;
    *slash = '\0';
    return slash + 1;
}

static void remove_temporaries(const char *path)
{
    char real[PATH_MAX], full[2 * PATH_MAX], mark[64];
    const char *folder;
    /* A link's target is what is written; an output that is not there yet has no target. */
    if (!realpath(path, real) && snprintf(real, sizeof real, "%s", path) >= (int)sizeof real)
        return;
    const char *name = split(real, &folder);
    size_t length = strlen(name) < PREFIX ? strlen(name) : PREFIX;
    DIR *entries = opendir(folder);
    if (!entries)
        return;
    snprintf(mark, sizeof mark, ".tmp.%ld.", (long)getpid());
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries))
        if (strncmp(entry->d_name, name, length) == 0 && strstr(entry->d_name, mark)) {
            snprintf(full, sizeof full, "%s/%s", folder, entry->d_name);
            unlink(full);
        }
    closedir(entries);
}

/* Libraries may have threads from before main, so any thread may be the one that takes the signal. */
static void take_signal(int number)
{
    int error = errno;
    unsigned char byte = (unsigned char)number;
    if (write(state.pipe[1], &byte, 1) != 1)
        _exit(128 + number);
    errno = error;
}

void interrupt_end(int number)
{
    signal(number, SIG_DFL);
    raise(number);
}

/* Ends the process as the signal would have without us, or notes the first one. */
static void *wait_for_signals(void *unused)
{
    unsigned char number;
    (void)unused;
    for (;;) {
        while (read(state.pipe[0], &number, 1) != 1)
            ;
        if (!atomic_load(&state.held) || atomic_load(&state.noted))
            break;
        atomic_store(&state.noted, number);
    }
    /* The lock is never given back: nothing is to be watched any more. */
    pthread_mutex_lock(&state.lock);
    for (size_t i = 0; i < state.count; i++)
        remove_temporaries(state.paths[i]);
    interrupt_end(number);
    return NULL;
}

void interrupt_begin(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction take = {.sa_handler = take_signal, .sa_flags = SA_RESTART}, old;
    pthread_t thread;
    signal(SIGXFSZ, SIG_IGN);
    sigemptyset(&take.sa_mask);
    /* Without the thread, signals do what they always do. */
    if (pipe(state.pipe) != 0 || pthread_create(&thread, NULL, wait_for_signals, NULL) != 0)
        return;
    pthread_detach(thread);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        /* What the parent wants ignored, as nohup does, stays so. */
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(numbers[i], &take, NULL);
}

void interrupt_hold(void)
{
    atomic_store(&state.held, 1);
}

int interrupt_noted(void)
{
    return atomic_load(&state.noted);
}

void interrupt_watch(const char *path)
{
    pthread_mutex_lock(&state.lock);
    if (state.count < PATHS)
        state.paths[state.count++] = path;
    pthread_mutex_unlock(&state.lock);
}
