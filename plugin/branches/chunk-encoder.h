/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The encoder thread: makes chunks of queued records and writes them to the data socket. The layout is that of
 * docs/FORMATS.md, "Branch log".
 */
#ifndef CHUNK_ENCODER_H
#define CHUNK_ENCODER_H

#include "../common/base.h"

/* Where chunks go; -1: nowhere. Set before the thread begins. */
extern int data_fd OURS;

/* The thread. */
OURS void *encode(void *unused);

#endif
