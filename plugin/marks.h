/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Marks: while the machine runs, the counts at an instant are told now and then, which costs the run nothing: at the first
 * step that is made slowly after so many instructions. Between two of them lie more only where a tight loop runs.
 */
#ifndef MARKS_H
#define MARKS_H

static struct { uint64_t every, next; } marks = { .next = UINT64_MAX }; /* instructions; `next`: told from here on */

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Before `block`, whose start is an instant without doubt: all steps to it are explained. */
static NOINLINE void mark(const struct block *block)
{
    /* An instant comes before the deliveries at its icount: this one is past. */
    if (block->ending == UNKNOWN || (delivered.count && delivered.icount == run.executed))
        return;
    marks.next = (run.executed / marks.every + 1) * marks.every;
    tell("{\"event\":\"mark\",\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 "}", run.executed, run.brctr);
}

#endif
