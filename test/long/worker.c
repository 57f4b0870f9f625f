/* What the distribution test runs: functions with arguments, called a known number of times, and one system call a round. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct order {
  int number;
  const char *name;
};

/* Reads both members: a compiler leaves out what nobody reads. */
__attribute__((noinline)) int weigh(struct order *one, int factor) {
  return one->number * factor + (one->name[0] == '?');
}

__attribute__((noinline)) static int pack(struct order *one) {
  int sum = 0;
  for (int i = 0; i < one->number; i++) sum += weigh(one, i);
  return sum;
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 3;
  for (int i = 1; i <= rounds; i++) {
    struct order one = {i, "box"};
    char line[] = "packed 00\n";
    int sum = pack(&one);
    line[7] += sum / 10;
    line[8] += sum % 10;
    write(1, line, strlen(line));
  }
  return 0;
}
