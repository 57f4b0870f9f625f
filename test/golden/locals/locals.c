#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct point { int x, y; };
struct item { struct item *next; char name[12]; struct point at; double weight; unsigned flags : 3; };
typedef unsigned long u64;
static u64 seed = 88172645463325252ul;
static int counter;
static inline u64 rnd(void) { seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17; return seed; }
static inline int clamp(int value, int low, int high) { if (value < low) return low; int over = value - high; if (over > 0) return high; return value; }
__attribute__((noinline)) static struct item *make(const char *name, int x, int y, double w) {
  struct item *item = malloc(sizeof *item);
  struct point p = { clamp(x, -10, 10), clamp(y, -20, 20) };
  strncpy(item->name, name, sizeof item->name - 1); item->name[11] = 0;
  item->at = p; item->weight = w * p.x; item->flags = (unsigned)(x ^ y) & 7; item->next = 0; counter++;
  return item;
}
__attribute__((noinline)) static int walk(struct item *list, struct point *sum) {
  int count = 0; struct point local = { 0, 0 };
  for (struct item *i = list; i; i = i->next) { int dx = i->at.x * 2; local.x += dx; local.y += i->at.y; count++; if (count > 100) { int early = count * 3; return early; } }
  *sum = local; return count;
}
__attribute__((noinline)) static u64 hash(const unsigned char *text, size_t length) {
  u64 h = 1469598103934665603ul; static int calls; calls++;
  for (size_t i = 0; i < length; i++) { unsigned char c = text[i]; h ^= c; h *= 1099511628211ul; u64 mixed = h >> 7; if (mixed & 1) h += mixed; }
  return h;
}
__attribute__((noinline)) static long many(int a, char b, short c, unsigned d, long e, void *f, struct point g, u64 h, float i, double j) {
  long r = a + b + c; r *= d; r ^= e; r += (long)f & 1; r += g.x * g.y; r -= h; float k = i * 2; r += (long)(k + j); char buffer[16]; snprintf(buffer, sizeof buffer, "%ld", r); return r + buffer[0];
}
__attribute__((noinline)) static int recurse(int depth, int *path) { int here = depth * depth; path[depth & 7] = here; if (depth <= 0) return here; int below = recurse(depth - 1, path); return here + below; }
void stop_here(void) { __asm__ volatile("nop"); }
int main(int argc, char **argv) {
  struct item *list = 0; struct point sum = { 1, 2 }; u64 total = 0; int path[8] = { 0 };
  stop_here();
  for (int round = 0; round < 400; round++) {
    char name[12]; snprintf(name, sizeof name, "k%d", round);
    struct item *item = make(name, (int)(rnd() % 40) - 20, (int)(rnd() % 80) - 40, round * 0.5); item->next = list; list = item;
    int n = walk(list, &sum); total += hash((const unsigned char *)name, strlen(name)); total += many(n, 'a' + round, -round, n * 3u, (long)total, list, sum, rnd(), 1.5f * n, 2.25 * round); total += recurse(round & 7, path);
  }
  printf("%lu %d\n", total, counter); return 0;
}
