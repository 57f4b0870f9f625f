/*
 * SPDX-License-Identifier: MIT OR GPL-2.0-or-later
 *
 * QEMU plugin (TCG, x86 guests, one vCPU, -icount) that sees every branch a machine takes. The rest of vmtape is
 * under the MIT license; this file may also be taken under QEMU's own, which is what it is loaded into.
 *
 * One source for both plugin APIs: compile with -DQEMU_PLUGIN_API=1 for QEMU 7.2 to 8.2, =2 for 9.0 and later.
 * README.md beside this file: how it works, why it is exact, what it trusts. branch-stream.h: what it sends.
 *
 * Threads: the vCPU thread follows the run and queues records; the encoder thread makes chunks of them and
 * writes them to the data socket; the control thread answers commands while the machine is stopped.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "branch-stream.h"

#ifndef QEMU_PLUGIN_API
#error "compile with -DQEMU_PLUGIN_API=1 (QEMU 7.2 to 8.2) or =2 (9.0 and later)"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the stream is little-endian, and so must be the host"
#endif

#define EXPORT __attribute__((visibility("default")))
#define NOINLINE __attribute__((noinline))
#define UNUSED __attribute__((unused))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* ---- What we use of QEMU's plugin API (there is no header package) ------------------------------------------ */

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct plugin_info {
    const char *target_name;
    struct { int min, cur; } version;
    bool system_emulation;
    struct { int smp_vcpus, max_vcpus; } system;
};
typedef void (*udata_callback)(unsigned vcpu, void *udata);
enum { CB_NO_REGS = 0, OP_ADD_U64 = 0, MEM_READ = 1 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, udata_callback, int flags, void *udata);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, udata_callback, int flags, void *udata);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
                                      void (*)(unsigned vcpu, uint32_t info, uint64_t linear, void *udata), int flags,
                                      int access, void *udata);
void qemu_plugin_register_flush_cb(plugin_id, void (*)(plugin_id));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *udata);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
#if QEMU_PLUGIN_API == 1
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int op, void *at, uint64_t value);
#else
struct plugin_u64 { void *scoreboard; size_t offset; };
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *to, size_t size);
void *qemu_plugin_scoreboard_new(size_t element_size);
void *qemu_plugin_scoreboard_find(void *scoreboard, unsigned vcpu);
void qemu_plugin_register_vcpu_init_cb(plugin_id, void (*)(plugin_id, unsigned vcpu));
void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(struct qemu_plugin_insn *, int op, struct plugin_u64,
                                                         uint64_t value);
#endif

EXPORT int qemu_plugin_version = QEMU_PLUGIN_API;

/* ---- The run so far -------------------------------------------------------------------------------------------- */

struct block;
/* What every block touches: two cache lines. */
static struct {
    struct block *current;    /* began to run last */
    const uint64_t *ip_word;  /* see instruction_pointer() */
    uint64_t executed;        /* instructions before `current`: icount at its start */
    uint64_t brctr;           /* records so far */
    bool watched;             /* logging, or an icount or a brctr is awaited */
    bool logging;
    uint32_t *queue_at, *queue_end; /* in the open batch */
    uint32_t *queue_last;     /* up to here nothing but queueing is to do; NULL: nothing at all is */
    uint64_t icount_of_last;  /* of the record queued last */
    uint64_t next_icount, next_brctr; /* see "The window" */
} run __attribute__((aligned(64))) = { .next_icount = UINT64_MAX, .next_brctr = UINT64_MAX };

/* ---- Failing: loudly, at once ------------------------------------------------------------------------------- */

enum { EXIT_STREAM = 74, EXIT_INEXACT = 70 };

/* Ends QEMU: a log must never be shorter or other than the truth and look whole. */
static void __attribute__((noreturn, format(printf, 2, 3))) fail(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    flockfile(stderr);
    fputs("vmtape plugin: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    fflush(stderr);
    _exit(code);
}

static void *must_have(void *memory)
{
    if (!memory)
        fail(EXIT_STREAM, "out of memory");
    return memory;
}

/* ---- What we use of QEMU beyond that: exported functions, found at load ------------------------------------- */

struct byte_array { uint8_t *data; unsigned length; }; /* glib's GByteArray */

static struct {
    void *(*get_cpu)(int index);
    int (*read_register)(void *cpu, struct byte_array *to, int number); /* numbers: QEMU's gdb-xml, i386-64bit */
    int (*read_memory)(void *cpu, uint64_t linear, void *to, size_t size, bool is_write);
    void (*dump_state)(void *cpu, FILE *to, int flags);
    void (*icount_update)(void *cpu);
    int64_t (*icount_get_raw)(void);
    void **current_cpu; /* of the vCPU thread; set there */
    struct byte_array *(*new_array)(void);
    struct byte_array *(*set_size)(struct byte_array *, unsigned);
    void *cpu;
} qemu;

static const char *find_symbols(void)
{
    static const struct { const char *name; void *at; } wanted[] = {
        { "qemu_get_cpu", &qemu.get_cpu },
        { "x86_cpu_gdb_read_register", &qemu.read_register },
        { "cpu_memory_rw_debug", &qemu.read_memory },
        { "x86_cpu_dump_state", &qemu.dump_state },
        { "icount_update", &qemu.icount_update },
        { "icount_get_raw", &qemu.icount_get_raw },
        { "g_byte_array_new", &qemu.new_array },
        { "g_byte_array_set_size", &qemu.set_size },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *found = dlsym(RTLD_DEFAULT, wanted[i].name);
        if (!found)
            return wanted[i].name;
        memcpy(wanted[i].at, &found, sizeof found);
    }
    return dlsym(RTLD_DEFAULT, "current_cpu") ? NULL : "current_cpu";
}

enum { REGISTER_SP = 7, REGISTER_IP = 16, REGISTER_CR0 = 27, REGISTER_EFER = 32 };

static uint64_t read_register(int number)
{
    static __thread struct byte_array *array;
    uint64_t value = 0;
    if (!array)
        array = qemu.new_array();
    qemu.set_size(array, 0);
    int size = qemu.read_register(qemu.cpu, array, number);
    if (size < 4 || (unsigned)size > array->length)
        fail(EXIT_INEXACT, "cannot read register %d", number);
    memcpy(&value, array->data, size > 8 ? 8 : size);
    return value;
}

static bool read_memory(uint64_t linear, void *to, size_t size)
{
    return qemu.read_memory(qemu.cpu, linear, to, size, false) == 0;
}

/* The machine's state as `info registers` prints it: the one exported way to segment bases, GDT, IDT and SMM. */
static struct {
    uint64_t ip, sp, cs_base, ss_base, gdt, ldt, idt, cr0, efer;
    uint32_t ss_flags, gdt_limit, ldt_limit, idt_limit;
    bool smm;
} machine;

static bool parse(const char *text, const char *label, int count, uint64_t *values)
{
    const char *at = strstr(text, label);
    if (!at)
        return false;
    at += strlen(label);
    for (int i = 0; i < count; i++) {
        char *end;
        values[i] = strtoull(at, &end, 16);
        if (end == at)
            return false;
        at = end;
    }
    return true;
}

/* About 15 us. */
static void read_machine(void)
{
    static char *text;
    static size_t size;
    static FILE *memory;
    uint64_t v[4] = { 0 };
    if (!memory)
        memory = must_have(open_memstream(&text, &size));
    rewind(memory);
    qemu.dump_state(qemu.cpu, memory, 0);
    fputc(0, memory);
    fflush(memory);
    bool ok = parse(text, "\nIDT=", 2, v);
    machine.idt = v[0], machine.idt_limit = v[1];
    ok = ok && parse(text, "\nGDT=", 2, v);
    machine.gdt = v[0], machine.gdt_limit = v[1];
    ok = ok && parse(text, "\nLDT=", 3, v);
    machine.ldt = v[1], machine.ldt_limit = v[2];
    ok = ok && parse(text, "\nCS =", 2, v);
    machine.cs_base = v[1];
    ok = ok && parse(text, "\nSS =", 4, v);
    machine.ss_base = v[1], machine.ss_flags = v[3];
    ok = ok && (parse(text, "\nRIP=", 1, v) || parse(text, "\nEIP=", 1, v));
    machine.ip = v[0];
    ok = ok && (parse(text, " RSP=", 1, v) || parse(text, " ESP=", 1, v));
    machine.sp = v[0];
    ok = ok && parse(text, "CR0=", 1, v);
    machine.cr0 = v[0];
    ok = ok && parse(text, "EFER=", 1, v);
    machine.efer = v[0];
    ok = ok && parse(text, " SMM=", 1, v);
    machine.smm = v[0];
    if (!ok)
        fail(EXIT_INEXACT, "QEMU prints the machine's state in a way this plugin does not know");
}

/*
 * The instruction pointer at a block's start. Blocks are shared between virtual addresses of one physical page
 * (CF_PCREL), so a block's own address is only where it was translated first; and this is asked for at every
 * block. QEMU keeps the register up to date; we find the word of the CPU object that always equals it.
 */
enum { IP_SAMPLES = 24, IP_CANDIDATES = 512 };

static void find_ip_word(void)
{
    static size_t offsets[IP_CANDIDATES], count, samples;
    static uint64_t last;
    const char *object = qemu.cpu;
    uint64_t ip = read_register(REGISTER_IP), word;
    if (samples == 0) {
        size_t size = malloc_usable_size(qemu.cpu);
        for (size_t at = 0; at + 8 <= size && count < IP_CANDIDATES; at += 8)
            if (memcpy(&word, object + at, 8), word == ip)
                offsets[count++] = at;
    } else if (ip == last) {
        return;
    } else {
        size_t kept = 0;
        for (size_t i = 0; i < count; i++)
            if (memcpy(&word, object + offsets[i], 8), word == ip)
                offsets[kept++] = offsets[i];
        count = kept;
    }
    last = ip;
    if (count == 0)
        fail(EXIT_INEXACT, "this QEMU does not keep the instruction pointer where it can be read");
    if (++samples == IP_SAMPLES)
        run.ip_word = (const uint64_t *)(object + offsets[0]);
}

static inline uint64_t instruction_pointer(void)
{
    return likely(run.ip_word != NULL) ? *run.ip_word : read_register(REGISTER_IP);
}

/* ---- Blocks, edges, symbols --------------------------------------------------------------------------------- */

/* How a block ends. */
enum ending {
    UNKNOWN,    /* nothing is known of what ran before */
    FALLS,      /* into the next instruction */
    REPEATS,    /* a rep string instruction: into itself or the next */
    BRANCHES,   /* conditionally, to the target or the next */
    GOES,       /* to the target */
    GOES_ANY,   /* anywhere: returns, indirect and far jumps, system calls */
    TRAPS,      /* int n, int3, int1: to a handler that finds the next instruction on its stack */
    TRAPS_OR_FALLS, /* into */
};

/* A distinct (from, to, kind). `step` and `symbol` belong to the record that used it last. */
struct edge {
    uint64_t from, to, step;
    uint32_t symbol, kind;
    struct edge *chain;
    struct symbol *symbols;
};

/* A distinct (edge, instructions since the record before): what the encoder is given, by number. */
struct symbol {
    const struct edge *edge;
    uint64_t step;
    uint32_t number;
    struct symbol *chain;
};

struct block;
/* What it means that `to` ran after the block that holds this: how many instructions ran, and the record. */
struct successor {
    const struct block *to;
    struct edge *edge;
    uint32_t count, records; /* 0 or 1 */
};

enum { THROUGH_OTHER = -1, THROUGH_MEMORY = -2, THROUGH_STACK = -3 };
struct block {
    struct successor successors[2];
    uint64_t ip;             /* at its start */
    struct block *elsewhere; /* the same code at another address, used last */
    struct successor inside; /* in the block itself: holds only when the block has `finished` */
    uint64_t pc, last, next, target; /* linear: start, last instruction, what follows it, where it goes */
    uint32_t count;
    uint8_t ending, kind;
    int8_t through; /* GOES_ANY: the gdb register that holds the target, or a THROUGH_… */
    bool marks;     /* counts up `finished` when its last instruction begins */
    bool loads_idt, seen;
    uint64_t hash; /* of all that does not depend on the address */
    struct block *chain;
    uint8_t sizes[]; /* of each instruction */
};

enum { MOST_INSNS = 2048, BLOCK_BITS = 18, EDGE_BITS = 18, PAIR_BITS = 15 };
static struct block *blocks[1 << BLOCK_BITS];
static struct edge *edges[1 << EDGE_BITS];
static struct { const struct block *from; struct successor successor; } pairs[1 << PAIR_BITS];

/* Memory that is given back all at once. */
struct arena { struct slab { struct slab *before; char room[]; } *slab; size_t left, total; };
enum { SLAB_SIZE = 1 << 20 };
static struct arena block_arena, edge_arena;
/* Beyond this, everything learned is forgotten and learned again. */
static const size_t most_memory = 384u << 20;

static void *take(struct arena *arena, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > arena->left) {
        struct slab *slab = must_have(calloc(1, SLAB_SIZE));
        slab->before = arena->slab;
        arena->slab = slab;
        arena->left = SLAB_SIZE - sizeof *slab;
        arena->total += SLAB_SIZE;
    }
    arena->left -= size;
    return arena->slab->room + (SLAB_SIZE - sizeof(struct slab) - arena->left - size);
}

