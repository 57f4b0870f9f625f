/*
 * The guard on the fake QEMU, in scenarios: `guard-scenarios NAME SEED [LENGTH [STRANGE]]`. It ends with 0, or with a line that says
 * what was not as expected; the sanitizers it was built with say the rest.
 */
#define _GNU_SOURCE
#include "fake-guarded-qemu.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static uint64_t seed, length;

static void must(const char *answer, const char *wanted)
{
    expect(!strcmp(answer, wanted), "%s, not %s", answer, wanted);
}

static bool is_hold(const char *answer)
{
    return !strncmp(answer, "{\"answer\":\"freeze\",\"icount\":", 28);
}

static void freeze(void)
{
    const char *answer = ask("freeze 60000");
    expect(is_hold(answer), "a hold: %s", answer);
}

/* A held QEMU stands still until it is let go, and nothing else is done meanwhile. */
static void hold(void)
{
    for (uint64_t i = 0; i < length; i++) {
        char registers[80];
        const char *answer = ask("freeze 60000");
        expect(is_hold(answer) && is_held(), "a hold: %s", answer);
        snprintf(registers, sizeof registers, "\"registers\":\"CPU#0\\nRAX=%016" PRIx64 " \\nFCW=037f\\n\"}", executed());
        expect(number_in(answer, "icount") == executed() && strstr(answer, registers), "the machine as it is: %s", answer);
        must(ask("waiting"), "{\"answer\":\"frozen\"}");
        must(ask("freeze 1"), "{\"answer\":\"frozen\"}");
        expect(is_held(), "it is held until it is let go");
        must(ask("thaw"), "{\"answer\":\"thaw\"}");
        wait_for_progress();
        must(ask("thaw"), "{\"error\":\"the machine is not held\"}");
    }
}

/* There is no instant: only that is told, and nothing is held. */
static void no_instant(void)
{
    fall_idle();
    must(ask("freeze 20"), "{\"answer\":\"freeze\"}");
    must(ask("thaw"), "{\"error\":\"the machine is not held\"}");
    wait_for_progress();
}

/* Whoever held QEMU is gone: it goes on. */
static void gone(void)
{
    freeze();
    shutdown(control_socket, SHUT_WR);
    wait_for_progress();
}

/* Whoever held QEMU does nothing for half a minute: it goes on, and what comes too late is refused. */
static void forgotten(void)
{
    hurry();
    freeze();
    wait_for_progress();
    must(ask("thaw"), "{\"error\":\"the machine is not held\"}");
    freeze();
    wait_for_progress();
}

