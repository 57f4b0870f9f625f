/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Included by all files of the plugins: the C library, and some attributes.
 */
#ifndef BASE_H
#define BASE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef QEMU_PLUGIN_API
#error "compile with -DQEMU_PLUGIN_API=1 (QEMU 7.2 to 8.2) or =2 (9.0 and later)"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the streams are little-endian, and so must be the host"
#endif

#define EXPORT __attribute__((visibility("default")))
#define NOINLINE __attribute__((noinline))
#define UNUSED __attribute__((unused))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/*
 * For what the files of a plugin share: it is accessed directly, without the linker's tables. -fvisibility=hidden
 * does this only for definitions, OURS for declarations in headers.
 */
#define OURS __attribute__((visibility("hidden")))

static inline uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
