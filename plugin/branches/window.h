/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * From which instant to which records are logged, and visits of watched addresses.
 */
#ifndef WINDOW_H
#define WINDOW_H

#include "queue.h"
#include "run.h"

/* An instant, given beforehand. A visit of an address is an instant just before the instruction there runs. */
struct point {
    enum { NOW, AT_ICOUNT, AT_BRCTR, AT_ADDRESS, AT_VISIT, NEVER } type;
    uint64_t count;        /* icount or brctr */
    uint64_t address, rep; /* AT_ADDRESS, AT_VISIT; iterations done of a rep instruction */
};
/* Visits of the address of a point, for an error that names the nearest. */
struct visits {
    uint64_t count, last_brctr;
    bool before_known, after_known;
    struct position before, after;
};

extern struct {
    enum { CLOSED, WAITING, OPEN } state;
    struct point start, end;
    struct visits start_visits, end_visits;
    enum selection selection;
} window OURS;

/* A block has been translated, already: too late to watch an address. */
extern bool translated OURS;
/* The record that is being made is of a delivery, not of an instruction that ran. */
extern bool delivering OURS;

/* Waits for the window's next instant. */
OURS void arm(void);
/* The awaited instant is now. */
OURS void reached(struct position now);
/* The window ends. */
OURS void end_logging(enum end_reason reason, uint64_t icount);

/* The awaited icount has come, or is passed by the record that is about to be made; the awaited brctr has come. */
OURS void before_record(void);
OURS void after_record(const struct edge *edge);

static inline bool has_address(const struct point *point)
{
    return point->type == AT_ADDRESS || point->type == AT_VISIT;
}

/* Is an instruction at `pc` to be watched? The block may run at another address of the same offset in its page. */
OURS bool is_watched(uint64_t pc);
/* Watches it: its number in its block, and its distance from the block's start. */
OURS void watch(struct qemu_plugin_insn *insn, uint64_t number, uint64_t distance);

#endif
