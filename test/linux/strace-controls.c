/*
 * A program for bench/strace-compare.ts: calls whose arguments depend on each other (prctl, ioctl, clone3, seccomp, reboot),
 * timers, sleeps that are interrupted, and calls with the numbers of x32.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/cdrom.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/hdreg.h>
#include <linux/input.h>
#include <linux/kd.h>
#include <linux/loop.h>
#include <linux/reboot.h>
#include <linux/rtc.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <linux/random.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static void on_signal(int number) { (void)number; }

static void timers(void)
{
    struct itimerval soon = { { 0, 30000 }, { 0, 20000 } }, old, none = { 0 };
    struct itimerspec later = { { 7, 8 }, { 9, 10 } }, was;
    struct timespec left = { 1, 2 }, second = { 1, 0 }, point;
    struct sigaction action = { .sa_handler = on_signal };
    timer_t timer;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &soon, NULL);
    nanosleep(&second, &left);                               /* interrupted, with what is left */
    syscall(SYS_nanosleep, &second, NULL);                   /* interrupted */
    clock_nanosleep(CLOCK_MONOTONIC, 0, &second, &left);     /* the same */
    syscall(SYS_nanosleep, &second, &left);
    clock_gettime(CLOCK_MONOTONIC, &point);
    point.tv_sec += 1;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &point, &left); /* nothing is left of a point in time */
    setitimer(ITIMER_REAL, &none, &old);
    getitimer(ITIMER_REAL, &old);
    setitimer(ITIMER_VIRTUAL, &none, &old);
    setitimer(ITIMER_PROF, NULL, &old);
    setitimer(7, &none, NULL);
    setitimer(ITIMER_REAL, (void *)8, NULL);
    second.tv_sec = 0;
    second.tv_nsec = 1000;
    syscall(SYS_nanosleep, &second, &left); /* to its end */
    second.tv_nsec = -1;
    syscall(SYS_nanosleep, &second, &left);
    timer_create(CLOCK_REALTIME, NULL, &timer);
    timer_settime(timer, 0, &later, &was);
    timer_gettime(timer, &was);
    int file = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    timerfd_settime(file, 0, &later, NULL);
    timerfd_gettime(file, &was);
}

static void prctls(void)
{
    char name[16];
    int number;
    long word;
    prctl(PR_SET_NAME, "a \"name\"\tthat is too long");
    prctl(PR_GET_NAME, name);
    prctl(PR_SET_NAME, 8);
    prctl(PR_GET_NAME, NULL);
    prctl(PR_SET_PDEATHSIG, SIGUSR2);
    prctl(PR_GET_PDEATHSIG, &number);
    prctl(PR_SET_PDEATHSIG, 0);
    prctl(PR_GET_DUMPABLE);
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_DUMPABLE, 1);
    prctl(PR_SET_DUMPABLE, 17);
    prctl(PR_SET_KEEPCAPS, 1);
    prctl(PR_GET_KEEPCAPS);
    prctl(PR_CAPBSET_READ, 21);
    prctl(PR_CAPBSET_READ, 99);
    prctl(PR_CAPBSET_DROP, 27);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 5, 0, 0);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    prctl(PR_SET_SECUREBITS, 3);
    prctl(PR_GET_SECUREBITS);
    prctl(PR_SET_TIMERSLACK, 12345);
    prctl(PR_GET_TIMERSLACK);
    prctl(PR_SET_TSC, PR_TSC_ENABLE);
    prctl(PR_GET_TSC, &number);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_GET_CHILD_SUBREAPER, &number);
    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    prctl(PR_GET_TID_ADDRESS, &word);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
    prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
    prctl(PR_MCE_KILL_GET, 0, 0, 0, 0);
    prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0);
    prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_ENABLE, 0, 0);
    prctl(PR_SET_MM, PR_SET_MM_START_BRK, 0x1000, 0, 0);
    prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    prctl(PR_SET_PTRACER, 1);
    prctl(PR_SET_UNALIGN, 1);
    prctl(PR_TASK_PERF_EVENTS_DISABLE);
    prctl(PR_GET_SECCOMP);
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, page, 4096, "an area");
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, page, 4096, NULL);
    prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 1, &word);
    prctl(PR_GET_FP_MODE);
    prctl(0x12345, 1, 2, 3, 4);
}

