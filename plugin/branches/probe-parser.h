/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Parsing the command that sets a probe.
 */
#ifndef PROBE_PARSER_H
#define PROBE_PARSER_H

#include "probe.h"

/* Fills a zeroed probe. Returns what is wrong, or NULL. */
OURS const char *parse_probe(struct probe *probe, char **words, int count);
OURS void free_probe(struct probe *probe);
/* Does it ask for registers? */
OURS bool needs_registers(const struct probe *probe);

#endif
