/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The encoder thread, which makes chunks of queued records and writes them to the data socket. The layout is that of
 * docs/FORMATS.md, "Branch log".
 */
#ifndef CHUNK_ENCODER_H
#define CHUNK_ENCODER_H

#include "../common/base.h"

/* The descriptor to which chunks are written; -1 for none. Must be set before the thread begins. */
extern int data_fd OURS;

/* The thread. */
OURS void *encode(void *unused);

#endif
