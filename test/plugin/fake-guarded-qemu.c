/* See fake-guarded-qemu.h. What QEMU exports is found by the guard with dlsym: link with -rdynamic. */
#define _GNU_SOURCE
#include "fake-guarded-qemu.h"

#include <dlfcn.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../plugin/common/plugin-api.h"

/* What is otherwise: a word, and of some of them, after a colon, of what. */
static const char *strange = "";

static bool is_strange(const char *word, const char *of)
{
    size_t length = strlen(word);
    if (!of)
        return !strcmp(strange, word);
    return !strncmp(strange, word, length) && strange[length] == ':' && !strcmp(strange + length + 1, of);
}

static uint64_t seed;

/* The thread sanitizer waits a second at the end for races to come; here nothing happens any more. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "atexit_sleep_ms=0"; }

/* ---- What the guard calls of the C library ------------------------------------------------------------------------------ */

/* Names of the C library's functions are compiled as those of the fakes here (compile.ts); so are its declarations of them. */
#undef dlsym
#undef dladdr1
#undef pthread_create
#undef open_memstream
#undef clock_gettime
#undef poll
void *dlsym(void *from, const char *name);
int dladdr1(const void *at, Dl_info *info, void **more, int flags);
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *data);
FILE *open_memstream(char **text, size_t *size);
int clock_gettime(clockid_t clock, struct timespec *now);
int poll(struct pollfd *fds, nfds_t count, int ms);

void *fake_dlsym(void *from, const char *name)
{
    return is_strange("missing", name) ? NULL : dlsym(from, name);
}

int fake_dladdr1(const void *at, Dl_info *info, void **more, int flags)
{
    static ElfW(Sym) other;
    int found = dladdr1(at, info, more, flags);
    if (found && info->dli_sname && is_strange("size", info->dli_sname)) {
        other = *(ElfW(Sym) *)*more;
        other.st_size += 8;
        *more = &other;
    }
    return found;
}

static bool no_threads;
int fake_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *), void *data)
{
    return no_threads ? -1 : pthread_create(thread, attributes, body, data);
}

FILE *fake_open_memstream(char **text, size_t *size)
{
    static int calls;
    char call[16];
    snprintf(call, sizeof call, "%d", ++calls);
    return is_strange("memory", call) ? NULL : open_memstream(text, size);
}

static bool hurried;
static int64_t ahead_ms; /* the guard's time is ahead of ours */

void hurry(void)
{
    __atomic_store_n(&hurried, true, __ATOMIC_SEQ_CST);
}

int fake_clock_gettime(clockid_t clock, struct timespec *now)
{
    int told = clock_gettime(clock, now);
    now->tv_sec += __atomic_load_n(&ahead_ms, __ATOMIC_SEQ_CST) / 1000;
    return told;
}

int fake_poll(struct pollfd *fds, nfds_t count, int ms)
{
    if (ms < 0 || !__atomic_load_n(&hurried, __ATOMIC_SEQ_CST))
        return poll(fds, count, ms);
    int ready = poll(fds, count, 0);
    if (ready == 0)
        __atomic_add_fetch(&ahead_ms, ms + 1000, __ATOMIC_SEQ_CST);
    return ready;
}

/* ---- Locks -------------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t replay_lock = PTHREAD_MUTEX_INITIALIZER, machine_lock = PTHREAD_MUTEX_INITIALIZER;
static __thread bool has_replay, has_machine;

void replay_mutex_lock(void)
{
    expect(!has_machine && !has_replay, "the replay's lock comes first, once");
    pthread_mutex_lock(&replay_lock);
    has_replay = true;
}

void replay_mutex_unlock(void)
{
    expect(has_replay, "who unlocks has locked");
    has_replay = false;
    pthread_mutex_unlock(&replay_lock);
}

static void lock_machine(void)
{
    expect(!has_machine, "the machine's lock is taken once");
    pthread_mutex_lock(&machine_lock);
    has_machine = true;
}

static void unlock_machine(void)
{
    expect(has_machine, "who unlocks has locked");
    has_machine = false;
    pthread_mutex_unlock(&machine_lock);
}

#if QEMU_PLUGIN_API == 1
void qemu_mutex_lock_iothread_impl(const char *file, int line) { (void)file, (void)line, lock_machine(); }
void qemu_mutex_unlock_iothread(void) { unlock_machine(); }
#else
void bql_lock_impl(const char *file, int line) { (void)file, (void)line, lock_machine(); }
void bql_unlock(void) { unlock_machine(); }
#endif

bool is_held(void)
{
    bool held = true;
    if (pthread_mutex_trylock(&replay_lock) == 0)
        held = false, pthread_mutex_unlock(&replay_lock);
    if (pthread_mutex_trylock(&machine_lock) == 0)
        held = false, pthread_mutex_unlock(&machine_lock);
    return held;
}

/* ---- The log ------------------------------------------------------------------------------------------------------------ */

