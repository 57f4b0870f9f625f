/*
 * Tasks with all that /proc tells of: files of every kind, mappings of every kind, threads, a process whose first thread has
 * ended, zombies, stopped tasks, namespaces, user ids, command lines that are long, empty and overwritten. All sleep.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { page = 4096, readWrite = PROT_READ | PROT_WRITE, anonymous = MAP_PRIVATE | MAP_ANONYMOUS };

static char **arguments;

static void sleep_as(const char *name) {
  prctl(PR_SET_NAME, name);
  for (;;) pause();
}

static void *sleeping_thread(void *name) {
  sleep_as(name);
  return 0;
}

static void start_thread(const char *name) {
  pthread_t thread;
  pthread_create(&thread, 0, sleeping_thread, (void *)name);
}

static void open_special_files(void) {
  int memory = memfd_create("a memfd", 0);
  if (ftruncate(memory, 2 * page)) exit(1);
  mmap(0, 2 * page, readWrite, MAP_SHARED, memory, 0);
  int nameless = memfd_create("", MFD_ALLOW_SEALING);
  if (ftruncate(nameless, page)) exit(1);
  mmap(0, page, PROT_READ, MAP_PRIVATE, nameless, 0);
  eventfd(3, 0);
  struct epoll_event event = {EPOLLIN};
  epoll_ctl(epoll_create1(EPOLL_CLOEXEC), EPOLL_CTL_ADD, 0, &event);
  timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR2);
  signalfd(-1, &signals, 0);
  inotify_init1(IN_NONBLOCK);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) || pipe2(ends, O_NONBLOCK | O_CLOEXEC)) exit(1);
  socket(AF_INET6, SOCK_DGRAM, 0);
  socket(AF_NETLINK, SOCK_RAW, 0);
  mkfifo("fifo", 0600);
  open("fifo", O_RDWR);
  struct sockaddr_un address = {AF_UNIX, "/mnt/many/socket"};
  int listening = socket(AF_UNIX, SOCK_STREAM, 0);
  bind(listening, (void *)&address, sizeof address);
  listen(listening, 1);
  static const char *const paths[] = {"/proc/self/ns/net", "/proc/self/maps", "/sys/kernel/notes", "/"};
  for (int i = 0; i < 4; i++) open(paths[i], O_RDONLY);
  open("/dev/null", O_WRONLY | O_APPEND);
  open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
  open("/mnt/many", O_PATH | O_DIRECTORY);
}

static void open_lost_files(void) {
  int gone = open("gone", O_CREAT | O_RDWR, 0644);
  if (write(gone, "x", 1) != 1) exit(1);
  unlink("gone");
  mmap(0, page, readWrite, MAP_SHARED, gone, 0);
  int renamed = open("renamed", O_CREAT | O_RDWR, 0644);
  if (ftruncate(renamed, 3 * page)) exit(1);
  mmap(0, 2 * page, PROT_READ, MAP_PRIVATE, renamed, page);
  rename("renamed", "a name\nof \\ two lines (deleted)");
  open(".", O_TMPFILE | O_RDWR, 0600);
  mkdir("removed", 0777);
  open("removed", O_RDONLY);
  rmdir("removed");
}

static void map_memory(void) {
  int zero = open("/dev/zero", O_RDWR);
  mmap(0, page, readWrite, MAP_SHARED, zero, 0);
  mmap(0, page, readWrite, MAP_PRIVATE, zero, 0);
  mmap(0, 2 * page, readWrite, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  shmat(shmget(IPC_PRIVATE, page, 0600 | IPC_CREAT), 0, 0);
  int segment = shmget(0x1234, page, 0600 | IPC_CREAT);
  shmat(segment, 0, SHM_RDONLY);
  shmctl(segment, IPC_RMID, 0);
  char *named = mmap(0, 4 * page, readWrite, anonymous, -1, 0);
  prctl(0x53564d41, 0, named, 2 * page, "my pool"); /* PR_SET_VMA */
  mprotect(named + 3 * page, page, PROT_NONE);
  mlock(named, page);
  char *growing = mmap(0, 16 * page, readWrite, anonymous | MAP_GROWSDOWN | MAP_NORESERVE, -1, 0);
  growing[16 * page - 1] = 1;
  mmap((void *)0x10000, page, readWrite | PROT_EXEC, anonymous | MAP_FIXED, -1, 0);
  sbrk(100000);
}

static void files_and_mappings(void) {
  open_special_files();
  open_lost_files();
  map_memory();
  dup2(0, 1000);
  dup2(1, 3333);
  fcntl(0, F_DUPFD_CLOEXEC, 200);
  sleep_as("files");
}

static void threads(void) {
  start_thread("worker one");
  start_thread("\xc3\xa9\xff two");
  start_thread("(par) en");
  sleep_as("threads");
}

static void without_first_thread(void) {
  start_thread("left over");
  usleep(100000);
  syscall(SYS_exit, 0);
}

static void children(void) {
  if (fork() == 0) _exit(7);
  pid_t stopped = fork();
  if (stopped == 0) sleep_as("stopped");
  usleep(10000);
  kill(stopped, SIGSTOP);
  if (fork() == 0) {
    if (fork() == 0) sleep_as("orphan");
    _exit(0);
  }
  sleep_as("parent");
}

static void user_namespace(void) {
  unshare(CLONE_NEWUSER);
  int map = open("/proc/self/uid_map", O_WRONLY);
  if (write(map, "1000 0 1", 8) < 0) perror("uid_map");
  close(map);
  sleep_as("userns");
}

static void process_namespace(void) {
  unshare(CLONE_NEWPID);
  if (fork() == 0) sleep_as("inside");
  sleep_as("pidns");
}

static void mount_namespace(void) {
  unshare(CLONE_NEWNS);
  open("/mnt/many/private", O_CREAT | O_RDWR, 0600);
  sleep_as("mntns");
}

static void other_user(void) {
  if (setresgid(11, 12, 13) || setresuid(1, 2, 3)) exit(1);
  sleep_as("uids");
}

static void long_command_line(void) {
  enum { words = 401 };
  static char word[61];
  static char *many[words + 1];
  memset(word, 'w', sizeof word - 1);
  many[0] = arguments[0];
  for (int i = 1; i < words; i++) many[i] = word;
  execv("/bin/objects", many);
}

static void overwritten_command_line(void) {
  size_t room = strlen(arguments[0]) + 1 + (arguments[1] ? strlen(arguments[1]) : 0);
  memset(arguments[0], 'T', room);
  sleep_as("title");
}

static void many_of_each(void) {
  for (int i = 0; i < 600; i++) mmap(0, page, i % 2 ? PROT_NONE : PROT_READ, anonymous, -1, 0);
  for (int i = 0; i < 900; i++) dup(0);
  sleep_as("many");
}

int main(int count, char **words) {
  arguments = words;
  if (count > 200) sleep_as("long one");
  struct rlimit files = {page, page};
  setrlimit(RLIMIT_NOFILE, &files);
  mkdir("/mnt/many", 0777);
  if (chdir("/mnt/many")) return 1;
  static void (*const tasks[])(void) = {
      files_and_mappings, threads,           without_first_thread,     children,
      user_namespace,     process_namespace, mount_namespace,          other_user,
      long_command_line,  many_of_each,      overwritten_command_line,
  };
  for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
    if (fork() == 0) tasks[i]();
  sleep_as("objects main");
}
