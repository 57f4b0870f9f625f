/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The control thread.
 */
#include "control.h"
#include "../common/fail.h"
#include "../common/lines.h"
#include "commands.h"
#include "marks.h"
#include <dlfcn.h>
#include <pthread.h>
#include <time.h>

int control_fd = -1;
static pthread_mutex_t control_lock = PTHREAD_MUTEX_INITIALIZER, commands_lock = PTHREAD_MUTEX_INITIALIZER;

bool end_commands(void)
{
    enum { MOST_SECONDS = 2 };
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += MOST_SECONDS;
    return pthread_mutex_timedlock(&commands_lock, &until) == 0;
}

void tell_line(const char *line, size_t size)
{
    if (control_fd < 0)
        return;
    pthread_mutex_lock(&control_lock);
    bool sent = send_bytes(control_fd, line, size);
    pthread_mutex_unlock(&control_lock);
    if (!sent)
        fail(EXIT_STREAM, "cannot write to the control socket: %s", strerror(errno));
}

void tell(const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (size < 0 || (size_t)size > sizeof line - 2)
        size = sizeof line - 2;
    line[size++] = '\n';
    tell_line(line, (size_t)size);
}

bool is_running(void)
{
    static bool (*runstate_is_running)(void);
    if (!runstate_is_running)
        *(void **)&runstate_is_running = dlsym(RTLD_DEFAULT, "runstate_is_running");
    return runstate_is_running && runstate_is_running();
}

/*
 * QEMU stops at an icount sometimes before and sometimes after a delivery at that icount. `delivered` tells how many
 * of the records are deliveries at this icount, `origin` and `originRep` tell the address that was next before them.
 * (`progress` asks a running machine, and has only counts.)
 */
void tell_position(const char *what, struct position at)
{
    char deliveries[128] = "";
    if (strcmp(what, "progress") && delivered.count && delivered.icount == at.icount)
        snprintf(deliveries, sizeof deliveries, ",\"delivered\":%" PRIu64 ",\"origin\":\"%#" PRIx64 "\",\"originRep\":%" PRIu64, delivered.count,
                 delivered.origin, delivered.repeats);
    tell("{\"answer\":\"%s\",\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 ",\"pc\":\"%#" PRIx64
         "\",\"rep\":%" PRIu64 ",\"unexplained\":%" PRIu64 "%s}",
         what, at.icount, at.brctr, at.pc, at.repeats, __atomic_load_n(&unexplained, __ATOMIC_RELAXED), deliveries);
}

void refuse(const char *why)
{
    tell("{\"error\":\"%s\"}", why);
}

void tell_visits(const char *which, const struct point *point, const struct visits *visits)
{
    char before[128] = "", after[128] = "";
    if (!has_address(point))
        return;
    if (visits->before_known)
        snprintf(before, sizeof before, ",\"before\":{\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 "}",
                 visits->before.icount, visits->before.brctr);
    if (visits->after_known)
        snprintf(after, sizeof after, ",\"after\":{\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 "}",
                 visits->after.icount, visits->after.brctr);
    tell("{\"event\":\"visits\",\"of\":\"%s\",\"count\":%" PRIu64 "%s%s}", which, visits->count, before, after);
}

void *control(void *unused UNUSED)
{
    static char line[1 << 18];
    static struct line_reader reader = { .line = line, .room = sizeof line };
    reader.fd = control_fd;
    for (;;) {
        switch (read_line(&reader, are_marks_wanted() ? 1 : -1)) {
        case LINE_READ:
            pthread_mutex_lock(&commands_lock);
            command(line);
            pthread_mutex_unlock(&commands_lock);
            break;
        case LINE_TOO_LONG:
            refuse("the line is too long");
            break;
        case LINE_NONE:
            look_for_marks();
            break;
        case LINE_CLOSED:
            return NULL; /* the other end was closed */
        }
    }
}
