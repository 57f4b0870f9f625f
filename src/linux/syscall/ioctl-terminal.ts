import { bitsText, namedValues, nameOf, numbered, type ValueNames } from "./form.js";

/** Terminals' settings. Source: Linux, include/uapi/asm-generic/termbits.h. */
const input = namedValues("", {
  ...{ IGNBRK: 1, BRKINT: 2, IGNPAR: 4, PARMRK: 8, INPCK: 0x10, ISTRIP: 0x20, INLCR: 0x40, IGNCR: 0x80 },
  ...{ ICRNL: 0x100, IUCLC: 0x200, IXON: 0x400, IXANY: 0x800, IXOFF: 0x1000, IMAXBEL: 0x2000, IUTF8: 0x4000 },
});
const output = namedValues("", {
  ...{ OPOST: 1, OLCUC: 2, ONLCR: 4, OCRNL: 8, ONOCR: 0x10, ONLRET: 0x20, OFILL: 0x40, OFDEL: 0x80 },
});
const delays = [
  { mask: 0x100n, names: namedValues("NL", { 0: 0, 1: 0x100 }) },
  { mask: 0x600n, names: namedValues("CR", { 0: 0, 1: 0x200, 2: 0x400, 3: 0x600 }) },
  { mask: 0x1800n, names: namedValues("", { TAB0: 0, TAB1: 0x800, TAB2: 0x1000, XTABS: 0x1800 }) },
  { mask: 0x2000n, names: namedValues("BS", { 0: 0, 1: 0x2000 }) },
  { mask: 0x4000n, names: namedValues("VT", { 0: 0, 1: 0x4000 }) },
  { mask: 0x8000n, names: namedValues("FF", { 0: 0, 1: 0x8000 }) },
] as const;
const control = namedValues("", {
  ...{ CSTOPB: 0x40, CREAD: 0x80, PARENB: 0x100, PARODD: 0x200, HUPCL: 0x400, CLOCAL: 0x800 },
  ...{ CMSPAR: 0x40000000, CRTSCTS: 0x80000000 },
});
const charSizes = namedValues("CS", { 5: 0, 6: 0x10, 7: 0x20, 8: 0x30 });
const speeds = new Map([
  ...numbered("B", "0 50 75 110 134 150 200 300 600 1200 1800 2400 4800 9600 19200 38400"),
  [0x1000n, "BOTHER"] as const,
  ...numbered(
    "B",
    `57600 115200 230400 460800 500000 576000 921600 1000000 1152000 1500000 2000000 2500000 3000000 3500000 4000000`,
    0x1001,
  ),
]);
const local = namedValues("", {
  ...{ ISIG: 1, ICANON: 2, XCASE: 4, ECHO: 8, ECHOE: 0x10, ECHOK: 0x20, ECHONL: 0x40, NOFLSH: 0x80 },
  ...{ IEXTEN: 0x8000, ECHOCTL: 0x200, ECHOPRT: 0x400, ECHOKE: 0x800, FLUSHO: 0x1000, PENDIN: 0x4000 },
  ...{ TOSTOP: 0x100, EXTPROC: 0x10000 },
});
const speedMask = 0x100fn;
const inputSpeedShift = 16n;
const charSizeMask = 0x30n;

/** `struct termios` (36 bytes), or one that begins like it. */
export function termiosText(view: DataView): string {
  return flagsText([0, 4, 8, 12].map((at) => BigInt(view.getUint32(at, true))));
}

/** `struct termio` (18 bytes), the same in 16 bits. */
export function termioText(view: DataView): string {
  return flagsText([0, 2, 4, 6].map((at) => BigInt(view.getUint16(at, true))));
}

function flagsText([iflag = 0n, oflag = 0n, cflag = 0n, lflag = 0n]: readonly bigint[]): string {
  return `{c_iflag=${bits(input, iflag)}, c_oflag=${outputText(oflag)}, c_cflag=${controlText(cflag)}, c_lflag=${bits(local, lflag)}, ...}`;
}

/** Of none strace shows nothing here. */
function bits(names: ValueNames, value: bigint): string {
  return value === 0n ? "" : bitsText(names, value);
}

function outputText(value: bigint): string {
  const names = delays.map((delay) => nameOf(delay.names, value & delay.mask));
  const rest = delays.reduce((left, { mask }) => left & ~mask, value);
  return [...names, bits(output, rest)].join("|");
}

function controlText(value: bigint): string {
  const inputSpeed = value & (speedMask << inputSpeedShift);
  const rest = value & ~(speedMask | (speedMask << inputSpeedShift) | charSizeMask);
  return [
    nameOf(speeds, value & speedMask),
    ...(inputSpeed === 0n ? [] : [`${nameOf(speeds, inputSpeed >> inputSpeedShift)}<<IBSHIFT`]),
    nameOf(charSizes, value & charSizeMask),
    bits(control, rest),
  ].join("|");
}
