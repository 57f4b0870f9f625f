/* See fake-qemu.h. What QEMU exports is found by the plugin with dlsym: link with -rdynamic. */
#define _GNU_SOURCE
#include "fake-qemu.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../plugin/branches/branch-stream.h"
#include "../../plugin/branches/hits.h"
#include "../../plugin/common/plugin-api.h"

static enum { USUAL, SWAPPED, NO_TABLE, OTHER_NOTES, OTHER_FLAGS, STRANGE } strange; /* what is otherwise than QEMU has it */
static const char *const strange_names[STRANGE] = { "", "registers", "table", "notes", "flags" };

/* ---- The guest -------------------------------------------------------------------------------------------------------- */

enum { BLOCKS = 300, AREAS = 2, MOST_BYTES = 32 };
enum ends { JUMPS_IF, JUMPS_ANY, CALLS, JUMPS, ENDS };
struct qemu_plugin_insn {
    uint64_t at;
    uint8_t bytes[15];
    size_t size;
    udata_callback call[8];
    void *call_data[8];
    unsigned calls;
#if QEMU_PLUGIN_API == 1
    uint64_t *add_to;
#else
    bool adds;
#endif
};
struct qemu_plugin_tb {
    uint64_t at, next, target;
    enum ends ends;
    struct qemu_plugin_insn insns[8];
    size_t count;
    bool translated;
    udata_callback call;
    void *call_data;
    uint8_t notes[64]; /* what the plugin reads of a TranslationBlock */
};
static struct qemu_plugin_tb guest[BLOCKS];
static const uint64_t areas[AREAS] = { 0x400000, 0xffffffff81000000 };
struct taken *taken;
uint64_t taken_count;

uint64_t block_at(unsigned number) { return guest[number].at; }
unsigned block_count(void) { return BLOCKS; }

static void put_insn(struct qemu_plugin_tb *block, const uint8_t *bytes, size_t size)
{
    struct qemu_plugin_insn *insn = &block->insns[block->count++];
    insn->at = block->next;
    insn->size = size;
    memcpy(insn->bytes, bytes, size);
    block->next += size;
}

static void make_guest(uint64_t seed)
{
    uint64_t at = 0;
    for (int i = 0; i < BLOCKS; i++) {
        struct qemu_plugin_tb *block = &guest[i];
        bool last = (i + 1) % (BLOCKS / AREAS) == 0;
        if (i % (BLOCKS / AREAS) == 0)
            at = areas[i / (BLOCKS / AREAS)];
        block->at = block->next = at;
        block->ends = last ? JUMPS_ANY : (enum ends)random_below(&seed, ENDS);
        for (uint64_t nops = random_below(&seed, 6); nops > 0; nops--)
            put_insn(block, (const uint8_t[]){ 0x90 }, 1);
        at = block->next + (block->ends == JUMPS_ANY ? 2 : block->ends == JUMPS_IF ? 6 : 5);
        block->next = at - (block->ends == JUMPS_ANY ? 2 : block->ends == JUMPS_IF ? 6 : 5);
    }
    for (int i = 0; i < BLOCKS; i++) {
        struct qemu_plugin_tb *block = &guest[i];
        int area = i / (BLOCKS / AREAS);
        int to;
        do /* what always jumps leads to what jumps anywhere: no loop holds the guest for ever */
            to = area * (BLOCKS / AREAS) + (int)random_below(&seed, BLOCKS / AREAS);
        while (block->ends != JUMPS_IF && guest[to].ends != JUMPS_ANY);
        uint64_t target = guest[to].at;
        size_t size = block->ends == JUMPS_ANY ? 2 : block->ends == JUMPS_IF ? 6 : 5;
        int32_t distance = (int32_t)(target - block->next - size);
        uint8_t bytes[6] = { 0xff, 0xe0 };
        if (block->ends == JUMPS_IF)
            bytes[0] = 0x0f, bytes[1] = 0x84;
        else if (block->ends != JUMPS_ANY)
            bytes[0] = block->ends == CALLS ? 0xe8 : 0xe9;
        if (block->ends != JUMPS_ANY)
            memcpy(bytes + size - 4, &distance, 4);
        block->target = target;
        put_insn(block, bytes, size);
        /* A TranslationBlock of 7.2: flags, a word that is 0, sizes. */
        uint32_t flags = 0x20000;
        uint16_t sizes[2] = { (uint16_t)(block->next - block->at), (uint16_t)block->count };
        memcpy(block->notes + 24, &flags, 4);
        memcpy(block->notes + (strange == OTHER_NOTES ? 34 : 32), sizes, 4);
    }
}