/* What is no command is refused. */
static void refusals(void)
{
    static const char *const wrong[] = { "", " ", "freeze", "freeze ", "freeze  1", "freeze 1 ", "freeze -1", "freeze +1", "freeze 0x1",
                                         "freeze 2147483648", "freeze 18446744073709551616", "freezes 1", "wake", "wake 1s", "wake 1\t",
                                         "waiting 1", "Waiting", "thaw 1", "quit" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        must(ask(wrong[i]), "{\"error\":\"no such command\"}");
    for (size_t size = 60; size < 20000; size += size < 70 ? 1 : 997) {
        char line[20000] = "";
        memset(line, ' ', size);
        memcpy(line + size - 7, "waiting", 8); /* what a line's rest would be: a command */
        must(ask(line), size < 64 ? "{\"error\":\"no such command\"}" : "{\"error\":\"the line is too long\"}");
    }
    say("waiting\0\n", 9);
    must(next_answer(), "{\"error\":\"no such command\"}");
    must(ask("wake 0"), "{\"answer\":\"wake\"}");
    expect(!strncmp(ask("waiting"), "{\"answer\":\"waiting\",\"packets\":", 29), "a command");
}

/* Stops of a replay, at breaks and elsewhere: QEMU's own account of the log, its clocks and packets (fake-guarded-qemu.c, `change`). */
static void stops(void)
{
    uint64_t icount = 0;
    for (uint64_t i = 0; i < length; i++) {
        uint64_t most = random_below(&seed, 100), at = 1 + random_below(&seed, 100);
        bool breaks = random_below(&seed, 4) > 0 && at <= most;
        if (breaks)
            set_break(icount + at);
        replay_for(most);
        icount += breaks ? at : most;
    }
}

/* ---- Fuzzing -------------------------------------------------------------------------------------------------------------- */

enum { MOST_BYTES = 200, LONGEST = 63 };

static size_t random_line(char *line)
{
    static const char *const pieces[] = { "freeze", "thaw", "wake", "waiting", "freeze 5", "wake 3", "freeze 2147483647", " ", " ", "0", "1", "-",
                                          "+", "0x", "99999999999999999999", "\t", "\r", "\"", "\\", "%n%s", "\x80\xff", "         " };
    size_t size = 0;
    for (uint64_t words = 1 + (random_below(&seed, 2) ? 0 : random_below(&seed, 12)); words > 0; words--) {
        const char *piece = pieces[random_below(&seed, sizeof pieces / sizeof *pieces)];
        if (size + strlen(piece) < MOST_BYTES)
            memcpy(line + size, piece, strlen(piece)), size += strlen(piece);
    }
    for (uint64_t changes = random_below(&seed, 6); changes > 4; changes--) {
        char byte = (char)random_below(&seed, 256);
        line[random_below(&seed, size)] = byte == '\n' ? ' ' : byte;
    }
    return size;
}

/* Is it this verb and a number below 2^31? */
static bool is_timed(const char *line, size_t size, const char *verb)
{
    size_t at = strlen(verb);
    uint64_t number = 0;
    if (size <= at || memcmp(line, verb, at))
        return false;
    for (size_t i = at; i < size; i++) {
        if (line[i] < '0' || line[i] > '9')
            return false;
        if (number < UINT64_C(1) << 40)
            number = number * 10 + (uint64_t)(line[i] - '0');
    }
    return number < UINT64_C(1) << 31;
}

static bool is(const char *line, size_t size, const char *text)
{
    return size == strlen(text) && !memcmp(line, text, size);
}

/* Whatever the lines, and however they come, each has the answer that it must have. */
static void fuzz(void)
{
    enum { MOST_LINES = 8 };
    static struct { char bytes[MOST_BYTES]; size_t size; } lines[MOST_LINES];
    static char sent[MOST_LINES * (MOST_BYTES + 1)];
    bool held = false;
    uint64_t holds = 0;
    for (uint64_t i = 0; i < length; i++) {
        size_t size = 0;
        uint64_t count = 1 + random_below(&seed, MOST_LINES);
        for (uint64_t n = 0; n < count; n++) {
            lines[n].size = random_line(lines[n].bytes);
            memcpy(sent + size, lines[n].bytes, lines[n].size);
            size += lines[n].size;
            sent[size++] = '\n';
        }
        for (size_t at = 0; at < size;) {
            size_t some = 1 + random_below(&seed, random_below(&seed, 2) ? 20 : sizeof sent);
            if (some > size - at)
                some = size - at;
            say(sent + at, some);
            at += some;
        }
        for (uint64_t n = 0; n < count; n++) {
            const char *line = lines[n].bytes, *answer = next_answer();
            size_t bytes = lines[n].size;
            bool fits = bytes <= LONGEST, thaws = fits && is(line, bytes, "thaw");
            if (held) {
                must(answer, thaws ? "{\"answer\":\"thaw\"}" : "{\"answer\":\"frozen\"}");
                held = !thaws;
            } else if (!fits) {
                must(answer, "{\"error\":\"the line is too long\"}");
            } else if (thaws) {
                must(answer, "{\"error\":\"the machine is not held\"}");
            } else if (is_timed(line, bytes, "freeze ")) {
                held = is_hold(answer);
                holds += held;
                if (!held)
                    must(answer, "{\"answer\":\"freeze\"}");
            } else if (is_timed(line, bytes, "wake ")) {
                must(answer, "{\"answer\":\"wake\"}");
            } else if (is(line, bytes, "waiting")) {
                expect(!strncmp(answer, "{\"answer\":\"waiting\",\"packets\":", 29), "%s", answer);
            } else {
                must(answer, "{\"error\":\"no such command\"}");
            }
        }
        if (held && random_below(&seed, 4) == 0) {
            expect(is_held(), "QEMU is held");
            must(ask("thaw"), "{\"answer\":\"thaw\"}");
            held = false;
        }
    }
    expect(holds * 20 > length, "%" PRIu64 " holds in %" PRIu64 " rounds", holds, length);
    if (held)
        must(ask("thaw"), "{\"answer\":\"thaw\"}");
}

/* ---- Strange QEMUs --------------------------------------------------------------------------------------------------------- */

/* A strange QEMU ends before it gets here: when it loads, when it runs, or when it is first asked. */
static void strange_recording(void)
{
    ask("waiting");
    ask("freeze 60000");
    expect(false, "the guard takes this QEMU");
}

static void strange_replay(void)
{
    set_break(50);
    replay_for(100);
    expect(false, "the guard takes this QEMU");
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); bool replays; } all[] = {
        { "hold", hold, false },         { "no-instant", no_instant, false },
        { "gone", gone, false },         { "forgotten", forgotten, false },
        { "refusals", refusals, false }, { "fuzz", fuzz, false },
        { "stops", stops, true },        { "recording", strange_recording, false },
        { "replay", strange_replay, true },
    };
    if (argc < 3)
        return 2;
    seed = strtoull(argv[2], NULL, 10);
    length = argc > 3 ? strtoull(argv[3], NULL, 10) : 20;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(argv[1], all[i].name)) {
            power_on(seed, all[i].replays, argc > 4 ? argv[4] : NULL);
            all[i].run();
            power_off();
            return 0;
        }
    return 2;
}