enum { CAUSES = 9, INSTRUCTION = 0, INTERRUPT = 1, FIRST_OF_INSTRUCTIONS = 10 + CAUSES + 1, KINDS = FIRST_OF_INSTRUCTIONS + 8, TAKEN = -1 };
static const char *const causes[] = { "none", "host-error", "host-qmp-quit", "host-qmp-system-reset", "host-signal",
                                      "host-ui", "guest-shutdown", "guest-reset", "guest-panic" };
static const char *const modes[] = { "none", "record", "play" };
struct enum_names { const char *const *names; const void *features; int count; };
struct enum_names ShutdownCause_lookup = { causes, NULL, CAUSES }, ReplayMode_lookup = { modes, NULL, 3 };

/* Variables whose sizes the guard looks at: clang's sanitizer makes its own larger. */
#ifdef __clang__
#define EXACT __attribute__((no_sanitize("address")))
#else
#define EXACT /* gcc's sanitizer leaves the sizes as they are */
#endif

/* ReplayState of 7.2, or of 9.0. */
EXACT struct {
    int64_t clocks[2];
    uint64_t icount;
    int instructions;
#if QEMU_PLUGIN_API == 1
    unsigned kind, has_unread;
#else
    unsigned event, kind;
#endif
    uint64_t offset, requests;
    char rest[QEMU_PLUGIN_API == 1 ? 16 : 8];
} replay_state;
EXACT int replay_mode;
FILE *replay_file;
static uint64_t icount; /* instructions executed */

int64_t icount_get_raw(void)
{
    expect(has_replay, "the count is asked with the replay's lock");
    return (int64_t)icount;
}

/* A log whose first event was read: of instructions, or another. */
static void open_log(bool of_instructions)
{
    uint8_t bytes[24] = { 0 };
    unsigned count = 1 + (unsigned)random_below(&seed, 1u << 31 >> random_below(&seed, 31));
    if (is_strange("no log", NULL))
        return;
    replay_file = tmpfile();
    expect(replay_file != NULL, "a log");
    size_t size = 12;
    if (of_instructions) {
        bytes[size++] = INSTRUCTION;
        for (int shift = 24; shift >= 0; shift -= 8)
            bytes[size++] = (uint8_t)(count >> shift);
        replay_state.instructions = (int)count;
    } else {
        bytes[size++] = INTERRUPT;
        replay_state.kind = INTERRUPT;
    }
    fwrite(bytes, 1, size, replay_file);
    fflush(replay_file);
    if (is_strange("short log", NULL))
        fseek(replay_file, 4, SEEK_SET);
    if (is_strange("cut log", NULL))
        fseek(replay_file, 8, SEEK_END);
    if (is_strange("count", NULL))
        replay_state.instructions++;
    if (is_strange("kind", NULL))
        replay_state.kind++;
    if (is_strange("counting", NULL))
        replay_state.instructions = 1;
}

/* ---- Clocks and timers -------------------------------------------------------------------------------------------------- */

enum { REALTIME, VIRTUAL, HOST, VIRTUAL_RT, CLOCKS };
struct timer_list { int clock; void (*notify)(void *, int); void *opaque; };
struct timer { int64_t expires; struct timer_list *list; void (*call)(void *); void *opaque; };
EXACT struct { struct timer_list *of[CLOCKS]; } main_loop_tlg;
static bool clocks_on[CLOCKS] = { true, true, true, true };
EXACT uint64_t replay_break_icount = UINT64_MAX;
EXACT struct timer *replay_break_timer;
static struct timer *break_set; /* when its time has come, the machine is stopped */

