/* SPDX-License-Identifier: Apache-2.0 */
#include "trainer_state.h"
#include "message.h"

#include "formats/failure.h"
#include "formats/members.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS = 3, SKIPPED_MOST = 8 };

enum ldar_status skips_note(struct skips *skips, uint64_t number, const struct ldar_step *step, const char *folder,
                            struct ldar_error *error)
{
    const char *tensor = step->tensor ? step->tensor : "the loss";
    skips->in_a_row = step->skipped ? skips->in_a_row + 1 : 0;
    if (!step->skipped)
        return LDAR_OK;
    skips->all++;
    say_warning("step %" PRIu64 " is skipped: the gradient of %s is not finite (%" PRIu64 " skipped so far)", number,
                tensor, skips->all);
    return skips->in_a_row < SKIPPED_MOST
               ? LDAR_OK
               : fail(error, LDAR_ERROR_ARGUMENT,
                      "step %" PRIu64
                      ": the gradient of %s is not finite, as in the %d steps before: a lower --rate may "
                      "help; %s/checkpoints holds the last good state",
                      number, tensor, SKIPPED_MOST - 1, folder);
}

/* The weights and moments as a checkpoint names them; the caller frees the array. NULL without memory. */
static struct ldar_checkpoint_tensor *tensors_of(const ldar_trainer *trainer, size_t *count)
{
    static const char *const groups[GROUPS] = {"weight", "moment1", "moment2"};
    const size_t tensors = ldar_trainer_tensors(trainer);
    struct ldar_checkpoint_tensor *list = calloc(GROUPS * tensors, sizeof *list);
    *count = GROUPS * tensors;
    for (size_t i = 0; list && i < *count; i++) {
        struct ldar_trainer_tensor tensor;
        ldar_trainer_tensor(trainer, i % tensors, &tensor);
        float *const data[GROUPS] = {tensor.weight, tensor.moment1, tensor.moment2};
        list[i] = (struct ldar_checkpoint_tensor){
            .group = groups[i / tensors], .name = tensor.name, .rank = tensor.rank, .data = data[i / tensors]};
        memcpy(list[i].shape, tensor.shape, tensor.rank * sizeof *tensor.shape);
    }
    return list;
}

enum ldar_status trainer_state_save(ldar_checkpoints *checkpoints, const ldar_trainer *trainer, uint64_t step,
                                    const char *state, int background, struct ldar_error *error)
{
    size_t count;
    const struct ldar_config *config = ldar_model_config(ldar_trainer_weights(trainer));
    const size_t length = ldar_config_format(config, NULL, 0);
    char *text = malloc(length + 1);
    struct ldar_checkpoint_tensor *tensors = tensors_of(trainer, &count);
    enum ldar_status status;
    if (!text || !tensors) {
        status = fail(error, LDAR_ERROR_MEMORY, "no memory for a checkpoint");
    } else {
        ldar_config_format(config, text, length + 1);
        status = ldar_checkpoints_save(checkpoints, step, text, state, tensors, count, background, error);
    }
    free(text);
    free(tensors);
    return status;
}

enum ldar_status trainer_state_load(ldar_checkpoints *checkpoints, ldar_trainer *trainer, struct ldar_checkpoint *found,
                                    struct ldar_error *error)
{
    size_t count;
    struct ldar_checkpoint_tensor *tensors = tensors_of(trainer, &count);
    enum ldar_status status = tensors ? ldar_checkpoints_load(checkpoints, tensors, count, found, error)
                                      : fail(error, LDAR_ERROR_MEMORY, "no memory for a checkpoint");
    free(tensors);
    if (status != LDAR_OK || found->generation == 0)
        return status;
    ldar_trainer_set_steps(trainer, trainer_state_count(found->state, "updates"));
    ldar_trainer_refresh(trainer);
    return LDAR_OK;
}

uint64_t trainer_state_count(const char *state, const char *key)
{
    double value;
    return member_number(state, key, &value) ? (uint64_t)value : 0;
}

struct data_hash trainer_state_hash(uint64_t hash)
{
    struct data_hash data;
    snprintf(data.text, sizeof data.text, "%016" PRIx64, hash);
    return data;
}

enum ldar_status trainer_state_check_data(const char *state, uint64_t hash, const char *folder, const char *what,
                                          struct ldar_error *error)
{
    char *kept = member_string(state, "data");
    const int same = kept && strcmp(kept, trainer_state_hash(hash).text) == 0;
    free(kept);
    return same ? LDAR_OK
                : fail(error, LDAR_ERROR_ARGUMENT, "%s was trained on other sequences: %s have changed since it began",
                       folder, what);
}

void trainer_state_compare_isa(const ldar_trainer *trainer, const char *state)
{
    const char *now = ldar_isa_name(ldar_trainer_isa(trainer));
    char *then = member_string(state, "isa");
    if (then && strcmp(then, now) != 0)
        say_warning(
            "so far the run was computed with %s, from here on with %s: the last bits of its numbers differ from "
            "those of a run on one machine",
            then, now);
    free(then);
}
