/* SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */
#include "guard.h"

#include "check.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    SLOTS = 128,
    GUARD = 1 << 16, /* unmapped bytes on either side; also the unit of a mapping, since no page is larger */
    NEAR = 1024 /* bytes on either side of a row that hold the canary: farther, a stray write is not a small mistake */
};

/* Mappings outlive their buffers, because a sweep makes thousands of buffers and mmap is its slowest part. */
struct slot {
    unsigned char *pages; /* first usable byte; GUARD unmapped ones stand before it and after `capacity` */
    size_t capacity;
    unsigned char *data;
    size_t rows, bytes, pitch;
    int sealed;
};

static struct slot slots[SLOTS];
static size_t used;

/* Aligned words of 0x7fe57fd3: a quiet NaN as a float, and two of them as bfloat16. */
static uint32_t canaries[NEAR / sizeof(uint32_t) + 1];

/* Up to NEAR bytes of canary, as they must be from `at` on. */
static const unsigned char *canary(const unsigned char *at)
{
    enum { WORDS = sizeof canaries / sizeof *canaries };
    for (size_t i = 0; !canaries[WORDS - 1] && i < WORDS; i++) {
        canaries[i] = 0x7fe57fd3u;
    }
    return (const unsigned char *)canaries + (uintptr_t)at % sizeof *canaries;
}

static size_t minimum(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* In blocks, as hurt(): byte by byte, canaries would take longer than the kernels between them. */
static void paint(unsigned char *from, const unsigned char *to)
{
    for (size_t bytes; from < to; from += bytes) {
        bytes = minimum(NEAR, (size_t)(to - from));
        memcpy(from, canary(from), bytes);
    }
}

static const unsigned char *hurt(const unsigned char *from, const unsigned char *to)
{
    for (size_t bytes; from < to; from += bytes) {
        bytes = minimum(NEAR, (size_t)(to - from));
        const unsigned char *expected = canary(from);
        if (memcmp(from, expected, bytes) != 0) {
            while (*from == *expected) {
                from++, expected++;
            }
            return from;
        }
    }
    return NULL;
}

static void reserve(struct slot *slot, size_t span)
{
    size_t capacity = (span + NEAR + GUARD - 1) / GUARD * GUARD;
    if (slot->capacity >= capacity) {
        return;
    }
    if (slot->pages) {
        munmap(slot->pages - GUARD, slot->capacity + 2 * (size_t)GUARD);
    }
    unsigned char *map =
        mmap(NULL, capacity + 2 * (size_t)GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED || mprotect(map + GUARD, capacity, PROT_READ | PROT_WRITE) != 0) {
        fprintf(stderr, "SKIP %s: no address space for %zu bytes\n", check_where(), capacity);
        exit(check_total() ? 1 : CHECK_SKIP);
    }
    slot->pages = map + GUARD;
    slot->capacity = capacity;
}

void *guard_rows(size_t rows, size_t bytes, size_t pitch, enum guard_side side, size_t offset)
{
    if (used == SLOTS) {
        fprintf(stderr, "%s: more than %d guarded buffers in one case\n", check_where(), SLOTS);
        exit(1);
    }
    struct slot *slot = &slots[used++];
    size_t span = rows ? (rows - 1) * pitch + bytes : 0;
    reserve(slot, span + offset);
    slot->data = side == GUARD_FRONT ? slot->pages + offset : slot->pages + slot->capacity - span - offset;
    slot->rows = rows;
    slot->bytes = bytes;
    slot->pitch = pitch;
    slot->sealed = 0;

    unsigned char *end = slot->data + span, *limit = slot->pages + slot->capacity;
    paint(slot->data - minimum(NEAR, (size_t)(slot->data - slot->pages)), slot->data);
    for (size_t i = 0; i < rows; i++) {
        unsigned char *row = slot->data + i * pitch;
        paint(row, row + (i + 1 < rows ? minimum(pitch, bytes + NEAR) : bytes));
    }
    paint(end, end + minimum(NEAR, (size_t)(limit - end)));
    return slot->data;
}

void *guard_bytes(size_t bytes, enum guard_side side, size_t offset)
{
    return guard_rows(1, bytes, bytes, side, offset);
}

void guard_seal(void *buffer)
{
    for (size_t i = 0; i < used; i++) {
        if (slots[i].data == buffer && !slots[i].sealed) {
            slots[i].sealed = 1;
            mprotect(slots[i].pages, slots[i].capacity, PROT_READ);
            return;
        }
    }
    check_fail("no open buffer starts at %p", buffer);
}

static void check_slot(const struct slot *slot, size_t number)
{
    const unsigned char *limit = slot->pages + slot->capacity;
    const unsigned char *end = slot->data + (slot->rows ? (slot->rows - 1) * slot->pitch + slot->bytes : 0);
    const unsigned char *bad = hurt(slot->data - minimum(NEAR, (size_t)(slot->data - slot->pages)), slot->data);
    if (bad) {
        check_fail("buffer %zu: written %td bytes before its start", number, slot->data - bad);
    }
    for (size_t i = 0; i + 1 < slot->rows; i++) {
        const unsigned char *row = slot->data + i * slot->pitch;
        bad = hurt(row + slot->bytes, row + minimum(slot->pitch, slot->bytes + NEAR));
        if (bad) {
            check_fail("buffer %zu: written %td bytes behind row %zu", number, bad - row - (ptrdiff_t)slot->bytes, i);
            return;
        }
    }
    bad = hurt(end, end + minimum(NEAR, (size_t)(limit - end)));
    if (bad) {
        check_fail("buffer %zu: written %td bytes behind its end", number, bad - end);
    }
}

void guard_end(void)
{
    enum { KEEP = 1 << 28 }; /* larger mappings are the rare ones with rows gigabytes apart */
    for (size_t i = 0; i < used; i++) {
        struct slot *slot = &slots[i];
        check_slot(slot, i);
        if (slot->capacity > KEEP) {
            munmap(slot->pages - GUARD, slot->capacity + 2 * (size_t)GUARD);
            *slot = (struct slot){0};
        } else if (slot->sealed) {
            mprotect(slot->pages, slot->capacity, PROT_READ | PROT_WRITE);
        }
    }
    used = 0;
}

static const char *place(const struct slot *slot, const unsigned char *at)
{
    if (at < slot->pages) {
        return "before";
    }
    return at < slot->pages + slot->capacity ? "inside sealed" : "behind";
}

static void report_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    char text[1200];
    const unsigned char *at = info->si_addr;
    int length = snprintf(text, sizeof text, "FAIL %s: fault at %p", check_where(), info->si_addr);
    for (size_t i = 0; i < used && length > 0 && (size_t)length < sizeof text; i++) {
        if (at >= slots[i].pages - GUARD && at < slots[i].pages + slots[i].capacity + GUARD) {
            length += snprintf(text + length, sizeof text - (size_t)length, ", %s buffer %zu", place(&slots[i], at), i);
        }
    }
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    written = write(STDERR_FILENO, "\n", 1);
    (void)written;
    _exit(1);
}

void guard_catch_faults(void)
{
    struct sigaction action = {.sa_sigaction = report_fault, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}
