/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_CPU_PAGES_H
#define LDAR_CPU_PAGES_H

#include <stddef.h>

/*
 * Memory for what is large and lives long, 64-byte aligned, in huge pages where the system allows them: 443 MB of
 * packed weights are then 211 page faults and not 108,000.
 */
void *ldar_pages_new(size_t bytes);              /* NULL when there is none */
void ldar_pages_free(void *pages, size_t bytes); /* does nothing for NULL */

/* Advises huge pages for a mapping. */
void ldar_pages_advise(void *mapping, size_t bytes);

#endif
