/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Arenas: memory that is freed all at once.
 */
#ifndef ARENA_H
#define ARENA_H

#include "../common/base.h"

enum { SLAB_SIZE = 1 << 20, CACHE_LINE = 64 };
/* `align`: of each piece; 0: 16. */
struct arena { struct slab *slab; size_t left, total, align; };

/* A zeroed piece of memory, smaller than SLAB_SIZE. */
OURS void *take(struct arena *arena, size_t size);
/* Frees all pieces. */
OURS void drop(struct arena *arena);

#endif