/* ---- The CPU ---------------------------------------------------------------------------------------------------------- */

static bool is_on; /* the processor has left its reset: 64-bit code */
enum { REGISTERS_AT = 8, IP_AT = REGISTERS_AT + 16, CPU_WORDS = 64 };
static uint64_t *cpu_object;
static struct qemu_plugin_tb *block_now; /* runs */
static uint64_t icount;                  /* the running block's instructions included */
__thread void *current_cpu;
int replay_mode = 2;

struct array { uint8_t *data; unsigned length; struct array *before; };
static struct array *arrays; /* all of them: a thread's end leaves none lost */
static pthread_mutex_t arrays_lock = PTHREAD_MUTEX_INITIALIZER;

void *qemu_get_cpu(int index) { return index == 0 ? cpu_object : NULL; }

static int append(struct array *array, const void *bytes, unsigned size)
{
    array->data = realloc(array->data, array->length + size);
    memcpy(array->data + array->length, bytes, size);
    array->length += size;
    return (int)size;
}

int x86_cpu_gdb_read_register(void *cpu, struct array *to, int number)
{
    static const int places[16] = { 0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15 };
    const uint64_t *words = cpu;
    uint64_t value = 0;
    if (number < 16)
        value = words[REGISTERS_AT + places[number]];
    else if (number == 16)
        value = words[IP_AT];
    else if (number == 17)
        return append(to, &(uint32_t){ 2 }, 4);
    else if (number == 27)
        value = 0x80000001;
    else if (number == 32)
        value = is_on ? 0x500 : 0;
    return append(to, &value, 8);
}

int x86_cpu_gdb_write_register(void *cpu, uint8_t *bytes, int number)
{
    static const int places[16] = { 0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15 };
    uint64_t *words = cpu;
    int at = number < 16 ? REGISTERS_AT + places[number] : IP_AT + number - 16;
    if (strange == SWAPPED && number < 2)
        at = REGISTERS_AT + places[1 - number];
    memcpy(&words[at], bytes, 8);
    return 8;
}

/* One page of RAM. */
int cpu_memory_rw_debug(void *cpu, uint64_t linear, void *to, size_t size, bool is_write)
{
    (void)cpu;
    if (is_write || linear < 0x1000 || linear + size > 0x2000)
        return -1;
    memset(to, 'x', size);
    return 0;
}

uint64_t cpu_get_phys_page_debug(void *cpu, uint64_t page)
{
    (void)cpu;
    return page == 0x1000 ? page : UINT64_MAX;
}

bool cpu_physical_memory_is_io(uint64_t physical)
{
    (void)physical;
    return false;
}

void x86_cpu_dump_state(void *cpu, FILE *to, int flags)
{
    const uint64_t *words = cpu;
    int32_t operation[2];
    memcpy(operation, words + IP_AT + 5, sizeof operation);
    uint64_t all = words[IP_AT + 1] | words[IP_AT + (strange == OTHER_FLAGS ? 4 : 3)] | (operation[1] < 0 ? 0x400 : 0);
    (void)flags;
    fprintf(to,
            "RAX=%016lx RBX=0\nRSI=0 RDI=0 RBP=0 RSP=%016lx\nR8 =0\nRIP=%016lx RFL=%08lx [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\n"
            "ES =0000 0000000000000000 00000000 00000000\nCS =0010 0000000000000000 ffffffff 00a09b00 DPL=0 CS64 [-RA]\n"
            "SS =0018 0000000000000000 ffffffff 00c09300 DPL=0 DS   [-WA]\nLDT=0000 0000000000000000 00000000 00008200\n"
            "TR =0040 0 0 0\nGDT=     fffffe0000001000 0000007f\nIDT=     fffffe0000000000 00000fff\n"
            "CR0=80000001 CR2=0 CR3=0 CR4=0\nEFER=%016x\n",
            (unsigned long)words[REGISTERS_AT], (unsigned long)words[REGISTERS_AT + 4], (unsigned long)words[IP_AT], (unsigned long)all,
            is_on ? 0x500 : 0);
}

void icount_update(void *cpu) { (void)cpu; }
int64_t icount_get_raw(void) { return (int64_t)icount; }

