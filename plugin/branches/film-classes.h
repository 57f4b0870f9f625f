/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * What an instruction of 64-bit code can change, told from its bytes. Nothing here depends on QEMU.
 */
#ifndef FILM_CLASSES_H
#define FILM_CLASSES_H

#include "../common/base.h"

enum { NO_PORT = -1, PORT_IN_DX = -2 };

/* Of registers, does it change general ones, the instruction pointer and flags alone? False where that is not certain. */
OURS bool changes_general_alone(const uint8_t *bytes, size_t size);

/* The port to which it writes, PORT_IN_DX, or NO_PORT. */
OURS int port_written(const uint8_t *bytes, size_t size);

#endif
