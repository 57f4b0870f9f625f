/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Stops of a replay: before all events at their icount, and none taken until the machine goes on.
 */
#ifndef STOPS_H
#define STOPS_H

/* Once, at load. */
void guard_stops(void) __attribute__((visibility("hidden")));

#endif
