/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_PEERS_PULSE_H
#define LDAR_PEERS_PULSE_H

#include <stddef.h>

/*
 * Who is alive: rank 0 and each other rank tell one another once a second that they are. Belongs to the thread of the
 * peers.
 */
struct ldar_peers;
struct ldar_pulse;

/* NULL: no memory. */
struct ldar_pulse *ldar_pulse_new(size_t rank, size_t ranks);
void ldar_pulse_free(struct ldar_pulse *pulse); /* does nothing for NULL */

/*
 * Tells and hears; `leaving`: that this was the last time. Not 0 when a message could not be sent or a rank has not
 * been heard of for too long; `why` says which.
 */
int ldar_pulse_beat(struct ldar_peers *peers, int leaving, char *why);

/* Says which rank has failed, or that this one has, to those that may not know; takes a second at most. */
void ldar_pulse_alarm(struct ldar_peers *peers);

/* Whether the last has been told and heard. */
int ldar_pulse_over(const struct ldar_pulse *pulse);

#endif
