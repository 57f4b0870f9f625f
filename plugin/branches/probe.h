/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Probes: breakpoints and watchpoints with conditions, whose hits are reported while the machine runs on. A hit has
 * its instant and the collected pieces. Probes are set and removed while the machine is stopped (probe-commands.h).
 */
#ifndef PROBE_H
#define PROBE_H

#include "agent.h"
#include "arena.h"
#include "hits.h"
#include "run.h"

struct expression { uint8_t *code; size_t size; }; /* size 0: none */
struct item {
    enum { ALL_REGISTERS, SOME_REGISTERS, MEMORY, TEXT } kind;
    uint64_t registers; /* a bit for each */
    struct expression address, length;
    size_t most; /* bytes */
};
enum { MOST_ITEMS = 64, SEEN = 8, OFFSETS = 0x1000, PROBE_BITS = 12, GRANULES = 256, LONGEST_ACCESS = 16 };
struct access { uint64_t address, physical; uint32_t length; bool write, mapped; };
struct probe {
    struct probe *next, *same; /* the next in `all`; the next with the same hash */
    uint32_t id;
    unsigned accesses;         /* 0: a probe of execution; otherwise MEM_READ | MEM_WRITE */
    bool physical, stops;
    uint64_t address, length;
    struct expression when;
    struct item items[MOST_ITEMS];
    unsigned item_count;
    size_t most;               /* bytes of a record */
    uint64_t hits;
    /* The accesses that met it at the latest instant, so that they do not count twice when QEMU abandons the
     * instruction and restarts it. */
    uint64_t icount, pc;
    struct { uint64_t address; uint32_t length; bool write; } seen[SEEN];
    unsigned seen_count;
};

extern struct {
    struct probe *all;
    struct probe *at[1 << PROBE_BITS]; /* probes of execution, by a hash of the address */
    bool filter[GRANULES];             /* may an access to these 16 bytes of any page be watched? */
    /* The callbacks with which blocks are translated; they may be more than are needed now. */
    struct { bool offsets[OFFSETS], registers; unsigned accesses; bool any; } instrumented;
} probes OURS;
/* Are frames that deliveries push to be reported, for a probe or a film? */
extern bool frames_watched OURS;
/* Memory for the sites of callbacks, and whether a block was translated since QEMU discarded all blocks. */
extern struct arena site_arena OURS;
extern bool translated_since_flush OURS;

/* The first probe of execution with the same hash as this address. */
OURS struct probe **probes_at(uint64_t pc);

#endif
