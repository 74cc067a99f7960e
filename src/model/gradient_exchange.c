/* SPDX-License-Identifier: Apache-2.0 */
#include "model/gradient_exchange.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/gradient_plan.h"
#include "status.h"

/*
 * Chunks of at most 1 MiB: long enough that a network does not notice how many they are, short enough that one which
 * was received is added while it lies in the cache. STAGES of them are received at a time.
 */
enum { CHUNKS = 64, SHORTEST = 1024, LONGEST = 1 << 18, TAGS = 1 << 14, STAGES = 8, LINE = 16 };

/* One chunk on its way: through the rest of the plan, to the root, and back as the total. The thread's, once posted. */
struct travel {
    struct ldar_message message;
    struct ldar_exchange *exchange;
    size_t first, count;
    size_t at, depth; /* in the plan, and on its stack */
    float *stage;
    size_t forwards;     /* of the total to other ranks, under way */
    struct travel *next; /* of those that wait for a stage */
};

/* A gradient that leaves before the last LEAF, chunk by chunk. */
struct departure {
    size_t at;
    float *gradient; /* NULL before it was given, and after it was taken back */
    atomic_size_t left;
    struct ldar_message *messages; /* (chunks) */
};

struct ldar_exchange {
    struct ldar_peers *peers;
    size_t floats, chunk, chunks;
    const struct ldar_plan *plan;
    const struct ldar_plan_step *steps;
    int begun;

    /* The caller's. */
    size_t *told; /* (chunks) numbers of each for the current step of the plan */
    size_t departures;
    struct departure *departure;

    /* The thread's, but between `finish` and the first message after `begin`. */
    float **stack;
    struct travel *travels;        /* (chunks) */
    struct ldar_message *forwards; /* (chunks, children) */
    size_t parent, children, child[64];
    float *stages, *idle[STAGES];
    size_t idles;
    struct travel *waiting, **last;
    size_t left; /* chunks that are not the total yet, and messages of departures */
    int event;   /* none is left */
};

size_t ldar_exchange_chunk(size_t floats)
{
    const size_t even = (floats / CHUNKS + LINE) / LINE * LINE, most = (floats / TAGS + LINE) / LINE * LINE;
    const size_t usual = even < SHORTEST ? SHORTEST : even < LONGEST ? even : LONGEST;
    return usual > most ? usual : most;
}

static size_t chunks_of(size_t floats)
{
    const size_t chunk = ldar_exchange_chunk(floats);
    return floats / chunk + (floats % chunk != 0);
}

/* Those of the root. */
static size_t most_children(const struct ldar_peers *peers)
{
    size_t parent, child[64];
    return ldar_peers_family(0, ldar_peers_ranks(peers), &parent, child);
}

size_t ldar_exchange_bytes(size_t floats, const struct ldar_peers *peers, const struct ldar_plan *plan)
{
    const size_t chunks = chunks_of(floats);
    const size_t messages = chunks * (most_children(peers) + plan->departures) * sizeof(struct ldar_message);
    return sizeof(struct ldar_exchange) + chunks * (sizeof(struct travel) + sizeof(size_t)) + messages
           + plan->departures * sizeof(struct departure) + STAGES * ldar_exchange_chunk(floats) * sizeof(float);
}

/* ---- the thread's part ---- */

/* The last one wakes the caller, who may begin the next sum at once: nothing of the exchange is touched after this. */
static void finished(struct ldar_exchange *exchange)
{
    if (--exchange->left == 0)
        ldar_peers_raise(exchange->peers, &exchange->event);
}

static void post(struct travel *travel, enum ldar_message_kind kind, size_t rank, float *data,
                 void (*done)(struct ldar_message *))
{
    travel->message = (struct ldar_message){
        .kind = kind,
        .tag = LDAR_TAG_USER + (int)(travel - travel->exchange->travels),
        .rank = rank,
        .data = data,
        .bytes = travel->count * sizeof *data,
        .done = done,
        .user = travel,
    };
    ldar_peers_post(travel->exchange->peers, &travel->message);
}

