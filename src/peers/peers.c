/* SPDX-License-Identifier: Apache-2.0 */
#include "peers/thread.h"

#include "status.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const double default_patience = 20;

/* Seconds that a thread inside a call of MPI is given to end the job, or to close what no rank uses any more. */
static const double grace = 5;

size_t ldar_peers_rank(const ldar_peers *peers)
{
    return peers ? peers->rank : 0;
}

size_t ldar_peers_ranks(const ldar_peers *peers)
{
    return peers ? peers->ranks : 1;
}

static int init(struct ldar_peers *peers)
{
    pthread_condattr_t monotonic;
    if (pthread_mutex_init(&peers->mutex, NULL) || pthread_condattr_init(&monotonic))
        return -1;
    const int failed = pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC)
                       || pthread_cond_init(&peers->work, &monotonic) || pthread_cond_init(&peers->news, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return failed ? -1 : 0;
}

static void release(struct ldar_peers *peers)
{
    ldar_pulse_free(peers->pulse);
    pthread_cond_destroy(&peers->news);
    pthread_cond_destroy(&peers->work);
    pthread_mutex_destroy(&peers->mutex);
    free(peers);
}

/* Signals are for the threads of the program. */
static int start(struct ldar_peers *peers)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&peers->thread, NULL, ldar_peers_run, peers);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

static enum ldar_status joined(struct ldar_peers *peers, struct ldar_error *error)
{
    pthread_mutex_lock(&peers->mutex);
    while (peers->state == LDAR_PEERS_JOINING)
        pthread_cond_wait(&peers->news, &peers->mutex);
    const struct ldar_error failure = peers->failure;
    const int failed = peers->state == LDAR_PEERS_LEFT;
    pthread_mutex_unlock(&peers->mutex);
    if (!failed)
        return LDAR_OK;
    pthread_join(peers->thread, NULL);
    return ldar_fail(error, failure.status, "%s", failure.message);
}

enum ldar_status ldar_peers_open(const struct ldar_transport *transport, void *argument,
                                 const struct ldar_peers_options *options, struct ldar_peers **out,
                                 struct ldar_error *error)
{
    *out = NULL;
    struct ldar_peers *peers = calloc(1, sizeof *peers);
    if (!peers)
        return ldar_fail_memory(error, sizeof *peers, "peers");
    *peers = (struct ldar_peers){.transport = transport, .argument = argument, .options = *options};
    if (!(peers->options.patience > 0))
        peers->options.patience = default_patience;
    peers->last = &peers->posted;
    if (init(peers)) {
        free(peers);
        return ldar_fail(error, LDAR_ERROR_MEMORY, "no locks for the messages between ranks");
    }
    const enum ldar_status status =
        start(peers) ? ldar_fail(error, LDAR_ERROR_MEMORY, "no thread for the messages between ranks")
                     : joined(peers, error);
    if (status == LDAR_OK)
        *out = peers;
    else
        release(peers);
    return status;
}

/* Waits until the thread has left, but not for ever: true when it has. With the mutex held. */
static int left(struct ldar_peers *peers)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)grace;
    while (peers->state != LDAR_PEERS_LEFT)
        if (pthread_cond_timedwait(&peers->news, &peers->mutex, &until))
            return peers->state == LDAR_PEERS_LEFT;
    return 1;
}

void ldar_peers_leave(ldar_peers *peers)
{
    if (!peers)
        return;
    const enum ldar_status together = ldar_peers_gather(peers, NULL, 0, NULL, NULL);
    pthread_mutex_lock(&peers->mutex);
    peers->leaving = 1;
    pthread_cond_signal(&peers->work);
    const int gone = left(peers);
    pthread_mutex_unlock(&peers->mutex);
    (void)together; /* lost or not: there is nothing left to wait for */
    if (gone) {
        pthread_join(peers->thread, NULL);
        release(peers);
    } else {
        pthread_detach(peers->thread); /* it still uses *peers, which stays */
    }
}

void ldar_peers_end(ldar_peers *peers, int status)
{
    if (!peers)
        return;
    pthread_mutex_lock(&peers->mutex);
    peers->ending = 1;
    peers->status = status;
    pthread_cond_signal(&peers->work);
    if (!pthread_equal(peers->self, pthread_self()))
        left(peers);
    pthread_mutex_unlock(&peers->mutex);
    for (;;) {
        peers->transport->end(peers->link, status);
        pause();
    }
}

void ldar_peers_post(struct ldar_peers *peers, struct ldar_message *message)
{
    message->next = NULL;
    pthread_mutex_lock(&peers->mutex);
    if (peers->state == LDAR_PEERS_JOINED) {
        if (!peers->posted)
            pthread_cond_signal(&peers->work);
        *peers->last = message;
        peers->last = &message->next;
    }
    pthread_mutex_unlock(&peers->mutex);
}

enum ldar_status ldar_peers_wait(struct ldar_peers *peers, const int *event, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    pthread_mutex_lock(&peers->mutex);
    while (!*event && peers->state == LDAR_PEERS_JOINED)
        pthread_cond_wait(&peers->news, &peers->mutex);
    if (peers->state != LDAR_PEERS_JOINED)
        status = ldar_fail(error, LDAR_ERROR_IO, "%s", peers->failure.message);
    pthread_mutex_unlock(&peers->mutex);
    return status;
}

void ldar_peers_raise(struct ldar_peers *peers, int *event)
{
    pthread_mutex_lock(&peers->mutex);
    *event = 1;
    pthread_cond_broadcast(&peers->news);
    pthread_mutex_unlock(&peers->mutex);
}
