/*
 * SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * QEMU plugin that leaves no trace in the run: it looks at no instruction and costs nothing while the guest runs. It is
 * loaded beside the branch plugin into every QEMU of vmtape's, and alone into a recording. Two jobs:
 *
 * Replays: a machine can be stopped at any icount and goes on as if it had not stopped. QEMU alone cannot promise that:
 *   - events that the log has at the icount of a stop are taken by whoever comes first, some of them while the machine
 *     counts as stopped, when what they lead to is left out (`icount_warp_rt`, `icount_adjust`): the replay then stands
 *     still. Here a stop by `replay-break` comes before all events at its icount, and none is taken until the machine
 *     goes on (see "The log at a stop").
 *   - packets that wait for the guest's buffers are thrown away at a stop, or handed over when it goes on (net/net.c,
 *     `net_vm_change_state_handler`; hw/net/virtio-net.c, `virtio_net_set_status`). Here they go on waiting.
 * Recordings: registers, instruction count and, from outside, memory can be looked at between two blocks, with all of QEMU
 *   standing still by its own locks. To the guest that is a slow host, and nothing of it gets into the log. `stop` and
 *   `cont` would: see above.
 *
 * One source for both plugin APIs, as branches.c. README.md beside this file: commands, and what it trusts of QEMU.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifndef QEMU_PLUGIN_API
#error "compile with -DQEMU_PLUGIN_API=1 (QEMU 7.2 to 8.2) or =2 (9.0 and later)"
#endif

#define EXPORT __attribute__((visibility("default")))
#define UNUSED __attribute__((unused))

typedef uint64_t plugin_id;
struct plugin_info {
    const char *target_name;
    struct { int min, cur; } version;
    bool system_emulation;
    struct { int smp_vcpus, max_vcpus; } system;
};

EXPORT int qemu_plugin_version = QEMU_PLUGIN_API;

enum { EXIT_UNKNOWN_QEMU = 70 };

/* ---- What is used of QEMU beyond its plugin API ----------------------------------------------------------------- */

enum { REPLAYING = 2 };                            /* include/sysemu/replay.h, ReplayMode */
enum { REALTIME, VIRTUAL, HOST, VIRTUAL_RT, CLOCKS }; /* include/qemu/timer.h, QEMUClockType */
enum { DUMP_FPU = 0x20000 };                       /* include/hw/core/cpu.h; what `info registers` asks for */

/*
 * replay/replay-internal.h, ReplayEvents: instruction, interrupt, exception, 7 of ASYNC, SHUTDOWN with one more than its causes, then those
 * that an instruction itself takes: what a character device took and gave (3), audio (2), random numbers (1), clocks (2).
 */
enum { EVENT_INSTRUCTION = 0, EVENTS_BEFORE_SHUTDOWN = 10, EVENTS_OF_INSTRUCTIONS = 8, MOST_CAUSES = 32 };

/* include/qemu/timer.h, QEMUTimer and QEMUTimerListGroup. Only its size is used, generously. */
struct timer { char room[128]; };
struct timer_lists { void *of[CLOCKS]; };
/* include/qapi/util.h, QEnumLookup. */
struct enum_names { const char *const *names; const void *features; int count; };
typedef void state_handler(void *opaque, bool running, int state);

static struct {
    int *replay_mode;
    char *replay_state; /* see "Layouts" */
    FILE **replay_file;
    uint64_t *break_icount;
    struct timer **break_timer;
    void (*lock_replay)(void);
    void (*unlock_replay)(void);
    void (*lock_machine)(const char *file, int line);
    void (*unlock_machine)(void);
    int64_t (*icount)(void);
    void *(*cpu)(int index);
    void (*dump)(void *cpu, FILE *to, int flags);
    void (*enable_clock)(int clock, bool enabled);
    int64_t (*now)(int clock);
    void *(*new_timer_list)(int clock, void (*notify)(void *opaque, int clock), void *opaque);
    void (*init_timer)(struct timer *, struct timer_lists *, int clock, int scale, int attributes, void (*)(void *), void *);
    void (*set_timer)(struct timer *, int64_t ns);
    void *(*on_change)(state_handler *, void *opaque, int priority);
    bool (*events_wait)(void);
    void (*run_soon)(void *cpu, void (*)(void *cpu, void *data), void *data);
    const struct enum_names *causes; /* of shutdowns */
    int (*find_networks)(const char *id, void **found, int except, int most);
    void *(*new_queue)(void *deliver, void *opaque);
} qemu;