void qemu_clock_enable(int clock, bool on) { clocks_on[clock] = on; }

int64_t qemu_clock_get_ns(int clock)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    expect(clock == REALTIME, "real time");
    int64_t seconds = now.tv_sec + (is_strange("clock", "ahead") ? 3 : is_strange("clock", "behind") ? -3 : 0);
    return seconds * 1000000000 + now.tv_nsec;
}

struct timer_list *timerlist_new(int clock, void (*notify)(void *, int), void *opaque)
{
    static struct timer_list list;
    expect(!list.notify, "one list is enough");
    list = (struct timer_list){ clock, notify, opaque };
    return &list;
}

void timer_init_full(struct timer *timer, void *lists, int clock, int scale, int attributes, void (*call)(void *), void *opaque)
{
    struct timer_list *list = ((struct timer_list **)lists)[clock];
    expect(scale == 1 && attributes == 0 && list != NULL, "a timer in nanoseconds");
    *timer = (struct timer){ -1, is_strange("timer", "list") ? NULL : list, is_strange("timer", "function") ? NULL : call, opaque };
}

void timer_mod_ns(struct timer *timer, int64_t ns)
{
    timer->expires = ns;
    if (timer->list)
        timer->list->notify(timer->list->opaque, timer->list->clock);
    else
        break_set = timer; /* QEMU's own */
}

/* ---- Network parts ------------------------------------------------------------------------------------------------------ */

struct queue { void *owner; uint32_t most, count; };
struct network {
    void *info;
    int link_down;
    void *next[2];
    struct network *peer;
    struct queue *incoming;
    char *model, *name;
    char text[256];
    unsigned receive_disabled; /* its lowest bit, and none of ours */
};
enum { NETWORKS = 3, MANY_NETWORKS = 17 };
static struct network networks[MANY_NETWORKS];
static struct queue own_queues[MANY_NETWORKS], empty_queues[MANY_NETWORKS];
static int network_count = NETWORKS;

static void make_networks(void)
{
    if (is_strange("networks", "many"))
        network_count = MANY_NETWORKS;
    for (int i = 0; i < network_count; i++) {
        own_queues[i] = (struct queue){ &networks[i], 10000, (uint32_t)random_below(&seed, 4) };
        networks[i].incoming = &own_queues[i];
    }
    if (is_strange("networks", "owner"))
        own_queues[1].owner = &networks[2];
    if (is_strange("networks", "count"))
        own_queues[1].count = own_queues[1].most + 1;
    if (is_strange("networks", "receive_disabled"))
        networks[1].receive_disabled = 2;
}

int qemu_find_net_clients_except(const char *id, void **found, int except, int most)
{
    expect(id == NULL && except > 8, "all of them");
    for (int i = 0; i < network_count && i < most; i++)
        found[i] = &networks[i];
    return network_count;
}

struct queue *qemu_new_net_queue(void *deliver, void *opaque)
{
    static int made;
    expect(!deliver && made < network_count, "a queue for each network part");
    empty_queues[made] = (struct queue){ opaque, 10000, 0 };
    return &empty_queues[made++];
}

/* ---- The processor ------------------------------------------------------------------------------------------------------ */

static int processor;
static struct { void (*of)(void *, void *); void *data; } work;

void *qemu_get_cpu(int index) { return index == 0 ? &processor : NULL; }

void async_run_on_cpu(void *cpu, void (*asked)(void *, void *), void *data)
{
    expect(cpu == &processor && !work.of, "one work at a time");
    work.of = asked, work.data = data;
}

static void do_work(void)
{
    void (*asked)(void *, void *) = work.of;
    work.of = NULL;
    if (asked)
        asked(&processor, work.data);
}

void x86_cpu_dump_state(void *cpu, FILE *to, int flags)
{
    expect(cpu == &processor && flags == 0x20000, "all registers");
    fprintf(to, "RAX=%016lx \"\\\t\nFCW=037f\n", (unsigned long)icount);
}