static void drop(struct arena *arena)
{
    while (arena->slab) {
        struct slab *before = arena->slab->before;
        free(arena->slab);
        arena->slab = before;
    }
    arena->left = arena->total = 0;
}

static uint64_t mix(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

/* Where the machine is known to be without having run a block there. */
static union { struct block block; char room[sizeof(struct block) + MOST_INSNS]; } parked;

/* ---- Records ---------------------------------------------------------------------------------------------------- */

static uint64_t unexplained;    /* transfers that no rule explains: must stay 0 */
static uint64_t *finished;      /* see block.marks; set to 0 whenever such a block starts */
static uint64_t loaded_at;      /* where an instruction THROUGH_MEMORY or THROUGH_STACK read first; likewise */
static uint64_t loaded;         /* what one THROUGH_STACK found there; a delivery may overwrite it */
static bool recount;            /* the step in progress may not have run the block's last instruction */
#if QEMU_PLUGIN_API == 1
static uint64_t finished_word;
#else
static struct plugin_u64 finished_entry;
#endif

/* Queue of symbol numbers to the encoder. */
enum { BATCH_RECORDS = 1 << 15, BATCHES = 16 };
struct batch {
    uint64_t first_brctr, icount_before; /* of its first record; instructions before the record before that */
    uint32_t length;
    enum { RECORDS, CHUNK_END, FINISH } then; /* what to do after its records */
    enum end_reason reason;
    uint64_t end_brctr, end_icount, unexplained;
    uint32_t symbols[BATCH_RECORDS];
};
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct batch *batches[BATCHES];
    unsigned long filled, emptied; /* counts of batches */
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

/* The symbols' descriptions by number, for the encoder: a table of tables, so that none ever moves. */
enum { PAGE_BITS = 14, MOST_PAGES = 1 << 11 };
static const struct symbol **symbol_pages[MOST_PAGES];
static uint32_t symbol_count;
static bool encoder_forgets; /* symbols' numbers begin anew; set while the encoder waits */

static struct symbol *symbol_at(uint32_t number)
{
    return (struct symbol *)symbol_pages[number >> PAGE_BITS][number & ((1 << PAGE_BITS) - 1)];
}

static NOINLINE void use_symbol(struct edge *edge, uint64_t step)
{
    struct symbol *symbol = edge->symbols;
    while (symbol && symbol->step != step)
        symbol = symbol->chain;
    if (!symbol) {
        symbol = take(&edge_arena, sizeof *symbol);
        *symbol = (struct symbol){ edge, step, symbol_count, edge->symbols };
        edge->symbols = symbol;
        uint32_t page = symbol_count >> PAGE_BITS;
        if (page >= MOST_PAGES)
            fail(EXIT_STREAM, "more than %u distinct branches", MOST_PAGES << PAGE_BITS);
        if (!symbol_pages[page])
            symbol_pages[page] = must_have(calloc(1 << PAGE_BITS, sizeof(struct symbol *)));
        symbol_pages[page][symbol_count & ((1 << PAGE_BITS) - 1)] = symbol;
        symbol_count++;
    }
    edge->step = step;
    edge->symbol = symbol->number;
}

/* After each change of the open batch, of `logging` or of `next_brctr`. */
static void find_queue_last(void)
{
    uint64_t room = run.logging ? run.queue_end - run.queue_at : 0, awaited = run.next_brctr - run.brctr;
    run.queue_last = run.queue_at + (room < awaited ? room : awaited);
    if (run.queue_last > run.queue_at)
        run.queue_last--;
}

static void open_batch(struct batch *batch)
{
    batch->first_brctr = run.brctr;
    batch->icount_before = run.icount_of_last;
    run.queue_at = batch->symbols;
    /* A batch never spans two chunks. */
    uint64_t room = (1 << CHUNK_BITS) - (run.brctr & ((1 << CHUNK_BITS) - 1));
    run.queue_end = run.queue_at + (room < BATCH_RECORDS ? room : BATCH_RECORDS);
    find_queue_last();
}

/* Hands the open batch over and opens another; waits while the encoder is behind. */
static NOINLINE void hand_over(int then, enum end_reason reason, uint64_t icount)
{
    pthread_mutex_lock(&queue.lock);
    struct batch *batch = queue.batches[queue.filled % BATCHES];
    batch->length = run.queue_at - batch->symbols;
    batch->then = then;
    batch->reason = reason;
    batch->end_brctr = run.brctr;
    batch->end_icount = icount;
    batch->unexplained = unexplained;
    queue.filled++;
    pthread_cond_broadcast(&queue.changed);
    while (queue.filled - queue.emptied >= BATCHES)
        pthread_cond_wait(&queue.changed, &queue.lock);
    batch = queue.batches[queue.filled % BATCHES];
    pthread_mutex_unlock(&queue.lock);
    open_batch(batch);
}

static void wait_for_encoder(void)
{
    pthread_mutex_lock(&queue.lock);
    while (queue.filled != queue.emptied)
        pthread_cond_wait(&queue.changed, &queue.lock);
    pthread_mutex_unlock(&queue.lock);
}

static NOINLINE void batch_full(void)
{
    hand_over((run.brctr & ((1 << CHUNK_BITS) - 1)) == 0 ? CHUNK_END : RECORDS, 0, 0);
}

static bool delivering; /* the record is of a delivery, not of an instruction that ran */
static void before_record(void);
static void after_record(const struct edge *edge);

/* What is rare with a record: an awaited instant, a step that the edge's last symbol had not, a full batch. */
static NOINLINE void record_slowly(struct edge *edge)
{
    if (run.executed >= run.next_icount)
        before_record();
    run.brctr++;
    if (run.logging) {
        uint64_t step = run.executed - run.icount_of_last;
        run.icount_of_last = run.executed;
        if (edge->step != step)
            use_symbol(edge, step);
        *run.queue_at++ = edge->symbol;
        if (run.queue_at == run.queue_end)
            batch_full();
    }
    if (run.brctr == run.next_brctr)
        after_record(edge);
}

/* A record while logging, or while an icount or a brctr is awaited. Calls only in tail position. */
static NOINLINE void record_watched(struct edge *edge)
{
    uint64_t step = run.executed - run.icount_of_last;
    if (likely(edge->step == step && run.queue_at < run.queue_last && run.executed < run.next_icount)) {
        run.icount_of_last = run.executed;
        *run.queue_at++ = edge->symbol;
        run.brctr++;
    } else {
        record_slowly(edge);
    }
}

static void record(struct edge *edge)
{
    if (run.watched)
        record_watched(edge);
    else
        run.brctr++;
}

/* One step that was seen before. Everything but counting is a call in tail position: no register to save. */
static inline void repeat(const struct successor *successor)
{
    run.executed += successor->count;
    if (likely(!run.watched))
        run.brctr += successor->records;
    else if (successor->records)
        record_watched(successor->edge);
}

static struct edge *edge_between(uint64_t from, uint64_t to, unsigned kind)
{
    struct edge **head = &edges[mix(from * 31 + to * 0x9e3779b97f4a7c15u + kind) & ((1 << EDGE_BITS) - 1)];
    for (struct edge *edge = *head; edge; edge = edge->chain)
        if (edge->from == from && edge->to == to && edge->kind == kind)
            return edge;
    struct edge *edge = take(&edge_arena, sizeof *edge);
    *edge = (struct edge){ .from = from, .to = to, .step = UINT64_MAX, .kind = kind, .chain = *head };
    *head = edge;
    return edge;
}

/* Forgets what may follow what, not the blocks themselves. */
static void forget_successors(void)
{
    memset(pairs, 0, sizeof pairs);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        for (struct block *block = blocks[i]; block; block = block->chain) {
            memset(block->successors, 0, sizeof block->successors);
            memset(&block->inside, 0, sizeof block->inside);
        }
    memset(run.current->successors, 0, sizeof run.current->successors);
    memset(&run.current->inside, 0, sizeof run.current->inside);
}

static void forget_edges(void)
{
    wait_for_encoder();
    /* Numbers of symbols in the open batch would lose their meaning. */
    if (run.logging && run.queue_at != queue.batches[queue.filled % BATCHES]->symbols) {
        hand_over(RECORDS, 0, 0);
        wait_for_encoder();
    }
    forget_successors();
    memset(edges, 0, sizeof edges);
    drop(&edge_arena);
    symbol_count = 0;
    encoder_forgets = true;
}

/* ---- Interrupt descriptors: which addresses are handlers, and of what ----------------------------------------- */

enum mode { REAL, PROTECTED, LONG };
enum { VECTORS = 256, HANDLER_SLOTS = 1024 };
static struct {
    bool known;
    enum mode mode;
    size_t size;
    uint8_t bytes[VECTORS * 16];
    uint64_t handler[VECTORS]; /* linear; 0: none */
    bool wide[VECTORS];        /* pushes 32 bits a word (long mode: always 64) */
    int16_t first[HANDLER_SLOTS], next[VECTORS];
} idt;

static enum mode mode_of(uint64_t cr0, uint64_t efer)
{
    return !(cr0 & 1) ? REAL : efer & 0x400 ? LONG : PROTECTED;
}

static uint64_t segment_base(unsigned selector)
{
    uint64_t table = selector & 4 ? machine.ldt : machine.gdt, descriptor;
    uint32_t limit = selector & 4 ? machine.ldt_limit : machine.gdt_limit;
    if (!(selector & ~3u) || (selector | 7) > limit || !read_memory(table + (selector & ~7u), &descriptor, 8))
        return 0;
    return (descriptor >> 16 & 0xffffff) | descriptor >> 56 << 24;
}

static int next_vector(int vector, uint64_t pc)
{
    vector = vector < 0 ? idt.first[mix(pc) & (HANDLER_SLOTS - 1)] : idt.next[vector];
    while (vector >= 0 && idt.handler[vector] != pc)
        vector = idt.next[vector];
    return vector;
}

static bool is_handler(uint64_t pc)
{
    return next_vector(-1, pc) >= 0;
}

/* The handler's address in entry `vector`; 0 when it is none (empty, or a task gate). */
static uint64_t gate(int vector, bool *wide)
{
    uint16_t words[8] = { 0 };
    size_t size = idt.mode == REAL ? 4 : idt.mode == PROTECTED ? 8 : 16;
    *wide = false;
    if ((vector + 1) * size > idt.size)
        return 0;
    memcpy(words, idt.bytes + vector * size, size);
    if (idt.mode == REAL)
        return words[1] * 16u + words[0];
    unsigned type = words[2] >> 8 & 0x1f;
    bool present = words[2] >> 15;
    if (!present || (type != 6 && type != 7 && type != 14 && type != 15))
        return 0;
    *wide = type >= 14;
    if (idt.mode == LONG)
        return words[0] | (uint64_t)words[3] << 16 | (uint64_t)words[4] << 32 | (uint64_t)words[5] << 48;
    return (uint32_t)((words[0] | (*wide ? (uint32_t)words[3] << 16 : 0)) + segment_base(words[1]));
}

static void build_handlers(void)
{
    bool others = false;
    memset(idt.first, 0xff, sizeof idt.first);
    for (int vector = 0; vector < VECTORS; vector++) {
        uint64_t pc = gate(vector, &idt.wide[vector]);
        others |= pc && pc != idt.handler[vector];
        idt.handler[vector] = pc;
        idt.next[vector] = -1;
        if (pc) {
            int16_t *slot = &idt.first[mix(pc) & (HANDLER_SLOTS - 1)];
            idt.next[vector] = *slot;
            *slot = vector;
        }
    }
    if (others)
        forget_successors(); /* a step that looked natural may be an interrupt from now on */
}

/* Reads the table again; with `all`, also where it is. About 1 us, with `all` 15 us. */
static void read_idt(bool all)
{
    uint8_t bytes[sizeof idt.bytes];
    if (!all)
        all = !idt.known || mode_of(read_register(REGISTER_CR0), read_register(REGISTER_EFER)) != idt.mode;
    if (all) {
        read_machine();
        idt.mode = mode_of(machine.cr0, machine.efer);
        idt.known = true;
    }
    size_t size = VECTORS * (idt.mode == REAL ? 4 : idt.mode == PROTECTED ? 8 : 16);
    if (size > machine.idt_limit + (size_t)1)
        size = machine.idt_limit + (size_t)1;
    if (!read_memory(machine.idt, bytes, size))
        size = 0;
    if (!all && size == idt.size && !memcmp(bytes, idt.bytes, size))
        return;
    memcpy(idt.bytes, bytes, size);
    idt.size = size;
    build_handlers();
}

/* ---- Explaining one step ------------------------------------------------------------------------------------ */

/* How the machine came to an address: ran into it; left it by a fault; left it by an interrupt. */
enum manner { REACHED, FAULTED, INTERRUPTED };
enum { NO_RECORD = -1 };
struct explanation {
    bool found;
    uint32_t count; /* instructions of the block that ran */
    int kind;       /* of the record from its last instruction; or NO_RECORD */
};

/* Equal, but for an instruction pointer of 32 or 16 bits that has wrapped around. */
static bool same_address(uint64_t computed, uint64_t pc)
{
    if (computed == pc)
        return true;
    uint64_t distance = pc - computed;
    return pc >> 32 == 0 && ((uint32_t)computed == pc || distance == 0x10000 || distance == -(uint64_t)0x10000);
}

/* May `pc` be next when the block has run to its end? */
static bool ends_at(const struct block *block, uint64_t pc, int *kind)
{
    *kind = NO_RECORD;
    switch (block->ending) {
    case FALLS:
        return same_address(block->next, pc);
    case REPEATS:
        return pc == block->last || same_address(block->next, pc);
    case BRANCHES:
        if (same_address(block->next, pc))
            return true;
        *kind = CONDITIONAL;
        return same_address(block->target, pc);
    case GOES:
        *kind = block->kind;
        return same_address(block->target, pc);
    case TRAPS_OR_FALLS:
        if (same_address(block->next, pc))
            return true;
        *kind = block->kind;
        return true;
    case UNKNOWN:
        return true;
    default:
        *kind = block->kind;
        return true;
    }
}

/* Which instruction of the block is at `pc`; -1 for none. */
static int instruction_at(const struct block *block, uint64_t pc)
{
    uint64_t at = block->pc;
    if (pc < at || pc > block->last)
        return -1;
    for (uint32_t i = 0; i < block->count; at += block->sizes[i++])
        if (at == pc)
            return i;
    return -1;
}

/*
 * How `pc` came to be the next address after the block began. Either the block ran to its end, or it was left
 * in its middle, before the instruction at `pc`. Where both are possible, `finished` tells.
 */
static struct explanation explain(const struct block *block, uint64_t pc, enum manner manner)
{
    int kind, index = instruction_at(block, pc);
    bool ends = ends_at(block, pc, &kind);
    struct explanation whole = { ends, block->count, kind }, cut = { true, index, NO_RECORD };
    if (index < 0)
        return whole;
    if (!ends)
        return cut;
    if (block->ending == REPEATS)
        return manner == FAULTED && pc == block->last ? cut : whole;
    bool leaves_anywhere = block->ending >= GOES_ANY;
    if (block->marks)
        return !*finished || (manner == FAULTED && leaves_anywhere && pc == block->last) ? cut : whole;
    return leaves_anywhere && manner != REACHED ? cut : whole;
}

/* Deliveries at the latest icount that had any, and the address that would have run next before them. */
static struct { uint64_t icount, count, origin; } delivered;

static void record_delivery(uint64_t from, uint64_t to, enum branch_kind kind)
{
    if (delivered.count == 0 || delivered.icount != run.executed) {
        delivered.icount = run.executed;
        delivered.count = 0;
        delivered.origin = from;
    }
    delivered.count++;
    delivering = true;
    record(edge_between(from, to, kind));
    delivering = false;
}

/* Accounts for an explained step to `pc`. */
static void step_to(const struct block *block, uint64_t pc, struct explanation how)
{
    run.executed += how.count;
    if (how.kind != NO_RECORD)
        record(edge_between(block->last, pc, how.kind));
}

/* ---- Interrupts and exceptions ------------------------------------------------------------------------------ */

/* What the processor pushed before it entered a handler. */
struct frame { bool plausible; uint64_t pc, sp; };

static bool has_error_code(int vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 ||
           vector == 30;
}

static struct frame read_frame(uint64_t sp, bool error_code, bool wide)
{
    struct frame frame = { 0 };
    if (idt.mode == LONG) {
        uint64_t words[6], *pushed = words + error_code;
        if (!read_memory(sp, words, (5 + error_code) * 8) || (error_code && words[0] >> 32))
            return frame;
        enum { IP, CS, FLAGS, SP, SS };
        frame.plausible = pushed[CS] && pushed[CS] < 0x10000 && pushed[SS] < 0x10000 &&
                          (pushed[FLAGS] & 0xffffffffffc08002) == 2;
        frame.pc = pushed[IP];
        if (pushed[CS] & 4) /* 32-bit code in a segment of its own */
            frame.pc = (uint32_t)(frame.pc + segment_base(pushed[CS]));
        frame.sp = pushed[SP];
        return frame;
    }
    uint64_t linear = (uint32_t)(machine.ss_base + (machine.ss_flags & 0x400000 ? sp : sp & 0xffff));
    uint32_t ip, cs, flags;
    if (wide) {
        uint32_t words[4];
        if (!read_memory(linear, words, (3 + error_code) * 4))
            return frame;
        ip = words[error_code], cs = words[error_code + 1] & 0xffff, flags = words[error_code + 2];
    } else {
        uint16_t words[4];
        if (!read_memory(linear, words, (3 + error_code) * 2))
            return frame;
        ip = words[error_code], cs = words[error_code + 1], flags = words[error_code + 2];
    }
    bool paragraphs = idt.mode == REAL || (wide && flags & 0x20000);
    frame.plausible = (flags & 0x8002) == 2 || (flags & 2);
    frame.pc = (uint32_t)((paragraphs ? cs * 16 : segment_base(cs)) + ip);
    frame.sp = sp + (3 + error_code) * (wide ? 4 : 2);
    return frame;
}

/* The lowest vector whose handler is at `pc`, among those with an error code or among all; -1: none. */
static int vector_of(uint64_t pc, bool error_code)
{
    int least = -1;
    for (int vector = next_vector(-1, pc); vector >= 0; vector = next_vector(vector, pc))
        if ((!error_code || has_error_code(vector)) && (least < 0 || vector < least))
            least = vector;
    return least;
}

/*
 * Is a delivery through `vector` with a frame of this shape an exception? Vectors 9 and 15 are none on today's
 * processors, and exceptions 8, 10 to 14 and 17 push an error code: without one it was a device. Real mode
 * pushes none, and the BIOS puts devices at 8 to 15: there only a fault inside a block is an exception.
 */
static bool is_exception(int vector, bool error_code, const struct block *block, uint64_t pc)
{
    if (error_code)
        return true;
    if (vector >= 32 || vector == 2 || vector == 9 || vector == 15)
        return false;
    if (idt.mode == REAL && vector >= 8)
        return (vector == 12 || vector == 13) && instruction_at(block, pc) >= 0;
    return !has_error_code(vector);
}

/*
 * Is it certain that the block's last instruction itself went to the handler at `pc`, whatever lies on the stack?
 * An older frame can lie there: a fault in a handler's first instruction returns to that instruction.
 */
static bool went_to(const struct block *block, uint64_t pc, uint64_t sp)
{
    uint64_t target;
    uint64_t mask = idt.mode == LONG ? UINT64_MAX : 0xffff;
    if (block->ending != GOES_ANY || (block->marks && !*finished))
        return false;
    if (block->kind == RETURN) {
        size_t size = idt.mode == LONG ? 8 : 2;
        return read_memory(sp - size, &target, size) && ((target ^ pc) & mask) == 0;
    }
    if (block->through >= 0)
        return ((read_register(block->through) ^ pc) & mask) == 0;
    if (!loaded_at)
        return false;
    if (block->through == THROUGH_STACK)
        target = loaded;
    else if (block->through != THROUGH_MEMORY || !read_memory(loaded_at, &target, sizeof target))
        return false;
    return ((target ^ pc) & mask) == 0;
}

/* Instructions QEMU has counted, the block that is about to run included. */
static uint64_t count_of_qemu(void)
{
    qemu.icount_update(qemu.cpu);
    void *self = *qemu.current_cpu;
    *qemu.current_cpu = NULL; /* else it asks whether this is a place for I/O */
    uint64_t counted = qemu.icount_get_raw();
    *qemu.current_cpu = self;
    return counted;
}

/*
 * QEMU counts an instruction that raised an exception as executed when the exception was found while
 * translating (an undefined opcode), not when it was found while running (a page fault): ask what it counted.
 */
static void count_as_qemu_does(const struct block *block, uint32_t began, const struct block *handler)
{
    uint64_t counted = count_of_qemu();
    uint64_t least = run.executed, most = run.executed + block->count, now = counted - handler->count;
    if (now >= least + began && now <= most)
        run.executed = now;
    else if (handler->count == 1 && counted >= least + began && counted <= most)
        run.executed = counted; /* replay runs an instruction that is going to fault without counting it */
    else
        fail(EXIT_INEXACT, "QEMU counts %" PRIu64 " instructions at %#" PRIx64 ", the plugin %" PRIu64 " to %" PRIu64,
             now, handler->pc, least + began, most);
}

static const struct block *entered; /* the handler's block; NULL when the machine is stopped */

/*
 * Explains how the handler at `pc`, with the stack at `sp`, came to run after the block. Deliveries can follow
 * on one another without an instruction between; then the older frame explains the younger.
 */
static bool explain_delivery(const struct block *block, uint64_t pc, uint64_t sp, int depth)
{
    bool trap = block->ending == TRAPS || block->ending == TRAPS_OR_FALLS;
    for (int error_code = idt.mode != REAL; error_code >= 0; error_code--) {
        int vector = vector_of(pc, error_code);
        if (vector < 0)
            continue;
        struct frame frame = read_frame(sp, error_code, idt.wide[vector]);
        if (!frame.plausible)
            continue;
        if (!error_code && trap && *finished && same_address(block->next, frame.pc)) {
            run.executed += block->count;
            record(edge_between(block->last, pc, block->kind));
            return true;
        }
        bool exception = is_exception(vector, error_code, block, frame.pc);
        enum branch_kind kind = exception ? EXCEPTION : INTERRUPT;
        if (depth < 4 && is_handler(frame.pc) && instruction_at(block, frame.pc) < 0 &&
            !went_to(block, frame.pc, frame.sp) && explain_delivery(block, frame.pc, frame.sp, depth + 1)) {
            record_delivery(frame.pc, pc, kind);
            return true;
        }
        struct explanation how = explain(block, frame.pc, exception ? FAULTED : INTERRUPTED);
        if (!how.found || (trap && how.kind != NO_RECORD))
            continue;
        if (exception && entered && how.kind == NO_RECORD && how.count < block->count) {
            count_as_qemu_does(block, how.count, entered);
            how.count = 0;
        }
        step_to(block, frame.pc, how);
        record_delivery(frame.pc, pc, kind);
        return true;
    }
    return false;
}

/* System management mode: entered without a frame; the state saved in its memory tells from where. */
static bool explain_smi(const struct block *block, uint64_t pc)
{
    enum { ENTRY = 0x8000, REVISION = 0x7efc, LONG_REVISION = 0x64 };
    enum { LONG_IP = 0x7f78, LONG_CS_BASE = 0x7e18, SHORT_IP = 0x7ff0, SHORT_CS_BASE = 0x7f98 };
    uint32_t revision, short_ip, short_base;
    uint64_t from, base;
    if (!machine.smm || machine.cs_base + ENTRY != pc || !read_memory(pc + REVISION, &revision, 4))
        return false;
    if ((revision & 0xff) == LONG_REVISION) {
        if (!read_memory(pc + LONG_IP, &from, 8) || !read_memory(pc + LONG_CS_BASE, &base, 8))
            return false;
        from += base;
    } else {
        if (!read_memory(pc + SHORT_IP, &short_ip, 4) || !read_memory(pc + SHORT_CS_BASE, &short_base, 4))
            return false;
        from = (uint32_t)(short_ip + short_base);
    }
    struct explanation how = explain(block, from, INTERRUPTED);
    if (!how.found)
        return false;
    step_to(block, from, how);
    record_delivery(from, pc, INTERRUPT);
    return true;
}

/* ---- One step: `pc` is next after the block began ------------------------------------------------------------- */

static uint64_t stack_pointer(void)
{
    if (idt.mode == LONG)
        return read_register(REGISTER_SP);
    read_machine();
    return machine.sp;
}

/* Explains the step without help of what was learned; gives in `how` what may be learned from it. */
static bool explain_step(const struct block *block, uint64_t pc, struct explanation *how)
{
    for (int again = 0; again < 2; again++) {
        if (is_handler(pc)) {
            uint64_t sp = stack_pointer();
            if (went_to(block, pc, sp)) {
                *how = explain(block, pc, REACHED);
                step_to(block, pc, *how);
                return false;
            }
            if (explain_delivery(block, pc, sp, 0))
                return false;
            /* A handler's address reached by an ordinary branch. */
        }
        *how = explain(block, pc, REACHED);
        if (how->found && (again || !is_handler(pc))) {
            step_to(block, pc, *how);
            return !again;
        }
        read_idt(true);
    }
    if (explain_smi(block, pc))
        return false;
    if (unexplained++ < 20)
        fprintf(stderr,
                "vmtape plugin: no rule explains how %#" PRIx64 " came after the block %#" PRIx64 "..%#" PRIx64
                " (ending %d, brctr %" PRIu64 ")\n",
                pc, block->pc, block->last, block->ending, run.brctr);
    run.executed += block->count;
    record(edge_between(block->last, pc, FAR));
    return false;
}

static void learn(struct block *block, struct successor successor)
{
    block->successors[1] = block->successors[0];
    block->successors[0] = successor;
}

static NOINLINE void slow_step(struct block *block, struct block *next)
{
    if (block->inside.to == next && *finished) {
        repeat(&block->inside);
        return;
    }
    size_t slot = mix((uintptr_t)block * 3 + (uintptr_t)next) & ((1 << PAIR_BITS) - 1);
    if (pairs[slot].from == block && pairs[slot].successor.to == next && !recount) {
        learn(block, pairs[slot].successor);
        repeat(&block->successors[0]);
        return;
    }
    if (unlikely(edge_arena.total > most_memory))
        forget_edges();
    if (recount) {
        /* A rep instruction that stored into itself: QEMU began an iteration, abandoned it, and runs it again. */
        recount = false;
        uint64_t now = count_of_qemu() - next->count;
        if (next->pc == block->last && now == run.executed + block->count - 1) {
            run.executed = now;
            return;
        }
    }
    if (!next->seen || block->loads_idt || !idt.known) {
        next->seen = true;
        read_idt(block->loads_idt);
    }
    struct explanation how;
    entered = next;
    if (!explain_step(block, next->pc, &how) || block->loads_idt || block->ending == UNKNOWN ||
        block == &parked.block)
        return;
    /* Learn it, unless another time the same addresses could mean something else. */
    int kind;
    bool records = how.kind != NO_RECORD, ends = ends_at(block, next->pc, &kind);
    struct edge *edge = records ? edge_between(block->last, next->pc, how.kind) : NULL;
    struct successor successor = { next, edge, how.count, records };
    if (!block->marks || instruction_at(block, next->pc) < 0 || !ends) {
        learn(block, successor);
        pairs[slot].from = block;
        pairs[slot].successor = successor;
    } else if (*finished) {
        block->inside = successor;
    }
}

/* ---- Callbacks of running blocks ------------------------------------------------------------------------------ */

static struct block *relocate(struct block *block, uint64_t ip);

static inline void enter(struct block *next)
{
    struct block *block = run.current;
    const struct successor *successor = block->successors;
    run.current = next;
    if (successor->to == next || (++successor)->to == next)
        repeat(successor);
    else
        slow_step(block, next);
}

static NOINLINE void enter_elsewhere(struct block *next, uint64_t ip)
{
    enter(relocate(next, ip));
}

static void on_block(unsigned vcpu UNUSED, void *udata)
{
    struct block *next = udata;
    uint64_t ip = *run.ip_word;
    if (likely(next->ip == ip))
        enter(next);
    else
        enter_elsewhere(next, ip);
}

/* For blocks that mark their end. */
static NOINLINE void enter_marking(struct block *next, uint64_t ip)
{
    enter(next->ip == ip ? next : relocate(next, ip));
    *finished = 0;
    loaded_at = 0;
}

static void on_marking_block(unsigned vcpu UNUSED, void *udata)
{
    struct block *next = udata;
    uint64_t ip = *run.ip_word;
    if (run.current == next && next->inside.to == next && *finished && likely(next->ip == ip)) {
        *finished = 0;
        loaded_at = 0;
        repeat(&next->inside);
    } else {
        enter_marking(next, ip);
    }
}

/* `udata`: is it from the stack? */
static void on_load(unsigned vcpu UNUSED, uint32_t info UNUSED, uint64_t linear, void *udata)
{
    if (loaded_at)
        return;
    loaded_at = linear;
    if (udata && !read_memory(linear, &loaded, sizeof loaded))
        loaded_at = 0;
}

/* For blocks translated before the instruction pointer was found. */
static void on_early_block(unsigned vcpu UNUSED, void *udata)
{
    struct block *next = udata;
    if (!run.ip_word)
        find_ip_word();
    enter_marking(next, instruction_pointer());
}

/* ---- The window: from which instant to which records are logged ----------------------------------------------- */

/* An instant, given beforehand. A visit of an address is an instant just before the instruction there runs. */
struct point {
    enum { NOW, AT_ICOUNT, AT_BRCTR, AT_ADDRESS, AT_VISIT, NEVER } type;
    uint64_t count;        /* icount or brctr */
    uint64_t address, rep; /* AT_ADDRESS, AT_VISIT; iterations done of a rep instruction */
};
struct position { uint64_t icount, brctr, pc; };

/* Visits of the address of a point, for an error that names the nearest. */
struct visits {
    uint64_t count, last_brctr, rep;
    bool before_known, after_known;
    struct position before, after;
};

static struct {
    enum { CLOSED, WAITING, OPEN } state;
    struct point start, end;
    struct visits start_visits, end_visits;
    enum { ALL, USER, KERNEL } selection;
} window;

static bool translated; /* a block, already: too late to watch an address */

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void arm(void)
{
    const struct point *point = window.state == WAITING ? &window.start : &window.end;
    run.next_icount = window.state != CLOSED && point->type == AT_ICOUNT ? point->count : UINT64_MAX;
    run.next_brctr = window.state != CLOSED && point->type == AT_BRCTR ? point->count : UINT64_MAX;
    find_queue_last();
    run.watched = run.logging || run.next_icount != UINT64_MAX || run.next_brctr != UINT64_MAX;
}

static void begin_logging(void)
{
    if (!queue.batches[0])
        for (int i = 0; i < BATCHES; i++)
            queue.batches[i] = must_have(malloc(sizeof(struct batch)));
    run.icount_of_last = run.executed;
    run.logging = true;
    open_batch(queue.batches[queue.filled % BATCHES]);
}

static void end_logging(enum end_reason reason, uint64_t icount)
{
    if (!run.logging)
        begin_logging(); /* a window that never began has an end all the same */
    run.logging = false;
    window.state = CLOSED;
    hand_over(FINISH, reason, icount);
}

/* The awaited instant is now. */
static void reached(struct position now)
{
    bool begins = window.state == WAITING;
    if (begins) {
        begin_logging();
        window.state = OPEN;
    } else {
        end_logging(END_WINDOW, now.icount);
    }
    tell("{\"event\":\"%s\",\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 ",\"pc\":\"%#" PRIx64 "\"}",
         begins ? "start" : "end", now.icount, now.brctr, now.pc);
    arm();
}

/* Is the awaited icount an instant before the record that is about to be made? A delivery at N comes after N. */
static NOINLINE void before_record(void)
{
    while (run.executed > run.next_icount || (run.executed == run.next_icount && delivering))
        reached((struct position){ run.next_icount, run.brctr, 0 });
}

static NOINLINE void after_record(const struct edge *edge)
{
    while (run.brctr == run.next_brctr)
        reached((struct position){ run.executed, run.brctr, edge->to });
}

static bool has_address(const struct point *point)
{
    return point->type == AT_ADDRESS || point->type == AT_VISIT;
}

static void visit(const struct point *point, struct visits *visits, struct position now, bool awaited)
{
    if (visits->count && visits->last_brctr == now.brctr) {
        visits->rep++;
    } else {
        visits->count++;
        visits->last_brctr = now.brctr;
        visits->rep = 0;
        if (now.brctr < point->count)
            visits->before = now, visits->before_known = true;
        else if (now.brctr > point->count && !visits->after_known)
            visits->after = now, visits->after_known = true;
    }
    if (awaited && (point->type == AT_ADDRESS || (now.brctr == point->count && visits->rep == point->rep)))
        reached(now);
}

/* Before the instruction `udata` of the current block: its number and its distance from the block's start. */
static void on_watched(unsigned vcpu UNUSED, void *udata)
{
    uint64_t number = (uintptr_t)udata >> 16, distance = (uintptr_t)udata & 0xffff;
    struct position now = { run.executed + number, run.brctr, run.current->pc + distance };
    bool waiting = window.state == WAITING, open = window.state == OPEN;
    if (has_address(&window.start) && window.start.address == now.pc)
        visit(&window.start, &window.start_visits, now, waiting);
    if (open && has_address(&window.end) && window.end.address == now.pc)
        visit(&window.end, &window.end_visits, now, true);
}

static bool is_watched(uint64_t pc)
{
    /* The block may run at another address of the same offset in its page. */
    return (has_address(&window.start) && ((window.start.address ^ pc) & 0xfff) == 0) ||
           (has_address(&window.end) && ((window.end.address ^ pc) & 0xfff) == 0);
}

static void watch(struct qemu_plugin_insn *insn, uint64_t number, uint64_t distance)
{
    void *udata = (void *)(uintptr_t)(number << 16 | distance);
    qemu_plugin_register_vcpu_insn_exec_cb(insn, on_watched, CB_NO_REGS, udata);
}

/* ---- Translation ---------------------------------------------------------------------------------------------- */

static bool is_prefix(uint8_t byte)
{
    /* 0x40…0x4f are whole instructions outside 64-bit code, and then never followed by more bytes. */
    return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e || (byte >= 0x64 && byte <= 0x67) ||
           byte == 0xf0 || byte == 0xf2 || byte == 0xf3 || (byte >= 0x40 && byte <= 0x4f);
}

/* The signed number of `size` bytes (1, 2 or 4) that ends at `end`. */
static int64_t displacement(const uint8_t *end, size_t size)
{
    int16_t two;
    int32_t four;
    switch (size) {
    case 1:
        return (int8_t)end[-1];
    case 2:
        memcpy(&two, end - 2, 2);
        return two;
    default:
        memcpy(&four, end - 4, 4);
        return four;
    }
}

static void ends_by(struct block *block, enum ending ending, enum branch_kind kind)
{
    block->ending = ending;
    block->kind = kind;
}

/*
 * What the last instruction does. Its bytes may be cut at a page's end (QEMU 7.2 shows an instruction that it
 * then leaves to the next block): what has not the right size is taken for an ordinary one.
 */
static void classify(struct block *block, const uint8_t *bytes, size_t size)
{
    size_t at = 0;
    bool repeated = false;
    while (at + 1 < size && is_prefix(bytes[at])) {
        repeated |= bytes[at] == 0xf2 || bytes[at] == 0xf3;
        at++;
    }
    uint8_t op = bytes[at++];
    size_t rest = size - at;
    bool near = rest == 2 || rest == 4;
    const uint8_t *end = bytes + size;
    ends_by(block, FALLS, JUMP);
    block->through = THROUGH_OTHER;
    switch (op) {
    case 0x6c ... 0x6f: /* ins, outs */
    case 0xa4 ... 0xa7: /* movs, cmps */
    case 0xaa ... 0xaf: /* stos, lods, scas */
        if (repeated && rest == 0)
            block->ending = REPEATS;
        return;
    case 0x70 ... 0x7f: /* jcc */
    case 0xe0 ... 0xe3: /* loop, jcxz */
        if (rest != 1)
            return;
        ends_by(block, BRANCHES, CONDITIONAL);
        block->target = block->next + displacement(end, 1);
        return;
    case 0xeb:
        if (rest != 1)
            return;
        ends_by(block, GOES, JUMP);
        block->target = block->next + displacement(end, 1);
        return;
    case 0xe8:
    case 0xe9:
        if (!near)
            return;
        ends_by(block, GOES, op == 0xe8 ? CALL : JUMP);
        block->target = block->next + displacement(end, rest);
        return;
    case 0xc2: /* ret */
    case 0xc3:
        if (rest == (op == 0xc2 ? 2 : 0))
            ends_by(block, GOES_ANY, RETURN);
        return;
    case 0xca: /* far ret */
    case 0xcb:
        if (rest == (op == 0xca ? 2 : 0))
            ends_by(block, GOES_ANY, FAR);
        block->through = THROUGH_STACK;
        return;
    case 0x9a: /* far call, jump */
    case 0xea:
        if (rest >= 4)
            ends_by(block, GOES_ANY, FAR);
        return;
    case 0xcf:
        ends_by(block, GOES_ANY, IRET);
        block->through = THROUGH_STACK;
        return;
    case 0xcc: /* int3 */
    case 0xf1: /* int1 */
        ends_by(block, TRAPS, EXCEPTION);
        return;
    case 0xcd: /* int n */
        if (rest == 1)
            ends_by(block, TRAPS, EXCEPTION);
        return;
    case 0xce:
        ends_by(block, TRAPS_OR_FALLS, EXCEPTION);
        return;
    case 0xff: {
        if (rest == 0)
            return;
        static const int8_t registers[8] = { 0, 2, 3, 1, 7, 6, 4, 5 }; /* gdb's order: rax rbx rcx rdx rsi rdi rbp rsp */
        int operation = bytes[at] >> 3 & 7, rm = bytes[at] & 7;
        bool from_memory = bytes[at] >> 6 != 3, high = at >= 2 && (bytes[at - 2] & 0xf1) == 0x41;
        if (operation == 2)
            ends_by(block, GOES_ANY, INDIRECT_CALL);
        else if (operation == 4)
            ends_by(block, GOES_ANY, INDIRECT_JUMP);
        else if ((operation == 3 || operation == 5) && from_memory)
            ends_by(block, GOES_ANY, FAR);
        block->through = from_memory ? THROUGH_MEMORY : high ? 8 + rm : registers[rm];
        return;
    }
    case 0x0f:
        break;
    default:
        return;
    }
    if (rest == 0)
        return;
    op = bytes[at++];
    rest--;
    switch (op) {
    case 0x05: /* syscall */
    case 0x34: /* sysenter */
        ends_by(block, GOES_ANY, SYSCALL);
        return;
    case 0x07: /* sysret */
    case 0x35: /* sysexit */
        ends_by(block, GOES_ANY, SYSRETURN);
        return;
    case 0xaa: /* rsm */
        ends_by(block, GOES_ANY, FAR);
        return;
    case 0x01:
        if (rest == 1 && (bytes[at] == 0xd8 || bytes[at] == 0xd9)) /* vmrun, vmmcall */
            ends_by(block, GOES_ANY, FAR);
        return;
    case 0x80 ... 0x8f: /* jcc */
        if (rest != 2 && rest != 4)
            return;
        ends_by(block, BRANCHES, CONDITIONAL);
        block->target = block->next + displacement(end, rest);
        return;
    }
}

/* lidt, or rsm, which loads the table's address too. */
static bool loads_idt(const uint8_t *bytes, size_t size)
{
    size_t at = 0;
    while (at + 1 < size && is_prefix(bytes[at]))
        at++;
    if (at + 1 >= size || bytes[at] != 0x0f)
        return false;
    if (bytes[at + 1] == 0xaa)
        return true;
    return at + 2 < size && bytes[at + 1] == 0x01 && (bytes[at + 2] >> 3 & 7) == 3 && bytes[at + 2] >> 6 != 3;
}

static size_t block_slot(uint64_t hash, uint64_t pc)
{
    return mix(hash ^ pc * 0x9e3779b97f4a7c15u) & ((1 << BLOCK_BITS) - 1);
}

/* The one block that is like `model`; `model` may be the last one's copy on the stack. */
static struct block *intern(const struct block *model)
{
    struct block **head = &blocks[block_slot(model->hash, model->pc)];
    for (struct block *block = *head; block; block = block->chain)
        if (block->hash == model->hash && block->pc == model->pc && block->ip == model->ip &&
            block->last == model->last && block->target == model->target && block->next == model->next &&
            block->count == model->count && block->ending == model->ending && block->kind == model->kind &&
            block->through == model->through && block->loads_idt == model->loads_idt && !memcmp(block->sizes, model->sizes, model->count))
            return block;
    struct block *block = take(&block_arena, sizeof *block + model->count);
    memcpy(block, model, sizeof *block + model->count);
    block->chain = *head;
    *head = block;
    return block;
}

/* The same code at the address where it runs now. */
static NOINLINE struct block *relocate(struct block *block, uint64_t ip)
{
    if (block->elsewhere && block->elsewhere->ip == ip)
        return block->elsewhere;
    static union { struct block block; char room[sizeof(struct block) + MOST_INSNS]; } copy;
    uint64_t distance = ip - block->ip;
    memcpy(&copy, block, sizeof *block + block->count);
    copy.block.ip = ip;
    copy.block.pc += distance;
    copy.block.last += distance;
    copy.block.next += distance;
    copy.block.target += block->ending == BRANCHES || block->ending == GOES ? distance : 0;
    memset(copy.block.successors, 0, sizeof copy.block.successors);
    copy.block.elsewhere = NULL;
    memset(&copy.block.inside, 0, sizeof copy.block.inside);
    copy.block.seen = false;
    block->elsewhere = intern(&copy.block);
    return block->elsewhere;
}

static void on_translation(plugin_id id UNUSED, struct qemu_plugin_tb *tb)
{
    static union { struct block block; char room[sizeof(struct block) + MOST_INSNS]; } fresh;
    struct block *block = &fresh.block;
    if (unlikely(!qemu.current_cpu)) {
        qemu.cpu = qemu.get_cpu(0);
        qemu.current_cpu = dlsym(RTLD_DEFAULT, "current_cpu"); /* thread-local: this thread's */
        translated = true;
    }
    if (unlikely(!run.ip_word))
        find_ip_word();
    memset(block, 0, sizeof *block);
    block->count = qemu_plugin_tb_n_insns(tb);
    if (block->count == 0 || block->count > MOST_INSNS)
        fail(EXIT_INEXACT, "a block of %u instructions", block->count);
    block->pc = qemu_plugin_tb_vaddr(tb);
    block->ip = instruction_pointer();
    struct qemu_plugin_insn *insn = NULL;
    uint8_t bytes[16];
    size_t size = 0;
    uint64_t hash = block->count;
    for (uint32_t i = 0; i < block->count; i++) {
        insn = qemu_plugin_tb_get_insn(tb, i);
        size = qemu_plugin_insn_size(insn);
        if (size > sizeof bytes - 1)
            size = sizeof bytes - 1;
        block->sizes[i] = size;
        hash = mix(hash ^ size);
#if QEMU_PLUGIN_API == 1
        memcpy(bytes, qemu_plugin_insn_data(insn), size);
#else
        qemu_plugin_insn_data(insn, bytes, size);
#endif
        block->loads_idt |= loads_idt(bytes, size);
        if (unlikely(is_watched(qemu_plugin_insn_vaddr(insn))))
            watch(insn, i, qemu_plugin_insn_vaddr(insn) - block->pc);
    }
    block->last = qemu_plugin_insn_vaddr(insn);
    block->next = block->last + size;
    if (size > 0)
        classify(block, bytes, size);
    bool direct = block->ending == BRANCHES || block->ending == GOES;
    bool loads = block->ending == GOES_ANY && block->through <= THROUGH_MEMORY;
    block->marks = block->ending > GOES_ANY || loads ||
                   (block->count > 1 && (block->ending == GOES_ANY ||
                                         (direct && instruction_at(block, block->target) >= 0)));
    block->hash = mix(hash ^ (direct ? block->target - block->pc : 0)) ^ block->ending * 64 ^ block->kind ^
                  (uint64_t)(uint8_t)block->through << 16;
    block = intern(block);
    if (unlikely(run.current->ending == REPEATS && block->pc == run.current->last)) {
        recount = true;
        memset(run.current->successors, 0, sizeof run.current->successors);
    }
    if (loads)
        qemu_plugin_register_vcpu_mem_cb(insn, on_load, CB_NO_REGS, MEM_READ,
                                         block->through == THROUGH_STACK ? block : NULL);
    if (block->marks) {
#if QEMU_PLUGIN_API == 1
        qemu_plugin_register_vcpu_insn_exec_inline(insn, OP_ADD_U64, finished, 1);
#else
        qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, OP_ADD_U64, finished_entry, 1);
#endif
    }
    udata_callback callback = !run.ip_word ? on_early_block : block->marks ? on_marking_block : on_block;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, callback, CB_NO_REGS, block);
}

