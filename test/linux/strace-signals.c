/*
 * A program for bench/strace-compare.ts and test/machine/strace.test.ts: stops, deaths of every kind, and execve by another thread. Its argument names the part.
 * What is printed must not depend on where the kernel put things: faults are at fixed addresses.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *const fixed = (char *)0x10000000;

static void pause_for(long milliseconds)
{
    struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

static void *sleeper(void *argument)
{
    for (;;)
        pause();
    return argument;
}


/* Stops: of one that sleeps, of two threads, by oneself, by a terminal's signal, with a handler for SIGCONT. */

static void on_signal(int number) { (void)number; }

/* Not after a time: on a busy host the guest's clock leaps, and the child would have slept through it. */
static void wait_until_asleep(pid_t child)
{
    char path[32], line[256], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", child);
    do {
        pause_for(1);
        FILE *file = fopen(path, "r");
        if (!file || !fgets(line, sizeof line, file) || sscanf(strrchr(line, ')') + 1, " %c", &state) != 1)
            _exit(50);
        fclose(file);
    } while (state != 'S');
}

static void stop_and_go(pid_t child, int signal)
{
    int status;
    if (signal == SIGCHLD)
        pause_for(400); /* the child, which strace slows down, has stopped itself by then */
    else
        wait_until_asleep(child);
    kill(child, signal);
    waitpid(child, &status, WUNTRACED);
    pause_for(30);
    kill(child, SIGCONT);
    waitpid(child, &status, 0);
}

static void stops(void)
{
    pid_t child = fork();
    if (child == 0) {
        struct timespec left, wanted = { 0, 900000000 };
        nanosleep(&wanted, &left);
        _exit(1);
    }
    stop_and_go(child, SIGSTOP);
    child = fork();
    if (child == 0) {
        setpgid(0, 0); /* in a group whose parent is in another: else nothing but SIGSTOP stops it */
        raise(SIGTSTP);
        getppid();
        _exit(2);
    }
    stop_and_go(child, SIGCHLD);
    child = fork();
    if (child == 0) {
        struct sigaction action = { .sa_handler = on_signal };
        sigaction(SIGCONT, &action, NULL);
        setpgid(0, 0);
        pause_for(900);
        _exit(3);
    }
    stop_and_go(child, SIGTTIN);
    child = fork();
    if (child == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, sleeper, NULL);
        pause_for(900);
        pause_for(50);
        _exit(4);
    }
    stop_and_go(child, SIGSTOP);
    child = fork();
    if (child == 0)
        for (;;)
            pause();
    int status;
    pause_for(20);
    kill(child, SIGSTOP);
    waitpid(child, &status, WUNTRACED);
    kill(child, SIGKILL); /* while it is stopped */
    waitpid(child, &status, 0);
}

/* Deaths, each of a child of its own. */

static void by_null(void) { *(volatile int *)8 = 1; }
static void by_protection(void)
{
    mmap(fixed, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    fixed[0x123] = 1;
}
static void by_general_protection(void) { *(volatile int *)0x8000000000000000 = 1; }
static void by_division(void)
{
    volatile int zero = 0;
    volatile int result = 1 / zero;
    (void)result;
}
static void by_file_end(void)
{
    int file = open("/short", O_RDWR | O_CREAT | O_TRUNC, 0600);
    mmap(fixed, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
    fixed[16] = 1;
}
static void run_at_fixed(const char *code, size_t length)
{
    mmap(fixed, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    memcpy(fixed + 0x40, code, length);
    ((void (*)(void))(fixed + 0x40))();
}
static void by_bad_instruction(void) { run_at_fixed("\x0f\x0b", 2); }
static void by_breakpoint(void) { run_at_fixed("\xcc", 1); }
static void by_abort(void) { abort(); }
static void by_kill(void) { kill(getpid(), SIGTERM); }
static void by_timer(void)
{
    struct itimerval soon = { { 0, 0 }, { 0, 20000 } };
    setitimer(ITIMER_REAL, &soon, NULL);
    pause();
}
static void by_posix_timer(void)
{
    timer_t timer;
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3, .sigev_value.sival_int = 77 };
    struct itimerspec soon = { { 0, 0 }, { 0, 20000000 } };
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_settime(timer, 0, &soon, NULL);
    pause();
}
static void by_value(void) { sigqueue(getpid(), SIGUSR1, (union sigval){ .sival_ptr = (void *)0x1234 }); }
static void by_thread_signal(void) { syscall(SYS_tgkill, getpid(), gettid(), SIGUSR2); }
static void by_pipe(void)
{
    int ends[2];
    pipe(ends);
    close(ends[0]);
    write(ends[1], "x", 1);
}
static void by_blocked(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGHUP);
    getppid();
    sigprocmask(SIG_UNBLOCK, &set, NULL); /* now it is taken from the queue */
}
static void by_limit(void)
{
    struct rlimit small = { 8, 8 };
    setrlimit(RLIMIT_FSIZE, &small);
    int file = open("/limited", O_RDWR | O_CREAT | O_TRUNC, 0600);
    write(file, "0123456789", 10);
    write(file, "0123456789", 10);
}
static void with_core(void)
{
    struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
    setrlimit(RLIMIT_CORE, &all);
    *(volatile int *)0x10 = 1;
}
static void threads_with_core(void)
{
    struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
    pthread_t thread;
    setrlimit(RLIMIT_CORE, &all);
    pthread_create(&thread, NULL, sleeper, NULL);
    pause_for(10);
    *(volatile int *)0x20 = 1;
}
static void threads_by_kill(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, sleeper, NULL);
    pause_for(10);
    kill(getpid(), SIGVTALRM);
}
static void *killer(void *argument)
{
    pause_for(10);
    *(volatile int *)0x30 = 1;
    return argument;
}
static void other_thread_faults(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, killer, NULL);
    pause();
}
static void *ends_all(void *argument)
{
    pause_for(10);
    exit(9);
    return argument;
}
static void first_thread_ends(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, ends_all, NULL);
    syscall(SYS_exit, 0);
}

