/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The window: between which instants records are logged. And visits of watched addresses.
 */
#ifndef WINDOW_H
#define WINDOW_H

#include "queue.h"
#include "run.h"

/* An instant that is to come. A visit of an address is the instant just before the instruction there runs. */
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

/* A block was translated already, so it is too late to watch an address. */
extern bool translated OURS;
/* Is the record that is being made one of a delivery, not of an instruction that ran? */
extern bool delivering OURS;

/* Sets what is to be waited for: the window's next instant. */
OURS void arm(void);
/* Called at the awaited instant. */
OURS void reached(struct position now);
/* Ends the window. */
OURS void end_logging(enum end_reason reason, uint64_t icount);

/* Called before each record, when the awaited icount may be reached or passed by it, and after each, when the
 * awaited brctr may be reached. */
OURS void before_record(void);
OURS void after_record(const struct edge *edge);

static inline bool has_address(const struct point *point)
{
    return point->type == AT_ADDRESS || point->type == AT_VISIT;
}

/* Is an instruction at `pc` to be watched? The block may run at another address of the same offset in its page. */
OURS bool is_watched(uint64_t pc);
/* Watches an instruction. `number` is its index in its block, `distance` that from the block's start in bytes. */
OURS void watch(struct qemu_plugin_insn *insn, uint64_t number, uint64_t distance);

#endif
