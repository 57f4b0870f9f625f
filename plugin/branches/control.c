/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The control thread: answers commands while the machine is stopped, one line each way (README.md, "Control").
 */
#ifndef CONTROL_H
#define CONTROL_H

#include <poll.h>

/* ---- The machine stopped: what the control thread does ---------------------------------------------------------- */

static uint64_t stopped_pc(void)
{
    read_machine();
    uint64_t pc = machine.cs_base + machine.ip;
    return mode_of(machine.cr0, machine.efer) == LONG ? pc : (uint32_t)pc;
}

/* Completes the step in progress: the machine is stopped, so the next instruction is known. */
static struct position settle(void)
{
    if (!following)
        return (struct position){ qemu.icount_get_raw(), 0, stopped_pc(), 0 };
    struct explanation how;
    uint64_t pc = stopped_pc();
    catch_up();
    uint64_t executed = run.executed, brctr = run.brctr, repeats = 0;
    entered = NULL;
    if (run.current->count || run.current->pc != pc) /* not at rest here already */
        explain_step(run.current, pc, &how);
    if (run.brctr == brctr)
        repeats = repeats_after(run.current, pc, run.executed - executed);
    park(pc, repeats);
    go_on();
    return (struct position){ run.executed, run.brctr, pc, repeats };
}

/* ---- Control thread: one command a line, one answer a line (JSON) -------------------------------------------------- */

static int control_fd = -1;
static pthread_mutex_t control_lock = PTHREAD_MUTEX_INITIALIZER;

/* Sends one line, if there is anyone to tell. */
static void tell(const char *format, ...)
{
    char line[1024];
    va_list args;
    if (control_fd < 0)
        return;
    va_start(args, format);
    int size = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    line[size++] = '\n';
    pthread_mutex_lock(&control_lock);
    send_all(control_fd, line, size);
    pthread_mutex_unlock(&control_lock);
}

static bool is_running(void)
{
    static bool (*runstate_is_running)(void);
    if (!runstate_is_running)
        *(void **)&runstate_is_running = dlsym(RTLD_DEFAULT, "runstate_is_running");
    return runstate_is_running && runstate_is_running();
}

/*
 * QEMU stops at an icount sometimes before and sometimes after a delivery at that icount. `delivered` says how many
 * of the records are deliveries at this very icount, `origin` and `originRep` the address next before them.
 */
static void tell_position(const char *what, struct position at)
{
    char deliveries[128] = "";
    if (delivered.count && delivered.icount == at.icount)
        snprintf(deliveries, sizeof deliveries, ",\"delivered\":%" PRIu64 ",\"origin\":\"%#" PRIx64 "\",\"originRep\":%" PRIu64, delivered.count,
                 delivered.origin, delivered.repeats);
    tell("{\"answer\":\"%s\",\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 ",\"pc\":\"%#" PRIx64
         "\",\"rep\":%" PRIu64 ",\"unexplained\":%" PRIu64 "%s}",
         what, at.icount, at.brctr, at.pc, at.repeats, unexplained, deliveries);
}

static void refuse(const char *why)
{
    tell("{\"error\":\"%s\"}", why);
}

static bool parse_number(const char *text, int base, uint64_t *value, const char **end)
{
    char *stop;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &stop, base);
    *end = stop;
    return errno == 0;
}

/* now | never | icount:N | brctr:N | address:0xA | visit:0xA:BRCTR[:REP] */
static bool parse_point(const char *text, struct point *point)
{
    *point = (struct point){ .type = NOW };
    if (!strcmp(text, "now"))
        return true;
    if (!strcmp(text, "never"))
        return point->type = NEVER, true;
    const char *value = strchr(text, ':');
    if (!value++)
        return false;
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

static void tell_visits(const char *which, const struct point *point, const struct visits *visits)
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

/* The run begins here, with `count` records and, of the rep instruction here, `repeats` iterations before it. */
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

/* About every so many instructions, from now on; 0: no more. */
static void want_marks(uint64_t every)
{
    marks.every = every;
    marks.next = every ? (run.executed / every + 1) * every : 0;
    tell_position("marks", (struct position){ run.executed, run.brctr, 0, 0 });
}

/*
 * First visits are noted from the first time on that they are fetched: they go out as bytes in hexadecimal, and the answer
 * says up to which icount none is missing, and whether there are so many that no more are noted.
 */
static void fetch_first_visits(void)
{
    enum { PIECE = 1 << 15 };
    static char line[2 * PIECE + 64];
    struct position now = settle();
    if (!first_visits.pages) {
        first_visits.pages = must_have(calloc(VISITED_SLOTS, sizeof *first_visits.pages));
        first_visits.wanted = true;
        forget_successors(); /* every block's next step is a first one */
    }
    for (size_t at = 0, most; at < first_visits.size; at += most) {
        most = least(PIECE, first_visits.size - at);
        char *to = line + sprintf(line, "{\"event\":\"first-visits\",\"bytes\":\"");
        for (size_t i = 0; i < most; i++) {
            *to++ = "0123456789abcdef"[first_visits.bytes[at + i] >> 4];
            *to++ = "0123456789abcdef"[first_visits.bytes[at + i] & 15];
        }
        to += sprintf(to, "\"}\n");
        pthread_mutex_lock(&control_lock);
        send_all(control_fd, line, to - line);
        pthread_mutex_unlock(&control_lock);
    }
    first_visits.fetched += first_visits.size;
    first_visits.size = 0;
    tell("{\"answer\":\"first-visits\",\"completeTo\":%" PRIu64 ",\"full\":%s}", least(now.icount, first_visits.complete_to),
         first_visits.wanted ? "false" : "true");
}

static void command(char *line)
{
    char *rest, *words[10] = { 0 };
    int count = 0;
    for (char *word = strtok_r(line, " ", &rest); word && count < 10; word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    if (count == 1 && !strcmp(words[0], "progress")) {
        tell_position("progress", (struct position){ executed_now(), brctr_now(), 0, 0 });
        return;
    }
    if (is_running())
        return refuse("the machine is running");
    qemu.cpu = qemu.get_cpu(0);
    uint64_t records = 0, repeats = 0;
    const char *end = "";
    if (count >= 1 && count <= 3 && !strcmp(words[0], "start") &&
        (count < 2 || (parse_number(words[1], 10, &records, &end) && !*end)) &&
        (count < 3 || (parse_number(words[2], 10, &repeats, &end) && !*end)))
        start_at(records, repeats);
    else if (count == 1 && !strcmp(words[0], "where"))
        where();
    else if (count == 2 && !strcmp(words[0], "marks") && parse_number(words[1], 10, &records, &end) && !*end)
        want_marks(records);
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

static void *control(void *unused UNUSED)
{
    static char line[1 << 18];
    size_t length = 0;
    for (;;) {
        struct pollfd asked = { .fd = control_fd, .events = POLLIN };
        while (marks.every && poll(&asked, 1, 1 /* ms */) == 0)
            look_for_marks();
        ssize_t got = read(control_fd, line + length, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return NULL; /* nobody asks any more */
        if (line[length] == '\n') {
            line[length] = 0;
            length = 0;
            command(line);
        } else if (++length == sizeof line) {
            length = 0;
        }
    }
}

#endif
