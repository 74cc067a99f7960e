/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_PEERS_INTERNAL_H
#define LDAR_PEERS_INTERNAL_H

#include <ldar/peers.h>

/*
 * What travels between ranks: messages, all of them carried by the one thread of the peers. Between two ranks those of
 * one tag arrive in the order in which they were posted.
 */
enum ldar_message_kind {
    LDAR_MESSAGE_SEND,
    LDAR_MESSAGE_RECEIVE,
    LDAR_MESSAGE_CALL, /* to nobody: `done` is called on the thread of the peers, once those posted before have begun */
};

/* Tags from LDAR_TAG_USER on are free, up to the largest that every MPI has. */
enum { LDAR_TAG_PULSE, LDAR_TAG_CONTROL, LDAR_TAG_USER, LDAR_TAG_LAST = 32767 };

/* The message and its data stay the caller's and are left alone from ldar_peers_post until `done`, which may post. */
struct ldar_message {
    enum ldar_message_kind kind;
    int tag;
    size_t rank; /* the other one */
    void *data;
    size_t bytes; /* at most 2^30; the same on both sides */
    void (*done)(struct ldar_message *message);
    void *user;
    struct ldar_message *next; /* the peers' own, until `done` */
};

/* From any thread. Messages of peers that are lost are never done. */
void ldar_peers_post(struct ldar_peers *peers, struct ldar_message *message);

/* Waits until ldar_peers_raise was called for this event, which is 0 at first. An error when the peers are lost. */
enum ldar_status ldar_peers_wait(struct ldar_peers *peers, const int *event, struct ldar_error *error);
void ldar_peers_raise(struct ldar_peers *peers, int *event);

/*
 * Whoever frees the memory of messages that are not done calls this first, from a thread other than the peers': they
 * count as lost, and have let go of all messages when it returns.
 */
void ldar_peers_abandon(struct ldar_peers *peers, const char *why);

/*
 * The fixed tree of a broadcast: rank r > 0 hears of it from `parent` and tells children[0 .. count - 1]. There are at
 * most 64. Returns count.
 */
size_t ldar_peers_family(size_t rank, size_t ranks, size_t *parent, size_t children[64]);

/* Peers over any transport, to which the argument is handed (transport.h). */
struct ldar_transport;
enum ldar_status ldar_peers_open(const struct ldar_transport *transport, void *argument,
                                 const struct ldar_peers_options *options, struct ldar_peers **peers,
                                 struct ldar_error *error);

#endif
