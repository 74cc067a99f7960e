/* SPDX-License-Identifier: Apache-2.0 */
#include "peers/thread.h"

#include "status.h"

#include <stdio.h>
#include <time.h>

/*
 * How long the thread sleeps between two looks at what flies: MPI has no way to be woken by a message. It doubles while
 * nothing comes, so that waiting for a slow rank costs the threads that compute on this one next to nothing.
 */
static const double shortest = 20e-6, longest = 1e-3, idle = 50e-3;

double ldar_peers_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* With the mutex held. */
static void sleep_for(struct ldar_peers *peers, double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(1e9 * seconds);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&peers->work, &peers->mutex, &until);
}

static void change(struct ldar_peers *peers, enum ldar_peers_state state)
{
    peers->state = state;
    pthread_cond_broadcast(&peers->news);
}

/* Takes all that was posted, in its order; sleeps before when nothing is, but no longer than `seconds`. */
static struct ldar_message *take(struct ldar_peers *peers, double seconds, int *leaving, int *lost)
{
    pthread_mutex_lock(&peers->mutex);
    if (!peers->posted && !peers->ending && seconds > 0)
        sleep_for(peers, seconds);
    struct ldar_message *posted = peers->posted;
    peers->posted = NULL;
    peers->last = &peers->posted;
    *leaving = peers->leaving;
    *lost = peers->state == LDAR_PEERS_LOST;
    const int ending = peers->ending;
    pthread_mutex_unlock(&peers->mutex);
    if (ending)
        peers->transport->end(peers->link, peers->status);
    return posted;
}

static int begin_all(struct ldar_peers *peers, struct ldar_message *posted, char *why)
{
    while (posted) {
        struct ldar_message *message = posted;
        posted = message->next;
        if (message->kind == LDAR_MESSAGE_CALL) {
            message->done(message);
            continue;
        }
        peers->flying++;
        if (peers->transport->begin(peers->link, message, why))
            return -1;
    }
    return 0;
}

/* Calls `done` for what is done; counts it. */
static int end_some(struct ldar_peers *peers, size_t *done, char *why)
{
    for (*done = 0;; ++*done) {
        struct ldar_message *message;
        if (peers->transport->poll(peers->link, &message, why))
            return -1;
        if (!message)
            return 0;
        if (message->tag != LDAR_TAG_PULSE)
            peers->flying--;
        message->done(message);
    }
}

/* Carries messages until all ranks have left. Not 0 when one is lost. */
static int carry(struct ldar_peers *peers, char *why)
{
    double nap = 0;
    for (;;) {
        int leaving, lost;
        size_t done;
        struct ldar_message *posted = take(peers, nap, &leaving, &lost);
        if (lost)
            return 0;
        const int posts = posted != NULL;
        if (begin_all(peers, posted, why) || end_some(peers, &done, why) || ldar_pulse_beat(peers, leaving, why))
            return -1;
        if (leaving && ldar_pulse_over(peers->pulse))
            return 0;
        const double most = peers->flying || leaving ? longest : idle;
        nap = posts || done ? 0 : nap > 0 ? 2 * nap : shortest;
        nap = nap < most ? nap : most;
    }
}

static enum ldar_status open_link(struct ldar_peers *peers)
{
    char why[LDAR_TRANSPORT_WHY] = "";
    size_t rank = 0, ranks = 1;
    if (peers->transport->open(peers->argument, &peers->link, &rank, &ranks, why))
        return ldar_fail(&peers->failure, LDAR_ERROR_IO, "%s: %s", peers->transport->name, why);
    peers->rank = rank;
    peers->ranks = ranks;
    peers->pulse = ldar_pulse_new(rank, ranks);
    if (!peers->pulse)
        return ldar_fail_memory(&peers->failure, ranks, "the ranks");
    return LDAR_OK;
}

/* With the mutex held. The first reason stays. */
static void lose(struct ldar_peers *peers, const char *why)
{
    if (peers->state != LDAR_PEERS_JOINED)
        return;
    ldar_fail(&peers->failure, LDAR_ERROR_IO, "%s", why);
    change(peers, LDAR_PEERS_LOST);
    pthread_cond_signal(&peers->work);
}

void ldar_peers_abandon(struct ldar_peers *peers, const char *why)
{
    pthread_mutex_lock(&peers->mutex);
    lose(peers, why);
    while (peers->state == LDAR_PEERS_LOST && !peers->lingers)
        pthread_cond_wait(&peers->news, &peers->mutex);
    pthread_mutex_unlock(&peers->mutex);
}

/* Nothing moves any more; what is left is to end the job, or to leave it. */
static void linger(struct ldar_peers *peers)
{
    pthread_mutex_lock(&peers->mutex);
    peers->posted = NULL;
    peers->lingers = 1;
    change(peers, LDAR_PEERS_LOST);
    pthread_mutex_unlock(&peers->mutex);
    if (peers->options.lost)
        peers->options.lost(peers->options.user, peers, peers->failure.message);
    pthread_mutex_lock(&peers->mutex);
    while (!peers->ending && !peers->leaving)
        pthread_cond_wait(&peers->work, &peers->mutex);
    const int ending = peers->ending;
    pthread_mutex_unlock(&peers->mutex);
    if (ending)
        peers->transport->end(peers->link, peers->status);
}

static enum ldar_peers_state settle(struct ldar_peers *peers, int failed, const char *why)
{
    pthread_mutex_lock(&peers->mutex);
    if (failed)
        lose(peers, why);
    const enum ldar_peers_state state = peers->state;
    pthread_mutex_unlock(&peers->mutex);
    return state;
}

static void enter(struct ldar_peers *peers, enum ldar_peers_state state)
{
    pthread_mutex_lock(&peers->mutex);
    peers->self = pthread_self();
    change(peers, state);
    pthread_mutex_unlock(&peers->mutex);
}

void *ldar_peers_run(void *argument)
{
    struct ldar_peers *peers = argument;
    char why[LDAR_TRANSPORT_WHY] = "";
    if (open_link(peers) == LDAR_OK) {
        enter(peers, LDAR_PEERS_JOINED);
        const int failed = carry(peers, why);
        if (settle(peers, failed, why) == LDAR_PEERS_LOST) {
            ldar_pulse_alarm(peers);
            linger(peers);
        } else {
            peers->transport->close(peers->link);
        }
    }
    enter(peers, LDAR_PEERS_LEFT);
    return NULL;
}