static void install(unsigned action, int by_call)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (by_call)
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, &program);
    else
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}
static void by_trap(void)
{
    install(SECCOMP_RET_TRAP, 0);
    getppid();
}
static void by_seccomp(void)
{
    install(SECCOMP_RET_KILL_PROCESS, 1);
    getppid();
}
static void by_seccomp_thread(void)
{
    install(SECCOMP_RET_KILL_THREAD, 1);
    getppid();
}
static void by_strict(void)
{
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    getppid();
}
static void trapped(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGSYS, &action, NULL);
    install(SECCOMP_RET_TRAP, 0);
    getppid();
    _exit(6);
}
static char selector = SYSCALL_DISPATCH_FILTER_ALLOW;
static void on_dispatch(int number)
{
    (void)number;
    selector = SYSCALL_DISPATCH_FILTER_ALLOW;
}
static void dispatched(void)
{
    struct sigaction action = { .sa_handler = on_dispatch };
    sigaction(SIGSYS, &action, NULL);
    prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector);
    selector = SYSCALL_DISPATCH_FILTER_BLOCK;
    getppid();
    prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0);
    _exit(7);
}
static void handled_faults(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND };
    sigaction(SIGSEGV, &action, NULL);
    by_null(); /* once with the handler, then without */
}

static void (*const deaths[])(void) = {
    by_null,        by_protection,     by_general_protection, by_division,       by_file_end, by_bad_instruction,
    by_breakpoint,  by_abort,          by_kill,               by_timer,          by_posix_timer,
    by_value,       by_thread_signal,  by_pipe,               by_blocked,        by_limit,    with_core,
    threads_with_core, threads_by_kill, other_thread_faults,  first_thread_ends, by_trap,     by_seccomp,
    by_seccomp_thread, by_strict,      trapped,               dispatched,        handled_faults,
};

static void all_deaths(void)
{
    for (size_t i = 0; i < sizeof deaths / sizeof *deaths; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            deaths[i]();
            _exit(100);
        }
        waitpid(child, &status, 0);
    }
}

/* Execve by a thread that is not the first; and once when the first has ended before. */

static void *replacing(void *argument)
{
    pause_for(20);
    execl("/bin/busybox", "busybox", "true", NULL);
    return argument;
}

static void executions(void)
{
    for (int i = 0; i < 2; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            pthread_create(&thread, NULL, sleeper, NULL);
            pthread_create(&thread, NULL, replacing, NULL);
            if (i == 1)
                syscall(SYS_exit, 5);
            for (;;)
                pause();
        }
        waitpid(child, &status, 0);
    }
}

int main(int count, char **arguments)
{
    const char *part = count > 1 ? arguments[1] : "";
    if (strcmp(part, "stops") == 0)
        stops();
    if (strcmp(part, "deaths") == 0)
        all_deaths();
    if (strcmp(part, "executions") == 0)
        executions();
    return 0;
}