static void clones(void)
{
    int pidfd = -1, tid = -1, parent = -1, list[] = { 31000 };
    struct clone_args arguments = { .flags = CLONE_PIDFD | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID,
        .pidfd = (unsigned long)&pidfd, .child_tid = (unsigned long)&tid, .parent_tid = (unsigned long)&parent,
        .exit_signal = SIGCHLD };
    if (syscall(SYS_clone3, &arguments, sizeof arguments) == 0)
        _exit(0);
    wait(NULL);
    struct clone_args chosen = { .exit_signal = SIGURG, .set_tid = (unsigned long)list, .set_tid_size = 1 };
    if (syscall(SYS_clone3, &chosen, sizeof chosen) == 0)
        _exit(0);
    waitpid(-1, NULL, __WALL);
    struct clone_args plain = { .exit_signal = 0 };
    if (syscall(SYS_clone3, &plain, 64) == 0)
        _exit(0);
    waitpid(-1, NULL, __WALL);
    struct clone_args wrong = { .flags = CLONE_THREAD | 0x100000000 | 0x8000000000, .exit_signal = 0x1ffffffff };
    syscall(SYS_clone3, &wrong, sizeof wrong);
    struct clone_args group = { .flags = CLONE_INTO_CGROUP, .cgroup = 99, .exit_signal = SIGCHLD };
    syscall(SYS_clone3, &group, sizeof group);
    syscall(SYS_clone3, &wrong, 16);
    syscall(SYS_clone3, NULL, sizeof wrong);
}

static void terminals(void)
{
    struct termios settings;
    struct winsize size;
    int number = 1, ends[2], master = open("/dev/ptmx", O_RDWR | O_NOCTTY), zero = 0;
    pid_t group;
    ioctl(0, TCGETS, &settings);
    ioctl(master, TIOCSPTLCK, &zero);
    ioctl(master, TIOCGPTN, &number);
    mkdir("/dev/pts", 0755);
    int console = open("/dev/ttyS0", O_RDWR | O_NOCTTY);
    for (int i = 0; i < 2; i++) {
        int terminal = i == 0 ? console : master;
        ioctl(terminal, TCGETS, &settings);
        ioctl(terminal, TCSETS, &settings);
        ioctl(terminal, TCSETSW, &settings);
        ioctl(terminal, _IOR('T', 0x2A, char[44]), &settings);
        ioctl(terminal, TCGETA, &settings);
        ioctl(terminal, TIOCGWINSZ, &size);
        ioctl(terminal, TIOCSWINSZ, &size);
        ioctl(terminal, TIOCGPGRP, &group);
        ioctl(terminal, TIOCSPGRP, &group);
        ioctl(terminal, TIOCGSID, &group);
        ioctl(terminal, TIOCSCTTY, 0);
        ioctl(terminal, TIOCNOTTY);
        ioctl(terminal, TCFLSH, TCIOFLUSH);
        ioctl(terminal, TCXONC, TCOON);
        ioctl(terminal, TIOCMGET, &number);
        ioctl(terminal, TIOCMBIS, &number);
        ioctl(terminal, TIOCOUTQ, &number);
        ioctl(terminal, TIOCGETD, &number);
        ioctl(terminal, TIOCEXCL);
        ioctl(terminal, TIOCGEXCL, &number);
        ioctl(terminal, TIOCNXCL);
        ioctl(terminal, TCSBRK, 1);
        ioctl(terminal, TIOCSTI, "x");
        ioctl(terminal, TIOCGSERIAL, &settings);
        ioctl(terminal, TIOCPKT, &zero);
        ioctl(terminal, TIOCLINUX, &number);
        ioctl(terminal, TCGETS, NULL);
        ioctl(terminal, TCGETS, 8);
    }
    pipe(ends);
    write(ends[1], "some", 4);
    ioctl(ends[0], FIONREAD, &number);
    ioctl(ends[0], FIONBIO, &number);
    ioctl(ends[0], FIOASYNC, &zero);
    ioctl(ends[0], FIOCLEX);
    ioctl(ends[0], FIONCLEX);
    ioctl(ends[0], FIOQSIZE, &number);
    ioctl(ends[0], 0x54ff, 0x1234);
    ioctl(ends[0], _IOWR('~', 200, long), &number);
    ioctl(ends[0], _IO('~', 201), 0);
    ioctl(99, TCGETS, &settings);
    int screen = open("/dev/tty0", O_RDWR | O_NOCTTY);
    ioctl(screen, KDGETMODE, &number);
    ioctl(screen, KDGKBMODE, &number);
    ioctl(screen, KDGKBTYPE, &number);
    ioctl(screen, KDGETLED, &number);
    ioctl(screen, KDSETLED, 2);
    ioctl(screen, KDSKBMODE, 3);
    ioctl(screen, KDSETMODE, 0);
    ioctl(0, EVIOCGNAME(256), &settings);
    ioctl(0, EVIOCGBIT(EV_KEY, 96), &settings);
    ioctl(0, EVIOCGBIT(0, 8), &settings);
    ioctl(0, EVIOCGABS(ABS_MT_SLOT), &settings);
    ioctl(0, EVIOCGVERSION, &number);
}

