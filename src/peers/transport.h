/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_PEERS_TRANSPORT_H
#define LDAR_PEERS_TRANSPORT_H

#include "peers.h"

/*
 * What a module provides: messages between ranks. Every call comes from one and the same thread, but for `end`, which
 * may come from another when that thread does not answer. `why` has room for LDAR_TRANSPORT_WHY bytes.
 */
enum { LDAR_TRANSPORT_VERSION = 1, LDAR_TRANSPORT_WHY = 500 };

struct ldar_link; /* a transport's own */

struct ldar_transport {
    unsigned version; /* LDAR_TRANSPORT_VERSION */
    const char *name;

    /* Waits for all ranks. Returns 0; on failure not 0, and says why. */
    int (*open)(void *argument, struct ldar_link **link, size_t *rank, size_t *ranks, char *why);

    /* Begins a SEND or RECEIVE. Does not wait. */
    int (*begin)(struct ldar_link *link, struct ldar_message *message, char *why);

    /* *message is one that is done, or NULL: none. Does not wait. */
    int (*poll)(struct ldar_link *link, struct ldar_message **message, char *why);

    /* All messages are done, in every rank. */
    void (*close)(struct ldar_link *link);

    /* Ends the processes of all ranks. */
    void (*end)(struct ldar_link *link, int status);
};

/* The symbol of a module, of this type, const. */
#define LDAR_TRANSPORT_SYMBOL "ldar_module_transport"

#endif
