/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Checks, before the first instruction, that this QEMU's internals are as the plugin expects; see README.md, "What it
 * trusts".
 */
#ifndef SELF_CHECK_H
#define SELF_CHECK_H

#include "../common/plugin-api.h"

/* Ends QEMU with a sentence that says what is different, and what to do. */
OURS void refuse_qemu(const char *what) __attribute__((noreturn));

/* Called when the vCPU exists and the machine has not run: checks its state as text, and the places of its
 * registers. */
OURS void check_processor(plugin_id id, unsigned vcpu);

/* Is this the word in which the check found the instruction pointer? */
OURS bool is_instruction_pointer(const uint64_t *word);
/* The word that followed the instruction pointer when that was tried; NULL when it could not be tried. */
OURS const uint64_t *tried_pointer(void);
#endif