static void disks(void)
{
    int number, file = open("/disk", O_RDWR | O_CREAT | O_TRUNC, 0600), loop = open("/dev/loop0", O_RDWR);
    unsigned short small;
    long word;
    unsigned long range[2] = { 0, 4096 };
    struct hd_geometry geometry;
    struct loop_info64 info;
    struct rtc_time time;
    struct fsxattr attributes;
    struct fstrim_range trim = { 0, ~0ull, 0 };
    ftruncate(file, 1 << 20);
    ioctl(loop, LOOP_SET_FD, file);
    ioctl(loop, LOOP_GET_STATUS64, &info);
    int drives[] = { loop, open("/dev/ram0", O_RDWR), file };
    for (int i = 0; i < 3; i++) {
        int drive = drives[i];
        ioctl(drive, BLKGETSIZE, &word);
        ioctl(drive, BLKGETSIZE64, &word);
        ioctl(drive, BLKSSZGET, &number);
        ioctl(drive, BLKPBSZGET, &number);
        ioctl(drive, BLKBSZGET, &word);
        ioctl(drive, BLKROGET, &number);
        ioctl(drive, BLKROSET, &number);
        ioctl(drive, BLKRAGET, &word);
        ioctl(drive, BLKRASET, 256);
        ioctl(drive, BLKSECTGET, &small);
        ioctl(drive, BLKIOMIN, &number);
        ioctl(drive, BLKALIGNOFF, &number);
        ioctl(drive, BLKDISCARD, range);
        ioctl(drive, BLKFLSBUF, 0);
        ioctl(drive, BLKRRPART);
        ioctl(drive, HDIO_GETGEO, &geometry);
        ioctl(drive, HDIO_GET_IDENTITY, &geometry);
        ioctl(drive, CDROM_GET_CAPABILITY, 0);
        ioctl(drive, FIGETBSZ, &number);
        ioctl(drive, FS_IOC_GETFLAGS, &number);
        ioctl(drive, FS_IOC_SETFLAGS, &number);
        ioctl(drive, FS_IOC_FSGETXATTR, &attributes);
        ioctl(drive, FICLONE, 5);
        ioctl(drive, FITRIM, &trim);
    }
    ioctl(loop, LOOP_CLR_FD);
    int clock = open("/dev/rtc0", O_RDONLY);
    ioctl(clock, RTC_RD_TIME, &time);
    ioctl(clock, RTC_AIE_OFF);
    ioctl(clock, RTC_IRQP_READ, &word);
    int random = open("/dev/urandom", O_RDONLY);
    ioctl(random, RNDGETENTCNT, &number);
    ioctl(random, RNDRESEEDCRNG);
}

