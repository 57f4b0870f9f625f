/*
 * Works, and prints the stacks that the guest's own kernel finds meanwhile: perf's samples by the clock, at page faults
 * and at switches of tasks, one a line: "@S EVENT TIME ADDRESS...". What it does leads deep into the kernel: files,
 * pipes, faults in copies, sockets over the loopback, forks.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { pages = 512, page = 4096, events = 3, rounds = 24 };

static struct {
  int fd;
  struct perf_event_mmap_page *ring;
} event[events];

static void open_event(int number, int config, int period) {
  struct perf_event_attr attributes = {
      .size = sizeof attributes,
      .type = PERF_TYPE_SOFTWARE,
      .config = config,
      .sample_period = period,
      .sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_CALLCHAIN,
      .disabled = 1,
      .exclude_hv = 1,
  };
  event[number].fd = syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0);
  event[number].ring =
      mmap(0, (pages + 1) * page, PROT_READ | PROT_WRITE, MAP_SHARED, event[number].fd, 0);
  if (event[number].fd < 0 || event[number].ring == MAP_FAILED) {
    perror("perf_event_open");
    exit(1);
  }
}

static void read_file(const char *path) {
  char buffer[2 * page];
  int file = open(path, O_RDONLY);
  while (read(file, buffer, sizeof buffer) > 0) {
  }
  close(file);
}

static void work(int round) {
  enum { size = 1 << 17 };
  read_file("/proc/self/maps");
  read_file("/proc/self/status");
  char *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int zero = open("/dev/zero", O_RDONLY);
  if (read(zero, memory, size / 4) < 0) perror("read");
  close(zero);
  for (int at = size / 4; at < size; at += page) memory[at] = round;
  int ends[2];
  if (pipe(ends) || write(ends[1], memory, page) < 0 || read(ends[0], memory, page) < 0) perror("pipe");
  close(ends[0]);
  close(ends[1]);
  int file = open("/tmp/file", O_CREAT | O_RDWR, 0600);
  if (write(file, memory, size / 2) < 0 || ftruncate(file, 0)) perror("write");
  close(file);
  unlink("/tmp/file");
  munmap(memory, size);
  struct sockaddr_in address = {AF_INET, htons(5000), {htonl(INADDR_LOOPBACK)}};
  int end = socket(AF_INET, SOCK_DGRAM, 0);
  bind(end, (void *)&address, sizeof address);
  sendto(end, "some words", 10, 0, (void *)&address, sizeof address);
  recv(end, ends, sizeof ends, MSG_DONTWAIT);
  close(end);
  if (round % 8 == 0) {
    int child = fork();
    if (child == 0) {
      execl("/bin/true", "true", (char *)0);
      _exit(1);
    }
    waitpid(child, 0, 0);
  }
  usleep(500);
}

static void print_samples(int number) {
  const char *data = (char *)event[number].ring + page;
  for (uint64_t at = 0; at < event[number].ring->data_head;) {
    const struct perf_event_header *header = (void *)(data + at % (pages * page));
    const uint64_t *words = (void *)(header + 1);
    if (header->type == PERF_RECORD_SAMPLE) {
      printf("@S %d %lu", number, words[0]);
      for (uint64_t i = 0; i < words[1]; i++) printf(" %lx", words[2 + i]);
      puts("");
    }
    at += header->size;
  }
}

int main(void) {
  mkdir("/tmp", 0777);
  open_event(0, PERF_COUNT_SW_CPU_CLOCK, 400000);
  open_event(1, PERF_COUNT_SW_PAGE_FAULTS, 7);
  open_event(2, PERF_COUNT_SW_CONTEXT_SWITCHES, 1);
  for (int i = 0; i < events; i++) ioctl(event[i].fd, PERF_EVENT_IOC_ENABLE, 0);
  for (int i = 0; i < rounds; i++) work(i);
  for (int i = 0; i < events; i++) ioctl(event[i].fd, PERF_EVENT_IOC_DISABLE, 0);
  for (int i = 0; i < events; i++) print_samples(i);
  return 0;
}
