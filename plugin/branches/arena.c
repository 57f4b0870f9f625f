/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Arenas that consist of slabs.
 */
#include "arena.h"
#include "../common/fail.h"

struct slab { struct slab *before; char room[] __attribute__((aligned(CACHE_LINE))); };

void *take(struct arena *arena, size_t size)
{
    size_t align = arena->align ? arena->align : 16;
    size = (size + align - 1) & -align;
    if (size > arena->left) {
        struct slab *slab = must_have(aligned_alloc(CACHE_LINE, SLAB_SIZE));
        memset(slab, 0, SLAB_SIZE);
        slab->before = arena->slab;
        arena->slab = slab;
        arena->left = SLAB_SIZE - sizeof *slab;
        arena->total += SLAB_SIZE;
    }
    arena->left -= size;
    return arena->slab->room + (SLAB_SIZE - sizeof(struct slab) - arena->left - size);
}

void drop(struct arena *arena)
{
    while (arena->slab) {
        struct slab *before = arena->slab->before;
        free(arena->slab);
        arena->slab = before;
    }
    arena->left = arena->total = 0;
}
