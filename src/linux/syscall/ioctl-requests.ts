import {
  bitsText,
  fieldString,
  hexText,
  low,
  namedValues,
  nameOf,
  numbered,
  signed,
  type ValueNames,
} from "./form.js";
import { termiosText, termioText } from "./ioctl-terminal.js";
import { descriptorText, quoted } from "./text.js";

/** How the third argument of an `ioctl` is shown. */
export type RequestShape =
  /** There is none. */
  | { readonly is: "nothing" }
  | { readonly is: "value"; readonly show: (value: bigint) => string }
  /** A structure that the program gives, or that it gets. */
  | { readonly is: "given" | "got"; readonly bytes: number; readonly show: (view: DataView) => string }
  /** A number that is as long as the program's words. */
  | { readonly is: "word"; readonly isSigned: boolean };

const nothing: RequestShape = { is: "nothing" };
const value = (show: (value: bigint) => string): RequestShape => ({ is: "value", show });
const given = (bytes: number, show: (view: DataView) => string): RequestShape => ({
  is: "given",
  bytes,
  show,
});
const got = (bytes: number, show: (view: DataView) => string): RequestShape => ({ is: "got", bytes, show });
const int = (view: DataView) => `[${view.getInt32(0, true)}]`;
const unsigned = (view: DataView) => `[${view.getUint32(0, true)}]`;
const short = (view: DataView) => `[${view.getUint16(0, true)}]`;
const unsignedLong = (view: DataView) => `[${view.getBigUint64(0, true)}]`;
const named = (names: ValueNames) => (view: DataView) =>
  `[${nameOf(names, BigInt(view.getUint32(0, true)))}]`;
const words = (view: DataView) => `[${view.getBigUint64(0, true)}, ${view.getBigUint64(8, true)}]`;
const decimal = value(String);
const signedValue = value(signed);

/** Source: Linux, include/uapi/asm-generic/termios.h, ioctls.h. */
const modem = namedValues("TIOCM_", {
  ...{ LE: 1, DTR: 2, RTS: 4, ST: 8, SR: 0x10, CTS: 0x20, CAR: 0x40, RNG: 0x80, DSR: 0x100 },
  ...{ OUT1: 0x2000, OUT2: 0x4000, LOOP: 0x8000 },
});
const flow = numbered("TC", "OOFF OON IOFF ION");
const flush = numbered("TC", "IFLUSH OFLUSH IOFLUSH");
/** Source: include/uapi/linux/kd.h. */
const consoleModes = numbered("KD_", "TEXT GRAPHICS TEXT0 TEXT1");
const keyboardModes = numbered("K_", "RAW XLATE MEDIUMRAW UNICODE OFF");
const keyboardTypes = numbered("KB_", "84 101 OTHER", 1);
const leds = namedValues("LED_", { SCR: 1, NUM: 2, CAP: 4 });
/** Source: include/uapi/linux/fs.h. */
const inodeFlags = namedValues("FS_", {
  ...{
    SECRM_FL: 1,
    UNRM_FL: 2,
    COMPR_FL: 4,
    SYNC_FL: 8,
    IMMUTABLE_FL: 0x10,
    APPEND_FL: 0x20,
    NODUMP_FL: 0x40,
  },
  ...{ NOATIME_FL: 0x80, DIRTY_FL: 0x100, COMPRBLK_FL: 0x200, NOCOMP_FL: 0x400, ENCRYPT_FL: 0x800 },
  ...{ INDEX_FL: 0x1000, IMAGIC_FL: 0x2000, JOURNAL_DATA_FL: 0x4000, NOTAIL_FL: 0x8000, DIRSYNC_FL: 0x10000 },
  ...{ TOPDIR_FL: 0x20000, HUGE_FILE_FL: 0x40000, EXTENT_FL: 0x80000, VERITY_FL: 0x100000 },
  ...{ EA_INODE_FL: 0x200000, EOFBLOCKS_FL: 0x400000, NOCOW_FL: 0x800000, DAX_FL: 0x2000000 },
  ...{ INLINE_DATA_FL: 0x10000000, PROJINHERIT_FL: 0x20000000, CASEFOLD_FL: 0x40000000 },
  ...{ RESERVED_FL: 0x80000000 },
});
const loopFlags = namedValues("LO_FLAGS_", {
  ...{ READ_ONLY: 1, USE_AOPS: 2, AUTOCLEAR: 4, PARTSCAN: 8, DIRECT_IO: 16 },
});
const extendedFlags = namedValues("FS_XFLAG_", {
  ...{ REALTIME: 1, PREALLOC: 2, IMMUTABLE: 8, APPEND: 0x10, SYNC: 0x20, NOATIME: 0x40, NODUMP: 0x80 },
  ...{ RTINHERIT: 0x100, PROJINHERIT: 0x200, NOSYMLINKS: 0x400, EXTSIZE: 0x800, EXTSZINHERIT: 0x1000 },
  ...{ NODEFRAG: 0x2000, FILESTREAM: 0x4000, DAX: 0x8000, COWEXTSIZE: 0x10000, HASATTR: 0x80000000 },
});