static void park(uint64_t pc)
{
    memset(&parked, 0, sizeof parked);
    parked.block.pc = parked.block.last = parked.block.next = pc;
    parked.block.ending = FALLS;
    run.current = &parked.block;
}

/* QEMU has thrown away all its blocks: nothing refers to ours any more. */
static void on_flush(plugin_id id UNUSED)
{
    if (run.current != &parked.block) {
        memcpy(&parked, run.current, sizeof *run.current + run.current->count);
        parked.block.elsewhere = NULL;
        run.current = &parked.block;
    }
    forget_successors();
    memset(blocks, 0, sizeof blocks);
    drop(&block_arena);
}


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
    struct explanation how;
    uint64_t pc = stopped_pc();
    entered = NULL;
    if (run.current != &parked.block || parked.block.pc != pc)
        explain_step(run.current, pc, &how);
    park(pc);
    return (struct position){ run.executed, run.brctr, pc };
}

/* ---- Encoder thread: records to chunks ---------------------------------------------------------------------------- */

static int data_fd = -1;

/* A symbol of the open chunk; the payload model's own. */
struct node { uint32_t followers[SLOTS], hits[SLOTS]; uint8_t used, overflowed, kind; };
struct fields { uint64_t from, to, step, gap; uint32_t kind; };

