/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_LDAR_H
#define LDAR_LDAR_H

/*
 * libldar on one page.
 *
 *   ldar_model *model;
 *   ldar_context *context;
 *   struct ldar_error error;
 *   if (ldar_model_load("model.safetensors", &model, &error)) ...error.message...
 *   if (ldar_context_create(model, NULL, &context, &error)) ...
 *
 *   uint8_t ids[8];
 *   ldar_encode("ACGTACGT", 8, ids, NULL);
 *   size_t offsets[] = {0, 8};
 *   float hidden[8 * D];                              D = ldar_model_config(model)->stage[0].width
 *   struct ldar_outputs out = {.size = sizeof out, .hidden = hidden};
 *   if (ldar_forward(context, &(struct ldar_batch){ids, offsets, 1}, NULL, &out, &error)) ...
 *
 *   ldar_context_destroy(context);
 *   ldar_model_destroy(model);
 *
 * A model is immutable and shared freely; a context serves one caller at a
 * time. The library never prints, never exits, reads one environment variable
 * (LDAR_ISA, see cpu.h; and the marks of a launcher, where peers.h is used),
 * and keeps no state outside its objects.
 */
#include <ldar/checkpoint.h> /* the state of a training run, kept safe */
#include <ldar/context.h>    /* computing: batches, outputs, memory, profile */
#include <ldar/cpu.h>        /* instruction sets */
#include <ldar/file.h>       /* output files that exist whole or not at all */
#include <ldar/model.h>      /* symbols, configuration, parameters, files */
#include <ldar/ops.h>        /* the kernels on their own: scan, attention, norm */
#include <ldar/peers.h>      /* training in several processes */
#include <ldar/status.h>     /* results and errors */
#include <ldar/tensors.h>    /* safetensors files */
#include <ldar/train.h>      /* training: gradients, steps, masking, rates */
#include <ldar/version.h>

#endif
