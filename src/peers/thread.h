/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_PEERS_THREAD_H
#define LDAR_PEERS_THREAD_H

#include "peers/pulse.h"
#include "peers/transport.h"

#include <pthread.h>

enum ldar_peers_state { LDAR_PEERS_JOINING, LDAR_PEERS_JOINED, LDAR_PEERS_LOST, LDAR_PEERS_LEFT };

struct ldar_peers {
    const struct ldar_transport *transport;
    void *argument;
    struct ldar_peers_options options;
    size_t rank, ranks;
    pthread_t thread;

    pthread_mutex_t mutex; /* guards all down to `failure` */
    pthread_cond_t work;   /* for the thread: posted, leaving or ending */
    pthread_cond_t news;   /* for callers: an event, or a change of state */
    enum ldar_peers_state state;
    struct ldar_message *posted, **last;
    int leaving;        /* ldar_peers_leave was called */
    int ending, status; /* ldar_peers_end was called */
    int lingers;        /* LDAR_PEERS_LOST, and the thread has let go of all messages */
    pthread_t self;     /* the thread, for those who ask whether they are on it */
    struct ldar_error failure;

    /* The thread's own. */
    struct ldar_link *link;
    struct ldar_pulse *pulse;
    size_t flying; /* messages that have begun and are not done, pulses not among them */
};

/* What the thread runs; `argument` is the struct ldar_peers. */
void *ldar_peers_run(void *argument);

/* Seconds of a clock that never goes back. */
double ldar_peers_clock(void);

#endif