static const char *find_symbols(void)
{
#if QEMU_PLUGIN_API == 1
    static const char lock[] = "qemu_mutex_lock_iothread_impl", unlock[] = "qemu_mutex_unlock_iothread";
#else
    static const char lock[] = "bql_lock_impl", unlock[] = "bql_unlock";
#endif
    static const struct { const char *name; void *at; } wanted[] = {
        { "replay_mode", &qemu.replay_mode },
        { "replay_state", &qemu.replay_state },
        { "replay_file", &qemu.replay_file },
        { "replay_break_icount", &qemu.break_icount },
        { "replay_break_timer", &qemu.break_timer },
        { "replay_mutex_lock", &qemu.lock_replay },
        { "replay_mutex_unlock", &qemu.unlock_replay },
        { lock, &qemu.lock_machine },
        { unlock, &qemu.unlock_machine },
        { "icount_get_raw", &qemu.icount },
        { "qemu_get_cpu", &qemu.cpu },
        { "x86_cpu_dump_state", &qemu.dump },
        { "qemu_clock_enable", &qemu.enable_clock },
        { "qemu_clock_get_ns", &qemu.now },
        { "timerlist_new", &qemu.new_timer_list },
        { "timer_init_full", &qemu.init_timer },
        { "timer_mod_ns", &qemu.set_timer },
        { "qemu_add_vm_change_state_handler_prio", &qemu.on_change },
        { "replay_has_events", &qemu.events_wait },
        { "async_run_on_cpu", &qemu.run_soon },
        { "ShutdownCause_lookup", &qemu.causes },
        { "qemu_find_net_clients_except", &qemu.find_networks },
        { "qemu_new_net_queue", &qemu.new_queue },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *found = dlsym(RTLD_DEFAULT, wanted[i].name);
        if (!found)
            return wanted[i].name;
        memcpy(wanted[i].at, &found, sizeof found);
    }
    return NULL;
}

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("vmtape guard: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    fflush(stderr);
    _exit(EXIT_UNKNOWN_QEMU);
}

/* ---- Layouts ---------------------------------------------------------------------------------------------------- */

/*
 * replay/replay-internal.h, ReplayState. 7.2 to 8.2 are told from 9.0 and later by the size of the whole.
 *
 *     offset  7.2        9.0
 *          0  cached_clock[2]
 *         16  current_icount
 *         24  instruction_count (int)
 *         28  data_kind  current_event
 *         32  has_unread data_kind
 *         48  block_request_id
 *       size  72         64
 */
enum { OLD_STATE_SIZE = 72, NEW_STATE_SIZE = 64 };
static struct {
    uint64_t *event_icount; /* of the last event */
    int *instructions;      /* to run until the next event */
    unsigned *kind;         /* of the next event */
    uint64_t *requests;     /* of disks, so far */
} replay;

