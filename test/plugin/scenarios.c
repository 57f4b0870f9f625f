/*
 * The branch plugin on the fake QEMU, in scenarios: `scenarios NAME SEED [LENGTH [PLUGIN]]`. It ends with 0, or with a line that
 * says what was not as expected; the sanitizers it was built with say the rest.
 */
#define _GNU_SOURCE
#include "fake-qemu.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint64_t seed, length;

static const char *__attribute__((format(printf, 1, 2))) command(const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return ask(line);
}

static void must(const char *answer)
{
    expect(!strncmp(answer, "{\"answer\":", 10), "no refusal: %s", answer);
}

static const char *const selections[] = { "all", "user", "kernel" };

/* How many of the branches `from` up to `to` the selection has. */
static uint64_t selected(uint64_t from, uint64_t to, unsigned selection)
{
    uint64_t count = 0;
    for (uint64_t i = from; i < to && i < taken_count; i++) {
        bool upper_from = taken[i].from >> 63, upper_to = taken[i].to >> 63;
        count += selection == 0 || (selection == 1 ? !(upper_from && upper_to) : upper_from || upper_to);
    }
    return count;
}

/* The plugin's count is the guest's own. */
static uint64_t where(void)
{
    const char *answer = command("where");
    must(answer);
    expect(number_in(answer, "icount") == executed_so_far(), "%s", answer);
    expect(number_in(answer, "brctr") == taken_count, "%" PRIu64 " branches: %s", taken_count, answer);
    return taken_count;
}

/* A window's records are those of its own selection, though the encoder comes to them when the next window is open. */
static void selection(void)
{
    must(command("start"));
    must(command("window now never all"));
    run_for(1500000); /* its chunk fills the socket, and the encoder waits */
    must(command("close"));
    uint64_t from = where();
    must(command("window now never all"));
    run_for(20000);
    must(command("close"));
    uint64_t to = where();
    must(command("window now never kernel"));
    run_for(20000);
    drain_data();
    must(command("close"));
    uint64_t end = where();
    expect(next_ending().records == from, "the first window");
    uint64_t second = next_ending().records, third = next_ending().records;
    expect(second == to - from, "%" PRIu64 " of %" PRIu64 " records in the window of all", second, to - from);
    expect(third == selected(to, end, 2), "%" PRIu64 " records in the kernel's window", third);
}

/* A window that is closed when QEMU ends at once: its end goes out, though the encoder is far behind. */
static void closing(void)
{
    must(command("start"));
    must(command("window now never all"));
    run_for(1500000); /* its chunk fills the socket, and the encoder waits */
    uint64_t records = where();
    must(command("close"));
    drain_data();
    power_off();
    shutdown(data_socket, SHUT_RD); /* whoever still writes is ended by it */
    struct ending ending = next_ending();
    expect(ending.reason == 2 && ending.records == records && ending.in_chunks == records, "%" PRIu64 " of %" PRIu64 " records",
           ending.in_chunks, records);
    exit(0);
}

/* Windows by every kind of point, against what the guest did. */
static void windows(void)
{
    drain_data();
    must(command("start"));
    for (uint64_t i = 0; i < length; i++) {
        unsigned selection = (unsigned)random_below(&seed, 3);
        uint64_t now = where(), from = now, to, most = 1 + random_below(&seed, 20000);
        char point[64] = "now";
        if (random_below(&seed, 2)) {
            from = now + random_below(&seed, 1000);
            snprintf(point, sizeof point, "brctr:%" PRIu64, from);
        }
        bool ends = random_below(&seed, 2);
        to = from + 1 + random_below(&seed, 3000);
        must(ends ? command("window %s brctr:%" PRIu64 " %s", point, to, selections[selection])
                  : command("window %s never %s", point, selections[selection]));
        run_for(most);
        must(command("close"));
        uint64_t end = where();
        struct ending ending = next_ending();
        bool reached = ends && to <= end;
        if (!reached)
            to = end;
        expect(ending.reason == (reached ? 1u : 2u), "reason %u", ending.reason);
        expect(ending.records == selected(from, to, selection) && ending.records == ending.in_chunks,
               "%" PRIu64 " records of %s from %" PRIu64 " to %" PRIu64 ", not %" PRIu64, ending.records, selections[selection], from, to,
               selected(from, to, selection));
    }
}