static struct {
    /* the open chunk */
    uint32_t records, symbols, kinds[KINDS];
    uint64_t first_brctr, last_brctr, first_icount, last_icount;
    int64_t last; /* symbol; -1 */
    uint32_t run, history;
    uint8_t *runs, *coded;
    size_t runs_size, coded_size;
    /* range coder */
    uint64_t low;
    uint32_t range, held_ones;
    int held;
    uint32_t slot_odds[1 << TABLE_BITS], number_odds[1 << TABLE_BITS], free_odds[FREE_SIZE];
    /* symbols by number in the chunk, and how to find one by its fields */
    struct node *nodes;
    struct fields *fields;
    uint32_t *index, index_size;
    /* the chunk's symbol of a queued number, valid where its epoch is the current one */
    struct local { uint32_t epoch, symbol, step, kind; } *local;
    uint32_t local_size, epoch;
    /* the log */
    uint64_t logged;
    uint32_t crc_table[256];
} encoder;

enum { CHUNK_RECORDS_MOST = 1 << CHUNK_BITS };

static uint32_t crc32(const uint8_t *bytes, size_t size, uint32_t before)
{
    uint32_t crc = ~before;
    while (size--)
        crc = crc >> 8 ^ encoder.crc_table[(crc ^ *bytes++) & 0xff];
    return ~crc;
}

