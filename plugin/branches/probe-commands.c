/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Setting and removing probes.
 */
#include "probe-commands.h"
#include "../common/fail.h"
#include "../common/numbers.h"
#include "control.h"
#include "film.h"
#include "probe-parser.h"
#include "probe-symbols.h"
#include "self-check.h"
#include <pthread.h>

__typeof__(probes) probes;
bool frames_watched, translated_since_flush;
struct arena site_arena;

static pthread_mutex_t flush_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t flush_done = PTHREAD_COND_INITIALIZER;
static unsigned long flushes;

void note_flush(void)
{
    drop(&site_arena);
    pthread_mutex_lock(&flush_lock);
    flushes++;
    translated_since_flush = false;
    pthread_cond_broadcast(&flush_done);
    pthread_mutex_unlock(&flush_lock);
}

static void flush_now(void *cpu, void *unused UNUSED)
{
    more.flush_blocks(cpu);
}

/* Has all blocks translated anew. The thread of the stopped vCPU does this; the caller waits for it, and releases
 * the run meanwhile. */
static void retranslate(void)
{
    release_run();
    pthread_mutex_lock(&flush_lock);
    unsigned long before = flushes;
    if (translated_since_flush) {
        more.ask_cpu(qemu.cpu, flush_now, NULL);
        while (flushes == before)
            pthread_cond_wait(&flush_done, &flush_lock);
    }
    pthread_mutex_unlock(&flush_lock);
    hold_run();
}

static void filter_accesses(const struct probe *probe)
{
    uint64_t first = probe->address - (LONGEST_ACCESS - 1), size = probe->length + LONGEST_ACCESS - 1;
    for (uint64_t at = 0; at < size && at <= GRANULES * LONGEST_ACCESS; at += LONGEST_ACCESS)
        probes.filter[(first + at) / LONGEST_ACCESS % GRANULES] = true;
    probes.filter[(first + size - 1) / LONGEST_ACCESS % GRANULES] = true;
}

/* Called after a change of the probes: finds out which accesses matter, and has blocks translated anew when they
 * lack a callback, or when they have one at every access that no probe needs any more. */
static void arm_probes(void)
{
    typeof(probes.instrumented) needed = { .any = false };
    bool lacks = false;
    memset(probes.filter, 0, sizeof probes.filter);
    frames_watched = film_wanted.on;
    for (struct probe *probe = probes.all; probe; probe = probe->next) {
        needed.any = true;
        needed.registers |= needs_registers(probe);
        needed.accesses |= probe->accesses;
        frames_watched |= (probe->accesses & MEM_WRITE) != 0;
        if (probe->accesses)
            filter_accesses(probe);
        else
            needed.offsets[probe->address % OFFSETS] = true;
    }
    for (int i = 0; i < OFFSETS; i++)
        lacks |= needed.offsets[i] && !probes.instrumented.offsets[i];
    lacks |= needed.registers && !probes.instrumented.registers;
    if (!lacks && needed.accesses == probes.instrumented.accesses)
        return;
    probes.instrumented = needed;
    retranslate();
}

/* Why the probe cannot be set beside the others, or NULL. */
static const char *cannot_set(const struct probe *probe)
{
    for (struct probe *other = probes.all; other; other = other->next)
        if (other->id == probe->id)
            return "this id is taken";
    if (needs_registers(probe) && !make_registers_readable())
        return "this QEMU does not let plugins read registers";
    return NULL;
}

static void set_probe(char **words, int count)
{
    if (hits_fd < 0)
        return refuse("no probes descriptor was given");
    struct probe *probe = must_have(calloc(1, sizeof *probe));
    probe->icount = UINT64_MAX;
    probe->most = sizeof(struct hit);
    const char *wrong = parse_probe(probe, words, count);
    if (!wrong)
        wrong = cannot_set(probe);
    if (wrong) {
        free_probe(probe);
        return refuse(wrong);
    }
    probe->next = probes.all;
    probes.all = probe;
    if (!probe->accesses) {
        struct probe **head = probes_at(probe->address);
        probe->same = *head;
        *head = probe;
    }
    arm_probes();
    tell("{\"answer\":\"probe\"}");
}

static void remove_probe(const char *which)
{
    uint64_t id = 0;
    const char *end;
    unsigned long removed = 0;
    bool all = !strcmp(which, "all");
    if (!all && (!parse_number(which, 10, &id, &end) || *end))
        return refuse("no such id");
    for (struct probe **link = &probes.all; *link;) {
        struct probe *probe = *link;
        if (!all && probe->id != id) {
            link = &probe->next;
            continue;
        }
        *link = probe->next;
        for (struct probe **same = probes_at(probe->address); *same; same = &(*same)->same)
            if (*same == probe) {
                *same = probe->same;
                break;
            }
        free_probe(probe);
        removed++;
    }
    arm_probes();
    tell("{\"answer\":\"unprobe\",\"count\":%lu}", removed);
}

/* Takes a film from here on; or ends it, with `sent` told as `hits` does. */
static void set_film(struct film_wanted wanted)
{
    if (hits_fd < 0)
        return refuse("no probes descriptor was given");
    if (!following)
        return refuse("branches are not followed");
    if (wanted.on == film_wanted.on)
        return refuse(wanted.on ? "a film is being taken" : "no film is being taken");
    if (wanted.on && !make_registers_readable())
        return refuse("this QEMU does not let plugins read registers");
    if (!run.ip_word)
        run.ip_word = tried_pointer();
    if (wanted.on && !run.ip_word)
        return refuse("the machine has to run a little before");
    if (!wanted.on)
        end_film();
    film_wanted = wanted;
    if (wanted.on)
        begin_film();
    frames_watched |= wanted.on;
    retranslate();
    if (!wanted.on)
        arm_probes();
    tell("{\"answer\":\"film\",\"bytes\":%" PRIu64 "}", wanted.on ? 0 : flush_hits());
}

/* film writes | accesses | register N | off */
static bool film_command(char **words, int count)
{
    struct film_wanted wanted = { .on = true, .watched = NO_REGISTER };
    uint64_t number;
    if (count == 3 && !strcmp(words[1], "register") && is_number(words[2], 10, &number) && is_watchable(number))
        wanted.watched = (int)number;
    else if (count == 2 && !strcmp(words[1], "accesses"))
        wanted.reads = true;
    else if (count == 2 && !strcmp(words[1], "off"))
        wanted.on = false;
    else if (count != 2 || strcmp(words[1], "writes"))
        return false;
    set_film(wanted);
    return true;
}

bool probe_command(char **words, int count)
{
    if (count >= 2 && !strcmp(words[0], "film"))
        return film_command(words, count);
    if (count >= 1 && !strcmp(words[0], "probe"))
        set_probe(words + 1, count - 1);
    else if (count == 2 && !strcmp(words[0], "unprobe"))
        remove_probe(words[1]);
    else if (count == 1 && !strcmp(words[0], "hits"))
        tell("{\"answer\":\"hits\",\"bytes\":%" PRIu64 "}", hits_fd < 0 ? 0 : flush_hits());
    else
        return false;
    return true;
}