/* An overlong line is refused as a whole. */
static void lines(void)
{
    enum { LONGEST = 1 << 18 };
    static char line[3 * LONGEST];
    must(command("start"));
    for (size_t size = LONGEST - 2; size < 2 * LONGEST + 40; size += size < LONGEST + 2 ? 1 : 65537) {
        memset(line, ' ', size);
        memcpy(line + size - 11, "unprobe all", 12); /* what a line's rest would be: a command */
        const char *answer = ask(line);
        bool fits = size < LONGEST;
        expect(!strncmp(answer, fits ? "{\"answer\":\"unprobe\"" : "{\"error\":\"the line is too long\"", 15), "%zu bytes: %s", size, answer);
        expect(!strncmp(command("where"), "{\"answer\":\"where\"", 16), "one answer a line");
    }
    must(command("%s", "progress"));
    expect(write(control_socket, "where\0 and more\n", 16) == 16, "a NUL");
    const char *answer = ask("where");
    expect(!strncmp(answer, "{\"error\":", 9), "a line with a NUL: %s", answer);
}

/* What is no probe is refused, and none of it is kept. */
static void probes(void)
{
    static const struct { const char *probe, *why; } wrong[] = {
        { "", "no such id" }, { " x exec 0x1000", "no such id" }, { " 4294967296 exec 0x1000", "no such id" },
        { " 1", "no such id" }, { " 1 exec", "no such probe" }, { " 1 exec 0xg", "no such address" }, { " 1 exec -1", "no such address" },
        { " 1 exec 10000000000000000", "no such address" }, { " 1 write 0x1000 8", "no such probe" },
        { " 1 write linear 0x1000 8", "no such probe" }, { " 1 write virtual 1q 8", "no such address" },
        { " 1 read virtual 0x1000 0", "no such length" }, { " 1 access physical 0x1000 9223372036854775808", "no such length" },
        { " 1 exec 0x1000 stop=never", "no such property of a probe" }, { " 1 write virtual 0x1000 8 stop=exact", "no such property of a probe" },
        { " 1 exec 0x1000 when=", "the condition is no agent expression" }, { " 1 exec 0x1000 when=222", "the condition is no agent expression" },
        { " 1 exec 0x1000 when=2", "the condition is no agent expression" }, { " 1 exec 0x1000 when=00", "the condition is no agent expression" },
        { " 1 exec 0x1000 when=\t2", "the condition is no agent expression" }, { " 1 exec 0x1000 when=+2", "the condition is no agent expression" },
        { " 1 exec 0x1000 when=220127 when=220127", "the condition is no agent expression" },
        { " 1 exec 0x1000 collect=", "this cannot be collected" }, { " 1 exec 0x1000 collect=g,", "this cannot be collected" },
        { " 1 exec 0x1000 collect=r:0", "this cannot be collected" }, { " 1 exec 0x1000 collect=r:+f", "this cannot be collected" },
        { " 1 exec 0x1000 collect=r:\t-1", "this cannot be collected" }, { " 1 exec 0x1000 collect=r:0xf", "this cannot be collected" },
        { " 1 exec 0x1000 collect=r:10000000000000000", "this cannot be collected" }, { " 1 exec 0x1000 collect=x:2227/1", "this cannot be collected" },
        { " 1 exec 0x1000 collect=m:220127/220127", "this cannot be collected" }, { " 1 exec 0x1000 collect=m:220127/16", "this cannot be collected" },
        { " 1 exec 0x1000 collect=s:220127", "this cannot be collected" }, { " 1 exec 0x1000 collect=s:220127/65537", "this cannot be collected" },
        { " 1 exec 0x1000 collect=s:220127/16x", "this cannot be collected" }, { " 1 exec 0x1000 collect=s:2201270/16", "this cannot be collected" },
    };
    char refusal[80];
    must(command("start"));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *answer = command("probe%s", wrong[i].probe);
        snprintf(refusal, sizeof refusal, "{\"error\":\"%s\"}", wrong[i].why);
        expect(!strcmp(answer, refusal), "probe%s: %s", wrong[i].probe, answer);
    }
    must(command("probe 1 exec 0x1000 when=220127 collect=g"));
    expect(!strcmp(command("probe 1 exec 0x2000"), "{\"error\":\"this id is taken\"}"), "an id is taken once");
    expect(!strcmp(command("unprobe x"), "{\"error\":\"no such id\"}"), "an id");
    expect(number_in(command("unprobe all"), "count") == 1, "one probe");
}