static void send_all(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = write(fd, at, size);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            fail(EXIT_STREAM, "cannot write the branch stream: %s", strerror(errno));
        at += sent;
        size -= sent;
    }
}

static void shift_low(void)
{
    if (encoder.low >> 32 || encoder.low < 0xff000000u) {
        uint8_t carry = encoder.low >> 32;
        if (encoder.held >= 0)
            encoder.coded[encoder.coded_size++] = encoder.held + carry;
        for (; encoder.held_ones; encoder.held_ones--)
            encoder.coded[encoder.coded_size++] = 0xff + carry;
        encoder.held = encoder.low >> 24 & 0xff;
    } else {
        encoder.held_ones++;
    }
    encoder.low = (encoder.low & 0xffffff) << 8;
    encoder.range <<= 8;
}

static inline void code_bit(uint32_t *odds, unsigned bit)
{
    uint32_t uses = *odds & 15, p = *odds >> 4;
    uint32_t shift = uses < SETTLED ? 1 + (uses >> 1) : SETTLED_SHIFT;
    uint32_t bound = (encoder.range >> 15) * (p >> 1);
    if (!bit) {
        encoder.range = bound;
        p += (0x10000 - p) >> shift;
    } else {
        encoder.low += bound;
        encoder.range -= bound;
        p -= p >> shift;
    }
    *odds = p << 4 | (uses < SETTLED ? uses + 1 : uses);
    while (encoder.range < LEAST_RANGE)
        shift_low();
}