/** Source: include/uapi/linux/loop.h, `struct loop_info64`. */
const loopInfoBytes = 232;
const pageBytes = 256;

const termios = termiosText;
const winsize = (view: DataView) => {
  const [rows, columns, x, y] = [0, 2, 4, 6].map((at) => view.getUint16(at, true));
  return `{ws_row=${rows}, ws_col=${columns}, ws_xpixel=${x}, ws_ypixel=${y}}`;
};
const modemText = (view: DataView) => `[${bitsText(modem, BigInt(view.getUint32(0, true)))}]`;
const inodeText = (view: DataView) => `[${bitsText(inodeFlags, BigInt(view.getUint32(0, true)))}]`;
const ledText = (view: DataView) => `[${bitsText(leds, BigInt(view.getUint8(0)))}]`;
const geometry = (view: DataView) =>
  `{heads=${view.getUint8(0)}, sectors=${view.getUint8(1)}, cylinders=${view.getUint16(2, true)}, start=${view.getBigUint64(8, true)}}`;
const rtcTime = (view: DataView) => {
  const names = ["tm_sec", "tm_min", "tm_hour", "tm_mday", "tm_mon", "tm_year"];
  return `{${names.map((name, i) => `${name}=${view.getInt32(4 * i, true)}`).join(", ")}, ...}`;
};
const loopInfo = (view: DataView) => {
  const flagText = bitsText(loopFlags, BigInt(view.getUint32(52, true)));
  return `{lo_offset=${hexText(view.getBigUint64(24, true))}, lo_number=${view.getUint32(40, true)}, lo_flags=${flagText}, lo_file_name=${fieldString(view, 56, 64)}, ...}`;
};
const cloneRange = (view: DataView) => {
  const [offset, length, to] = [8, 16, 24].map((at) => view.getBigUint64(at, true));
  return `{src_fd=${view.getBigInt64(0, true)}, src_offset=${offset}, src_length=${length}, dest_offset=${to}}`;
};
const trimRange = (view: DataView) =>
  `{start=${hexText(view.getBigUint64(0, true))}, len=${view.getBigUint64(8, true)}, minlen=${view.getBigUint64(16, true)}}`;
const extended = (isGot: boolean) => (view: DataView) => {
  const [flags, size, extents, project, copy] = [0, 4, 8, 12, 16].map((at) => view.getUint32(at, true));
  const count = isGot ? `fsx_nextents=${extents}, ` : "";
  return `{fsx_xflags=${bitsText(extendedFlags, BigInt(flags!))}, fsx_extsize=${size}, ${count}fsx_projid=${hexText(BigInt(project!))}, fsx_cowextsize=${copy}}`;
};
const typed = (view: DataView) => quoted(new Uint8Array(view.buffer, view.byteOffset, 1), false);

