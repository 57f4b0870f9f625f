/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The guard's commands: holding a recording, waking a processor.
 */
#include "control.h"
#include "../common/fail.h"
#include "../common/lines.h"
#include "../common/numbers.h"
#include "packets.h"
#include "qemu.h"
#include <unistd.h>

int control_fd = -1;

static void __attribute__((format(printf, 1, 2))) answer(const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text - 1, format, args);
    va_end(args);
    text[length++] = '\n';
    send_bytes(control_fd, text, (size_t)length);
}

static void enter(void)
{
    qemu.lock_replay();
    qemu.lock_machine(__FILE__, __LINE__);
}

static void leave(void)
{
    qemu.unlock_machine();
    qemu.unlock_replay();
}

/* Answers with the machine's registers from `info registers`, whose line breaks are \n in JSON. */
static void tell_frozen(void)
{
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    if (!memory)
        fail(EXIT_STREAM, "out of memory");
    fprintf(memory, "{\"answer\":\"freeze\",\"icount\":%" PRId64 ",\"requests\":%" PRIu64 ",\"registers\":\"CPU#0\\n", qemu.icount(),
            *replay.requests);
    fflush(memory);
    char *registers = NULL;
    size_t size = 0;
    FILE *dump = open_memstream(&registers, &size);
    if (!dump)
        fail(EXIT_STREAM, "out of memory");
    qemu.dump(qemu.cpu(0), dump, DUMP_FPU);
    fclose(dump);
    for (size_t i = 0; i < size; i++)
        if (registers[i] == '\n')
            fputs("\\n", memory);
        else if (registers[i] >= ' ' && registers[i] != '"' && registers[i] != '\\')
            fputc(registers[i], memory);
    fputs("\"}\n", memory);
    fclose(memory);
    send_bytes(control_fd, text, length);
    free(text);
    free(registers);
}

enum { LONGEST_LINE = 64, PAUSE_US = 100, LONGEST_FREEZE_MS = 30000, MOST_MS = INT32_MAX };

static char line[LONGEST_LINE];
static struct line_reader reader = { .line = line, .room = sizeof line };

/* Holds QEMU until it is asked to thaw, which is true; until nobody asks any more; and at most 30 s. */
static bool wait_for_thaw(void)
{
    int64_t until = milliseconds() + LONGEST_FREEZE_MS;
    for (;;) {
        int64_t left = until - milliseconds();
        enum line_state state = left > 0 ? read_line(&reader, (int)left) : LINE_NONE;
        if (state == LINE_READ && !strcmp(line, "thaw"))
            return true;
        if (state == LINE_NONE || state == LINE_CLOSED)
            return false;
        answer("{\"answer\":\"frozen\"}");
    }
}

/*
 * An instant is one that a replay can be stopped at: some instructions were executed since the last event in the log, so
 * the state is the one before all events at this icount. With both locks held nothing of QEMU runs. Between two blocks of
 * an idle guest there may be none for a while. A `thaw` that comes when QEMU goes on already is refused: what was read
 * meanwhile is of no one instant.
 */
static void freeze(int64_t most_ms)
{
    int64_t until = milliseconds() + most_ms;
    do {
        enter();
        if ((uint64_t)qemu.icount() > *replay.event_icount) {
            if (*qemu.replay_file)
                fflush(*qemu.replay_file); /* so that all events up to now can be read */
            tell_frozen();
            bool thawed = wait_for_thaw();
            leave();
            if (thawed)
                answer("{\"answer\":\"thaw\"}");
            return;
        }
        leave();
        usleep(PAUSE_US);
    } while (milliseconds() < until);
    answer("{\"answer\":\"freeze\"}");
}

static void nothing(void *cpu UNUSED, void *data UNUSED)
{
}

/*
 * Wakes a halted vCPU. QEMU kicks a vCPU when there is an event for it (`replay_add_event`), but a halted one goes on
 * sleeping until the guest's next timer. When work is queued for it, it looks for events, as it does when the main
 * loop sets a timer (`qemu_timer_notify_cb`).
 */
static void wake(int64_t most_ms)
{
    int64_t until = milliseconds() + most_ms;
    bool woken;
    do {
        enter();
        woken = qemu.events_wait();
        if (woken)
            qemu.run_soon(qemu.cpu(0), nothing, NULL);
        leave();
        if (!woken)
            usleep(PAUSE_US);
    } while (!woken && milliseconds() < until);
    answer("{\"answer\":\"wake\"}");
}

/* Is it this verb with a time? */
static bool asks(const char *verb, int64_t *ms)
{
    size_t length = strlen(verb);
    uint64_t number;
    if (strncmp(line, verb, length) || line[length] != ' ' || !is_number(line + length + 1, 10, &number) || number > MOST_MS)
        return false;
    *ms = (int64_t)number;
    return true;
}

static void command(void)
{
    int64_t most_ms;
    if (asks("freeze", &most_ms)) {
        freeze(most_ms);
    } else if (asks("wake", &most_ms)) {
        wake(most_ms);
    } else if (!strcmp(line, "waiting")) {
        enter();
        unsigned packets = packets_waiting();
        leave();
        answer("{\"answer\":\"waiting\",\"packets\":%u}", packets);
    } else if (!strcmp(line, "thaw")) {
        answer("{\"error\":\"the machine is not held\"}");
    } else {
        answer("{\"error\":\"no such command\"}");
    }
}

void *control(void *unused UNUSED)
{
    reader.fd = control_fd;
    for (;;) {
        enum line_state state = read_line(&reader, -1);
        if (state == LINE_CLOSED)
            return NULL; /* nobody asks any more */
        if (state == LINE_READ)
            command();
        else
            answer("{\"error\":\"the line is too long\"}");
    }
}
