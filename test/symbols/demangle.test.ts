import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { demangle, withoutParameters } from "../../src/symbols/demangle/demangle.js";
import { MangledNames } from "../../src/symbols/demangle/mangled-names.js";
import { decodePunycode } from "../../src/symbols/demangle/punycode.js";
import { NameList } from "../../src/symbols/tables/name-list.js";

const golden = readFileSync(new URL("../golden/names/demangled.tsv", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line.startsWith("_"))
  .map((line) => line.split("\t") as [string, string]);

it("says what c++filt says", () => {
  expect(golden.length).toBeGreaterThan(100);
  expect(golden.map(([name]) => [name, demangle(name)])).toEqual(golden);
});

describe("C++", () => {
  it.each([
    ["_Z1fv", "f()"],
    ["_Z1fiz", "f(int, ...)"],
    ["_ZN1A1BC1Ev", "A::B::B()"],
    [
      "_ZNSsC1ERKSs",
      "std::basic_string<char, std::char_traits<char>, std::allocator<char> >::basic_string(std::string const&)",
    ],
    ["_Z1fPFvPA3_iE", "f(void (*)(int (*) [3]))"],
    ["_Z1fPFPFviEcE", "f(void (*(*)(char))(int))"],
    ["_Z1fM1AKFvvE", "f(void (A::*)() const)"],
    ["_Z1fM1Ai", "f(int A::*)"],
    ["_Z1fIJidEEvDpT_", "void f<int, double>(int, double)"],
    ["_Z1fIJidEEvDpRKT_", "void f<int, double>(int const&, double const&)"],
    ["_Z1fIJEEvDpT_", "void f<>()"],
    ["_Z1fIRiEvOT_", "void f<int&>(int&)"],
    ["_ZN1AcvT_IiEEv", "A::operator int<int>()"],
    ["_ZNKR1A1fEv", "A::f() const &"],
    ["_ZN12_GLOBAL__N_11fEv", "(anonymous namespace)::f()"],
    ["_ZZ1fvENKUliE_clEi", "f()::{lambda(int)#1}::operator()(int) const"],
    ["_ZZ1fvE1x_0", "f()::x"],
    ["_ZL1x", "x"],
    ["_Z1fILb1ELi5ELj7ELc97ELln3EEvv", "void f<true, 5, 7u, (char)97, -3l>()"],
    ["_Z1fIXadL_Z1gvEEEvv", "void f<&(g())>()"],
    ["_Z1fIXadL_ZN1A1gEvEEEvv", "void f<&A::g>()"],
    ["_Z1fDn", "f(decltype(nullptr))"],
    ["_ZlsRSoi", "operator<<(std::ostream&, int)"],
    ["_ZlsIiEvT_", "void operator<< <int>(int)"],
    ["_Znwm", "operator new(unsigned long)"],
    ["_Zli3_kmy", 'operator"" _km(unsigned long long)'],
    ["_Z1fv.constprop.0.cold", "f() [clone .constprop.0] [clone .cold]"],
    ["_Z1fv@plt", "f()@plt"],
    ["_ZThn16_N1A1fEv", "non-virtual thunk to A::f()"],
    ["___Z1fv", "f()"],
  ])("%s", (name, text) => {
    expect(demangle(name)).toBe(text);
  });

  it.each([
    "main",
    "_start",
    "_Z",
    "_ZN",
    "_ZN1A",
    "_Z1",
    "_Z99f",
    "_Z1fS_",
    "_Z1fT_",
    "_ZN1AE1",
    "_R",
    "_RN",
    "__x86",
    "_Zo",
  ])("leaves %s as it is", (name) => {
    expect(demangle(name)).toBe(name);
  });
});

describe("Rust", () => {
  it.each([
    ["_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"],
    [
      "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE",
      "<Test + 'static as foo::Bar<Test>>::bar",
    ],
    ["_RNvC6_123foo3bar", "123foo::bar"],
    ["_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"],
    ["_RNCNCNgCs6DXkGYLi8lr_2cc5spawn00B5_", "cc::spawn::{closure#0}::{closure#0}"],
    [
      "_RNCINkXs25_NgCsbmNqQUJIY6D_4core5sliceINyB9_4IterhENuNgNoBb_4iter8iterator8Iterator9rpositionNCNgNpB9_6memchr7memrchrs_0E0Bb_",
      "<core::slice::Iter<u8> as core::iter::iterator::Iterator>::rposition::<core::slice::memchr::memrchr::{closure#1}>::{closure#0}",
    ],
    [
      "_RINbNbCskIICzLVDPPb_5alloc5alloc8box_freeDINbNiB4_5boxed5FnBoxuEp6OutputuEL_ECs1iopQbuBiw2_3std",
      "alloc::alloc::box_free::<dyn alloc::boxed::FnBox<(), Output = ()>>",
    ],
    ["_RMC0INtC8arrayvec8ArrayVechKj7b_E", "<arrayvec::ArrayVec<u8, 123>>"],
    [
      "_RNqCs4fqI2P2rA04_11utf8_identsu30____7hkackfecea1cbdathfdh9hlq6y",
      "utf8_idents::საჭმელად_გემრიელი_სადილი",
    ],
  ] as const)("%s", (name, text) => {
    expect(demangle(name)).toBe(text);
  });

  it("decodes punycode", () => {
    expect(decodePunycode("gre_6ja3f")).not.toBeUndefined();
    expect(decodePunycode("Bcher_kva")).toBe("Bücher");
    expect(decodePunycode("!")).toBeUndefined();
  });
});

describe("hostile names", () => {
  it("of any letters give themselves or a text of bounded size, in bounded time", () => {
    const letters = fc.constantFrom(..."_ZNSTIEJXLKPRODFMAGCtvcilsabdpuz0123459.$".split(""));
    fc.assert(
      fc.property(
        fc.array(letters, { maxLength: 80 }),
        fc.constantFrom("_Z", "_ZN", "_R", "_ZZ", "_ZI"),
        (list, start) => {
          const text = demangle(start + list.join(""));
          expect(text.length).toBeLessThanOrEqual((1 << 17) + 100);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it("that are cut or changed versions of real ones never fail", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...golden),
        fc.nat(200),
        fc.nat(255),
        fc.boolean(),
        ([name], place, letter, isCut) => {
          const at = place % name.length;
          const rest = isCut ? "" : name.slice(at + 1);
          expect(typeof demangle(name.slice(0, at) + String.fromCharCode(letter) + rest)).toBe("string");
        },
      ),
      { numRuns: 3000 },
    );
  });

  it.each([
    ["deep types", `_Z1f${"P".repeat(60_000)}i`],
    ["deep names", `_Z${"N".repeat(30_000)}1aE`],
    ["deep templates", `_Z1f${"I1a".repeat(20_000)}`],
    ["deep lambdas", `_Z${"Z1fv".repeat(10_000)}`],
    [
      "a doubled type",
      `_Z1f1AI1BS0_E${Array.from({ length: 60 }, (_, i) => `1AIS${(i + 2).toString(36).toUpperCase()}_S${(i + 2).toString(36).toUpperCase()}_E`).join("")}`,
    ],
    ["deep Rust types", `_RMC0${"R".repeat(60_000)}u`],
    ["Rust references to references", `_RMC0${"TB3_".repeat(5000)}E`],
    ["a doubled Rust type", `_RMC0${Array.from({ length: 40 }, () => "TRuB4_B4_E").join("")}`],
    ["digits", `_Z${"9".repeat(60_000)}`],
  ])("%s end at once", (_, name) => {
    expect(demangle(name).length).toBeLessThanOrEqual((1 << 17) + 100);
  });
});

it.each([
  ["f(int)", "f"],
  ["void f<int>(int)", "f<int>"],
  ["A::f() const", "A::f"],
  ["(anonymous namespace)::f(int)", "(anonymous namespace)::f"],
  ["A::operator()(int)", "A::operator()"],
  ["f()::{lambda(int)#1}::operator()(int) const", "f()::{lambda(int)#1}::operator()"],
  ["f(int)::x", "f(int)::x"],
  ["vtable for A", "vtable for A"],
  ["A::operator int() const", "A::operator int"],
  ["f() [clone .cold]", "f"],
  ["core::fmt::write", "core::fmt::write"],
  ["std::ostream& operator<< <int>(std::ostream&, int)", "operator<< <int>"],
])("%s without its parameters", (text, name) => {
  expect(withoutParameters(text)).toBe(name);
});

it("finds a function by its demangled name, with parameters or without", () => {
  const list = ["_ZN1A1fEi", "_ZN1A1fEd", "_ZN1B1fEi", "main", "_RNvNtCs1234_7mycrate3foo3bar"];
  const names = new MangledNames(NameList.from(list));
  expect(names.find("A::f")).toEqual([0, 1]);
  expect(names.find("A::f(double)")).toEqual([1]);
  expect(names.find("mycrate::foo::bar")).toEqual([4]);
  expect(names.find("f")).toEqual([]);
  expect(names.find("main")).toEqual([]);
});
