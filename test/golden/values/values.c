#include <stdint.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8; typedef uint32_t u32; typedef uint64_t u64; typedef int8_t s8;
struct list_head { struct list_head *next, *prev; };
enum color { RED, GREEN = 5, BLUE };
enum flags { F_A = 1, F_B = 2, F_C = 4, F_NONE = 0 };
enum gaps { G_X = 1, G_Y = 5 };
enum negative { N_MINUS = -1, N_ZERO, N_TWO = 2 };
enum big { BIG_ONE = 1, BIG_HUGE = 0x100000000ULL };
enum dup { D_A = 1, D_B = 1, D_C = 2 };
union variant { int number; float real; char text[8]; void *pointer; };
struct bits { unsigned a:1, b:3; int c:5; unsigned long long d:33; bool e:1; enum color f:4; unsigned char g:7; u8 tail; };
struct empty {};
struct inner { int x; struct { short y; union { long z; char zc; }; }; };
typedef int (*operation)(struct inner *, int, ...);
struct ops { operation run; void (*stop)(void); int (*table[3])(const char *); };
struct flexible { int count; char data[]; };
struct holder { struct empty nothing; int after; struct empty many[4]; };
struct node { struct list_head list; char comm[16]; u8 mac[6]; enum color color; enum flags flags; struct bits bits; union variant v; const struct ops *ops; struct node *self; struct inner inner; double ratio; bool on; const char *name; int small[4]; };

static int op_run(struct inner *i, int n, ...) { return i->x + n; }
static void op_stop(void) { }
static int op_t(const char *s) { return s[0]; }
int plain_function(struct node *n, const char *const *names, int (*compare)(const void *, const void *)) { return !!n + !!names + !!compare; }

