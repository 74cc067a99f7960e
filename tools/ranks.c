/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* sched_getaffinity */

#include "ranks.h"
#include "interrupt.h"
#include "message.h"
#include "session.h"

#include <ldar/cpu.h>
#include <ldar/version.h>

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void lost(void *user, ldar_peers *peers, const char *message)
{
    (void)user;
    say_error("%s; all processes end, and the last checkpoint stays", message);
    ldar_peers_end(peers, EXIT_FAILED);
}

enum exit_status ranks_join(const struct command *command, ldar_peers **peers)
{
    const struct ldar_peers_options options = {.size = sizeof options, .lost = lost};
    struct ldar_error error;
    if (ldar_peers_join(&options, peers, &error) != LDAR_OK)
        return failed(&error);
    if (!ranks_first(*peers))
        messages_begin(command->name, MESSAGES_ERRORS);
    else if (*peers)
        say_note("%zu processes share the batches of a step", ldar_peers_ranks(*peers));
    return EXIT_DONE;
}

int ranks_first(const ldar_peers *peers)
{
    return ldar_peers_rank(peers) == 0;
}

enum ldar_status ranks_signal(ldar_peers *peers, int *number, struct ldar_error *error)
{
    const size_t ranks = ldar_peers_ranks(peers);
    const int own = interrupt_noted();
    *number = own;
    if (!peers)
        return LDAR_OK;
    int *all = calloc(ranks, sizeof *all);
    if (!all)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    const enum ldar_status status = ldar_peers_gather(peers, &own, sizeof own, all, error);
    *number = 0;
    for (size_t r = 0; r < ranks && *number == 0; r++)
        *number = all[r];
    free(all);
    return status;
}

/* Processes with equal places compute on the same CPUs. */
struct place {
    char host[256];
    cpu_set_t cpus;
};

enum ldar_status ranks_threads(ldar_peers *peers, int *threads, struct ldar_error *error)
{
    struct place own;
    int here = 0;
    *threads = 0;
    if (!peers)
        return LDAR_OK;
    memset(&own, 0, sizeof own);
    gethostname(own.host, sizeof own.host - 1);
    sched_getaffinity(0, sizeof own.cpus, &own.cpus);
    struct place *all = calloc(ldar_peers_ranks(peers), sizeof *all);
    if (!all)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    const enum ldar_status status = ldar_peers_gather(peers, &own, sizeof own, all, error);
    for (size_t r = 0; r < ldar_peers_ranks(peers) && status == LDAR_OK; r++)
        here += memcmp(&all[r], &own, sizeof own) == 0;
    if (here > 1)
        *threads = ldar_cpu_count() > here ? ldar_cpu_count() / here : 1;
    free(all);
    return status;
}

enum ldar_status ranks_agree(ldar_peers *peers, const ldar_trainer *trainer, uint64_t data, struct ldar_error *error)
{
    char build[64] = "";
    strncpy(build, ldar_version(), sizeof build - 1);
    const int arithmetic[] = {(int)ldar_trainer_isa(trainer), (int)ldar_trainer_dtype(trainer)};
    enum ldar_status status = ldar_peers_agree(peers, "version of ldar", build, sizeof build, error);
    if (status == LDAR_OK)
        status = ldar_peers_agree(peers, "instruction set", arithmetic, sizeof arithmetic, error);
    if (status == LDAR_OK)
        status = ldar_peers_agree(peers, "set of sequences", &data, sizeof data, error);
    return status;
}