void *g_byte_array_new(void)
{
    struct array *array = calloc(1, sizeof *array);
    pthread_mutex_lock(&arrays_lock);
    array->before = arrays;
    arrays = array;
    pthread_mutex_unlock(&arrays_lock);
    return array;
}

void *g_byte_array_set_size(struct array *array, unsigned size)
{
    array->length = size; /* never more than it has */
    return array;
}

/* Where flags come from: always the processor's own word, of which 0 tells. */
bool cpu_unwind_state_data(void *cpu, uintptr_t host, uint64_t *data)
{
    (void)cpu, (void)host;
    if (block_now)
        data[0] = block_now->at, data[1] = 0;
    return block_now != NULL;
}

uint64_t cpu_cc_compute_all(void *env, int cc_op)
{
    (void)cc_op;
    return ((uint64_t *)env)[16 + 3];
}

void raise_exception_ra(void *env, int exception, uintptr_t host)
{
    (void)env, (void)exception, (void)host;
    expect(false, "an exact stop, which this QEMU does not make");
    abort();
}

const void *tcg_tb_lookup(uintptr_t host)
{
    (void)host;
    return block_now ? block_now->notes : NULL;
}

/* QEMU 7.2's table of helpers, in which the plugin changes notes on calls of plugins. */
__attribute__((used)) struct helper { const char *name; unsigned flags, types; } helper_table[] = {
    { "something", 3, 0 }, { "plugin_vcpu_udata_cb", 1, 0 }, { "plugin_vcpu_mem_cb", 1, 0 } };

/* ---- The plugin API --------------------------------------------------------------------------------------------------- */

static void (*translates)(plugin_id, struct qemu_plugin_tb *);
static void (*flushes)(plugin_id);
static void (*exits)(plugin_id, void *);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*call)(plugin_id, struct qemu_plugin_tb *)) { (void)id, translates = call; }
void qemu_plugin_register_flush_cb(plugin_id id, void (*call)(plugin_id)) { (void)id, flushes = call; }
void qemu_plugin_register_atexit_cb(plugin_id id, void (*call)(plugin_id, void *), void *data) { (void)id, (void)data, exits = call; }

void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, udata_callback call, int flags, void *data)
{
    (void)flags;
    tb->call = call, tb->call_data = data;
}

void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, udata_callback call, int flags, void *data)
{
    (void)flags;
    insn->call[insn->calls] = call, insn->call_data[insn->calls++] = data;
}

void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, void (*call)(unsigned, uint32_t, uint64_t, void *), int flags,
                                      int access, void *data)
{
    (void)insn, (void)call, (void)flags, (void)access, (void)data; /* this guest accesses no memory */
}

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb) { return tb->count; }
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb) { return tb->at; }
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i) { return (struct qemu_plugin_insn *)&tb->insns[i]; }
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn) { return insn->size; }
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn) { return insn->at; }
unsigned qemu_plugin_mem_size_shift(uint32_t info) { return info & 15; }
bool qemu_plugin_mem_is_store(uint32_t info) { return info >> 31; }
static void (*begins)(plugin_id, unsigned);
void qemu_plugin_register_vcpu_init_cb(plugin_id id, void (*call)(plugin_id, unsigned)) { (void)id, begins = call; }
#if QEMU_PLUGIN_API == 1
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn) { return insn->bytes; }
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *at, uint64_t value)
{
    (void)op, (void)value;
    insn->add_to = at;
}
#else
#error "the fake QEMU speaks version 1 of the plugin API"
#endif

