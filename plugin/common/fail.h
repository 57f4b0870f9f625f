/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * How a plugin ends QEMU when it fails: at once, with a message. A log must never look complete when it is not.
 */
#ifndef FAIL_H
#define FAIL_H

#include "base.h"

/* Exit codes. STREAM: a stream cannot be written, or memory is exhausted. INEXACT: this QEMU or machine cannot be
 * followed exactly. */
enum { EXIT_STREAM = 74, EXIT_INEXACT = 70 };

/* The plugin's name in messages; each plugin defines it. */
extern const char plugin_name[] OURS;

/* Ends QEMU with a line on standard error. */
OURS void fail(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
/* Prints why the plugin cannot be loaded. Returns -1, the result for QEMU. */
OURS int refuse_to_load(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Returns the memory; ends QEMU when it is NULL. */
OURS void *must_have(void *memory);

#endif