static bool find_layout(void)
{
    Dl_info info;
    const ElfW(Sym) *symbol = NULL;
    if (!dladdr1(qemu.replay_state, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol)
        return false;
    if (symbol->st_size != (QEMU_PLUGIN_API == 1 ? OLD_STATE_SIZE : NEW_STATE_SIZE))
        return false;
    replay.event_icount = (uint64_t *)(qemu.replay_state + 16);
    replay.instructions = (int *)(qemu.replay_state + 24);
    replay.kind = (unsigned *)(qemu.replay_state + (QEMU_PLUGIN_API == 1 ? 28 : 32));
    replay.requests = (uint64_t *)(qemu.replay_state + 48);
    return true;
}

/* include/net/net.h, NetClientState, the same from 7.2 to 10.2; net/queue.c, NetQueue. */
struct network {
    void *info;
    int link_down;
    void *next[2];
    struct network *peer;
    struct queue *incoming;
    char *model, *name;
    char text[256];
    unsigned receive_disabled; /* its lowest bit */
};
struct queue {
    struct network *owner;
    uint32_t most, count;
};

/* ---- Packets that wait, at a stop -------------------------------------------------------------------------------- */

enum { MOST_NETWORKS = 16, NO_DRIVER = 1 << 16 };
static struct {
    struct network *network;
    struct queue *waiting, *empty;
    unsigned receive_disabled;
    bool aside;
} networks[MOST_NETWORKS];
static int network_count = -1;

static void learn_networks(void)
{
    void *found[MOST_NETWORKS];
    if (network_count >= 0)
        return;
    network_count = qemu.find_networks(NULL, found, NO_DRIVER, MOST_NETWORKS);
    if (network_count > MOST_NETWORKS)
        fail("the machine has more than %d network parts", MOST_NETWORKS);
    for (int i = 0; i < network_count; i++) {
        networks[i].network = found[i];
        if (networks[i].network->incoming->owner != found[i])
            fail("this QEMU keeps its network queues in another way");
        networks[i].empty = qemu.new_queue(NULL, found[i]);
    }
}

/* QEMU's own handlers find empty queues. */
static void put_packets_aside(void)
{
    learn_networks();
    for (int i = 0; i < network_count; i++) {
        struct network *network = networks[i].network;
        networks[i].waiting = network->incoming;
        networks[i].receive_disabled = network->receive_disabled & 1;
        network->incoming = networks[i].empty;
        networks[i].aside = true;
    }
}

static void put_packets_back(void)
{
    for (int i = 0; i < network_count; i++) {
        struct network *network = networks[i].network;
        if (!networks[i].aside)
            continue;
        network->incoming = networks[i].waiting;
        network->receive_disabled = (network->receive_disabled & ~1u) | networks[i].receive_disabled;
        networks[i].aside = false;
    }
}

static unsigned packets_waiting(void)
{
    unsigned count = 0;
    learn_networks();
    for (int i = 0; i < network_count; i++)
        count += networks[i].network->incoming->count;
    return count;
}

/* ---- The log at a stop -------------------------------------------------------------------------------------------- */

/*
 * `replay-break` sets a timer when its icount is reached, in the vCPU thread and with the replay's lock held. The timer is
 * ours: QEMU tells its list at once (`timerlist_notify`). From there on until the machine has stopped, the log pretends
 * that an instruction comes next, so nobody takes an event; `replay_break_icount` lets none be executed. While the machine
 * is stopped the two clocks that are in the log run no timers.
 *
 * The last instruction may itself take events, of which we are told as it begins to. Then the log pretends from the moment
 * on that it is done: work for the vCPU is done when it has left the block and before it looks at the log again. QEMU's
 * main loop might come in between, but finds its clocks off already.
 */
static struct {
    struct timer timer, *qemus;
    bool pretending;
    unsigned kind;
} stop;

static void switch_clocks(bool on)
{
    qemu.enable_clock(HOST, on);
    qemu.enable_clock(VIRTUAL_RT, on);
}

static bool is_for_instruction(unsigned kind)
{
    unsigned first = EVENTS_BEFORE_SHUTDOWN + (unsigned)qemu.causes->count + 1;
    return kind >= first && kind < first + EVENTS_OF_INSTRUCTIONS;
}

static void pretend(void)
{
    if (*replay.instructions != 0 || stop.pretending)
        return;
    stop.kind = *replay.kind;
    stop.pretending = true;
    *replay.kind = EVENT_INSTRUCTION;
    *replay.instructions = 1;
}

static void on_instruction_done(void *cpu UNUSED, void *data UNUSED)
{
    if (stop.qemus) /* not stopped meanwhile */
        pretend();
}

static void on_break(void *opaque UNUSED, int clock UNUSED)
{
    if (!stop.qemus)
        return;
    if (*replay.instructions == 0 && is_for_instruction(*replay.kind)) {
        switch_clocks(false);
        qemu.run_soon(qemu.cpu(0), on_instruction_done, NULL);
    } else {
        pretend();
    }
    qemu.set_timer(stop.qemus, qemu.now(REALTIME));
}

static void never(void *opaque UNUSED)
{
}

static void watch_break(void)
{
    static struct timer_lists lists;
    if (*qemu.break_icount == UINT64_MAX || !*qemu.break_timer || *qemu.break_timer == &stop.timer)
        return;
    if (!lists.of[REALTIME]) {
        lists.of[REALTIME] = qemu.new_timer_list(REALTIME, on_break, NULL);
        qemu.init_timer(&stop.timer, &lists, REALTIME, 1, 0, never, NULL);
    }
    stop.qemus = *qemu.break_timer;
    *qemu.break_timer = &stop.timer;
}

static void forget_break(void)
{
    if (!stop.qemus)
        return;
    *qemu.break_timer = stop.qemus;
    stop.qemus = NULL;
}

static void keep_log(void)
{
    if (stop.pretending) {
        *replay.kind = stop.kind;
        *replay.instructions = 0;
        stop.pretending = false;
    }
    switch_clocks(false);
}

static bool is_replaying(void)
{
    return *qemu.replay_mode == REPLAYING;
}

/* First of all handlers when the machine stops, last when it goes on. */
static void on_outermost(void *opaque UNUSED, bool running, int state UNUSED)
{
    if (!is_replaying())
        return;
    if (running) {
        put_packets_back();
        switch_clocks(true);
        watch_break();
    } else {
        forget_break();
        keep_log();
        put_packets_aside();
    }
}

/* Last of all handlers when the machine stops, first when it goes on. */
static void on_innermost(void *opaque UNUSED, bool running, int state UNUSED)
{
    if (!is_replaying())
        return;
    if (running)
        put_packets_aside();
    else
        put_packets_back();
}

/* ---- Control: one command a line, one answer a line (JSON) ----------------------------------------------------- */

static int control_fd = -1;

static void say(const char *text, size_t length)
{
    while (length > 0) {
        ssize_t sent = write(control_fd, text, length);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return; /* nobody listens: reading tells */
        text += sent;
        length -= (size_t)sent;
    }
}

static void __attribute__((format(printf, 1, 2))) answer(const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    line[length++] = '\n';
    say(line, (size_t)length);
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

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* The machine as `info registers` tells it, its line breaks as \n in JSON. */
static void tell_frozen(void)
{
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    if (!memory)
        fail("out of memory");
    fprintf(memory, "{\"answer\":\"freeze\",\"icount\":%" PRId64 ",\"requests\":%" PRIu64 ",\"registers\":\"CPU#0\\n", qemu.icount(),
            *replay.requests);
    fflush(memory);
    char *registers = NULL;
    size_t size = 0;
    FILE *dump = open_memstream(&registers, &size);
    if (!dump)
        fail("out of memory");
    qemu.dump(qemu.cpu(0), dump, DUMP_FPU);
    fclose(dump);
    for (size_t i = 0; i < size; i++)
        if (registers[i] == '\n')
            fputs("\\n", memory);
        else if (registers[i] >= ' ' && registers[i] != '"' && registers[i] != '\\')
            fputc(registers[i], memory);
    fputs("\"}\n", memory);
    fclose(memory);
    say(text, length);
    free(text);
    free(registers);
}

enum { LONGEST_LINE = 64, PAUSE_US = 100, LONGEST_FREEZE_MS = 30000 };

/* One line of the control socket without its end; false when nobody asks any more, or for `ms` milliseconds. */
static bool hear(char *line, int ms)
{
    size_t length = 0;
    for (;;) {
        struct pollfd asked = { .fd = control_fd, .events = POLLIN };
        int ready = poll(&asked, 1, ms);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        ssize_t got = read(control_fd, line + length, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        if (line[length] == '\n') {
            line[length] = 0;
            return true;
        }
        if (++length == LONGEST_LINE)
            length = 0; /* no command of ours: its rest is refused */
    }
}

/*
 * An instant is one that a replay can be stopped at: some instructions were executed since the last event in the log, so
 * the state is the one before all events at this icount. With both locks held nothing of QEMU runs. Between two blocks of
 * an idle guest there may be none for a while.
 */
static bool freeze(int64_t most_ms)
{
    char line[LONGEST_LINE];
    int64_t until = milliseconds() + most_ms;
    do {
        enter();
        if ((uint64_t)qemu.icount() > *replay.event_icount) {
            if (*qemu.replay_file)
                fflush(*qemu.replay_file); /* what was completed so far can be read */
            tell_frozen();
            bool thawed;
            while ((thawed = hear(line, LONGEST_FREEZE_MS)) && strcmp(line, "thaw"))
                answer("{\"answer\":\"frozen\"}");
            leave();
            if (thawed)
                answer("{\"answer\":\"thaw\"}");
            return thawed;
        }
        leave();
        usleep(PAUSE_US);
    } while (milliseconds() < until);
    answer("{\"answer\":\"freeze\"}");
    return true;
}

static void nothing(void *cpu UNUSED, void *data UNUSED)
{
}

/*
 * QEMU kicks a vCPU when something has come for it (`replay_add_event`), but one that is halted goes on sleeping until the
 * guest's next timer. With work to do it looks, as it does when a timer is set by the main loop (`qemu_timer_notify_cb`).
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

static void *control(void *unused UNUSED)
{
    char line[LONGEST_LINE];
    while (hear(line, -1)) {
        int most_ms;
        if (sscanf(line, "freeze %d", &most_ms) == 1) {
            if (!freeze(most_ms))
                break;
        } else if (sscanf(line, "wake %d", &most_ms) == 1) {
            wake(most_ms);
        } else if (!strcmp(line, "waiting")) {
            enter();
            unsigned packets = packets_waiting();
            leave();
            answer("{\"answer\":\"waiting\",\"packets\":%u}", packets);
        } else {
            answer("{\"error\":\"no such command\"}");
        }
    }
    return NULL;
}

/* ---- Load --------------------------------------------------------------------------------------------------------- */

/* Option: control=FD, a stream socket for commands. */
EXPORT int qemu_plugin_install(plugin_id id UNUSED, const struct plugin_info *info, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        char *end;
        long fd = strncmp(argv[i], "control=", 8) ? -1 : strtol(argv[i] + 8, &end, 10);
        if (fd < 0 || fd > INT_MAX || *end || fcntl((int)fd, F_GETFD) < 0) {
            fprintf(stderr, "vmtape guard: the option %s is wrong\n", argv[i]);
            return -1;
        }
        control_fd = (int)fd;
    }
    if (!info->system_emulation || strcmp(info->target_name, "x86_64") || info->system.smp_vcpus != 1) {
        fprintf(stderr, "vmtape guard: the machine is no x86_64 system with one processor\n");
        return -1;
    }
    const char *missing = find_symbols();
    if (missing || !find_layout() || qemu.causes->count < 1 || qemu.causes->count > MOST_CAUSES) {
        fprintf(stderr, "vmtape guard: this QEMU does not export %s as expected\n", missing ? missing : "replay_state");
        return -1;
    }
    qemu.on_change(on_innermost, NULL, INT_MIN);
    qemu.on_change(on_outermost, NULL, INT_MAX);
    if (is_replaying())
        keep_log(); /* until the machine is let go for the first time */
    pthread_t thread;
    if (control_fd >= 0 && pthread_create(&thread, NULL, control, NULL) == 0)
        pthread_detach(thread);
    return 0;
}