static void code_even(unsigned bit)
{
    uint32_t bound = encoder.range >> 1;
    if (!bit) {
        encoder.range = bound;
    } else {
        encoder.low += bound;
        encoder.range -= bound;
    }
    while (encoder.range < LEAST_RANGE)
        shift_low();
}

static inline uint32_t *odds_of(uint32_t *table, uint32_t a, uint32_t b)
{
    uint32_t mixed = a * HASH_A + b * HASH_B;
    return &table[(mixed ^ mixed >> 15) * HASH_C >> (32 - TABLE_BITS)];
}

static void code_tree(uint32_t *set, unsigned value, int bits)
{
    uint32_t prefix = 1;
    for (int bit = bits - 1; bit >= 0; bit--) {
        code_bit(&set[prefix], value >> bit & 1);
        prefix = prefix << 1 | (value >> bit & 1);
    }
}

/* An unsigned number: its bit length by a tree, then the bits below the highest one at even odds. */
static void code_number(unsigned set, uint64_t value)
{
    int length = value ? 64 - __builtin_clzll(value) : 0;
    code_tree(encoder.free_odds + set, length, LENGTH_TREE_BITS);
    for (int bit = length - 2; bit >= 0; bit--)
        code_even(value >> bit & 1);
}

static void code_distance(unsigned set, uint64_t value, uint64_t base)
{
    int64_t distance = value - base;
    code_number(set, (uint64_t)distance << 1 ^ (uint64_t)(distance >> 63));
}