/* Has something come for the guest? */
bool replay_has_events(void)
{
    expect(has_replay && has_machine, "events are looked at with both locks");
    return random_below(&seed, 4) == 0 && !work.of;
}

static bool over, idle;
static uint64_t rounds;

/* A recording: instructions, and now and then an event. */
static void *record(void *unused)
{
    uint64_t own = seed + 1;
    while (!__atomic_load_n(&over, __ATOMIC_SEQ_CST)) {
        replay_mutex_lock();
        if (!__atomic_load_n(&idle, __ATOMIC_SEQ_CST))
            icount += 1 + random_below(&own, 1000);
        if (__atomic_load_n(&idle, __ATOMIC_SEQ_CST) || random_below(&own, 3) == 0) {
            replay_state.icount = icount;
            replay_state.requests += random_below(&own, 2);
        }
        lock_machine();
        do_work();
        unlock_machine();
        replay_mutex_unlock();
        __atomic_add_fetch(&rounds, 1, __ATOMIC_SEQ_CST);
        usleep((useconds_t)random_below(&own, 50)); /* else nobody else ever has the lock */
    }
    return unused;
}

uint64_t executed(void) { return icount; }

void wait_for_progress(void)
{
    for (uint64_t before = __atomic_load_n(&rounds, __ATOMIC_SEQ_CST); __atomic_load_n(&rounds, __ATOMIC_SEQ_CST) < before + 2;)
        usleep(10);
}

void fall_idle(void)
{
    __atomic_store_n(&idle, true, __ATOMIC_SEQ_CST);
    wait_for_progress();
}

/* ---- A replay ----------------------------------------------------------------------------------------------------------- */

typedef void state_handler(void *opaque, bool running, int state);
static struct { state_handler *call; void *opaque; int priority; } handlers[4];
static int handler_count;

void *qemu_add_vm_change_state_handler_prio(state_handler *call, void *opaque, int priority)
{
    int at = handler_count++;
    expect(handler_count <= 4, "few handlers");
    for (; at > 0 && handlers[at - 1].priority > priority; at--)
        handlers[at] = handlers[at - 1];
    handlers[at].call = call, handlers[at].opaque = opaque, handlers[at].priority = priority;
    return &handlers[at];
}

/* As the network's handlers have it: what waits is thrown away at a stop, and handed over when the machine goes on. */
static void on_change(void *opaque, bool running, int state)
{
    (void)opaque, (void)running, (void)state;
    for (int i = 0; i < network_count; i++) {
        networks[i].incoming->count = 0;
        networks[i].receive_disabled = 0;
    }
}

static void change(bool running)
{
    struct { uint32_t count; unsigned receive_disabled; } before[NETWORKS];
    for (int i = 0; i < NETWORKS; i++) {
        own_queues[i].count = (uint32_t)random_below(&seed, 5);
        networks[i].receive_disabled = (unsigned)random_below(&seed, 2);
        before[i].count = own_queues[i].count, before[i].receive_disabled = networks[i].receive_disabled;
    }
    for (int i = 0; i < handler_count; i++) {
        int which = running ? i : handler_count - 1 - i;
        handlers[which].call(handlers[which].opaque, running, running ? 9 : 4);
    }
    for (int i = 0; i < network_count; i++)
        expect(networks[i].incoming == &own_queues[i] && own_queues[i].count == before[i].count &&
                   networks[i].receive_disabled == before[i].receive_disabled,
               "packets wait as they did");
    for (int clock = 0; clock < CLOCKS; clock++)
        expect(clocks_on[clock] == (running || clock < HOST), "clock %d of a machine that %s", clock, running ? "runs" : "stands");
}

void set_break(uint64_t at)
{
    replay_break_icount = at;
    replay_break_timer = calloc(1, sizeof *replay_break_timer);
}

static struct { unsigned kind; int instructions; } next; /* in the log */

static void show_next(void)
{
    replay_state.kind = next.kind;
    replay_state.instructions = next.instructions;
}

