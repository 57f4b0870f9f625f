/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Functions that QEMU exports beyond its plugin API, and the machine's state that they give.
 */
#ifndef QEMU_H
#define QEMU_H

#include "../common/plugin-api.h"

struct byte_array { uint8_t *data; unsigned length; }; /* glib's GByteArray */

extern struct {
    void *(*get_cpu)(int index);
    int (*read_register)(void *cpu, struct byte_array *to, int number); /* numbers: QEMU's gdb-xml, i386-64bit */
    int (*read_memory)(void *cpu, uint64_t linear, void *to, size_t size, bool is_write);
    void (*dump_state)(void *cpu, FILE *to, int flags);
    void (*icount_update)(void *cpu);
    int64_t (*icount_get_raw)(void);
    void **current_cpu; /* thread-local: set in the vCPU thread */
    struct byte_array *(*new_array)(void);
    struct byte_array *(*set_size)(struct byte_array *, unsigned);
    void *cpu;
} qemu OURS;

/* Finds them at load. Returns the name of one that this QEMU lacks, or NULL. */
OURS const char *find_symbols(void);

/*
 * Switches off the preparation for QEMU's own reverse debugging, which vmtape does not use. When a client connects to
 * the GDB stub of a replay, QEMU saves a snapshot with all of RAM, unless the replay began at a named snapshot
 * (replay_gdb_attached). This takes 0.1 to 0.7 s, and touches a checkpoint's pages.
 */
OURS void forgo_own_reversing(void);

enum { REGISTER_SP = 7, REGISTER_IP = 16, REGISTER_FLAGS = 17, REGISTER_CR0 = 27, REGISTER_EFER = 32 };

OURS uint64_t read_register(int number);
/* Reads guest memory as the machine maps it now. */
OURS bool read_memory(uint64_t linear, void *to, size_t size);

/* The machine's state from `info registers`, the only exported way to segment bases, GDT, IDT and SMM. */
extern struct {
    uint64_t ip, sp, cs_base, ss_base, gdt, ldt, idt, cr0, efer, flags;
    uint32_t cs_flags, ss_flags, gdt_limit, ldt_limit, idt_limit;
    bool smm;
} machine OURS;

/* Reads the machine's state. Cost: about 15 us. */
OURS void read_machine(void);

#endif
