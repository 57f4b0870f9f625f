/*
 * A QEMU for the plugin alone: a guest of a few hundred blocks, a vCPU's thread, and what the plugin asks of QEMU. It
 * knows itself which branches were taken, so the plugin's counts and logs can be held against that.
 */
#ifndef FAKE_QEMU_H
#define FAKE_QEMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the guest really did: one a taken branch. */
struct taken { uint64_t from, to, icount; };
extern struct taken *taken;
extern uint64_t taken_count; /* read it while the machine stands */

/* Our ends of the plugin's sockets. */
extern int control_socket, data_socket, hits_socket;

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

/* Random numbers below `most`, one sequence a seed. */
uint64_t random_below(uint64_t *state, uint64_t most);

/* Sends a command line and waits for its answer, a line of JSON; events are passed over. */
const char *ask(const char *line);
/* The answer's number of this name; fails without. */
uint64_t number_in(const char *answer, const char *name);
/* Ends the test with what was expected. */
void expect(bool holds, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What came on the data socket: reads it in a thread of its own, from `drain_data` on. */
struct ending { uint32_t reason; uint64_t brctr, icount, records, in_chunks; };
void drain_data(void);
/* Waits for the next window's end marker. */
struct ending next_ending(void);
/* The same of hits: reads all bytes up to `total`; how many records, each with its checks. */
uint64_t count_hits(uint64_t total);

#endif
