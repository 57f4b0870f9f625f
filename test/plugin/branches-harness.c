/*
 * The branch plugin without a QEMU: its queue, encoder and control thread, driven by hand.
 *
 *     branches-harness windows SELECTION RECORDS … > stream    windows, encoded after the last one is recorded
 *     branches-harness threads WINDOWS > stream                windows of all selections while the encoder runs
 *     branches-harness control < commands > answers            what the control thread answers to lines
 *
 * Of each eight records four are the kernel's, three the user's, and one goes from one to the other.
 */
#include "branches.c"

#include <sys/socket.h>

/* ---- The QEMU that there is not ---- */

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id UNUSED, void (*f)(plugin_id, struct qemu_plugin_tb *) UNUSED) {}
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb UNUSED, udata_callback f UNUSED, int flags UNUSED, void *u UNUSED) {}
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *i UNUSED, udata_callback f UNUSED, int flags UNUSED, void *u UNUSED) {}
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *i UNUSED, void (*f)(unsigned, uint32_t, uint64_t, void *) UNUSED,
                                      int flags UNUSED, int access UNUSED, void *u UNUSED) {}
void qemu_plugin_register_flush_cb(plugin_id id UNUSED, void (*f)(plugin_id) UNUSED) {}
void qemu_plugin_register_atexit_cb(plugin_id id UNUSED, void (*f)(plugin_id, void *) UNUSED, void *u UNUSED) {}
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb UNUSED) { return 0; }
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb UNUSED) { return 0; }
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb UNUSED, size_t at UNUSED) { return NULL; }
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *i UNUSED) { return 0; }
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *i UNUSED) { return 0; }
unsigned qemu_plugin_mem_size_shift(uint32_t info UNUSED) { return 0; }
bool qemu_plugin_mem_is_store(uint32_t info UNUSED) { return false; }
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *i UNUSED, void *to UNUSED, size_t size UNUSED) { return 0; }
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(uint32_t info UNUSED, uint64_t linear UNUSED) { return NULL; }
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *a UNUSED) { return false; }
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *a UNUSED) { return 0; }
void *qemu_plugin_scoreboard_new(size_t size UNUSED) { return NULL; }
void *qemu_plugin_scoreboard_find(void *board UNUSED, unsigned vcpu UNUSED) { return NULL; }
void qemu_plugin_register_vcpu_init_cb(plugin_id id UNUSED, void (*f)(plugin_id, unsigned) UNUSED) {}
void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(struct qemu_plugin_insn *i UNUSED, int op UNUSED,
                                                         struct plugin_u64 at UNUSED, uint64_t value UNUSED) {}

static void *no_cpu(int index UNUSED) { return NULL; }

/* ---- What it is made to do ---- */

static void begin(void)
{
    static struct block nowhere = { .ending = UNKNOWN };
    run.current = &nowhere;
    go_on();
}

static void record_window(enum selection selection, uint64_t records)
{
    static const uint64_t kernel = 0xffffffff81000000, user = 0x401000;
    window.selection = selection;
    window.state = OPEN;
    begin_logging();
    for (uint64_t i = 0; i < records; i++) {
        uint64_t from = i % 8 < 4 || i % 8 == 7 ? kernel : user, to = i % 8 < 4 ? kernel : user;
        run.executed += 1 + i % 3;
        record(edge_between(from + i % 97, to + i % 89, i % 5));
    }
    end_logging(END_WINDOW, run.executed);
}

static int windows(char **words)
{
    begin();
    for (; words[0]; words += 2)
        record_window(!strcmp(words[0], "user") ? USER : !strcmp(words[0], "kernel") ? KERNEL : ALL, strtoull(words[1], NULL, 10));
    run_thread(encode);
    wait_for_encoder();
    return 0;
}

static int threads(uint64_t count)
{
    begin();
    run_thread(encode);
    for (uint64_t i = 0; i < count; i++)
        record_window(i % 3, 1 + mix(i) % 300000);
    wait_for_encoder();
    return 0;
}

static void *copy_input(void *to)
{
    char bytes[4096];
    for (size_t got; (got = fread(bytes, 1, sizeof bytes, stdin)) > 0;)
        send_all((int)(intptr_t)to, bytes, got);
    shutdown((int)(intptr_t)to, SHUT_WR);
    return NULL;
}

static int answer(void)
{
    int ends[2];
    char bytes[4096];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        return 1;
    qemu.get_cpu = (void *)no_cpu;
    control_fd = ends[0];
    pthread_t thread, copier;
    if (pthread_create(&thread, NULL, control, NULL) || pthread_create(&copier, NULL, copy_input, (void *)(intptr_t)ends[1]))
        return 1;
    pthread_join(copier, NULL);
    pthread_join(thread, NULL);
    shutdown(ends[0], SHUT_WR);
    for (ssize_t got; (got = read(ends[1], bytes, sizeof bytes)) > 0;)
        fwrite(bytes, 1, got, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    data_fd = 1;
    if (argc > 2 && !strcmp(argv[1], "windows"))
        return windows(argv + 2);
    if (argc == 3 && !strcmp(argv[1], "threads"))
        return threads(strtoull(argv[2], NULL, 10));
    if (argc == 2 && !strcmp(argv[1], "control"))
        return answer();
    return 2;
}