static void end_run(void)
{
    uint32_t rest = encoder.run;
    for (; rest > 0x7f; rest >>= 7)
        encoder.runs[encoder.runs_size++] = (rest & 0x7f) | 0x80;
    encoder.runs[encoder.runs_size++] = rest;
    encoder.run = 0;
}

static void fill(uint32_t *table, size_t size)
{
    for (size_t i = 0; i < size; i++)
        table[i] = EVEN_ODDS;
}

static void reset_chunk(void)
{
    encoder.records = encoder.symbols = encoder.run = encoder.history = encoder.held_ones = 0;
    encoder.runs_size = encoder.coded_size = 0;
    encoder.low = 0;
    encoder.range = INITIAL_RANGE;
    encoder.held = encoder.last = -1;
    memset(encoder.kinds, 0, sizeof encoder.kinds);
    fill(encoder.slot_odds, 1 << TABLE_BITS);
    fill(encoder.number_odds, 1 << TABLE_BITS);
    fill(encoder.free_odds, FREE_SIZE);
    memset(encoder.index, 0, encoder.index_size * sizeof *encoder.index);
    encoder.epoch++;
}

static void open_encoder(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t rest = byte;
        for (int bit = 0; bit < 8; bit++)
            rest = rest >> 1 ^ (rest & 1 ? 0xedb88320u : 0);
        encoder.crc_table[byte] = rest;
    }
    /* For the worst case; the kernel gives memory only where it is touched. */
    encoder.runs = must_have(malloc(5 * CHUNK_RECORDS_MOST + 16));
    encoder.coded = must_have(malloc((size_t)WORST_RECORD_BYTES * CHUNK_RECORDS_MOST + 64));
    encoder.nodes = must_have(malloc(sizeof *encoder.nodes * CHUNK_RECORDS_MOST));
    encoder.fields = must_have(malloc(sizeof *encoder.fields * CHUNK_RECORDS_MOST));
    encoder.index_size = 1 << 14;
    encoder.index = must_have(malloc(encoder.index_size * sizeof *encoder.index));
    reset_chunk();
}

static void put32(uint8_t *header, int at, uint32_t value) { memcpy(header + at, &value, 4); }
static void put64(uint8_t *header, int at, uint64_t value) { memcpy(header + at, &value, 8); }

static void finish_chunk(void)
{
    uint8_t header[HEADER_SIZE] = { 0 };
    if (encoder.records == 0)
        return;
    end_run();
    for (int i = 0; i < 5; i++)
        shift_low();
    put32(header, CHUNK_MAGIC, CHUNK_MAGIC_WORD);
    put32(header, CHUNK_RECORDS, encoder.records);
    put64(header, CHUNK_FIRST_BRCTR, encoder.first_brctr);
    put64(header, CHUNK_LAST_BRCTR, encoder.last_brctr);
    put64(header, CHUNK_FIRST_ICOUNT, encoder.first_icount);
    put64(header, CHUNK_LAST_ICOUNT, encoder.last_icount);
    put32(header, CHUNK_RUNS_BYTES, encoder.runs_size);
    put32(header, CHUNK_CODED_BYTES, encoder.coded_size);
    put32(header, CHUNK_SYMBOLS, encoder.symbols);
    memcpy(header + CHUNK_KINDS, encoder.kinds, sizeof encoder.kinds);
    put32(header, CHUNK_PAYLOAD_CRC,
          crc32(encoder.coded, encoder.coded_size, crc32(encoder.runs, encoder.runs_size, 0)));
    put32(header, HEADER_CRC, crc32(header, HEADER_CRC, 0));
    send_all(data_fd, header, sizeof header);
    send_all(data_fd, encoder.runs, encoder.runs_size);
    send_all(data_fd, encoder.coded, encoder.coded_size);
    encoder.logged += encoder.records;
    reset_chunk();
}

static void send_end(const struct batch *batch)
{
    uint8_t header[HEADER_SIZE] = { 0 };
    put32(header, END_MAGIC, END_MAGIC_WORD);
    put32(header, END_REASON, batch->reason);
    put64(header, END_BRCTR, batch->end_brctr);
    put64(header, END_ICOUNT, batch->end_icount);
    put64(header, END_RECORDS, encoder.logged);
    put64(header, END_UNEXPLAINED, batch->unexplained);
    put32(header, HEADER_CRC, crc32(header, HEADER_CRC, 0));
    send_all(data_fd, header, sizeof header);
    encoder.logged = 0;
}

static uint32_t index_slot(const struct fields *fields)
{
    return mix(fields->from * 31 + fields->to * 0x9e3779b97f4a7c15u + fields->step * 0x85ebca6b + fields->gap * 7 +
               fields->kind) & (encoder.index_size - 1);
}

static void grow_index(void)
{
    free(encoder.index);
    encoder.index_size *= 2;
    encoder.index = must_have(calloc(encoder.index_size, sizeof *encoder.index));
    for (uint32_t symbol = 0; symbol < encoder.symbols; symbol++) {
        uint32_t slot = index_slot(&encoder.fields[symbol]);
        while (encoder.index[slot])
            slot = (slot + 1) & (encoder.index_size - 1);
        encoder.index[slot] = symbol + 1;
    }
}

/* The chunk's symbol with these fields; a new one gets the next number. */
static NOINLINE uint32_t find_symbol(const struct fields *wanted)
{
    uint32_t slot = index_slot(wanted);
    for (; encoder.index[slot]; slot = (slot + 1) & (encoder.index_size - 1)) {
        const struct fields *fields = &encoder.fields[encoder.index[slot] - 1];
        if (fields->from == wanted->from && fields->to == wanted->to && fields->step == wanted->step &&
            fields->gap == wanted->gap && fields->kind == wanted->kind)
            return encoder.index[slot] - 1;
    }
    return encoder.symbols;
}

static void define_symbol(const struct fields *fields)
{
    uint32_t symbol = encoder.symbols++;
    uint64_t base = encoder.last < 0 ? 0 : encoder.fields[encoder.last].to;
    encoder.fields[symbol] = *fields;
    encoder.nodes[symbol].used = encoder.nodes[symbol].overflowed = 0;
    encoder.nodes[symbol].kind = fields->kind;
    code_tree(encoder.free_odds + FREE_KIND, fields->kind, KIND_TREE_BITS);
    code_distance(FREE_FROM + 128 * fields->kind, fields->from, base);
    code_distance(FREE_TO + 128 * fields->kind, fields->to, fields->from);
    code_number(FREE_STEP, fields->step);
    code_number(FREE_GAP, fields->gap);
    if (2 * encoder.symbols > encoder.index_size) {
        grow_index();
    } else {
        uint32_t slot = index_slot(fields);
        while (encoder.index[slot])
            slot = (slot + 1) & (encoder.index_size - 1);
        encoder.index[slot] = symbol + 1;
    }
}

/* Confirms or denies each of the node's followers; was one of them right? */
static inline bool try_followers(struct node *node, uint32_t number, uint32_t symbol)
{
    uint32_t history = encoder.history;
    for (unsigned slot = 0; slot < node->used; slot++) {
        bool wrong = node->followers[slot] != symbol;
        code_bit(odds_of(encoder.slot_odds, number * SLOTS + slot, history), wrong);
        if (wrong)
            continue;
        uint32_t hits = ++node->hits[slot];
        encoder.history = (history << 1 | (slot > 0)) & HISTORY_MASK;
        if (slot > 0 && hits > 2 * node->hits[slot - 1] + SWAP_MARGIN) {
            node->followers[slot] = node->followers[slot - 1];
            node->hits[slot] = node->hits[slot - 1];
            node->followers[slot - 1] = symbol;
            node->hits[slot - 1] = hits;
        }
        return true;
    }
    encoder.history = (history << 1 | 1) & HISTORY_MASK;
    return false;
}

/* What no follower foretold: a number, or a definition. */
static NOINLINE void escape(uint32_t symbol, const struct fields *fields)
{
    bool is_new = symbol == encoder.symbols;
    struct node *node = encoder.last < 0 ? NULL : &encoder.nodes[encoder.last];
    if (node)
        code_bit(&encoder.free_odds[node->used == 0       ? FREE_IS_NEW_FRESH
                                    : node->overflowed ? FREE_IS_NEW_OVERFLOWED
                                                       : FREE_IS_NEW_KNOWN],
                 is_new);
    if (is_new) {
        define_symbol(fields);
    } else {
        uint32_t source = node->overflowed ? encoder.last + 1 : 0, prefix = 1;
        int bits = encoder.symbols > 1 ? 32 - __builtin_clz(encoder.symbols - 1) : 0;
        for (int bit = bits - 1; bit >= 0; bit--) {
            code_bit(odds_of(encoder.number_odds, source, prefix), symbol >> bit & 1);
            prefix = prefix << 1 | (symbol >> bit & 1);
        }
    }
    if (!node)
        return;
    unsigned slot = node->used;
    if (slot < SLOTS)
        node->used++;
    else
        slot = SLOTS - 1, node->overflowed = 1;
    node->followers[slot] = symbol;
    node->hits[slot] = 1;
}

static inline void code_symbol(uint32_t symbol, const struct fields *fields)
{
    struct node *node = encoder.last < 0 ? NULL : &encoder.nodes[encoder.last];
    if (node && node->used == 1) {
        if (node->followers[0] == symbol) {
            encoder.run++;
            goto done;
        }
        end_run();
    }
    if (!(node && node->used > 1 && try_followers(node, encoder.last, symbol)))
        escape(symbol, fields);
done:
    encoder.last = symbol;
}

