/* A program for strace-compare.ts: threads, children, signals, errors, sockets, and calls by int 0x80. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void on_signal(int number) { (void)number; }

static void *thread(void *argument)
{
    struct timespec pause = { 0, 2000000 };
    for (int i = 0; i < 3; i++) {
        getppid();
        nanosleep(&pause, NULL);
    }
    return argument;
}

static void signals(void)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    struct timespec pause = { 0, 50000000 };
    sigset_t set;
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
    action.sa_flags = 0;
    sigaction(SIGALRM, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGUSR1);
    alarm(1);
    nanosleep(&(struct timespec){ 5, 0 }, &pause); /* interrupted */
}

static void children(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        execl("/nowhere/at/all", "x", NULL);
        _exit(7);
    }
    waitpid(child, &status, 0);
    child = fork();
    if (child == 0) {
        raise(SIGKILL);
        _exit(0);
    }
    waitpid(child, &status, 0);
    child = vfork();
    if (child == 0) {
        execl("/bin/busybox", "busybox", "true", NULL);
        _exit(1);
    }
    waitpid(child, &status, 0);
}

static void files(void)
{
    struct iovec parts[] = { { "one ", 4 }, { "two\n", 4 } };
    char text[64];
    struct stat facts;
    int ends[2], file = open("/tmp-file", O_RDWR | O_CREAT | O_TRUNC, 0640);
    writev(file, parts, 2);
    lseek(file, 0, SEEK_SET);
    read(file, text, sizeof text);
    pread(file, text, 3, 4);
    fstat(file, &facts);
    close(file);
    open("/missing", O_RDONLY | O_CLOEXEC);
    access("/tmp-file", R_OK | W_OK);
    rename("/tmp-file", "/tmp-other");
    unlink("/tmp-other");
    mkdir("/tmp-dir", 0711);
    rmdir("/tmp-dir");
    readlink("/proc/self/exe", text, sizeof text);
    pipe(ends);
    struct pollfd waiting = { .fd = ends[0], .events = POLLIN };
    poll(&waiting, 1, 0);
    write(ends[1], "a\0b\"\x01\n9", 7);
    read(ends[0], text, sizeof text);
    dup2(ends[0], 42);
    fcntl(42, F_SETFD, FD_CLOEXEC);
    close(12345);
    write(1, (void *)8, 4); /* a bad address */
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(page, 4096, PROT_READ);
    munmap(page, 8192);
    umask(027);
}

static void sockets(void)
{
    struct sockaddr_un name = { AF_UNIX, "/tmp-socket" };
    int pair[2], server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bind(server, (struct sockaddr *)&name, sizeof name);
    listen(server, 3);
    connect(server, (struct sockaddr *)&name, sizeof name);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    send(pair[0], "datagram", 8, MSG_NOSIGNAL);
    recv(pair[1], (char[16]){ 0 }, 16, MSG_DONTWAIT);
    unlink("/tmp-socket");
}

static long compat(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    return result;
}

int main(void)
{
    pthread_t threads[2];
    files();
    sockets();
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, thread, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    children();
    signals();
    compat(20, 0, 0, 0);  /* getpid */
    compat(6, 999, 0, 0); /* close */
    syscall(9999);
    return 3;
}
