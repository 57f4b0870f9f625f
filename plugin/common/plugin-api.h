/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The part of QEMU's plugin API that is used, since there is no package with its header. QEMU checks at load that it
 * has this version of the API.
 */
#ifndef PLUGIN_API_H
#define PLUGIN_API_H

#include "base.h"

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct plugin_info {
    const char *target_name;
    struct { int min, cur; } version;
    bool system_emulation;
    struct { int smp_vcpus, max_vcpus; } system;
};
typedef void (*udata_callback)(unsigned vcpu, void *udata);
enum { CB_NO_REGS = 0, CB_READ_REGISTERS = 1, OP_ADD_U64 = 0, MEM_READ = 1, MEM_WRITE = 2 };
struct qemu_plugin_hwaddr;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, udata_callback, int flags, void *udata);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, udata_callback, int flags, void *udata);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
                                      void (*)(unsigned vcpu, uint32_t info, uint64_t linear, void *udata), int flags,
                                      int access, void *udata);
void qemu_plugin_register_vcpu_init_cb(plugin_id, void (*)(plugin_id, unsigned vcpu));
void qemu_plugin_register_flush_cb(plugin_id, void (*)(plugin_id));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *udata);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
unsigned qemu_plugin_mem_size_shift(uint32_t info);
bool qemu_plugin_mem_is_store(uint32_t info);
#if QEMU_PLUGIN_API == 1
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int op, void *at, uint64_t value);
#else
struct plugin_u64 { void *scoreboard; size_t offset; };
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *to, size_t size);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(uint32_t info, uint64_t linear);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *);
void *qemu_plugin_scoreboard_new(size_t element_size);
void *qemu_plugin_scoreboard_find(void *scoreboard, unsigned vcpu);
void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(struct qemu_plugin_insn *, int op, struct plugin_u64,
                                                         uint64_t value);
#endif

#endif
