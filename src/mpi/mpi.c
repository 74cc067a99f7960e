/* SPDX-License-Identifier: Apache-2.0 */
#include "peers/transport.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The messages in flight are the first `count`, each beside its request; those that are done are handed out in turn. */
struct ldar_link {
    MPI_Comm world;
    int ours; /* this module has initialised MPI */
    int count, room;
    MPI_Request *requests;
    struct ldar_message **messages, **done;
    int *indices;
    MPI_Status *statuses;
    int done_count, done_next;
};

static int explain(char *why, const char *what, int code)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, text, &length);
    snprintf(why, LDAR_TRANSPORT_WHY, "%s: %.300s", what, text);
    return -1;
}

static int grow(struct ldar_link *link, char *why)
{
    const size_t room = link->room ? 2 * (size_t)link->room : 64;
    MPI_Request *requests = realloc(link->requests, room * sizeof *requests);
    link->requests = requests ? requests : link->requests;
    struct ldar_message **messages = realloc(link->messages, room * sizeof *messages);
    link->messages = messages ? messages : link->messages;
    struct ldar_message **done = realloc(link->done, room * sizeof *done);
    link->done = done ? done : link->done;
    int *indices = realloc(link->indices, room * sizeof *indices);
    link->indices = indices ? indices : link->indices;
    MPI_Status *statuses = realloc(link->statuses, room * sizeof *statuses);
    link->statuses = statuses ? statuses : link->statuses;
    if (!requests || !messages || !done || !indices || !statuses) {
        snprintf(why, LDAR_TRANSPORT_WHY, "no memory for %zu messages", room);
        return -1;
    }
    link->room = (int)room;
    return 0;
}

static void release(struct ldar_link *link)
{
    free(link->requests);
    free(link->messages);
    free(link->done);
    free(link->indices);
    free(link->statuses);
    free(link);
}

/*
 * This thread is MPI's main thread. A program that has initialised MPI itself must have asked for threads that call it
 * at any time.
 */
static int initialise(struct ldar_link *link, char *why)
{
    int initialised, level;
    MPI_Initialized(&initialised);
    link->ours = !initialised;
    const int needed = initialised ? MPI_THREAD_MULTIPLE : MPI_THREAD_FUNNELED;
    const int code = initialised ? MPI_Query_thread(&level) : MPI_Init_thread(NULL, NULL, needed, &level);
    if (code != MPI_SUCCESS)
        return explain(why, "MPI does not start", code);
    if (level < needed) {
        snprintf(why, LDAR_TRANSPORT_WHY, "this MPI was built, or initialised, without threads");
        return -1;
    }
    return 0;
}

static int mpi_open(void *argument, struct ldar_link **out, size_t *rank, size_t *ranks, char *why)
{
    (void)argument;
    int mine, all, code;
    struct ldar_link *link = calloc(1, sizeof *link);
    if (!link || initialise(link, why)) {
        free(link);
        return -1;
    }
    if ((code = MPI_Comm_dup(MPI_COMM_WORLD, &link->world)) != MPI_SUCCESS
        || (code = MPI_Comm_set_errhandler(link->world, MPI_ERRORS_RETURN)) != MPI_SUCCESS
        || (code = MPI_Comm_rank(link->world, &mine)) != MPI_SUCCESS
        || (code = MPI_Comm_size(link->world, &all)) != MPI_SUCCESS) {
        release(link);
        return explain(why, "MPI has no communicator", code);
    }
    *rank = (size_t)mine;
    *ranks = (size_t)all;
    *out = link;
    return 0;
}

static int mpi_begin(struct ldar_link *link, struct ldar_message *message, char *why)
{
    if (link->count == link->room && grow(link, why))
        return -1;
    const int bytes = (int)message->bytes, rank = (int)message->rank;
    MPI_Request *request = &link->requests[link->count];
    const int code = message->kind == LDAR_MESSAGE_SEND
                         ? MPI_Isend(message->data, bytes, MPI_BYTE, rank, message->tag, link->world, request)
                         : MPI_Irecv(message->data, bytes, MPI_BYTE, rank, message->tag, link->world, request);
    if (code != MPI_SUCCESS)
        return explain(why, message->kind == LDAR_MESSAGE_SEND ? "cannot send" : "cannot receive", code);
    link->messages[link->count++] = message;
    return 0;
}

/* Moves those that are done from the flying ones to the others. */
static int retire(struct ldar_link *link, int finished, char *why)
{
    link->done_next = 0;
    link->done_count = finished;
    for (int i = 0; i < finished; i++) {
        struct ldar_message *message = link->messages[link->indices[i]];
        int bytes = (int)message->bytes;
        if (message->kind == LDAR_MESSAGE_RECEIVE)
            MPI_Get_count(&link->statuses[i], MPI_BYTE, &bytes);
        if ((size_t)bytes != message->bytes) {
            snprintf(why, LDAR_TRANSPORT_WHY, "rank %zu sends %d bytes where %zu are expected: is its model another?",
                     message->rank, bytes, message->bytes);
            return -1;
        }
        link->done[i] = message;
        link->messages[link->indices[i]] = NULL;
    }
    int kept = 0;
    for (int i = 0; i < link->count; i++) {
        if (!link->messages[i])
            continue;
        link->requests[kept] = link->requests[i];
        link->messages[kept++] = link->messages[i];
    }
    link->count = kept;
    return 0;
}

static int mpi_poll(struct ldar_link *link, struct ldar_message **message, char *why)
{
    *message = NULL;
    if (link->done_next == link->done_count) {
        int finished = 0;
        const int code = MPI_Testsome(link->count, link->requests, &finished, link->indices, link->statuses);
        if (code != MPI_SUCCESS)
            return explain(why, "a message between ranks failed", code);
        if (finished == MPI_UNDEFINED || !finished)
            return 0;
        if (retire(link, finished, why))
            return -1;
    }
    *message = link->done[link->done_next++];
    return 0;
}

static void mpi_close(struct ldar_link *link)
{
    MPI_Comm_free(&link->world);
    if (link->ours)
        MPI_Finalize();
    release(link);
}

static void mpi_end(struct ldar_link *link, int status)
{
    /* MPICH's launcher may drop what a process wrote just before: its last words, which say why. */
    const struct timespec moment = {.tv_nsec = 300000000};
    (void)link;
    nanosleep(&moment, NULL);
    MPI_Abort(MPI_COMM_WORLD, status);
}

LDAR_API extern const struct ldar_transport ldar_module_transport;

const struct ldar_transport ldar_module_transport = {
    .version = LDAR_TRANSPORT_VERSION,
    .name = "MPI",
    .open = mpi_open,
    .begin = mpi_begin,
    .poll = mpi_poll,
    .close = mpi_close,
    .end = mpi_end,
};
