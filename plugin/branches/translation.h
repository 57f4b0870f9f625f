/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The entries to branches.c that QEMU calls.
 */
#ifndef TRANSLATION_H
#define TRANSLATION_H

#include "../common/plugin-api.h"

/* Must be called once, before all others. Nothing is known then of what ran before. */
OURS void begin_run(plugin_id id);
/* Called when QEMU translates a block, and when it has discarded all blocks. */
OURS void on_translation(plugin_id id, struct qemu_plugin_tb *tb);
OURS void on_flush(plugin_id id);

#endif
