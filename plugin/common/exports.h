/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Functions and variables that QEMU exports beyond its plugin API, found by name.
 */
#ifndef EXPORTS_H
#define EXPORTS_H

#include "base.h"

/* What is wanted, and the pointer to set to it. */
struct wanted_export { const char *name; void *at; };

/* Sets all pointers. The first name that this QEMU does not export, or NULL. */
OURS const char *find_exports(const struct wanted_export *wanted, size_t count);
/* How large the exported variable is that begins at `at`, as QEMU's own symbol table says; 0: it is none. */
OURS size_t size_of_export(const void *at);

#endif
