/* SPDX-License-Identifier: Apache-2.0 */
#include "peers/thread.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "status.h"

enum { PIECE = 16 << 20 };

size_t ldar_peers_family(size_t rank, size_t ranks, size_t *parent, size_t children[64])
{
    *parent = rank & (rank - 1);
    size_t count = 0;
    for (size_t bit = 1; bit < ranks && !(rank & bit); bit *= 2)
        if (rank + bit < ranks)
            children[count++] = rank + bit;
    return count;
}

/* Some messages, and a caller that waits for all of them. */
struct group {
    struct ldar_peers *peers;
    size_t left;
    int event;
};

static void done(struct ldar_message *message)
{
    struct group *group = message->user;
    if (--group->left == 0)
        ldar_peers_raise(group->peers, &group->event);
}

/*
 * One buffer goes to each of `count` ranks, or comes from each to its place among `ranks` pieces. `messages` (count).
 * When the peers are lost, the thread may still read a group that is gone: hence the wait until it has let go.
 */
static enum ldar_status carry(struct ldar_peers *peers, enum ldar_message_kind kind, const size_t *ranks, size_t count,
                              unsigned char *data, size_t bytes, size_t stride, struct ldar_error *error)
{
    if (!count)
        return LDAR_OK;
    struct ldar_message *messages = calloc(count, sizeof *messages);
    if (!messages)
        return ldar_fail_memory(error, count, "messages");
    struct group group = {.peers = peers, .left = count};
    for (size_t i = 0; i < count; i++) {
        messages[i] = (struct ldar_message){.kind = kind,
                                            .tag = LDAR_TAG_CONTROL,
                                            .rank = ranks[i],
                                            .data = data + i * stride,
                                            .bytes = bytes,
                                            .done = done,
                                            .user = &group};
    }
    for (size_t i = 0; i < count; i++)
        ldar_peers_post(peers, &messages[i]);
    const enum ldar_status status = ldar_peers_wait(peers, &group.event, error);
    if (status != LDAR_OK)
        ldar_peers_abandon(peers, "");
    free(messages);
    return status;
}

enum ldar_status ldar_peers_broadcast(ldar_peers *peers, void *data, size_t bytes, struct ldar_error *error)
{
    if (!peers)
        return LDAR_OK;
    size_t parent, children[64];
    const size_t count = ldar_peers_family(peers->rank, peers->ranks, &parent, children);
    unsigned char *at = data;
    enum ldar_status status = LDAR_OK;
    for (; bytes && status == LDAR_OK; at += PIECE) {
        const size_t piece = bytes < PIECE ? bytes : PIECE;
        if (peers->rank)
            status = carry(peers, LDAR_MESSAGE_RECEIVE, &parent, 1, at, piece, 0, error);
        if (status == LDAR_OK)
            status = carry(peers, LDAR_MESSAGE_SEND, children, count, at, piece, 0, error);
        bytes -= piece;
    }
    return status;
}

/* Rank 0 collects; a byte that says nothing travels where there are none, so that a wait is a wait. */
static enum ldar_status collect(struct ldar_peers *peers, const void *own, size_t bytes, unsigned char *all,
                                struct ldar_error *error)
{
    const size_t zero = 0;
    if (peers->rank) {
        memcpy(all, own, bytes);
        return carry(peers, LDAR_MESSAGE_SEND, &zero, 1, all, bytes, 0, error);
    }
    size_t *others = calloc(peers->ranks, sizeof *others);
    if (!others)
        return ldar_fail_memory(error, peers->ranks * sizeof *others, "ranks");
    for (size_t r = 1; r < peers->ranks; r++)
        others[r - 1] = r;
    memcpy(all, own, bytes);
    const enum ldar_status status =
        carry(peers, LDAR_MESSAGE_RECEIVE, others, peers->ranks - 1, all + bytes, bytes, bytes, error);
    free(others);
    return status;
}

enum ldar_status ldar_peers_gather(ldar_peers *peers, const void *own, size_t bytes, void *all,
                                   struct ldar_error *error)
{
    if (!peers) {
        if (bytes)
            memcpy(all, own, bytes);
        return LDAR_OK;
    }
    static const unsigned char nothing = 0;
    const int empty = bytes == 0;
    size_t total;
    if (empty) {
        own = &nothing;
        bytes = 1;
    }
    if (__builtin_mul_overflow(bytes, peers->ranks, &total) || bytes > PIECE)
        return ldar_fail(error, LDAR_ERROR_ARGUMENT, "more than %d bytes of each rank", PIECE);
    unsigned char *room = empty ? malloc(total) : all;
    if (!room)
        return ldar_fail_memory(error, total, "the words of all ranks");
    enum ldar_status status = collect(peers, own, bytes, room, error);
    if (status == LDAR_OK)
        status = ldar_peers_broadcast(peers, room, total, error);
    if (empty)
        free(room);
    return status;
}

/* Which rank is the first to differ; `ranks` when none does. */
static enum ldar_status first_other(ldar_peers *peers, int differs, size_t *rank, struct ldar_error *error)
{
    unsigned char own = differs != 0, *all = malloc(peers->ranks);
    if (!all)
        return ldar_fail_memory(error, peers->ranks, "the words of all ranks");
    const enum ldar_status status = ldar_peers_gather(peers, &own, sizeof own, all, error);
    *rank = 0;
    while (status == LDAR_OK && *rank < peers->ranks && !all[*rank])
        ++*rank;
    free(all);
    return status;
}

enum ldar_status ldar_peers_agree(ldar_peers *peers, const char *what, const void *data, size_t bytes,
                                  struct ldar_error *error)
{
    if (!peers || !bytes)
        return LDAR_OK;
    size_t rank = 0;
    unsigned char *theirs = malloc(bytes);
    if (!theirs)
        return ldar_fail_memory(error, bytes, what);
    memcpy(theirs, data, bytes);
    enum ldar_status status = ldar_peers_broadcast(peers, theirs, bytes, error);
    if (status == LDAR_OK)
        status = first_other(peers, memcmp(theirs, data, bytes), &rank, error);
    if (status == LDAR_OK && rank < peers->ranks)
        status = ldar_fail(error, LDAR_ERROR_ARGUMENT, "rank %zu has another %s than rank 0", rank, what);
    free(theirs);
    return status;
}
