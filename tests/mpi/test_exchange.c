/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks as threads of one process: the bits of the sum, and what becomes of the others when one is lost. */
#include "mailbox.h"
#include "summed.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RANKS = 7, PATIENT = 1000 };

struct rank {
    struct mailbox *mailbox;
    size_t rank, ranks;
    uint64_t seed;
    double patience;
    void (*run)(struct rank *rank, ldar_peers *peers);
    const char *failure;
    char text[1200];
};

static void blame(struct rank *rank, const char *failure)
{
    if (!failure || rank->failure)
        return;
    snprintf(rank->text, sizeof rank->text, "%s", failure);
    rank->failure = rank->text;
}

static void *start(void *argument)
{
    struct rank *rank = argument;
    ldar_peers *peers;
    struct ldar_error error;
    const struct ldar_peers_options options = {.size = sizeof options, .patience = rank->patience};
    if (ldar_peers_open(&mailbox_transport, mailbox_of(rank->mailbox, rank->rank), &options, &peers, &error)) {
        blame(rank, error.message);
        return NULL;
    }
    if (ldar_peers_rank(peers) != rank->rank || ldar_peers_ranks(peers) != rank->ranks)
        blame(rank, "wrong rank");
    rank->run(rank, peers);
    ldar_peers_leave(peers);
    return NULL;
}

/* Runs all ranks to their end. */
static void together(struct mailbox *mailbox, struct rank ranks[RANKS], size_t count, double patience,
                     void (*run)(struct rank *rank, ldar_peers *peers))
{
    pthread_t threads[RANKS];
    for (size_t r = 0; r < count; r++) {
        ranks[r] = (struct rank){.mailbox = mailbox,
                                 .rank = r,
                                 .ranks = count,
                                 .seed = random_seed() + 100 * r,
                                 .patience = patience,
                                 .run = run};
        assert_int_equal(pthread_create(&threads[r], NULL, start, &ranks[r]), 0);
    }
    for (size_t r = 0; r < count; r++)
        pthread_join(threads[r], NULL);
}

static void all_well(struct mailbox *mailbox, const struct rank ranks[RANKS], size_t count)
{
    for (size_t r = 0; r < count; r++)
        if (ranks[r].failure)
            fail_msg("rank %zu of %zu: %s", r, count, ranks[r].failure);
    assert_int_equal(mailbox_flying(mailbox), 0);
    mailbox_free(mailbox);
}

static void sums(struct rank *rank, ldar_peers *peers)
{
    static const size_t sizes[] = {1, 1023, 1025, 9001};
    struct random random = random_start(rank->seed);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes && !rank->failure; s++) {
        struct ldar_gradient_tree *tree;
        if (ldar_gradient_tree_create(sizes[s], peers, &tree, NULL)) {
            blame(rank, "no tree");
            return;
        }
        for (size_t n = 1; n <= 17 && !rank->failure; n += sizes[s] > 2000 ? 3 : 1) {
            const struct summed summed = {.floats = sizes[s], .micro_batches = n, .pause = n % 3 ? 0 : 200};
            blame(rank, summed_step(tree, &summed, &random));
        }
        ldar_gradient_tree_destroy(tree);
    }
}

static void test_bits(void **state)
{
    (void)state;
    for (size_t count = 1; count <= RANKS; count++) {
        struct rank ranks[RANKS];
        struct mailbox *mailbox = mailbox_new(count, random_seed() + count);
        together(mailbox, ranks, count, 0, sums);
        all_well(mailbox, ranks, count);
    }
}

static void words(struct rank *rank, ldar_peers *peers)
{
    enum { LONG = 40 << 20 };
    uint64_t own[3] = {rank->rank, 10 * rank->rank, 7}, all[3 * RANKS];
    for (size_t bytes = 0; bytes <= sizeof own; bytes += 8) {
        memset(all, 0, sizeof all);
        if (ldar_peers_gather(peers, own, bytes, all, NULL))
            blame(rank, "no gathering");
        for (size_t r = 0; r < rank->ranks; r++)
            for (size_t i = 0; i < bytes / 8; i++)
                if (all[r * bytes / 8 + i] != (i == 0 ? r : i == 1 ? 10 * r : 7))
                    blame(rank, "wrong words");
    }
    struct ldar_error error;
    if (ldar_peers_agree(peers, "hat", "red", 3, NULL))
        blame(rank, "no agreement");
    if (rank->ranks > 2
        && (ldar_peers_agree(peers, "hat", rank->rank == 2 ? "red" : "ree", 3, &error) != LDAR_ERROR_ARGUMENT
            || strcmp(error.message, "rank 2 has another hat than rank 0") != 0))
        blame(rank, "wrong agreement");
    const size_t length = rank->ranks < 3 ? LONG + 1 : 1000;
    unsigned char *data = malloc(length);
    for (size_t i = 0; i < length; i++)
        data[i] = rank->rank ? 0 : (unsigned char)(i * 2654435761u >> 13);
    if (ldar_peers_broadcast(peers, data, length, NULL))
        blame(rank, "no broadcast");
    for (size_t i = 0; i < length; i++)
        if (data[i] != (unsigned char)(i * 2654435761u >> 13))
            blame(rank, "wrong bytes");
    free(data);
}

