/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Commands.
 */
#include "commands.h"
#include "../common/fail.h"
#include "../common/numbers.h"
#include "chunk-encoder.h"
#include "control.h"
#include "first-visits.h"
#include "marks.h"
#include "probe-commands.h"

/* now | never | icount:N | brctr:N | address:0xA | visit:0xA:BRCTR[:REP] */
static bool parse_point(const char *text, struct point *point)
{
    *point = (struct point){ .type = NOW };
    if (!strcmp(text, "now"))
        return true;
    if (!strcmp(text, "never"))
        return point->type = NEVER, true;
    const char *value = strchr(text, ':');
    if (!value)
        return false;
    value++;
    if (!strncmp(text, "icount:", 7) || !strncmp(text, "brctr:", 6)) {
        point->type = *text == 'i' ? AT_ICOUNT : AT_BRCTR;
        return parse_number(value, 10, &point->count, &value) && !*value;
    }
    if (!strncmp(text, "address:", 8)) {
        point->type = AT_ADDRESS;
        return parse_number(value, 16, &point->address, &value) && !*value;
    }
    if (strncmp(text, "visit:", 6))
        return false;
    point->type = AT_VISIT;
    if (!parse_number(value, 16, &point->address, &value) || *value != ':' ||
        !parse_number(value + 1, 10, &point->count, &value))
        return false;
    return !*value || (*value == ':' && parse_number(value + 1, 10, &point->rep, &value) && !*value);
}

static void open_window(const char *start, const char *end, const char *selection)
{
    struct point from, to;
    if (data_fd < 0)
        return refuse("no data descriptor was given");
    if (!following)
        return refuse("branches are not followed");
    if (window.state != CLOSED)
        return refuse("a window is open already");
    static const char *const selections[] = { [ALL] = "all", [USER] = "user", [KERNEL] = "kernel", [NONE] = "none" };
    unsigned selected = 0;
    while (selected <= NONE && strcmp(selection, selections[selected]))
        selected++;
    if (selected > NONE)
        return refuse("no such selection");
    if (!parse_point(start, &from) || from.type == NEVER || !parse_point(end, &to) || to.type == NOW)
        return refuse("no such point");
    if (translated && (has_address(&from) || has_address(&to)))
        return refuse("an address cannot be watched once the machine has run");
    struct position now = settle();
    if ((from.type == AT_ICOUNT && from.count < now.icount) || (from.type == AT_BRCTR && from.count < now.brctr))
        return refuse("the start is past");
    memset(&window, 0, sizeof window);
    window.selection = selected;
    window.start = from;
    window.end = to;
    window.state = WAITING;
    arm();
    if (from.type == NOW || (from.type == AT_BRCTR && from.count == now.brctr))
        reached(now);
    tell_position("window", now);
}

/* Begins the run at this instant, with `count` records before it and `repeats` iterations done of a rep
 * instruction here. */
static void start_at(uint64_t count, uint64_t repeats)
{
    uint64_t pc = stopped_pc();
    forgo_own_reversing();
    run.executed = qemu.icount_get_raw();
    delivered.count = 0;
    run.brctr = count;
    park(pc, repeats);
    go_on();
    tell_position("start", (struct position){ run.executed, run.brctr, pc, repeats });
}

static void where(void)
{
    struct position at = settle();
    uint64_t counted = qemu.icount_get_raw();
    if (counted != at.icount)
        fail(EXIT_INEXACT, "QEMU has run %" PRIu64 " instructions, the plugin counts %" PRIu64, counted, at.icount);
    tell_position("where", at);
}

static void set_marks(uint64_t every)
{
    want_marks(every);
    tell_position("marks", (struct position){ run.executed, run.brctr, 0, 0 });
}

/*
 * Sends first visits, which are noted from the first time on that they are fetched. They are sent as bytes in
 * hexadecimal. The answer tells up to which icount none is missing, and whether there are so many that no more are
 * noted.
 */
static void fetch_first_visits(void)
{
    enum { PIECE = 1 << 15 };
    static char line[2 * PIECE + 64];
    struct position now = settle();
    if (!first_visits.pages) {
        want_first_visits();
        forget_successors(); /* then every block's next step is made slowly */
    }
    for (size_t at = 0, most; at < first_visits.size; at += most) {
        most = least(PIECE, first_visits.size - at);
        char *to = line + sprintf(line, "{\"event\":\"first-visits\",\"bytes\":\"");
        for (size_t i = 0; i < most; i++) {
            *to++ = "0123456789abcdef"[first_visits.bytes[at + i] >> 4];
            *to++ = "0123456789abcdef"[first_visits.bytes[at + i] & 15];
        }
        to += sprintf(to, "\"}\n");
        tell_line(line, (size_t)(to - line));
    }
    first_visits.fetched += first_visits.size;
    first_visits.size = 0;
    tell("{\"answer\":\"first-visits\",\"completeTo\":%" PRIu64 ",\"full\":%s}", least(now.icount, first_visits.complete_to),
         first_visits.wanted ? "false" : "true");
}

/* Carries out a command that needs a stopped machine. The run is held. */
static void stopped_command(char **words, int count)
{
    uint64_t records = 0, repeats = 0;
    qemu.cpu = qemu.get_cpu(0);
    if (count >= 1 && count <= 3 && !strcmp(words[0], "start") &&
        (count < 2 || (is_number(words[1], 10, &records))) &&
        (count < 3 || (is_number(words[2], 10, &repeats))))
        start_at(records, repeats);
    else if (count == 1 && !strcmp(words[0], "where"))
        where();
    else if (count == 2 && !strcmp(words[0], "marks") && is_number(words[1], 10, &records))
        set_marks(records);
    else if (count == 1 && !strcmp(words[0], "first-visits") && following)
        fetch_first_visits();
    else if ((count == 3 || count == 4) && !strcmp(words[0], "window"))
        open_window(words[1], words[2], count == 4 ? words[3] : "all");
    else if (count == 1 && !strcmp(words[0], "close")) {
        struct position now = settle();
        if (window.state != CLOSED)
            end_logging(END_SWITCHED_OFF, now.icount);
        arm();
        tell_position("close", now);
    } else if (!probe_command(words, count))
        refuse("no such command");
}

void command(char *line)
{
    char *rest, *words[10] = { 0 };
    int count = 0;
    for (char *word = strtok_r(line, " ", &rest); word && count < 10; word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    if (count == 1 && !strcmp(words[0], "progress")) {
        tell_position("progress", counts_of_run());
        return;
    }
    if (is_running())
        return refuse("the machine is running");
    hold_run();
    stopped_command(words, count);
    release_run();
}
