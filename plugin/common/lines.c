/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Reading and writing a socket.
 */
#include "lines.h"
#include <poll.h>
#include <time.h>
#include <unistd.h>

int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* Looks for the end of a line in the bytes that are held. LINE_NONE: there is none. */
static enum line_state find_end(struct line_reader *reader)
{
    while (reader->at < reader->end) {
        char byte = reader->held[reader->at++];
        if (byte != '\n') {
            if (reader->length + 1 >= reader->room)
                reader->overlong = true;
            else
                reader->line[reader->length++] = byte ? byte : '?'; /* no command has such a byte */
            continue;
        }
        enum line_state state = reader->overlong ? LINE_TOO_LONG : LINE_READ;
        reader->line[reader->length] = 0;
        reader->length = 0;
        reader->overlong = false;
        return state;
    }
    return LINE_NONE;
}

enum line_state read_line(struct line_reader *reader, int ms)
{
    int64_t until = milliseconds() + ms;
    for (;;) {
        enum line_state state = find_end(reader);
        if (state != LINE_NONE)
            return state;
        struct pollfd asked = { .fd = reader->fd, .events = POLLIN };
        int64_t left = ms < 0 ? -1 : until - milliseconds();
        int ready = poll(&asked, 1, ms < 0 ? -1 : left > 0 ? (int)left : 0);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0)
            return LINE_NONE;
        ssize_t got = ready < 0 ? -1 : read(reader->fd, reader->held, sizeof reader->held);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return LINE_CLOSED;
        reader->at = 0;
        reader->end = (size_t)got;
    }
}

bool send_bytes(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = write(fd, at, size);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}
