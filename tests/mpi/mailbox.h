/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TESTS_MPI_MAILBOX_H
#define LDAR_TESTS_MPI_MAILBOX_H

#include "peers/transport.h"

#include <stdint.h>

/*
 * Ranks that are threads of one process: a transport without MPI. A message is done only when both sides have begun
 * it, and then takes its time, so that many orders occur which a real network shows once a year. What is sent must stay
 * as it was until it is done.
 */
struct mailbox;

struct mailbox *mailbox_new(size_t ranks, uint64_t seed);
void mailbox_free(struct mailbox *mailbox);

/* The argument of ldar_peers_open for this rank. */
void *mailbox_of(struct mailbox *mailbox, size_t rank);

/* From here on nothing that this rank sends arrives, as if its process were gone. */
void mailbox_silence(struct mailbox *mailbox, size_t rank);

/* The rank's n-th begin from here on fails. */
void mailbox_fail(struct mailbox *mailbox, size_t rank, size_t nth);

/* Messages that were begun and are not done; whether `end` was called, and with which status (-1: it was not). */
size_t mailbox_flying(struct mailbox *mailbox);
int mailbox_ended(struct mailbox *mailbox);

extern const struct ldar_transport mailbox_transport;

#endif
