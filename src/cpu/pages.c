/* SPDX-License-Identifier: Apache-2.0 */
#include "pages.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { LINE = 64, HUGE_PAGE = 2 << 20 }; /* the usual huge page of x86-64 and of AArch64 with 4 KiB pages */

void ldar_pages_advise(void *mapping, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    if (bytes >= HUGE_PAGE)
        madvise(mapping, bytes, MADV_HUGEPAGE);
#else
    (void)mapping;
    (void)bytes;
#endif
}

void *ldar_pages_new(size_t bytes)
{
    if (bytes < HUGE_PAGE)
        return aligned_alloc(LINE, (bytes + LINE) / LINE * LINE);
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return NULL;
    ldar_pages_advise(pages, bytes);
    return pages;
}

void ldar_pages_free(void *pages, size_t bytes)
{
    if (bytes < HUGE_PAGE)
        free(pages);
    else if (pages)
        munmap(pages, bytes);
}
