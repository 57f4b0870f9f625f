/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * How a plugin ends QEMU: loudly and at once. A log must never be shorter or other than the truth and look whole.
 */
#ifndef FAIL_H
#define FAIL_H

#include "base.h"

/* A stream cannot be written, or there is no memory; this QEMU or machine cannot be followed exactly. */
enum { EXIT_STREAM = 74, EXIT_INEXACT = 70 };

/* Who speaks: each plugin has its own. */
extern const char plugin_name[] OURS;

/* Ends QEMU with a line on standard error. */
OURS void fail(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
/* Says why QEMU does not load the plugin; -1, which is what QEMU is told. */
OURS int refuse_to_load(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The memory; without any, the end. */
OURS void *must_have(void *memory);

#endif
