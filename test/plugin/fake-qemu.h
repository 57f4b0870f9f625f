/*
 * A QEMU for the plugin alone: a guest of a few hundred blocks, a vCPU's thread, and what the plugin asks of QEMU. It
 * knows itself which branches were taken, so the plugin's counts and logs can be held against that.
 */
#ifndef FAKE_QEMU_H
#define FAKE_QEMU_H

#include "conversation.h"

/* What the guest really did: one a taken branch. */
struct taken { uint64_t from, to, icount; };
extern struct taken *taken;
extern uint64_t taken_count; /* read it while the machine stands */

/* Our ends of the plugin's other sockets. */
extern int data_socket, hits_socket;

/* Makes a guest from the seed, and loads the plugin (of a file, or the one that is linked in). */
void power_on(uint64_t seed, const char *plugin, int data_buffer);
/* The plugin's code for the end of the process. */
void power_off(void);
/* Lets the machine run so many instructions, or a few more; returns when it stands. */
void run_for(uint64_t instructions);
/* The same without waiting; `wait_for_stop` does. */
void let_run(uint64_t instructions);
void wait_for_stop(void);
/* Instructions done by a machine that stands. */
uint64_t executed_so_far(void);
/* Where the guest's block `number` begins. */
uint64_t block_at(unsigned number);
unsigned block_count(void);

/* What came on the data socket: reads it in a thread of its own, from `drain_data` on. */
struct ending { uint32_t reason; uint64_t brctr, icount, records, in_chunks; };
void drain_data(void);
/* Waits for the next window's end marker. */
struct ending next_ending(void);
/* The same of hits: reads all bytes up to `total`; how many records, each with its checks. */
uint64_t count_hits(uint64_t total);

#endif
