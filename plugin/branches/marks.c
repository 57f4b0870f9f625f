/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Marks: while the machine runs, the counts at an instant are told now and then, which costs the run nothing. The
 * control thread sees that it is time by counters that it reads without a lock; the vCPU thread makes the mark at its
 * next slow step. Such steps are never far, but in a tight loop.
 */
#ifndef MARKS_H
#define MARKS_H

static struct { uint64_t every; volatile uint64_t next; } marks; /* instructions */
static volatile bool mark_wanted;

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Before `block`, whose start is an instant without doubt: all steps to it are explained. */
static NOINLINE void mark(const struct block *block)
{
    /* An instant comes before the deliveries at its icount: this one is past. */
    if (!marks.every || block->ending == UNKNOWN || (delivered.count && delivered.icount == run.executed))
        return;
    marks.next = (run.executed / marks.every + 1) * marks.every;
    mark_wanted = false;
    tell("{\"event\":\"mark\",\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 "}", run.executed, run.brctr);
}

/* Is it time? */
static void look_for_marks(void)
{
    if (executed_now() >= marks.next) /* roughly: a mark that comes too soon is exact, too */
        mark_wanted = true;
}

#endif