static bool is_selected(const struct edge *edge)
{
    /* The upper half of the address space is the kernel's. */
    return window.selection == ALL || (window.selection == KERNEL ? (edge->from | edge->to) >> 63
                                                                  : !((edge->from & edge->to) >> 63));
}

static void grow_local(uint32_t number)
{
    uint32_t size = encoder.local_size;
    encoder.local_size = (number + 1) * 2;
    encoder.local = must_have(realloc(encoder.local, encoder.local_size * sizeof *encoder.local));
    memset(encoder.local + size, 0, (encoder.local_size - size) * sizeof *encoder.local);
}

/*
 * Codes a record by its fields; false if it is not selected. In a chunk with gaps each record comes here, else
 * only a chunk's first one and the first of each symbol: the queued symbol's fields are then the record's.
 */
static NOINLINE bool encode_slowly(uint32_t number, uint64_t now, uint64_t icount)
{
    const struct symbol *symbol = symbol_at(number);
    const struct edge *edge = symbol->edge;
    struct fields fields = { edge->from, edge->to, 0, 0, edge->kind };
    if (!is_selected(edge))
        return false;
    if (encoder.records == 0) {
        encoder.first_brctr = now;
        encoder.first_icount = icount;
    } else {
        fields.step = icount - encoder.last_icount;
        fields.gap = now - encoder.last_brctr - 1;
    }
    uint32_t found = find_symbol(&fields);
    if (encoder.records > 0 && window.selection == ALL && symbol->step <= UINT32_MAX)
        encoder.local[number] = (struct local){ encoder.epoch, found, symbol->step, edge->kind };
    code_symbol(found, &fields);
    return true;
}

static void encode_batch(const struct batch *batch)
{
    uint64_t now = batch->first_brctr, icount = batch->icount_before;
    if (encoder_forgets) {
        encoder_forgets = false;
        encoder.epoch++;
    }
    if (encoder.records && (encoder.first_brctr ^ now) >> CHUNK_BITS)
        finish_chunk();
    const struct local *local;
    uint32_t kinds[2][KINDS] = { 0 }; /* two, for one would be added to before its last sum is there */
    for (uint32_t i = 0; i < batch->length; i++, now++) {
        uint32_t number = batch->symbols[i];
        if (unlikely(number >= encoder.local_size))
            grow_local(number);
        local = &encoder.local[number];
        if (unlikely(local->epoch != encoder.epoch || encoder.records == 0)) {
            icount += symbol_at(number)->step;
            if (!encode_slowly(number, now, icount))
                continue;
            kinds[0][symbol_at(number)->edge->kind]++;
        } else {
            icount += local->step;
            kinds[i & 1][local->kind]++;
            code_symbol(local->symbol, NULL);
        }
        encoder.records++;
        encoder.last_brctr = now;
        encoder.last_icount = icount;
    }
    for (int kind = 0; kind < KINDS; kind++)
        encoder.kinds[kind] += kinds[0][kind] + kinds[1][kind];
    if (batch->then != RECORDS)
        finish_chunk();
    if (batch->then == FINISH)
        send_end(batch);
}

static void *encode(void *unused UNUSED)
{
    open_encoder();
    for (;;) {
        pthread_mutex_lock(&queue.lock);
        while (queue.filled == queue.emptied)
            pthread_cond_wait(&queue.changed, &queue.lock);
        const struct batch *batch = queue.batches[queue.emptied % BATCHES];
        pthread_mutex_unlock(&queue.lock);
        encode_batch(batch);
        pthread_mutex_lock(&queue.lock);
        queue.emptied++;
        pthread_cond_broadcast(&queue.changed);
        pthread_mutex_unlock(&queue.lock);
    }
    return NULL;
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
 * of the records are deliveries at this very icount, and `origin` the address next before them.
 */
static void tell_position(const char *what, struct position at)
{
    char deliveries[96] = "";
    if (delivered.count && delivered.icount == at.icount)
        snprintf(deliveries, sizeof deliveries, ",\"delivered\":%" PRIu64 ",\"origin\":\"%#" PRIx64 "\"",
                 delivered.count, delivered.origin);
    tell("{\"answer\":\"%s\",\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 ",\"pc\":\"%#" PRIx64
         "\",\"unexplained\":%" PRIu64 "%s}", what, at.icount, at.brctr, at.pc, unexplained, deliveries);
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
    if (window.state != CLOSED)
        return refuse("a window is open already");
    if (strcmp(selection, "all") && strcmp(selection, "user") && strcmp(selection, "kernel"))
        return refuse("no such selection");
    if (!parse_point(start, &from) || from.type == NEVER || !parse_point(end, &to) || to.type == NOW)
        return refuse("no such point");
    if (translated && (has_address(&from) || has_address(&to)))
        return refuse("an address cannot be watched once the machine has run");
    struct position now = settle();
    if ((from.type == AT_ICOUNT && from.count < now.icount) || (from.type == AT_BRCTR && from.count < now.brctr))
        return refuse("the start is past");
    memset(&window, 0, sizeof window);
    window.selection = !strcmp(selection, "user") ? USER : !strcmp(selection, "kernel") ? KERNEL : ALL;
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

static void start_at(uint64_t count)
{
    uint64_t pc = stopped_pc();
    run.executed = qemu.icount_get_raw();
    delivered.count = 0;
    run.brctr = count;
    park(pc);
    tell_position("start", (struct position){ run.executed, run.brctr, pc });
}

static void where(void)
{
    struct position at = settle();
    uint64_t counted = qemu.icount_get_raw();
    if (counted != at.icount)
        fail(EXIT_INEXACT, "QEMU has run %" PRIu64 " instructions, the plugin counts %" PRIu64, counted, at.icount);
    tell_position("where", at);
}

static void command(char *line)
{
    char *rest, *words[5] = { 0 };
    int count = 0;
    for (char *word = strtok_r(line, " ", &rest); word && count < 5; word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    if (count == 1 && !strcmp(words[0], "progress")) {
        tell_position("progress", (struct position){ run.executed, run.brctr, 0 });
        return;
    }
    if (is_running())
        return refuse("the machine is running");
    qemu.cpu = qemu.get_cpu(0);
    uint64_t number = 0;
    const char *end = "";
    if (count >= 1 && count <= 2 && !strcmp(words[0], "start") &&
        (count == 1 || (parse_number(words[1], 10, &number, &end) && !*end)))
        start_at(number);
    else if (count == 1 && !strcmp(words[0], "where"))
        where();
    else if ((count == 3 || count == 4) && !strcmp(words[0], "window"))
        open_window(words[1], words[2], count == 4 ? words[3] : "all");
    else if (count == 1 && !strcmp(words[0], "close")) {
        struct position now = settle();
        if (window.state != CLOSED)
            end_logging(END_SWITCHED_OFF, now.icount);
        arm();
        tell_position("close", now);
    } else
        refuse("no such command");
}

static void *control(void *unused UNUSED)
{
    char line[512];
    size_t length = 0;
    for (;;) {
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

/* ---- Begin and end of the process --------------------------------------------------------------------------------- */

static bool summary;

static void on_exit_of_qemu(plugin_id id UNUSED, void *unused UNUSED)
{
    struct position at = { run.executed, run.brctr, 0 };
    if (qemu.cpu && !is_running())
        at = settle();
    if (window.state != CLOSED) {
        end_logging(END_RUN, at.icount);
        wait_for_encoder();
    }
    tell_visits("start", &window.start, &window.start_visits);
    tell_visits("end", &window.end, &window.end_visits);
    tell("{\"event\":\"exit\",\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 ",\"unexplained\":%" PRIu64 "}", at.icount,
         at.brctr, unexplained);
    if (summary)
        fprintf(stderr, "vmtape plugin: %" PRIu64 " branches, %" PRIu64 " instructions, %" PRIu64 " unexplained\n",
                at.brctr, at.icount, unexplained);
}

#if QEMU_PLUGIN_API > 1
static void on_vcpu(plugin_id id UNUSED, unsigned vcpu)
{
    if (vcpu == 0)
        finished = qemu_plugin_scoreboard_find(finished_entry.scoreboard, 0);
}
#endif

static bool is_open(uint64_t fd)
{
    return fd < 1 << 20 && fcntl(fd, F_GETFD) >= 0;
}

static void run_thread(void *(*body)(void *))
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, NULL) != 0)
        fail(EXIT_STREAM, "cannot make a thread");
    pthread_detach(thread);
}

/*
 * Options: data=FD, a stream socket or pipe for chunks; control=FD, a stream socket for commands; brctr=N, the
 * records before the instant where the run begins; summary=on, to print counts at the end.
 */
EXPORT int qemu_plugin_install(plugin_id id, const struct plugin_info *info, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const char *value = strchr(argv[i], '='), *end;
        uint64_t number = 0;
        bool known = false;
        if (value++) {
            bool is_number = parse_number(value, 10, &number, &end) && !*end;
            if (!strncmp(argv[i], "data=", 5) && is_number && is_open(number))
                data_fd = number, known = true;
            else if (!strncmp(argv[i], "control=", 8) && is_number && is_open(number))
                control_fd = number, known = true;
            else if (!strncmp(argv[i], "brctr=", 6) && is_number)
                run.brctr = number, known = true;
            else if (!strcmp(argv[i], "summary=on") || !strcmp(argv[i], "summary=off"))
                summary = value[1] == 'n', known = true;
        }
        if (!known) {
            fprintf(stderr, "vmtape plugin: the option %s is wrong\n", argv[i]);
            return -1;
        }
    }
    if (!info->system_emulation || strcmp(info->target_name, "x86_64")) {
        fprintf(stderr, "vmtape plugin: the machine is no x86_64 system\n");
        return -1;
    }
    if (info->system.smp_vcpus != 1) {
        fprintf(stderr, "vmtape plugin: the machine has %d processors, not one\n", info->system.smp_vcpus);
        return -1;
    }
    const char *missing = find_symbols();
    if (missing) {
        fprintf(stderr, "vmtape plugin: this QEMU does not export %s\n", missing);
        return -1;
    }
    static struct block nowhere = { .ending = UNKNOWN };
    run.current = &nowhere;
    memset(idt.first, 0xff, sizeof idt.first);
#if QEMU_PLUGIN_API == 1
    finished = &finished_word;
#else
    finished_entry.scoreboard = qemu_plugin_scoreboard_new(sizeof(uint64_t));
    qemu_plugin_register_vcpu_init_cb(id, on_vcpu);
#endif
    if (data_fd >= 0)
        run_thread(encode);
    if (control_fd >= 0)
        run_thread(control);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_flush_cb(id, on_flush);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