/** Names of requests of one shape. */
const groups: readonly (readonly [string, RequestShape])[] = [
  ["TCGETS TIOCGLCKTRMIOS", got(36, termios)],
  ["TCSETS TCSETSW TCSETSF TIOCSLCKTRMIOS", given(36, termios)],
  ["TCGETS2", got(44, termios)],
  ["TCSETS2 TCSETSW2 TCSETSF2", given(44, termios)],
  ["TCGETA", got(18, termioText)],
  ["TCSETA TCSETAW TCSETAF", given(18, termioText)],
  ["TIOCGWINSZ", got(8, winsize)],
  ["TIOCSWINSZ", given(8, winsize)],
  ["TCXONC", value((one) => nameOf(flow, one))],
  ["TCFLSH", value((one) => nameOf(flush, one))],
  ["TCSBRK TCSBRKP TIOCSCTTY", signedValue],
  ["TIOCMGET", got(4, modemText)],
  ["TIOCMBIS TIOCMBIC TIOCMSET", given(4, modemText)],
  ["TIOCGPGRP TIOCGSID TIOCGETD TIOCGSOFTCAR TIOCGPTN FIONREAD TIOCOUTQ TIOCGEXCL TIOCGDEV", got(4, int)],
  ["TIOCSPGRP TIOCSETD FIONBIO FIOASYNC TIOCPKT TIOCSSOFTCAR TIOCSPTLCK", given(4, int)],
  ["TIOCSTI", given(1, typed)],
  [
    "TIOCSBRK TIOCCBRK TIOCCONS TIOCNOTTY TIOCEXCL TIOCNXCL FIOCLEX FIONCLEX TIOCVHANGUP TIOCSSERIAL",
    nothing,
  ],
  ["FIOGETOWN SIOCATMARK SIOCGIFENCAP SIOCGPGRP SIOCOUTQNSD", got(4, int)],
  ["FIOSETOWN SIOCSIFENCAP SIOCSPGRP", given(4, int)],
  ["SIOCBRADDBR SIOCBRDELBR", given(16, (view) => fieldString(view, 0, 16))],
  ["SIOCBRADDIF SIOCBRDELIF", given(40, (view) => `{ifr_ifindex=${view.getInt32(16, true)}}`)],
  ["BLKRASET BLKFRASET LOOP_SET_DIRECT_IO LOOP_SET_BLOCK_SIZE RTC_IRQP_SET RTC_EPOCH_SET", decimal],
  ["BLKSECTGET BLKROTATIONAL", got(2, short)],
  ["BLKROGET BLKBSZGET BLKSSZGET BLKALIGNOFF", got(4, int)],
  ["BLKROSET BLKBSZSET", given(4, int)],
  ["BLKPBSZGET BLKIOMIN BLKIOOPT BLKDISCARDZEROES BLKGETZONESZ BLKGETNRZONES", got(4, unsigned)],
  ["BLKRAGET BLKFRAGET", { is: "word", isSigned: true }],
  ["BLKGETSIZE RTC_IRQP_READ RTC_EPOCH_READ", { is: "word", isSigned: false }],
  ["BLKGETSIZE64 BLKGETDISKSEQ", got(8, unsignedLong)],
  ["BLKDISCARD BLKSECDISCARD BLKZEROOUT", given(16, words)],
  ["BLKRRPART BLKFLSBUF BLKTRACESTART BLKTRACESTOP BLKTRACETEARDOWN", nothing],
  ["FS_IOC_GETFLAGS FS_IOC32_GETFLAGS", got(4, inodeText)],
  ["FS_IOC_SETFLAGS FS_IOC32_SETFLAGS", given(4, inodeText)],
  ["FS_IOC_FSGETXATTR", got(28, extended(true))],
  ["FS_IOC_FSSETXATTR", given(28, extended(false))],
  ["FS_IOC_GETFSLABEL", got(pageBytes, (view) => fieldString(view, 0, pageBytes))],
  ["FS_IOC_SETFSLABEL", given(pageBytes, (view) => fieldString(view, 0, pageBytes))],
  ["FITRIM", given(24, trimRange)],
  ["FIFREEZE FITHAW", nothing],
  ["FICLONE INOTIFY_IOC_SETNEXTWD LOOP_CTL_ADD LOOP_CTL_REMOVE", signedValue],
  ["FICLONERANGE", given(32, cloneRange)],
  ["LOOP_GET_STATUS64", got(loopInfoBytes, loopInfo)],
  ["LOOP_SET_STATUS64", given(loopInfoBytes, loopInfo)],
  ["LOOP_SET_FD LOOP_CHANGE_FD", value(descriptorText)],
  ["LOOP_CLR_FD LOOP_SET_CAPACITY LOOP_CTL_GET_FREE", nothing],
  ["RTC_RD_TIME RTC_ALM_READ", got(36, rtcTime)],
  ["RTC_SET_TIME RTC_ALM_SET", given(36, rtcTime)],
  [
    "RTC_AIE_ON RTC_AIE_OFF RTC_UIE_ON RTC_UIE_OFF RTC_PIE_ON RTC_PIE_OFF RTC_WIE_ON RTC_WIE_OFF RTC_VL_CLR",
    nothing,
  ],
  ["HDIO_GETGEO", got(16, geometry)],
  ["RNDGETENTCNT", got(4, int)],
  ["RNDADDTOENTCNT", given(4, int)],
  [
    "RNDZAPENTCNT RNDCLEARPOOL RNDRESEEDCRNG WDIOC_KEEPALIVE NS_GET_USERNS NS_GET_PARENT NS_GET_NSTYPE",
    nothing,
  ],
  ["WDIOC_GETSTATUS WDIOC_GETBOOTSTATUS WDIOC_GETTEMP WDIOC_GETTIMEOUT", got(4, int)],
  ["WDIOC_GETPRETIMEOUT WDIOC_GETTIMELEFT", got(4, int)],
  ["WDIOC_SETTIMEOUT WDIOC_SETPRETIMEOUT", given(4, int)],
  ["NS_GET_OWNER_UID", got(4, unsigned)],
  ["KDGETMODE", got(4, named(consoleModes))],
  ["KDSETMODE", value((one) => nameOf(consoleModes, low(one)))],
  ["KDGKBMODE", got(4, named(keyboardModes))],
  ["KDSKBMODE", value((one) => keyboardModes.get(low(one)) ?? signed(one))],
  ["KDGKBTYPE", got(1, (view) => `[${nameOf(keyboardTypes, BigInt(view.getUint8(0)))}]`)],
  ["KDGETLED", got(1, ledText)],
  ["KDSETLED", value((one) => bitsText(leds, one & 0xffn))],
];
const shapes: ReadonlyMap<string, RequestShape> = new Map(
  groups.flatMap(([names, shape]) => names.split(" ").map((name) => [name, shape] as const)),
);

/** How a request's argument is shown, by the request's name; undefined: as a number. */
export function requestShape(name: string): RequestShape | undefined {
  // Of a number with two names one has a shape.
  for (const one of name.split(" or ")) {
    const shape = shapes.get(one);
    if (shape) return shape;
  }
  return undefined;
}

/** Sizes of what is read for {@link RequestShape}s, each once. */
export const requestSizes: readonly number[] = [
  ...new Set(groups.flatMap(([, shape]) => ("bytes" in shape ? [shape.bytes] : []))),
].sort((a, b) => a - b);