const struct ops operations = { op_run, op_stop, { op_t, 0, op_t } };
struct node nodes[3];
struct bits bits[4];
enum color c_green = GREEN, c_bad = 77; enum flags f_ab = F_A | F_B, f_unknown = 0x48, f_zero = 0, f_wide = 8 | F_A, f_part = 0x11, f_only = 0x100;
enum gaps g_bad = 4; enum negative n_minus = -1, n_bad = 9; enum big big = BIG_HUGE, big_bad = 3; enum dup dup = 1, dup3 = 3;
char text_short[16] = "sh", text_full[4] = "full", text_long[300], text_exact[200], text_201[201], text_runs[64] = "aaaaaaaaaaaaaaabcccccccccccccccccccccccd", text_empty[8], text_esc[40] = "q\"b\\t\tn\n\033[0m\0017\a\b\v\f\r'\177\200\377x9";
unsigned char bytes_u8[32]; signed char bytes_s8[8]; u8 zero_bytes[300];
int ints[10], ints_repeat[40], ints_many[250], matrix[3][4], runs[30]; short shorts[5]; long longs[4];
char strings2[3][8] = { "one", "", "threeee" }; const char *names[4] = { "alpha", "", 0, "a rather long string with some text" };
char *volatile vp; const char *cp = "const \"quoted\""; unsigned char *ucp = (unsigned char *)"unsigned"; signed char *scp = (signed char*)"signed"; char *long_string; char *bad_string = (char *)0x10; char *string_200; char *string_201; typedef char *string_t; string_t tstr = "typed"; 
char character = 's', char_high = (char)0xc3, char_zero = 0, char_quote = '\'', char_back = '\\', char_nl = '\n'; unsigned char uchar_high = 0xc3; s8 signed_small = -5;
bool yes = true, no = false; bool bools[5] = { 1, 0, 1, 1, 0 };
float floats[8] = { 0, 1, -1.5f, 0.1f, 1e10f, 1e-10f, 3.4e38f, 16777216.f }; double doubles[9] = { 0, 1, -2.25, 0.1, 1e100, 1e-5, 0.0001, 123456789.123, 1e16 }; double dnan, dinf; float fnan; 
void *vptr; void *null_pointer; struct node *node_pointer; struct node **node_pointer_pointer; int *int_pointer = &ints[3]; operation op_pointer = op_run; operation op_null; void (*simple)(void) = op_stop; const struct node *const const_pointer = &nodes[1]; int (*array_pointer)[10] = &ints; int (*fa[2])(struct inner *, int, ...) = { op_run, 0 };
struct flexible *flex; union variant variant; struct inner inner = { 1, { 2, { 3 } } }; struct empty nothing; struct holder holder = { .after = 7 };
u64 u64max = -1; long lmin = -0x7fffffffffffffffL - 1; u32 u32max = -1; unsigned short us = 65535; size_t sz = 42; intptr_t ip = -7; struct list_head head = { &head, &head }; volatile int vol = 3; const volatile unsigned long cvl = 9;
struct deep { struct { struct { struct { int value; } c; } b; } a; int arr[2][2][2]; } deep = { { { { 5 } } }, { { { 1, 2 }, { 3, 4 } }, { { 5, 6 }, { 7, 8 } } } };
struct { int anon_member; } anonymous_struct = { 4 };
enum { ANON_A, ANON_B } anonymous_enum = ANON_B;
struct tail { long a; char c; } tails[12];
struct node zero_nodes[4];
static uint64_t state = 88172645463325252ULL; static uint64_t rnd(void) { state ^= state << 13; state ^= state >> 7; return state ^= state << 17; }
void stop_here(void) { __asm__ volatile("nop"); }
int main(void) {
  for (int i = 0; i < 300; i++) text_long[i] = 'a' + i % 26;
  memset(text_exact, 0, 200); for (int i = 0; i < 200; i++) text_exact[i] = '0' + i % 10; for (int i = 0; i < 201; i++) text_201[i] = 'A' + i % 10;
  for (int i = 0; i < 32; i++) bytes_u8[i] = rnd(); for (int i = 0; i < 8; i++) bytes_s8[i] = rnd();
  for (int i = 0; i < 10; i++) ints[i] = (int)rnd(); for (int i = 0; i < 40; i++) ints_repeat[i] = i / 13; for (int i = 0; i < 250; i++) ints_many[i] = i; for (int i = 0; i < 30; i++) runs[i] = i < 9 ? 1 : i < 19 ? 2 : i;
  for (int i = 0; i < 12; i++) ((int *)matrix)[i] = i * i; for (int i = 0; i < 5; i++) shorts[i] = rnd(); for (int i = 0; i < 4; i++) longs[i] = rnd();
  long_string = malloc(400); memset(long_string, 0, 400); for (int i = 0; i < 399; i++) long_string[i] = 'a' + i % 26; string_200 = strdup(long_string); string_200[200] = 0; string_201 = strdup(long_string); string_201[201] = 0; vp = long_string + 380;
  dnan = __builtin_nan(""); dinf = -__builtin_inf(); fnan = -__builtin_nanf("");
  vptr = malloc(8); node_pointer = &nodes[2]; node_pointer_pointer = &node_pointer;
  flex = malloc(sizeof *flex + 16); flex->count = 3; strcpy(flex->data, "flexible"); strcpy(variant.text, "variant");
  for (int i = 0; i < 3; i++) { struct node *n = &nodes[i]; n->list.next = &nodes[(i + 1) % 3].list; n->list.prev = &nodes[(i + 2) % 3].list; strcpy(n->comm, i ? "swapper/0" : "kworker/u4:1"); for (int k = 0; k < 6; k++) n->mac[k] = rnd(); n->color = i * 5; n->flags = rnd() & 7; memset(&n->bits, (int)rnd(), sizeof n->bits); n->bits.e = i & 1; n->v.number = (int)rnd(); n->ops = i ? &operations : 0; n->self = n; n->inner = inner; n->ratio = i / 3.0; n->on = i == 1; n->name = names[i]; n->small[i] = (int)rnd(); }
  for (int i = 0; i < 4; i++) { uint64_t *p = (void *)&bits[i]; p[0] = rnd(); bits[i].e = i & 1; }
  for (int i = 0; i < 12; i++) { tails[i].a = i / 11; tails[i].c = 'x'; }
  stop_here();
  return plain_function(nodes, names, 0);
}
