/* SPDX-License-Identifier: Apache-2.0 */
#include "peers/pulse.h"

#include "peers/thread.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* What a pulse says: all is well, this is the last one, or which rank failed: ALARM + r. */
enum { ALIVE, FAREWELL, ALARM };

static const double period = 1, alarm_seconds = 1;

struct partner {
    struct ldar_message in, out;
    uint64_t in_word, out_word;
    int in_flies, out_flies, told_farewell, heard_farewell, alarmed;
    double told, heard; /* when */
};

struct ldar_pulse {
    double last;    /* beat */
    size_t culprit; /* the rank that failed, as far as this one knows */
    size_t partners;
    struct partner partner[];
};

static void heard(struct ldar_message *message)
{
    struct partner *partner = message->user;
    partner->in_flies = 0;
    partner->heard = ldar_peers_clock();
    partner->heard_farewell = partner->in_word == FAREWELL;
}

static void told(struct ldar_message *message)
{
    struct partner *partner = message->user;
    partner->out_flies = 0;
}

struct ldar_pulse *ldar_pulse_new(size_t rank, size_t ranks)
{
    const size_t partners = rank ? 1 : ranks - 1;
    struct ldar_pulse *pulse = calloc(1, sizeof *pulse + partners * sizeof *pulse->partner);
    if (!pulse)
        return NULL;
    pulse->partners = partners;
    pulse->last = ldar_peers_clock();
    pulse->culprit = rank;
    for (size_t i = 0; i < partners; i++) {
        struct partner *p = &pulse->partner[i];
        struct ldar_message message = {
            .tag = LDAR_TAG_PULSE, .rank = rank ? 0 : i + 1, .bytes = sizeof p->in_word, .user = p};
        p->in = p->out = message;
        p->in.kind = LDAR_MESSAGE_RECEIVE;
        p->in.data = &p->in_word;
        p->in.done = heard;
        p->out.kind = LDAR_MESSAGE_SEND;
        p->out.data = &p->out_word;
        p->out.done = told;
        p->heard = pulse->last;
    }
    return pulse;
}

void ldar_pulse_free(struct ldar_pulse *pulse)
{
    free(pulse);
}

static int beat(struct ldar_peers *peers, struct partner *p, double now, int leaving, char *why)
{
    if (!p->in_flies && !p->heard_farewell) {
        if (peers->transport->begin(peers->link, &p->in, why))
            return -1;
        p->in_flies = 1;
    }
    if (!p->out_flies && !p->told_farewell && (leaving || now - p->told >= period)) {
        p->out_word = leaving ? FAREWELL : ALIVE;
        if (peers->transport->begin(peers->link, &p->out, why))
            return -1;
        p->out_flies = 1;
        p->told_farewell = leaving;
        p->told = now;
    }
    if (p->in_word >= ALARM) {
        peers->pulse->culprit = (size_t)p->in_word - ALARM;
        snprintf(why, LDAR_TRANSPORT_WHY, "rank %zu has failed or is gone, as rank %zu says", peers->pulse->culprit,
                 p->in.rank);
        return -1;
    }
    if (!p->heard_farewell && now - p->heard > peers->options.patience) {
        snprintf(why, LDAR_TRANSPORT_WHY, "rank %zu was not heard of for %.0f seconds: its process hangs or is gone",
                 p->in.rank, peers->options.patience);
        peers->pulse->culprit = p->in.rank;
        return -1;
    }
    return 0;
}

int ldar_pulse_beat(struct ldar_peers *peers, int leaving, char *why)
{
    struct ldar_pulse *pulse = peers->pulse;
    const double now = ldar_peers_clock(), gap = now - pulse->last;
    pulse->last = now;
    for (size_t i = 0; i < pulse->partners; i++) {
        /* When this process itself was stopped, the others are not to blame for what it did not hear. */
        if (gap > 2 * period)
            pulse->partner[i].heard += gap;
        if (beat(peers, &pulse->partner[i], now, leaving, why))
            return -1;
    }
    return 0;
}

/* Tells partners whose last pulse has gone out; returns how many do not know yet. */
static size_t tell(struct ldar_peers *peers, char *why)
{
    struct ldar_pulse *pulse = peers->pulse;
    size_t left = 0;
    for (size_t i = 0; i < pulse->partners; i++) {
        struct partner *p = &pulse->partner[i];
        if (p->in.rank == pulse->culprit || p->told_farewell || (p->alarmed && !p->out_flies))
            continue;
        if (!p->out_flies) {
            p->alarmed = 1;
            p->out_word = ALARM + pulse->culprit;
            p->out_flies = !peers->transport->begin(peers->link, &p->out, why);
        }
        left++;
    }
    return left;
}

void ldar_pulse_alarm(struct ldar_peers *peers)
{
    struct ldar_message *message;
    char why[LDAR_TRANSPORT_WHY];
    for (const double begin = ldar_peers_clock(); tell(peers, why) && ldar_peers_clock() - begin < alarm_seconds;) {
        const struct timespec moment = {.tv_nsec = 1000000};
        if (peers->transport->poll(peers->link, &message, why))
            return;
        if (!message)
            nanosleep(&moment, NULL);
        else if (message->tag == LDAR_TAG_PULSE)
            message->done(message);
    }
}

int ldar_pulse_over(const struct ldar_pulse *pulse)
{
    for (size_t i = 0; i < pulse->partners; i++) {
        const struct partner *p = &pulse->partner[i];
        if (p->in_flies || p->out_flies || !p->told_farewell || !p->heard_farewell)
            return 0;
    }
    return 1;
}