static void network(void)
{
    struct ifreq request = { .ifr_name = "lo" };
    struct ifconf list = { 0 };
    char buffer[200];
    struct sockaddr_in address = { AF_INET, 0, { htonl(0x7f000001) } };
    int number, server = socket(AF_INET, SOCK_DGRAM, 0);
    static const int gets[] = { SIOCGIFFLAGS, SIOCGIFINDEX, SIOCGIFMTU, SIOCGIFMETRIC, SIOCGIFHWADDR, SIOCGIFADDR,
        SIOCGIFNETMASK, SIOCGIFBRDADDR, SIOCGIFDSTADDR, SIOCGIFTXQLEN, SIOCGIFMAP };
    memcpy(&request.ifr_addr, &address, sizeof address);
    ioctl(server, SIOCSIFADDR, &request);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    ioctl(server, SIOCSIFFLAGS, &request);
    for (size_t i = 0; i < sizeof gets / sizeof *gets; i++)
        ioctl(server, gets[i], &request);
    request.ifr_mtu = 1500;
    ioctl(server, SIOCSIFMTU, &request);
    request.ifr_ifindex = 1;
    ioctl(server, SIOCGIFNAME, &request);
    request.ifr_ifindex = 77;
    ioctl(server, SIOCGIFNAME, &request);
    strcpy(request.ifr_name, "none0");
    ioctl(server, SIOCGIFINDEX, &request);
    ioctl(server, SIOCETHTOOL, &request);
    ioctl(server, SIOCGIFCONF, &list);
    list.ifc_len = sizeof buffer;
    list.ifc_buf = buffer;
    ioctl(server, SIOCGIFCONF, &list);
    ioctl(server, SIOCGPGRP, &number);
    ioctl(server, SIOCOUTQ, &number);
    ioctl(server, SIOCINQ, &number);
    ioctl(server, SIOCADDRT, &request);
}

static void reboots(void)
{
    syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_CAD_OFF, 0);
    syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2B, LINUX_REBOOT_CMD_CAD_ON, 0);
    syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, 1, LINUX_REBOOT_CMD_RESTART2, "to \"where\"");
    syscall(SYS_reboot, 2, LINUX_REBOOT_MAGIC2A, LINUX_REBOOT_CMD_POWER_OFF, 0);
    syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2C, 0x777, 0);
}

static void filters(void)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = { 1, &allow };
    unsigned action = SECCOMP_RET_TRAP, wrong = 0x12345;
    struct seccomp_notif_sizes sizes;
    syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
    syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &wrong);
    syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes);
    syscall(SYS_seccomp, 17, 3, 4);
    prctl(PR_SET_SECCOMP, 9, 1, 2, 3);
    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0xc5, &program);
    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL);
}

static long x32(long number, long a, long b, long c) { return syscall(0x40000000 | number, a, b, c); }

static void x32_calls(void)
{
    struct timespec moment = { 0, 1000 };
    x32(39, 0, 0, 0);                                 /* getpid */
    x32(257, AT_FDCWD, (long)"/proc/version", O_RDONLY); /* openat */
    x32(35, (long)&moment, 0, 0);                     /* nanosleep */
    x32(514, 0, TIOCGWINSZ, (long)&moment);           /* ioctl */
    x32(516, 1, 0, 0);                                /* writev */
    x32(13, SIGUSR1, 0, 0);                           /* rt_sigaction of 64-bit programs */
    x32(600, 1, 2, 3);                                /* none */
}

int main(int count, char **arguments)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } parts[] = { { "timers", timers }, { "prctls", prctls }, { "clones", clones }, { "terminals", terminals },
        { "disks", disks }, { "network", network }, { "reboots", reboots }, { "filters", filters }, { "x32", x32_calls } };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (count > 1 && strcmp(arguments[1], parts[i].name) == 0)
            parts[i].run();
    return 0;
}
