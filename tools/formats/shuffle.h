/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMATS_SHUFFLE_H
#define FORMATS_SHUFFLE_H

#include "draws.h"

#include <stddef.h>

/*
 * Shuffles ids (enum ldar_symbol) such that every dinucleotide occurs as often as before (Altschul and Erickson, Mol.
 * Biol. Evol. 1985): of all sequences with the same counts and the same first letter each is equally likely. Runs of
 * A, C, G and T are shuffled by themselves, and what stands between them stays where it is. The first and the last
 * letter of a run are kept: the counts leave no choice. Time grows with `count`, memory does not.
 */
void shuffle_dinucleotides(uint8_t *ids, size_t count, struct draws *draws);

#endif
