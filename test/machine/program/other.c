static inline int mix(int x) {
  int s = 0;
  for (int i = 0; i < x; i++) s ^= i * x;
  return s;
}

int other(int a) { return mix(a) + mix(a + 1); }