/* ---- The vCPU's thread ------------------------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool running, over;
static uint64_t until, run_seed;
static void (*work)(void *cpu, void *data);

bool runstate_is_running(void)
{
    pthread_mutex_lock(&lock);
    bool is = running;
    pthread_mutex_unlock(&lock);
    return is;
}

void async_safe_run_on_cpu(void *cpu, void (*asked)(void *, void *), void *data)
{
    (void)cpu, (void)data;
    pthread_mutex_lock(&lock);
    work = asked;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void tb_flush(void *cpu)
{
    (void)cpu;
    for (int i = 0; i < BLOCKS; i++) {
        guest[i].translated = false;
        guest[i].call = NULL;
        for (size_t n = 0; n < guest[i].count; n++)
            guest[i].insns[n].calls = 0, guest[i].insns[n].add_to = NULL;
    }
    flushes(0);
}

static struct qemu_plugin_tb *run_block(struct qemu_plugin_tb *block)
{
    if (!block->translated) {
        translates(0, block);
        block->translated = true;
    }
    block_now = block;
    icount += block->count;
    if (block->call)
        block->call(0, block->call_data);
    for (size_t i = 0; i < block->count; i++) {
        struct qemu_plugin_insn *insn = &block->insns[i];
        for (unsigned n = 0; n < insn->calls; n++)
            insn->call[n](0, insn->call_data[n]);
        if (insn->add_to)
            ++*insn->add_to;
    }
    struct qemu_plugin_tb *next = block + 1;
    bool takes = block->ends != JUMPS_IF || random_below(&run_seed, 3) == 0;
    if (block->ends == JUMPS_ANY)
        next = &guest[random_below(&run_seed, BLOCKS)];
    else if (takes)
        while (next->at != block->target)
            next = next == guest + BLOCKS - 1 ? guest : next + 1;
    if (takes && block->ends == JUMPS_IF && next->at == block->next)
        takes = false; /* to the next instruction: nobody can tell */
    if (takes) {
        if (!(taken_count & (taken_count - 1)))
            taken = realloc(taken, (taken_count ? 2 * taken_count : 1) * sizeof *taken);
        taken[taken_count++] = (struct taken){ block->insns[block->count - 1].at, next->at, icount };
    }
    cpu_object[IP_AT] = next->at;
    block_now = NULL;
    return next;
}

static void *run_vcpu(void *unused)
{
    struct qemu_plugin_tb *block = guest;
    current_cpu = cpu_object;
    pthread_mutex_lock(&lock);
    while (!over) {
        if (work) {
            void (*asked)(void *, void *) = work;
            work = NULL;
            pthread_mutex_unlock(&lock);
            asked(cpu_object, NULL);
            pthread_mutex_lock(&lock);
        } else if (running && icount < until) {
            pthread_mutex_unlock(&lock);
            for (int i = 0; i < 1000 && icount < until; i++)
                block = run_block(block);
            pthread_mutex_lock(&lock);
        } else {
            running = false;
            pthread_cond_broadcast(&changed);
            pthread_cond_wait(&changed, &lock);
        }
    }
    pthread_mutex_unlock(&lock);
    return unused;
}