/* Counts of a running machine never go back, and are never beyond it. */
static void progress(void)
{
    uint64_t icount = 0, brctr = 0;
    must(command("start"));
    must(command("marks 5000"));
    must(command("probe 1 exec 0x%" PRIx64 " collect=g", block_at(7)));
    count_hits(0);
    for (uint64_t i = 0; i < length; i++) {
        let_run(random_below(&seed, 400000));
        for (int n = 0; n < 50; n++) {
            const char *answer = command("progress");
            must(answer);
            uint64_t now = number_in(answer, "icount"), branches = number_in(answer, "brctr");
            expect(now >= icount && branches >= brctr, "progress from %" PRIu64 ", %" PRIu64 " to %s", icount, brctr, answer);
            icount = now, brctr = branches;
        }
        wait_for_stop();
        expect(icount <= executed_so_far() && brctr <= taken_count, "progress beyond the machine: %" PRIu64, icount);
        where();
    }
}

/* Every hit comes, once, through all buffers. */
static void hits(void)
{
    uint64_t expected = count_hits(0);
    must(command("start"));
    for (unsigned i = 0; i < 20; i++)
        must(command("probe %u exec 0x%" PRIx64 " collect=g,r:ff,m:25000000000000100027/220a27/16,s:25000000000000100027/300", i,
                     block_at(i)));
    uint64_t before = 0;
    for (uint64_t i = 0; i < length; i++) {
        run_for(20000);
        const char *answer = command("hits");
        expected = count_hits(number_in(answer, "bytes"));
        expect(expected > before || i == 0, "hits go on");
        before = expected;
        if (i % 5 == 4) {
            must(command("unprobe %u", (unsigned)(i / 5) % 20));
            must(command("probe %u write virtual 0x%" PRIx64 " 8", (unsigned)(1000 + i), block_at(3)));
        }
    }
    /* Blocks' first instructions: as often as the guest came to them. */
    uint64_t arrivals = 0;
    must(command("unprobe all"));
    must(command("probe 5000 exec 0x%" PRIx64, block_at(150))); /* reached by taken branches alone: the first of its area */
    uint64_t from = taken_count;
    run_for(100000);
    for (uint64_t i = from; i < taken_count; i++)
        arrivals += taken[i].to == block_at(150);
    uint64_t now = count_hits(number_in(command("hits"), "bytes"));
    /* One that was reached at the stop before or is reached at this one is told when it runs. */
    expect(now - expected + 1 >= arrivals && now - expected <= arrivals + 1, "%" PRIu64 " hits for %" PRIu64 " arrivals", now - expected, arrivals);
}

/* ---- Fuzzing -------------------------------------------------------------------------------------------------------------- */

static const char *piece(void)
{
    static char made[64];
    static const char *const pieces[] = {
        "start", "where", "window", "close", "progress", "marks", "first-visits", "probe", "unprobe", "hits", "film", "film off", "all", "user", "kernel", "none",
        "now", "never", "icount:", "brctr:", "address:0x", "visit:0x400000:", "exec", "write", "read", "access", "virtual", "physical",
        "when=", "collect=", "stop=exact", "g", "r:ffff", "r:", "m:", "s:", "/", ",", ":", "=", "0x", "-", "+", "0", "1", "2", "16", "ffff",
        "18446744073709551615", "18446744073709551616", "99999999999999999999999", "22ff27", "2227", "260002", "26001027", "e027", "e1",
        "2127", "200000", "s:22/16", "m:2227/2210/64", "0x400000", "0xffffffff81000000", "\t", "\"", "\\", "%n%s", "\x80\xff", "\r",
    };
    uint64_t which = random_below(&seed, sizeof pieces / sizeof *pieces + 6);
    if (which < sizeof pieces / sizeof *pieces)
        return pieces[which];
    if (which % 2)
        snprintf(made, sizeof made, "0x%" PRIx64, block_at((unsigned)random_below(&seed, block_count())));
    else
        snprintf(made, sizeof made, "%" PRIu64, random_below(&seed, random_below(&seed, 2) ? 100 : UINT64_MAX));
    return made;
}

