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

enum watched_kind {
    OUTPUT,
    FOLDER,      /* of outputs */
    MADE_FOLDER, /* that this process made */
    SCRATCH      /* the same, of files that nobody wants */
};

struct watched {
    const char *path;
    enum watched_kind kind;
};

static struct {
    pthread_mutex_t lock;
    struct watched watched[PATHS];
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

/* Files in `folder` whose names begin with `length` bytes of `name` and hold `mark`. */
static void remove_files(const char *folder, const char *name, size_t length, const char *mark)
{
    char full[2 * PATH_MAX];
    DIR *entries = opendir(folder);
    if (!entries)
        return;
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries))
        if (strncmp(entry->d_name, name, length) == 0 && strstr(entry->d_name, mark)) {
            snprintf(full, sizeof full, "%s/%s", folder, entry->d_name);
            unlink(full);
        }
    closedir(entries);
}

/* The main thread may still make another file; where the folder is gone it can make none. */
static void remove_scratch(const char *folder)
{
    int tries = 100;
    do
        remove_files(folder, "", 0, "");
    while (rmdir(folder) != 0 && (errno == ENOTEMPTY || errno == EEXIST) && --tries > 0);
}

static void tidy(const struct watched *watched)
{
    char real[PATH_MAX], temporary[64];
    const char *folder, *name;
    snprintf(temporary, sizeof temporary, ".tmp.%ld.", (long)getpid());
    /* A link's target is what is written; an output that is not there yet has no target. */
    if (!realpath(watched->path, real) && snprintf(real, sizeof real, "%s", watched->path) >= (int)sizeof real)
        return;
    switch (watched->kind) {
    case OUTPUT:
        name = split(real, &folder);
        remove_files(folder, name, strlen(name) < PREFIX ? strlen(name) : PREFIX, temporary);
        break;
    case FOLDER:
        remove_files(real, "", 0, temporary);
        break;
    case MADE_FOLDER:
        remove_files(real, "", 0, temporary);
        (void)rmdir(real); /* unless something is in it */
        break;
    case SCRATCH:
        remove_scratch(real);
        break;
    }
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
    /* The lock is never given back: nothing is to be watched any more, and what fails now is not to be told. */
    pthread_mutex_lock(&state.lock);
    for (size_t i = 0; i < state.count; i++)
        tidy(&state.watched[i]);
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

void interrupt_settle(void)
{
    pthread_mutex_lock(&state.lock);
    pthread_mutex_unlock(&state.lock);
}

static void watch(struct watched watched)
{
    pthread_mutex_lock(&state.lock);
    if (state.count < PATHS)
        state.watched[state.count++] = watched;
    pthread_mutex_unlock(&state.lock);
}

void interrupt_watch(const char *path)
{
    watch((struct watched){path, OUTPUT});
}

void interrupt_watch_folder(const char *folder, int made)
{
    watch((struct watched){folder, made ? MADE_FOLDER : FOLDER});
}

void interrupt_watch_scratch(const char *folder)
{
    watch((struct watched){folder, SCRATCH});
}
