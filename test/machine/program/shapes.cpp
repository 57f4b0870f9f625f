// A program with inlined functions, lambdas, templates and virtual calls, for tests of debug information.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace geo {
struct Shape {
  virtual ~Shape() = default;
  virtual double area() const = 0;
};
struct Square : Shape {
  double side;
  explicit Square(double s) : side(s) {}
  double area() const override { return side * side; }
};
template <typename T, int N> struct Array {
  T values[N];
  T sum() const {
    T total{};
    for (auto &value : values) total += value;
    return total;
  }
};
namespace {
inline int hidden(int x) { return x * 7 + 1; }
}  // namespace
int helper(int x) {
  struct Local {
    static int twice(int y) { return hidden(y) * 2; }
  };
  return Local::twice(x) + [](int z) { return hidden(z) - 3; }(x);
}
}  // namespace geo

template <typename F> __attribute__((noinline)) int apply(F f, int n) {
  int r = 0;
  for (int i = 0; i < n; i++) r += f(i);
  return r;
}

std::string join(const std::vector<std::string> &parts) {
  std::string s;
  for (auto &part : parts) {
    if (!s.empty()) s += ",";
    s += part;
  }
  return s;
}

int main(int argc, char **argv) {
  std::vector<std::string> names(argv, argv + argc);
  std::sort(names.begin(), names.end(), [](auto &x, auto &y) { return x.size() < y.size(); });
  std::map<std::string, int> count;
  for (auto &name : names) count[name]++;
  std::unique_ptr<geo::Shape> shape = std::make_unique<geo::Square>(argc);
  geo::Array<int, 4> array{{argc, 2, 3, 4}};
  std::function<int(int)> f = [&](int q) { return q + array.sum(); };
  std::printf("%s %f %d %d\n", join(names).c_str(), shape->area(), apply(f, argc), geo::helper(argc) + (int)count.size());
}
