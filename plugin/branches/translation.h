/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Where the hot part is entered: what QEMU is given to call.
 */
#ifndef TRANSLATION_H
#define TRANSLATION_H

#include "../common/plugin-api.h"

/* Once, before all else: nothing is known of what ran before. */
OURS void begin_run(plugin_id id);
/* QEMU translates a block; it has thrown away all blocks. */
OURS void on_translation(plugin_id id, struct qemu_plugin_tb *tb);
OURS void on_flush(plugin_id id);

#endif