static void forwarded(struct ldar_message *message)
{
    struct travel *travel = message->user;
    if (--travel->forwards == 0)
        finished(travel->exchange);
}

/* The total of the chunk is there. */
static void pass_on(struct travel *travel)
{
    struct ldar_exchange *exchange = travel->exchange;
    const size_t chunk = (size_t)(travel - exchange->travels);
    travel->forwards = exchange->children;
    if (!exchange->children) {
        finished(exchange);
        return;
    }
    for (size_t c = 0; c < exchange->children; c++) {
        struct ldar_message *message = &exchange->forwards[chunk * exchange->children + c];
        *message = (struct ldar_message){
            .kind = LDAR_MESSAGE_SEND,
            .tag = LDAR_TAG_USER + (int)chunk,
            .rank = exchange->child[c],
            .data = exchange->stack[0] + travel->first,
            .bytes = travel->count * sizeof(float),
            .done = forwarded,
            .user = travel,
        };
        ldar_peers_post(exchange->peers, message);
    }
}

static void totalled(struct ldar_message *message)
{
    pass_on(message->user);
}

static void await_total(struct ldar_message *message)
{
    struct travel *travel = message->user;
    post(travel, LDAR_MESSAGE_RECEIVE, travel->exchange->parent, travel->exchange->stack[0] + travel->first, totalled);
}