static void random_line(char *line, size_t room)
{
    static const char *const whole[] = {
        "start %u", "start %u 3", "where", "progress", "close", "first-visits", "hits", "marks %u00", "unprobe %u", "unprobe all",
        "window now never all", "window now brctr:%u000 user", "window icount:%u0000 never kernel", "window now never none",
        "probe %u exec 0x400000 when=22012713", "probe %u exec 0x400001 collect=g,r:ff,s:2327102710/16", "probe %u exec 0x400002 when=260001260002022704",
        "probe %u write virtual 0x1000 8 when=e0220014270200", "probe %u access physical 0x1800 16 collect=m:231000271c/220827/64",
        "probe %u read virtual 0x1000 1", "probe %u exec 0xffffffff81000000 collect=m:2312002715/e427/4096,r:1", "window address:0x400000 never all",
        "film writes", "film accesses", "film register %u", "film off",
    };
    static const char *const beginnings[] = { "probe %u exec ", "probe %u write virtual ", "window ", "marks ", "" };
    unsigned number = (unsigned)random_below(&seed, 30);
    if (random_below(&seed, 4)) {
        snprintf(line, room, whole[random_below(&seed, sizeof whole / sizeof *whole)], number);
    } else {
        size_t used = (size_t)snprintf(line, room, beginnings[random_below(&seed, 5)], number);
        for (uint64_t words = random_below(&seed, 9); words > 0 && used + 80 < room; words--)
            used += (size_t)snprintf(line + used, room - used, "%s%s", piece(), random_below(&seed, 3) ? "" : " ");
    }
    for (uint64_t changes = random_below(&seed, 8); changes > 4 && *line; changes--) {
        size_t size = strlen(line), at = random_below(&seed, size);
        if (random_below(&seed, 2)) { /* a byte becomes another */
            char byte = (char)(1 + random_below(&seed, 255));
            line[at] = byte == '\n' ? ' ' : byte;
        } else if (size + 64 < room) { /* something is put in */
            const char *more = piece();
            memmove(line + at + strlen(more), line + at, size - at + 1);
            memcpy(line + at, more, strlen(more));
        }
    }
}

/* Whatever the line, there is one answer, and the plugin goes on counting. */
static void fuzz(void)
{
    static char line[1024];
    uint64_t accepted = 0;
    drain_data();
    count_hits(0);
    must(command("start"));
    for (uint64_t i = 0; i < length; i++) {
        if (i % 64 == 0) {
            must(command("close"));
            must(command("start"));
            must(command("unprobe all"));
        }
        random_line(line, sizeof line);
        char *stops = strstr(line, "stop=exact");
        if (stops && strstr(line, "exec"))
            *stops = 'S'; /* this QEMU makes no exact stops */
        accepted += !strncmp(ask(line), "{\"answer\":", 10);
        if (random_below(&seed, 8) == 0)
            run_for(random_below(&seed, 3000));
        if (random_below(&seed, 16) == 0)
            expect(number_in(command("where"), "icount") == executed_so_far(), "the count after %s", line);
    }
    expect(accepted * 5 > length, "%" PRIu64 " of %" PRIu64 " lines accepted", accepted, length);
}

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); int data_buffer; } all[] = {
        { "selection", selection, 4096 }, { "windows", windows, 0 }, { "lines", lines, 0 },
        { "progress", progress, 0 },      { "hits", hits, 0 },       { "fuzz", fuzz, 0 },
        { "closing", closing, 4096 },     { "probes", probes, 0 },
    };
    if (argc < 3)
        return 2;
    seed = strtoull(argv[2], NULL, 10);
    length = argc > 3 ? strtoull(argv[3], NULL, 10) : 20;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(argv[1], all[i].name)) {
            power_on(seed, argc > 4 ? argv[4] : NULL, all[i].data_buffer);
            all[i].run();
            power_off();
            return 0;
        }
    return 2;
}
