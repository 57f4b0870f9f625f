/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Control sockets: a command is a line, its answer a line of JSON.
 */
#ifndef LINES_H
#define LINES_H

#include "base.h"

/* Finds lines in the bytes that arrive. The caller sets the first three members. */
struct line_reader {
    int fd;
    char *line;  /* the line that was read, without its end; NULs in it are replaced, so that none ends it early */
    size_t room; /* for a line and its end */
    size_t length;
    bool overlong;
    size_t at, end; /* the bytes of `held` that were received and not looked at yet */
    char held[4096];
};

/* LINE_READ: a line was read. LINE_TOO_LONG: one was too long, and was skipped. LINE_NONE: none came within the
 * time. LINE_CLOSED: the other end was closed. */
enum line_state { LINE_READ, LINE_TOO_LONG, LINE_NONE, LINE_CLOSED };

/* Waits for a line, at most `ms` milliseconds; for ever when it is -1. */
OURS enum line_state read_line(struct line_reader *reader, int ms);
/* Writes all bytes. False when the other end was closed. */
OURS bool send_bytes(int fd, const void *bytes, size_t size);
OURS int64_t milliseconds(void);

#endif
