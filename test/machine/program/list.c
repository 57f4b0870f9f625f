// A program with inlined functions, clones and code that is moved away, for tests of debug information.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
  struct node *next;
  int value;
};

static inline int square(int x) { return x * x; }
static inline int cube(int x) { return square(x) * x; }

static int __attribute__((noinline, cold)) fail(const char *why) {
  fprintf(stderr, "%s\n", why);
  exit(1);
}

static int total(struct node *n, int d) {
  int sum = 0;
  while (n) {
    if (n->value < 0) fail("negative");
    sum += cube(n->value) + d;
    n = n->next;
  }
  return sum;
}

int other(int);

int main(int argc, char **argv) {
  struct node *head = 0;
  for (int i = 0; i < argc; i++) {
    struct node *n = malloc(sizeof *n);
    n->next = head;
    n->value = strlen(argv[i]);
    head = n;
  }
  printf("%d %d\n", total(head, argc), other(argc));
  return 0;
}
