/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Control sockets: one command a line in, one line of JSON as answer.
 */
#ifndef LINES_H
#define LINES_H

#include "base.h"

/* Finds lines in what comes. The first three are the caller's. */
struct line_reader {
    int fd;
    char *line;  /* the one that was read, without its end; NULs in it are replaced, so it is all of it */
    size_t room; /* for a line and its end */
    size_t length;
    bool overlong;
    size_t at, end; /* of `held`, what was received and not looked at yet */
    char held[4096];
};

/* A line came; one came that has no room, and was passed over; none within the time; nobody writes any more. */
enum line_state { LINE_READ, LINE_TOO_LONG, LINE_NONE, LINE_CLOSED };

/* Waits for a line, at most `ms` milliseconds; -1: for ever. */
OURS enum line_state read_line(struct line_reader *reader, int ms);
/* Writes all of it; false when nobody reads. */
OURS bool send_bytes(int fd, const void *bytes, size_t size);
OURS int64_t milliseconds(void);

#endif
