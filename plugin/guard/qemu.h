/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * What the guard uses of QEMU beyond its plugin API.
 */
#ifndef GUARD_QEMU_H
#define GUARD_QEMU_H

#include "../common/plugin-api.h"

enum { REPLAYING = 2 };                            /* include/sysemu/replay.h, ReplayMode */
enum { REALTIME, VIRTUAL, HOST, VIRTUAL_RT, CLOCKS }; /* include/qemu/timer.h, QEMUClockType */
enum { DUMP_FPU = 0x20000 };                       /* include/hw/core/cpu.h; what `info registers` asks for */

/*
 * replay/replay-internal.h, ReplayEvents: instruction, interrupt, exception, 7 of ASYNC, SHUTDOWN with one more than its causes, then those
 * that an instruction itself takes: what a character device took and gave (3), audio (2), random numbers (1), clocks (2).
 */
enum { EVENT_INSTRUCTION = 0, EVENTS_BEFORE_SHUTDOWN = 10, EVENTS_OF_INSTRUCTIONS = 8, MOST_CAUSES = 32 };

/* include/qemu/timer.h, QEMUTimer and QEMUTimerListGroup. Only its size is used here, and it is larger than
 * necessary. */
struct timer { char room[128]; };
struct timer_lists { void *of[CLOCKS]; };
/* include/qapi/util.h, QEnumLookup. */
struct enum_names { const char *const *names; const void *features; int count; };
typedef void state_handler(void *opaque, bool running, int state);

extern struct {
    int *replay_mode;
    char *replay_state; /* see "Layouts" */
    FILE **replay_file;
    uint64_t *break_icount;
    struct timer **break_timer;
    void (*lock_replay)(void);
    void (*unlock_replay)(void);
    void (*lock_machine)(const char *file, int line);
    void (*unlock_machine)(void);
    int64_t (*icount)(void);
    void *(*cpu)(int index);
    void (*dump)(void *cpu, FILE *to, int flags);
    void (*enable_clock)(int clock, bool enabled);
    int64_t (*now)(int clock);
    void *(*new_timer_list)(int clock, void (*notify)(void *opaque, int clock), void *opaque);
    void (*init_timer)(struct timer *, struct timer_lists *, int clock, int scale, int attributes, void (*)(void *), void *);
    void (*set_timer)(struct timer *, int64_t ns);
    void *(*on_change)(state_handler *, void *opaque, int priority);
    bool (*events_wait)(void);
    void (*run_soon)(void *cpu, void (*)(void *cpu, void *data), void *data);
    const struct enum_names *causes; /* of shutdowns */
    const struct enum_names *modes;  /* of replay */
    struct timer_lists *lists;
    int (*find_networks)(const char *id, void **found, int except, int most);
    void *(*new_queue)(void *deliver, void *opaque);
} qemu OURS;

/*
 * replay/replay-internal.h, ReplayState. 7.2 to 8.2 are told from 9.0 and later by the size of the whole.
 *
 *     offset  7.2        9.0
 *          0  cached_clock[2]
 *         16  current_icount
 *         24  instruction_count (int)
 *         28  data_kind  current_event
 *         32  has_unread data_kind
 *         48  block_request_id
 *       size  72         64
 */
enum { OLD_STATE_SIZE = 72, NEW_STATE_SIZE = 64 };
extern struct {
    uint64_t *event_icount; /* of the last event */
    int *instructions;      /* still to be executed before the next event */
    unsigned *kind;         /* of the next event */
    uint64_t *requests;     /* the number of requests to disks so far */
} replay OURS;

/* Finds all of them. Returns the name of one that this QEMU lacks, or NULL. */
OURS const char *find_symbols(void);
/* Checks that QEMU is as the guard expects. Returns what is different, or NULL. */
OURS const char *check_qemu(void);
/* Checks that a timer that was just made names its list and its callback; otherwise ends QEMU. */
OURS void check_timer(const struct timer *timer, const void *list, void (*call)(void *));
/* Ends QEMU with a sentence. */
OURS void refuse_qemu(const char *what) __attribute__((noreturn));

static inline bool is_replaying(void)
{
    return *qemu.replay_mode == REPLAYING;
}

#endif