static void test_words(void **state)
{
    (void)state;
    for (size_t count = 1; count <= RANKS; count++) {
        struct rank ranks[RANKS];
        struct mailbox *mailbox = mailbox_new(count, random_seed());
        together(mailbox, ranks, count, 0, words);
        all_well(mailbox, ranks, count);
    }
}

/* Steps for ever; the last rank falls silent in the midst of one, and every other must be told so. */
static void steps(struct rank *rank, ldar_peers *peers)
{
    const struct summed summed = {.floats = 5000, .micro_batches = 5, .pause = 100};
    struct random random = random_start(rank->seed);
    struct ldar_gradient_tree *tree;
    if (ldar_gradient_tree_create(summed.floats, peers, &tree, NULL))
        return;
    for (size_t step = 0; !rank->failure; step++) {
        if (step == 3 && rank->rank + 1 == rank->ranks)
            mailbox_silence(rank->mailbox, rank->rank);
        blame(rank, summed_step(tree, &summed, &random));
    }
    struct ldar_error error;
    size_t first, count;
    if (ldar_gradient_tree_begin(tree, 1, &first, &count, &error) == LDAR_OK)
        blame(rank, "a step after the loss");
    if (ldar_peers_gather(peers, NULL, 0, NULL, &error) != LDAR_ERROR_IO)
        rank->failure = NULL;
    ldar_gradient_tree_destroy(tree);
}

static void test_lost(void **state)
{
    (void)state;
    for (size_t count = 2; count <= 4; count += 2) {
        struct rank ranks[RANKS];
        struct mailbox *mailbox = mailbox_new(count, random_seed());
        together(mailbox, ranks, count, 4, steps);
        char name[32];
        snprintf(name, sizeof name, "rank %zu was not heard of", count - 1);
        for (size_t r = 0; r < count; r++)
            assert_non_null(ranks[r].failure);
        assert_non_null(strstr(ranks[0].failure, name));
        mailbox_free(mailbox);
    }
}

/* Whichever message cannot be sent, nobody waits for ever. */
static void failing(struct rank *rank, ldar_peers *peers)
{
    const struct summed summed = {.floats = 3000, .micro_batches = 3};
    struct random random = random_start(rank->seed);
    struct ldar_gradient_tree *tree;
    if (ldar_gradient_tree_create(summed.floats, peers, &tree, NULL))
        return;
    for (size_t step = 0; step < 2 && !rank->failure; step++)
        blame(rank, summed_step(tree, &summed, &random));
    ldar_gradient_tree_destroy(tree);
}

static void test_failures(void **state)
{
    (void)state;
    for (size_t nth = 1; nth < 12; nth += 3) {
        struct rank ranks[RANKS];
        struct mailbox *mailbox = mailbox_new(3, random_seed());
        mailbox_fail(mailbox, 1, nth);
        together(mailbox, ranks, 3, PATIENT, failing);
        for (size_t r = 0; r < 3; r++)
            assert_non_null(ranks[r].failure);
        assert_non_null(strstr(ranks[1].failure, "rank 1 cannot begin"));
        assert_non_null(strstr(ranks[0].failure, "rank 1 has failed or is gone, as rank 1 says"));
        assert_non_null(strstr(ranks[2].failure, "rank 1 has failed or is gone, as rank 0 says"));
        mailbox_free(mailbox);
    }
}

/* A caller that gives up in the midst of a step: its memory is let go of, and the others hear of it. */
static void deserting(struct rank *rank, ldar_peers *peers)
{
    struct random random = random_start(rank->seed);
    const struct summed summed = {.floats = 3000, .micro_batches = 6};
    struct ldar_gradient_tree *tree;
    size_t first, count;
    if (ldar_gradient_tree_create(summed.floats, peers, &tree, NULL))
        return;
    if (rank->rank == 1) {
        if (ldar_gradient_tree_begin(tree, summed.micro_batches, &first, &count, NULL))
            return;
        ldar_gradient_tree_leaf(tree);
        ldar_gradient_tree_ready(tree, 0, 2000);
        if (ldar_gradient_tree_begin(tree, summed.micro_batches, &first, &count, NULL) != LDAR_ERROR_ARGUMENT)
            return;
        blame(rank, "deserted");
    } else {
        blame(rank, summed_step(tree, &summed, &random));
    }
    ldar_gradient_tree_destroy(tree);
}

static void test_desertion(void **state)
{
    (void)state;
    struct rank ranks[RANKS];
    struct mailbox *mailbox = mailbox_new(4, random_seed());
    together(mailbox, ranks, 4, PATIENT, deserting);
    for (size_t r = 0; r < 4; r++)
        assert_non_null(ranks[r].failure);
    assert_non_null(strstr(ranks[3].failure, "rank 1 has failed or is gone, as rank 0 says"));
    mailbox_free(mailbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),    cmocka_unit_test(test_bits),      cmocka_unit_test(test_lost),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_desertion),
    };
    return cmocka_run_group_tests_name("mpi.exchange", tests, NULL, NULL);
}
