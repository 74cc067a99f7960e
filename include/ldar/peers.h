/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_PEERS_H
#define LDAR_PEERS_H

#include <ldar/status.h>

#include <stddef.h>

LDAR_BEGIN_DECLS

/*
 * Processes that train one model together, each with micro-batches of its own.
 *
 * They are started by a launcher of MPI (mpirun, srun). The library is not
 * linked to MPI: a module beside it is, one for each MPI that it was built
 * with, and the one that the launcher belongs to is opened when peers join.
 *
 *   ldar_peers *peers;
 *   if (ldar_peers_join(NULL, &peers, &error)) ...failed...
 *   struct ldar_trainer_options options = {.size = sizeof options, .peers = peers};
 *   ...
 *   ldar_peers_leave(peers);
 *
 * NULL stands for a process that is alone, in every call. Peers have a thread
 * of their own, on which all messages travel; they serve one caller at a time,
 * and all ranks must make the same calls in the same order.
 *
 * Every rank is heard of once a second. One that is not, for `patience`
 * seconds, is lost, and so are the peers: no call waits any longer, each says
 * which rank it was, and only ldar_peers_end and ldar_peers_leave still make
 * sense. A process that dies is usually noticed earlier by the launcher, which
 * then ends the others.
 */
typedef struct ldar_peers ldar_peers;

struct ldar_peers_options {
    size_t size;        /* sizeof(struct ldar_peers_options) */
    const char *module; /* file of the module; NULL: the launcher's, beside the library */
    double patience;    /* seconds; 0: 20 */
    /* Told once, on the thread of the peers, when they are lost; it may call ldar_peers_end. NULL: nobody is told. */
    void (*lost)(void *user, ldar_peers *peers, const char *message);
    void *user;
};

/* The launcher that started this process, by the marks that it leaves in the environment; NULL: none that is known. */
LDAR_API const char *ldar_peers_launcher(void);

/*
 * Waits until all processes of the launcher have joined. *peers is NULL, and that is no error, where the process was
 * started by no launcher and the options name no module. `options` may be NULL: all fields 0. A process joins once.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_peers_join(const struct ldar_peers_options *options, ldar_peers **peers,
                                                        struct ldar_error *error);

/* Waits until all ranks leave, unless one was lost. Does nothing for NULL. */
LDAR_API void ldar_peers_leave(ldar_peers *peers);

/*
 * Ends the processes of all ranks, this one included, with that status as far as the launcher passes it on: for a
 * failure of one rank, which the others cannot know of. Does nothing for NULL, and returns only then.
 */
LDAR_API void ldar_peers_end(ldar_peers *peers, int status);

/* 0 .. ranks - 1; 0 of 1 for NULL. */
LDAR_API size_t ldar_peers_rank(const ldar_peers *peers);
LDAR_API size_t ldar_peers_ranks(const ldar_peers *peers);

/* The bytes of rank 0 become those of all. */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_peers_broadcast(ldar_peers *peers, void *data, size_t bytes,
                                                             struct ldar_error *error);

/*
 * all (ranks, bytes): what each rank has in `own`, in the order of ranks. No rank returns before all have called; with
 * 0 bytes that is all that happens.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_peers_gather(ldar_peers *peers, const void *own, size_t bytes, void *all,
                                                          struct ldar_error *error);

/*
 * LDAR_ERROR_ARGUMENT in all ranks where one has other bytes than rank 0: "rank 2 has another WHAT than rank 0". For
 * what must be the same, as a build or a file's hash.
 */
LDAR_API LDAR_MUST_USE enum ldar_status ldar_peers_agree(ldar_peers *peers, const char *what, const void *data,
                                                         size_t bytes, struct ldar_error *error);

LDAR_END_DECLS

#endif
