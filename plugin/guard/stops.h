/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Stops of a replay: each comes before all events at its icount, and no event is taken until the machine goes on.
 */
#ifndef STOPS_H
#define STOPS_H

/* Must be called once, at load. */
void guard_stops(void) __attribute__((visibility("hidden")));

#endif
