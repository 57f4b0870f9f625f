/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Functions and variables that QEMU exports beyond its plugin API, found by name.
 */
#ifndef EXPORTS_H
#define EXPORTS_H

#include "base.h"

/* The name of an export, and the pointer that is to be set to it. */
struct wanted_export { const char *name; void *at; };

/* Sets all pointers. Returns the first name that this QEMU does not export, or NULL. */
OURS const char *find_exports(const struct wanted_export *wanted, size_t count);
/* The size of the exported variable at `at`, from QEMU's own symbol table; 0 when there is none. */
OURS size_t size_of_export(const void *at);

#endif
