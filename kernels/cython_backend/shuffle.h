/* NumPy's RandomState.shuffle without the GIL and in less time. It draws the same numbers, and so gives the same result. */
#pragma once

#include <numpy/random/bitgen.h>
#include <stddef.h>
#include <stdint.h>

/* Fisher and Yates: item i, from the last one down, changes places with item j, uniform in [0, i]; j is the next number of the
 * stream under the smallest mask that holds i; numbers above i are skipped. An inner loop for that would be hard to predict for the
 * processor, so a number that is too large exchanges item i with itself instead. n <= 2^32. */
static void shuffle(bitgen_t *bits, ptrdiff_t *items, ptrdiff_t n)
{
    uint32_t mask = 1;
    while ((ptrdiff_t)mask < n - 1)
        mask = mask << 1 | 1;
    for (ptrdiff_t i = n - 1; i > 0; mask >>= 1)
        while (i > (ptrdiff_t)(mask >> 1)) { /* all i of this mask */
            const ptrdiff_t number = bits->next_uint32(bits->state) & mask, fits = number <= i, j = fits ? number : i;
            const ptrdiff_t item = items[i];
            items[i] = items[j];
            items[j] = item;
            i -= fits;
        }
}
