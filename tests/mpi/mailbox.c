/* SPDX-License-Identifier: Apache-2.0 */
#include "mailbox.h"

#include "kit/random.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One side of a message. The oldest send and the oldest receive of one (from, to, tag) meet. */
struct slot {
    struct ldar_message *message, was; /* as it was when it began: its owner may be gone */
    size_t owner;
    unsigned char *data; /* a SEND's, as it was when it began; then the RECEIVE's that it met */
    int met;
    unsigned polls; /* until the owner hears that it is done */
    struct slot *next;
};

struct ldar_link {
    struct mailbox *mailbox;
    size_t rank, fail;
    int silent;
};

struct mailbox {
    pthread_mutex_t mutex;
    struct random random;
    size_t ranks;
    struct slot *slots, **last;
    int ended;
    struct ldar_link links[];
};

struct mailbox *mailbox_new(size_t ranks, uint64_t seed)
{
    struct mailbox *mailbox = calloc(1, sizeof *mailbox + ranks * sizeof *mailbox->links);
    pthread_mutex_init(&mailbox->mutex, NULL);
    mailbox->random = random_start(seed);
    mailbox->ranks = ranks;
    mailbox->last = &mailbox->slots;
    mailbox->ended = -1;
    for (size_t r = 0; r < ranks; r++)
        mailbox->links[r] = (struct ldar_link){.mailbox = mailbox, .rank = r};
    return mailbox;
}

void mailbox_free(struct mailbox *mailbox)
{
    while (mailbox->slots) {
        struct slot *slot = mailbox->slots;
        mailbox->slots = slot->next;
        free(slot->data);
        free(slot);
    }
    pthread_mutex_destroy(&mailbox->mutex);
    free(mailbox);
}

void *mailbox_of(struct mailbox *mailbox, size_t rank)
{
    return &mailbox->links[rank];
}

void mailbox_silence(struct mailbox *mailbox, size_t rank)
{
    pthread_mutex_lock(&mailbox->mutex);
    mailbox->links[rank].silent = 1;
    pthread_mutex_unlock(&mailbox->mutex);
}

void mailbox_fail(struct mailbox *mailbox, size_t rank, size_t nth)
{
    pthread_mutex_lock(&mailbox->mutex);
    mailbox->links[rank].fail = nth;
    pthread_mutex_unlock(&mailbox->mutex);
}

size_t mailbox_flying(struct mailbox *mailbox)
{
    size_t flying = 0;
    pthread_mutex_lock(&mailbox->mutex);
    for (const struct slot *slot = mailbox->slots; slot; slot = slot->next)
        flying++;
    pthread_mutex_unlock(&mailbox->mutex);
    return flying;
}

int mailbox_ended(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->mutex);
    const int ended = mailbox->ended;
    pthread_mutex_unlock(&mailbox->mutex);
    return ended;
}

static int mailbox_open(void *argument, struct ldar_link **link, size_t *rank, size_t *ranks, char *why)
{
    (void)why;
    *link = argument;
    *rank = (*link)->rank;
    *ranks = (*link)->mailbox->ranks;
    return 0;
}

/* With the mutex held: marks both sides when the other one waits for this. */
static void meet(struct mailbox *mailbox, struct slot *slot)
{
    const struct ldar_message *mine = &slot->was;
    for (struct slot *other = mailbox->slots; other; other = other->next) {
        const struct ldar_message *its = &other->was;
        if (other == slot || other->met || its->kind == mine->kind || its->tag != mine->tag
            || other->owner != mine->rank || its->rank != slot->owner)
            continue;
        struct slot *send = mine->kind == LDAR_MESSAGE_SEND ? slot : other;
        struct slot *receive = mine->kind == LDAR_MESSAGE_SEND ? other : slot;
        receive->data = memcpy(malloc(send->was.bytes), send->data, send->was.bytes);
        slot->met = other->met = 1;
        slot->polls = (unsigned)random_below(&mailbox->random, 4);
        other->polls = (unsigned)random_below(&mailbox->random, 4);
        return;
    }
}

static int mailbox_begin(struct ldar_link *link, struct ldar_message *message, char *why)
{
    struct mailbox *mailbox = link->mailbox;
    struct slot *slot = calloc(1, sizeof *slot);
    pthread_mutex_lock(&mailbox->mutex);
    const int failed = link->fail && --link->fail == 0;
    if (!failed) {
        *slot = (struct slot){.message = message, .was = *message, .owner = link->rank};
        if (message->kind == LDAR_MESSAGE_SEND)
            slot->data = memcpy(malloc(message->bytes), message->data, message->bytes);
        *mailbox->last = slot;
        mailbox->last = &slot->next;
        if (!link->silent && !mailbox->links[message->rank].silent)
            meet(mailbox, slot);
    }
    pthread_mutex_unlock(&mailbox->mutex);
    if (failed) {
        free(slot);
        snprintf(why, LDAR_TRANSPORT_WHY, "rank %zu cannot begin", link->rank);
    }
    return failed;
}

/* Out of the list: what a RECEIVE brought is written, what a SEND took must be unchanged. */
static int finish(struct slot *slot, char *why)
{
    struct ldar_message *message = slot->message;
    int failed = 0;
    if (message->kind == LDAR_MESSAGE_RECEIVE) {
        memcpy(message->data, slot->data, message->bytes);
    } else if (memcmp(message->data, slot->data, message->bytes)) {
        snprintf(why, LDAR_TRANSPORT_WHY, "rank %zu has changed what it was sending", slot->owner);
        failed = 1;
    }
    free(slot->data);
    free(slot);
    return failed;
}

static int mailbox_poll(struct ldar_link *link, struct ldar_message **message, char *why)
{
    struct mailbox *mailbox = link->mailbox;
    struct slot *done = NULL;
    *message = NULL;
    pthread_mutex_lock(&mailbox->mutex);
    for (struct slot **at = &mailbox->slots; *at; at = &(*at)->next) {
        struct slot *slot = *at;
        if (slot->owner != link->rank || !slot->met || slot->polls-- > 0)
            continue;
        done = slot;
        *at = slot->next;
        if (!*at)
            mailbox->last = at;
        break;
    }
    pthread_mutex_unlock(&mailbox->mutex);
    if (!done)
        return 0;
    *message = done->message;
    return finish(done, why);
}

static void mailbox_close(struct ldar_link *link)
{
    (void)link;
}

static void mailbox_end(struct ldar_link *link, int status)
{
    pthread_mutex_lock(&link->mailbox->mutex);
    link->mailbox->ended = status;
    pthread_mutex_unlock(&link->mailbox->mutex);
}

const struct ldar_transport mailbox_transport = {
    .version = LDAR_TRANSPORT_VERSION,
    .name = "mailbox",
    .open = mailbox_open,
    .begin = mailbox_begin,
    .poll = mailbox_poll,
    .close = mailbox_close,
    .end = mailbox_end,
};
