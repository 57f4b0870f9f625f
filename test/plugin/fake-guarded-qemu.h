/*
 * A QEMU for the guard alone: what the guard uses of it, a vCPU's thread that records, and a replay that is gone through step by
 * step, with handlers of its own that do to the machine what QEMU's do at a stop.
 */
#ifndef FAKE_GUARDED_QEMU_H
#define FAKE_GUARDED_QEMU_H

#include "conversation.h"

/*
 * Loads the guard. `strange` names what is otherwise than QEMU has it, as fake-guarded-qemu.c lists it; NULL: nothing is. A QEMU that
 * refuses the guard ends with 1.
 */
void power_on(uint64_t seed, bool replays, const char *strange);
void power_off(void);

/* ---- A recording -------------------------------------------------------------------------------------------------------- */

/* Lets the guest idle: no instruction is executed any more, and an event is the last in the log. */
void fall_idle(void);
/* Does anybody hold all of QEMU? */
bool is_held(void);
/* Waits until the vCPU has done something more. */
void wait_for_progress(void);
/* The instructions executed; while QEMU is held. */
uint64_t executed(void);
/* From now on time passes as soon as somebody waits for it. */
void hurry(void);

/* ---- A replay ----------------------------------------------------------------------------------------------------------- */

/* `replay-break`, of a machine that stands: where it stops. */
void set_break(uint64_t icount);
/* Lets the machine go on until its break, or until it has executed so many instructions; it stands then. */
void replay_for(uint64_t instructions);

#endif
