/* The working memory of a call: one block, laid out by the caller.
 *
 * The system hands out fresh memory as pages that it fills with zeros when they are first touched. A short call would pay that
 * every time, its threads one after the other: docs/tuning.md, working memory. So the block given back last is kept for the next
 * call. Where several calls run at the same time, one gets this block and the others get fresh memory.
 */
#pragma once

#include "system.h"
#include <stdatomic.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

struct block_head { size_t bytes; };

/* A larger block is not kept. */
#define LARGEST_KEPT_BLOCK ((size_t)64 * 1024 * 1024)

static struct block_head *_Atomic kept_block;

/* Whether blocks of whole huge pages come from the system itself. From malloc they would leave gaps in its heap: in a training of
 * many calls, by two threads at a time, these grew beyond the size of the data. */
#if defined(__linux__) && !SANITIZED
#define MAPS_BLOCKS 1
#else
#define MAPS_BLOCKS 0
#endif

/* `size` bytes from a boundary of `unit` bytes on, of which size is a multiple; NULL where there is no memory. */
static void *new_block(size_t size, size_t unit)
{
#if MAPS_BLOCKS
    if (unit == HUGE_PAGE) {
        char *mapped = mmap(NULL, size + unit, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped == MAP_FAILED)
            return NULL;
        const size_t before = -(uintptr_t)mapped % unit;
        if (before)
            munmap(mapped, before);
        munmap(mapped + before + size, unit - before);
        return mapped + before;
    }
#endif
    return aligned_memory(unit, size);
}

static void free_block(struct block_head *head)
{
#if MAPS_BLOCKS
    const size_t size = head ? head->bytes + CACHE_LINE : 0;
    if (size >= HUGE_PAGE) {
        munmap(head, size);
        return;
    }
#endif
    free_aligned(head);
}

/* At least `bytes` bytes, beginning on a cache line, with undefined contents; NULL where there is no memory. */
static void *take_block(size_t bytes)
{
    struct block_head *head = atomic_exchange(&kept_block, NULL);
    if (!head || head->bytes < bytes) {
        free_block(head);
        const size_t wanted = bytes + CACHE_LINE, unit = wanted < HUGE_PAGE ? CACHE_LINE : HUGE_PAGE;
        const size_t size = (size_t)round_up((ptrdiff_t)wanted, (ptrdiff_t)unit);
        if (!(head = new_block(size, unit)))
            return NULL;
#ifdef MADV_HUGEPAGE
        if (unit == HUGE_PAGE)
            madvise(head, size, MADV_HUGEPAGE);
#endif
        head->bytes = size - CACHE_LINE;
    }
    return (char *)head + CACHE_LINE;
}

static void give_back(void *block)
{
    if (!block)
        return;
    struct block_head *head = (struct block_head *)((char *)block - CACHE_LINE);
    free_block(head->bytes <= LARGEST_KEPT_BLOCK ? atomic_exchange(&kept_block, head) : head);
}

/* A number of items for which there is no memory, but small enough that no sum of sizes in bytes overflows. */
#define MOST_ITEMS (PTRDIFF_MAX >> 20)

/* a * b items, at most MOST_ITEMS. */
static ptrdiff_t n_items(ptrdiff_t a, ptrdiff_t b)
{
    ptrdiff_t product;
    return __builtin_mul_overflow(a, b, &product) ? MOST_ITEMS : min_size(product, MOST_ITEMS);
}

/* Take the next `bytes` bytes, from a cache line on, of the block that begins at base, where `size` bytes are taken already.
 * With base NULL nothing but the size is computed. */
static void *cut(char *base, size_t *size, size_t bytes)
{
    void *buffer = base ? base + *size : NULL;
    *size = (size_t)round_up((ptrdiff_t)(*size + bytes), CACHE_LINE);
    return buffer;
}