void let_run(uint64_t instructions)
{
    pthread_mutex_lock(&lock);
    until = icount + instructions;
    running = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void wait_for_stop(void)
{
    pthread_mutex_lock(&lock);
    while (running)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

void run_for(uint64_t instructions)
{
    let_run(instructions);
    wait_for_stop();
}

uint64_t executed_so_far(void)
{
    pthread_mutex_lock(&lock);
    uint64_t so_far = icount;
    pthread_mutex_unlock(&lock);
    return so_far;
}

/* ---- Power ------------------------------------------------------------------------------------------------------------- */

int data_socket, hits_socket;
static pthread_t vcpu;

int qemu_plugin_install(plugin_id, const struct plugin_info *, int, char **) __attribute__((weak));

void power_on(uint64_t seed, const char *plugin, int data_buffer)
{
    char options[3][32];
    for (int i = SWAPPED; i < STRANGE; i++)
        if (plugin && !strcmp(plugin, strange_names[i]))
            strange = i, plugin = NULL;
    if (strange == NO_TABLE)
        helper_table[1].flags = 5;
    make_guest(seed);
    run_seed = seed;
    cpu_object = calloc(CPU_WORDS, 8);
    cpu_object[IP_AT] = guest[0].at;
    snprintf(options[0], 32, "data=%d", make_socket(&data_socket, data_buffer));
    snprintf(options[1], 32, "control=%d", make_socket(&control_socket, 0));
    snprintf(options[2], 32, "probes=%d", make_socket(&hits_socket, 0));
    struct plugin_info info = { .target_name = "x86_64", .system_emulation = true, .system = { 1, 1 } };
    __typeof__(&qemu_plugin_install) install = qemu_plugin_install;
    if (plugin) {
        void *library = dlopen(plugin, RTLD_NOW);
        expect(library != NULL, "%s", dlerror());
        install = (__typeof__(install))dlsym(library, "qemu_plugin_install");
    }
    expect(install(0, &info, 3, (char *[]){ options[0], options[1], options[2] }) == 0, "the plugin does not load");
    cpu_object[IP_AT] = 0xfff0;
    if (begins)
        begins(0, 0);
    for (int i = 0; i < 16; i++)
        expect(cpu_object[REGISTERS_AT + i] == 0, "registers as they were");
    expect(cpu_object[IP_AT] == 0xfff0, "the instruction pointer as it was");
    is_on = true;
    cpu_object[IP_AT] = guest[0].at;
    pthread_create(&vcpu, NULL, run_vcpu, NULL);
}

void power_off(void)
{
    wait_for_stop();
    pthread_mutex_lock(&lock);
    over = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    pthread_join(vcpu, NULL);
    exits(0, NULL);
}

/* ---- The other ends of the sockets -------------------------------------------------------------------------------------- */

static struct { struct ending of[4096]; unsigned count, read; } endings;
static pthread_mutex_t endings_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

static void *read_data(void *unused)
{
    static uint8_t header[HEADER_SIZE], payload[1 << 26];
    uint64_t in_chunks = 0;
    while (read_all(data_socket, header, sizeof header)) {
        uint32_t words[32];
        uint64_t longs[16];
        memcpy(words, header, sizeof words);
        memcpy(longs, header, sizeof longs);
        if (words[0] == CHUNK_MAGIC_WORD) {
            in_chunks += words[CHUNK_RECORDS / 4];
            size_t size = (size_t)words[CHUNK_EVENTS_BYTES / 4] + words[CHUNK_BLOCKS_BYTES / 4];
            expect(size <= sizeof payload && read_all(data_socket, payload, size), "a chunk's payload");
            continue;
        }
        expect(words[0] == END_MAGIC_WORD, "a chunk or an end");
        pthread_mutex_lock(&endings_lock);
        endings.of[endings.count++ % 4096] =
            (struct ending){ words[1], longs[END_BRCTR / 8], longs[END_ICOUNT / 8], longs[END_RECORDS / 8], in_chunks };
        in_chunks = 0;
        pthread_cond_broadcast(&ended);
        pthread_mutex_unlock(&endings_lock);
    }
    return unused;
}

void drain_data(void)
{
    pthread_t reader;
    pthread_create(&reader, NULL, read_data, NULL);
    pthread_detach(reader);
}

struct ending next_ending(void)
{
    pthread_mutex_lock(&endings_lock);
    while (endings.read == endings.count)
        pthread_cond_wait(&ended, &endings_lock);
    struct ending ending = endings.of[endings.read++ % 4096];
    pthread_mutex_unlock(&endings_lock);
    return ending;
}

static struct { uint64_t bytes, records; } hits_read;
static pthread_mutex_t hits_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t hits_came = PTHREAD_COND_INITIALIZER;

static void *read_hits(void *unused)
{
    static uint8_t record[1 << 20];
    while (read_all(hits_socket, record, sizeof(struct hit))) {
        struct hit hit;
        memcpy(&hit, record, sizeof hit);
        expect(hit.size >= sizeof hit && hit.size % 8 == 0 && hit.size <= sizeof record, "a hit of %u bytes", hit.size);
        expect(read_all(hits_socket, record + sizeof hit, hit.size - sizeof hit), "a hit's pieces");
        for (size_t at = sizeof hit; at < hit.size;) {
            struct piece piece;
            memcpy(&piece, record + at, sizeof piece);
            at += sizeof piece + ((piece.size + 7) & ~7u);
            expect(at <= hit.size, "pieces end with their hit");
        }
        pthread_mutex_lock(&hits_lock);
        hits_read.bytes += hit.size;
        hits_read.records++;
        pthread_cond_broadcast(&hits_came);
        pthread_mutex_unlock(&hits_lock);
    }
    return unused;
}

uint64_t count_hits(uint64_t total)
{
    static bool reading;
    if (!reading) {
        pthread_t reader;
        reading = true;
        pthread_create(&reader, NULL, read_hits, NULL);
        pthread_detach(reader);
    }
    pthread_mutex_lock(&hits_lock);
    while (hits_read.bytes < total)
        pthread_cond_wait(&hits_came, &hits_lock);
    expect(hits_read.bytes == total, "%lu bytes of hits, not %lu", (unsigned long)hits_read.bytes, (unsigned long)total);
    uint64_t records = hits_read.records;
    pthread_mutex_unlock(&hits_lock);
    return records;
}
