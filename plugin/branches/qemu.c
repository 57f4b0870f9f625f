/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * What is used of QEMU: its plugin API (there is no header package), and functions that it exports beyond it, found at
 * load. And how the plugin ends QEMU when it cannot go on.
 */
#ifndef QEMU_H
#define QEMU_H

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
enum { CB_NO_REGS = 0, CB_READ_REGISTERS = 1, OP_ADD_U64 = 0, MEM_READ = 1, MEM_WRITE = 2 };
struct qemu_plugin_hwaddr;

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
unsigned qemu_plugin_mem_size_shift(uint32_t info);
bool qemu_plugin_mem_is_store(uint32_t info);
#if QEMU_PLUGIN_API == 1
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int op, void *at, uint64_t value);
#else
struct plugin_u64 { void *scoreboard; size_t offset; };
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *to, size_t size);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(uint32_t info, uint64_t linear);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *);
void *qemu_plugin_scoreboard_new(size_t element_size);
void *qemu_plugin_scoreboard_find(void *scoreboard, unsigned vcpu);
void qemu_plugin_register_vcpu_init_cb(plugin_id, void (*)(plugin_id, unsigned vcpu));
void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(struct qemu_plugin_insn *, int op, struct plugin_u64,
                                                         uint64_t value);
#endif

EXPORT int qemu_plugin_version = QEMU_PLUGIN_API;

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

/*
 * A GDB stub that is connected to a replay saves a snapshot with all of RAM first, for reverse debugging of QEMU's own,
 * unless the replay began at a named snapshot (replay_gdb_attached): 0.1 to 0.7 s, and a checkpoint's pages are touched.
 * Nobody asks it to run backwards here.
 */
static void forgo_own_reversing(void)
{
    char **name = dlsym(RTLD_DEFAULT, "replay_snapshot");
    if (name && !*name)
        *name = strdup("none");
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

#endif
