/* The working memory of a call: one block, laid out by whoever takes it.
 *
 * The system hands out fresh memory as pages that it fills with zeros when they are first touched. A call that lasts milliseconds
 * would pay that every time, with two threads in turns: an epoch of 100-1024-10 on 1,000 rows took 2.3 times as long. So the block
 * given back last is kept for the next call; calls at the same time beyond one get fresh memory.
 */
#pragma once

#include "platform.h"
#include <stdatomic.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

struct block_head { size_t bytes; };

/* A larger block is not kept. */
#define LARGEST_KEPT_BLOCK ((size_t)64 * 1024 * 1024)

static struct block_head *_Atomic kept_block;

/* At least so many bytes from a cache line on, with anything in them; NULL where there is no memory. */
static void *take_block(size_t bytes)
{
    struct block_head *head = atomic_exchange(&kept_block, NULL);
    if (!head || head->bytes < bytes) {
        free(head);
        const size_t wanted = bytes + CACHE_LINE;
        const ptrdiff_t unit = wanted < HUGE_PAGE ? CACHE_LINE : HUGE_PAGE;
        const size_t size = (size_t)round_up((ptrdiff_t)wanted, unit);
        if (!(head = aligned_alloc((size_t)unit, size)))
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
    free(head->bytes <= LARGEST_KEPT_BLOCK ? atomic_exchange(&kept_block, head) : head);
}

/* Items for which there is no memory, but few enough that no sum of sizes in bytes wraps. */
#define MOST_ITEMS (PTRDIFF_MAX >> 20)

/* a * b items, or where that would be more, MOST_ITEMS. */
static ptrdiff_t n_items(ptrdiff_t a, ptrdiff_t b)
{
    ptrdiff_t product;
    return __builtin_mul_overflow(a, b, &product) ? MOST_ITEMS : min_size(product, MOST_ITEMS);
}

/* The next so many bytes, from a cache line on, of the block that begins at base and of which `size` are taken; with base NULL only
 * the size means anything. */
static void *cut(char *base, size_t *size, size_t bytes)
{
    void *buffer = base ? base + *size : NULL;
    *size = (size_t)round_up((ptrdiff_t)(*size + bytes), CACHE_LINE);
    return buffer;
}
