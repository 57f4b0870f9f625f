/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Decoding what an instruction of 64-bit code can change. Nothing here depends on QEMU.
 */
#ifndef FILM_CLASSES_H
#define FILM_CLASSES_H

#include "../common/base.h"

enum { NO_PORT = -1, PORT_IN_DX = -2 };

/* Does it change no registers but general ones, the instruction pointer and flags? False when that is not certain. */
OURS bool changes_general_alone(const uint8_t *bytes, size_t size);

/* The port to which the instruction writes, PORT_IN_DX, or NO_PORT. */
OURS int port_written(const uint8_t *bytes, size_t size);

#endif
