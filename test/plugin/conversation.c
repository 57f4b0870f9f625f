/* See conversation.h. */
#define _GNU_SOURCE
#include "conversation.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int control_socket;

void expect(bool holds, const char *format, ...)
{
    if (holds)
        return;
    va_list args;
    va_start(args, format);
    flockfile(stdout);
    fputs("FAILED: ", stdout);
    vprintf(format, args);
    putchar('\n');
    fflush(stdout);
    _exit(1);
}

uint64_t random_below(uint64_t *state, uint64_t most)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % most;
}

int make_socket(int *ours, int buffer)
{
    int ends[2];
    expect(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "sockets");
    if (buffer)
        setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    *ours = ends[0];
    return ends[1];
}

bool read_all(int fd, void *to, size_t size)
{
    for (char *at = to; size > 0;) {
        ssize_t got = read(fd, at, size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got, size -= (size_t)got;
    }
    return true;
}

static const char *next_line(void)
{
    static char line[1 << 17];
    size_t length = 0;
    while (length < sizeof line - 1 && read_all(control_socket, line + length, 1)) {
        if (line[length] == '\n') {
            line[length] = 0;
            return line;
        }
        length++;
    }
    expect(false, "the plugin answers no more");
    return NULL;
}

void say(const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = write(control_socket, bytes, size);
        expect(sent > 0, "the plugin hears no more");
        bytes += sent, size -= (size_t)sent;
    }
}

const char *next_answer(void)
{
    for (;;) {
        const char *answer = next_line();
        if (!strncmp(answer, "{\"answer\":", 10) || !strncmp(answer, "{\"error\":", 9))
            return answer;
        expect(!strncmp(answer, "{\"event\":", 9), "an answer: %s", answer);
    }
}

const char *ask(const char *line)
{
    say(line, strlen(line));
    say("\n", 1);
    return next_answer();
}

uint64_t number_in(const char *answer, const char *name)
{
    char wanted[40];
    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *at = strstr(answer, wanted);
    expect(at != NULL, "%s in %s", name, answer);
    return strtoull(at + strlen(wanted), NULL, 10);
}