static void read_event(void)
{
    bool instructions = next.kind != INSTRUCTION && random_below(&seed, 2); /* never twice: they would be one */
    next.kind = instructions ? INSTRUCTION : 1 + (unsigned)random_below(&seed, KINDS - 1);
    next.instructions = instructions ? 1 + (int)random_below(&seed, 20) : 0;
    show_next();
}

static bool can_take(void)
{
    return replay_state.kind != INSTRUCTION;
}

/* One instruction, as `replay_advance_current_icount` counts it. */
static void step(void)
{
    next.instructions--;
    show_next();
    replay_state.icount = ++icount;
    if (next.instructions == 0)
        read_event();
    if (icount == replay_break_icount)
        timer_mod_ns(replay_break_timer, qemu_clock_get_ns(REALTIME));
    while (can_take() && next.kind >= FIRST_OF_INSTRUCTIONS)
        read_event(); /* the instruction itself takes it */
    do_work();
}

void replay_for(uint64_t most)
{
    struct timer *own = replay_break_timer;
    break_set = NULL;
    next.kind = replay_state.kind, next.instructions = replay_state.instructions;
    change(true);
    for (uint64_t i = 0; i < most && !break_set; i++) {
        while (can_take())
            read_event(); /* an interrupt, or what another thread takes */
        step();
    }
    if (break_set)
        expect(break_set == own && !can_take() && replay_state.instructions > 0, "nobody takes an event at a stop");
    change(false);
    expect(replay_break_timer == own, "QEMU's timer is its own again");
    if (break_set) {
        expect(icount == replay_break_icount, "it stops where it was asked to");
        free(own);
        replay_break_timer = NULL;
        replay_break_icount = UINT64_MAX;
    }
    expect(replay_state.kind == next.kind && replay_state.instructions == next.instructions, "the log goes on where it was");
}

/* ---- Power -------------------------------------------------------------------------------------------------------------- */

int qemu_plugin_install(plugin_id, const struct plugin_info *, int, char **);
static pthread_t vcpu;

void power_on(uint64_t from, bool replays, const char *what)
{
    char option[64];
    seed = from;
    if (what)
        strange = what;
    signal(SIGPIPE, SIG_IGN); /* as QEMU does */
    replay_mode = replays ? 2 : 1;
    if (replays)
        open_log(is_strange("count", NULL) || (!is_strange("kind", NULL) && !is_strange("counting", NULL) && random_below(&seed, 2)));
    make_networks();
    if (is_strange("executed", NULL))
        replay_state.icount = 1;
    if (is_strange("requests", NULL))
        replay_state.requests = 1;
    if (is_strange("causes", "first"))
        ShutdownCause_lookup.names++;
    if (is_strange("causes", "many"))
        ShutdownCause_lookup.count = 33;
    if (is_strange("causes", "none"))
        ShutdownCause_lookup.count = 0;
    if (is_strange("modes", "other"))
        ReplayMode_lookup.names = causes;
    if (is_strange("modes", "few"))
        ReplayMode_lookup.count = 2;
    snprintf(option, sizeof option, "control=%d", make_socket(&control_socket, 0));
    char *options[2] = { option, strncmp(strange, "option:", 7) ? NULL : (char *)strange + 7 };
    struct plugin_info info = { .target_name = is_strange("target", NULL) ? "aarch64" : "x86_64",
                                .system_emulation = !is_strange("program", NULL),
                                .version = { 1, QEMU_PLUGIN_API },
                                .system = { is_strange("processors", NULL) ? 2 : 1, 2 } };
    no_threads = is_strange("threads", NULL);
    qemu_add_vm_change_state_handler_prio(on_change, NULL, 0);
    if (qemu_plugin_install(0, &info, options[1] ? 2 : 1, options) != 0)
        exit(1);
    no_threads = false;
    for (int clock = 0; clock < CLOCKS; clock++)
        expect(clocks_on[clock] == (!replays || clock < HOST), "clock %d before the machine runs", clock);
    if (!replays)
        pthread_create(&vcpu, NULL, record, NULL);
}

void power_off(void)
{
    __atomic_store_n(&over, true, __ATOMIC_SEQ_CST);
    if (replay_mode == 1)
        pthread_join(vcpu, NULL);
}
