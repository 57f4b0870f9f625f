/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Making marks.
 */
#include "marks.h"
#include "control.h"

bool mark_wanted;
static struct { uint64_t every, next; } marks; /* instructions */

static void set_next(uint64_t next)
{
    __atomic_store_n(&marks.next, next, __ATOMIC_RELAXED);
}

void want_marks(uint64_t every)
{
    __atomic_store_n(&marks.every, every, __ATOMIC_RELAXED);
    set_next(every ? (run.executed / every + 1) * every : 0);
}

bool are_marks_wanted(void)
{
    return __atomic_load_n(&marks.every, __ATOMIC_RELAXED) != 0;
}

void look_for_marks(void)
{
    /* The counts here are approximate, but a mark that is made too early is exact, too. */
    if (counts_of_run().icount >= __atomic_load_n(&marks.next, __ATOMIC_RELAXED))
        __atomic_store_n(&mark_wanted, true, __ATOMIC_RELAXED);
}

void mark(const struct block *block)
{
    /* A mark's instant is before all deliveries at its icount. Here some were made already. */
    if (!marks.every || block->ending == UNKNOWN || (delivered.count && delivered.icount == run.executed))
        return;
    set_next((run.executed / marks.every + 1) * marks.every);
    __atomic_store_n(&mark_wanted, false, __ATOMIC_RELAXED);
    tell("{\"event\":\"mark\",\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 "}", run.executed, run.brctr);
}
