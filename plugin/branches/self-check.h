/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Is this QEMU inside as the plugin takes it to be? Asked before the first instruction; README.md, "What it trusts".
 */
#ifndef SELF_CHECK_H
#define SELF_CHECK_H

#include "../common/plugin-api.h"

/* Ends QEMU with a sentence: what is otherwise, and what to do. */
OURS void refuse_qemu(const char *what) __attribute__((noreturn));

/* The processor is there, and the machine has not run: its state as text, and where its registers lie. */
OURS void check_processor(plugin_id id, unsigned vcpu);

/* Where the instruction pointer was seen to lie. */
OURS bool is_instruction_pointer(const uint64_t *word);
/* The word that followed the instruction pointer when that was tried; NULL when it could not be tried. */
OURS const uint64_t *tried_pointer(void);
#endif