static void add(float *restrict to, const float *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

static void received(struct ldar_message *message);

/* Begins to receive what is added to the top, or queues for a stage. */
static void receive(struct travel *travel, size_t rank)
{
    struct ldar_exchange *exchange = travel->exchange;
    if (exchange->idles) {
        travel->stage = exchange->idle[--exchange->idles];
        post(travel, LDAR_MESSAGE_RECEIVE, rank, travel->stage, received);
    } else {
        travel->next = NULL;
        *exchange->last = travel;
        exchange->last = &travel->next;
    }
}

/* Goes on along the plan until something must travel. */
static void advance(struct travel *travel)
{
    struct ldar_exchange *exchange = travel->exchange;
    for (; travel->at < exchange->plan->steps; travel->at++) {
        const struct ldar_plan_step *step = &exchange->steps[travel->at];
        float **top = exchange->stack + travel->depth - 1;
        if (step->kind == LDAR_PLAN_RECEIVE) {
            receive(travel, step->rank);
            return;
        }
        if (step->kind == LDAR_PLAN_SEND) {
            post(travel, LDAR_MESSAGE_SEND, step->rank, top[0] + travel->first, await_total);
            return;
        }
        add(top[-1] + travel->first, top[0] + travel->first, travel->count);
        travel->depth--;
    }
    pass_on(travel);
}

static void received(struct ldar_message *message)
{
    struct travel *travel = message->user, *waiting;
    struct ldar_exchange *exchange = travel->exchange;
    add(exchange->stack[travel->depth - 1] + travel->first, travel->stage, travel->count);
    exchange->idle[exchange->idles++] = travel->stage;
    if ((waiting = exchange->waiting)) {
        exchange->waiting = waiting->next;
        exchange->last = exchange->waiting ? exchange->last : &exchange->waiting;
        advance(waiting);
    }
    travel->at++;
    advance(travel);
}

static void set_out(struct ldar_message *message)
{
    advance(message->user);
}

static void departed(struct ldar_message *message)
{
    struct travel *travel = message->user;
    struct ldar_exchange *exchange = travel->exchange;
    const size_t chunk = (size_t)(travel - exchange->travels);
    for (size_t d = 0; d < exchange->departures; d++)
        if (message == &exchange->departure[d].messages[chunk])
            atomic_fetch_sub_explicit(&exchange->departure[d].left, 1, memory_order_release);
    finished(exchange);
}

/* ---- the caller's part ---- */

static void release_departures(struct ldar_exchange *exchange)
{
    for (size_t d = 0; d < exchange->departures; d++) {
        free(exchange->departure[d].messages);
        free(exchange->departure[d].gradient);
    }
    free(exchange->departure);
    exchange->departure = NULL;
    exchange->departures = 0;
}

void ldar_exchange_destroy(struct ldar_exchange *exchange)
{
    if (!exchange)
        return;
    if (exchange->begun)
        ldar_peers_abandon(exchange->peers, "this rank has left a step before its end");
    release_departures(exchange);
    free(exchange->stages);
    free(exchange->forwards);
    free(exchange->travels);
    free(exchange->told);
    free(exchange);
}

enum ldar_status ldar_exchange_create(size_t floats, struct ldar_peers *peers, struct ldar_exchange **out,
                                      struct ldar_error *error)
{
    *out = NULL;
    struct ldar_exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return ldar_fail_memory(error, sizeof *exchange, "the sum of gradients");
    exchange->peers = peers;
    exchange->floats = floats;
    exchange->chunk = ldar_exchange_chunk(floats);
    exchange->chunks = chunks_of(floats);
    exchange->told = calloc(exchange->chunks, sizeof *exchange->told);
    exchange->travels = calloc(exchange->chunks, sizeof *exchange->travels);
    exchange->forwards = calloc(exchange->chunks * most_children(peers) + 1, sizeof *exchange->forwards);
    exchange->stages = malloc(STAGES * exchange->chunk * sizeof *exchange->stages);
    if (!exchange->told || !exchange->travels || !exchange->forwards || !exchange->stages) {
        ldar_exchange_destroy(exchange);
        return ldar_fail_memory(error, STAGES * exchange->chunk * sizeof(float), "the sum of gradients");
    }
    for (size_t c = 0; c < exchange->chunks; c++) {
        const size_t first = c * exchange->chunk, rest = floats - first;
        exchange->travels[c] = (struct travel){
            .exchange = exchange, .first = first, .count = rest < exchange->chunk ? rest : exchange->chunk};
    }
    for (size_t s = 0; s < STAGES; s++)
        exchange->idle[s] = exchange->stages + s * exchange->chunk;
    exchange->idles = STAGES;
    *out = exchange;
    return LDAR_OK;
}

static enum ldar_status reserve_departures(struct ldar_exchange *exchange, size_t count, struct ldar_error *error)
{
    if (count == exchange->departures)
        return LDAR_OK;
    release_departures(exchange);
    exchange->departure = calloc(count + 1, sizeof *exchange->departure);
    if (!exchange->departure)
        return ldar_fail_memory(error, count * sizeof *exchange->departure, "the sum of gradients");
    for (; exchange->departures < count; exchange->departures++) {
        struct departure *departure = &exchange->departure[exchange->departures];
        departure->messages = calloc(exchange->chunks, sizeof *departure->messages);
        if (!departure->messages)
            return ldar_fail_memory(error, exchange->chunks * sizeof *departure->messages, "the sum of gradients");
    }
    return LDAR_OK;
}

/* The tree of a broadcast from `root`. */
static void settle_family(struct ldar_exchange *exchange, size_t root)
{
    const size_t ranks = ldar_peers_ranks(exchange->peers), rank = ldar_peers_rank(exchange->peers);
    exchange->children = ldar_peers_family((rank + ranks - root) % ranks, ranks, &exchange->parent, exchange->child);
    exchange->parent = (exchange->parent + root) % ranks;
    for (size_t c = 0; c < exchange->children; c++)
        exchange->child[c] = (exchange->child[c] + root) % ranks;
}

int ldar_exchange_busy(const struct ldar_exchange *exchange)
{
    return exchange->begun;
}

enum ldar_status ldar_exchange_begin(struct ldar_exchange *exchange, const struct ldar_plan *plan,
                                     const struct ldar_plan_step *steps, struct ldar_error *error)
{
    const enum ldar_status status = reserve_departures(exchange, plan->departures, error);
    if (status != LDAR_OK)
        return status;
    for (size_t i = 0, d = 0; i + 1 < plan->steps; i++) {
        if (steps[i].kind != LDAR_PLAN_SEND)
            continue;
        exchange->departure[d].at = i;
        exchange->departure[d].gradient = NULL;
        atomic_init(&exchange->departure[d++].left, exchange->chunks);
    }
    settle_family(exchange, plan->root);
    memset(exchange->told, 0, exchange->chunks * sizeof *exchange->told);
    exchange->plan = plan;
    exchange->steps = steps;
    exchange->stack = NULL;
    exchange->waiting = NULL;
    exchange->last = &exchange->waiting;
    exchange->left = exchange->chunks * (1 + exchange->departures);
    exchange->event = 0;
    exchange->begun = 1;
    return LDAR_OK;
}

/* The chunk is whole: it leaves at once, or sets out along what is left of the plan. */
static void let_go(struct ldar_exchange *exchange, size_t chunk, size_t at, float **stack, size_t depth)
{
    struct travel *travel = &exchange->travels[chunk];
    for (size_t d = 0; d < exchange->departures; d++) {
        struct departure *departure = &exchange->departure[d];
        if (departure->at != at)
            continue;
        departure->messages[chunk] = (struct ldar_message){
            .kind = LDAR_MESSAGE_SEND,
            .tag = LDAR_TAG_USER + (int)chunk,
            .rank = exchange->steps[at].rank,
            .data = stack[0] + travel->first,
            .bytes = travel->count * sizeof(float),
            .done = departed,
            .user = travel,
        };
        ldar_peers_post(exchange->peers, &departure->messages[chunk]);
        return;
    }
    if (!exchange->stack)
        exchange->stack = stack;
    travel->at = at;
    travel->depth = depth;
    post(travel, LDAR_MESSAGE_CALL, 0, NULL, set_out);
}

void ldar_exchange_tell(struct ldar_exchange *exchange, size_t at, float **stack, size_t depth, size_t first,
                        size_t count)
{
    const size_t end = first + count;
    while (first < end) {
        const size_t chunk = first / exchange->chunk;
        const struct travel *travel = &exchange->travels[chunk];
        const size_t last = travel->first + travel->count, stop = end < last ? end : last;
        exchange->told[chunk] += stop - first;
        if (exchange->told[chunk] == travel->count) {
            exchange->told[chunk] = 0;
            let_go(exchange, chunk, at, stack, depth);
        }
        first = stop;
    }
}

void ldar_exchange_give(struct ldar_exchange *exchange, size_t at, float *gradient)
{
    for (size_t d = 0; d < exchange->departures; d++)
        if (exchange->departure[d].at == at)
            exchange->departure[d].gradient = gradient;
}

float *ldar_exchange_take_back(struct ldar_exchange *exchange)
{
    for (size_t d = 0; d < exchange->departures; d++) {
        struct departure *departure = &exchange->departure[d];
        if (!departure->gradient || atomic_load_explicit(&departure->left, memory_order_acquire))
            continue;
        float *gradient = departure->gradient;
        departure->gradient = NULL;
        return gradient;
    }
    return NULL;
}

enum ldar_status ldar_exchange_finish(struct ldar_exchange *exchange, float *sum, struct ldar_error *error)
{
    float *alone[] = {sum};
    if (!exchange->plan->leaves) {
        exchange->stack = alone;
        for (size_t c = 0; c < exchange->chunks; c++)
            post(&exchange->travels[c], LDAR_MESSAGE_CALL, 0, NULL, await_total);
    }
    const enum ldar_status status = ldar_peers_wait(exchange->peers, &exchange->event, error);
    if (status != LDAR_OK)
        ldar_peers_abandon(exchange->peers, "");
    else
        exchange->begun = 0;
    return status;
}
