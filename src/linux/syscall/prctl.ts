import {
  bitsText,
  type CallForm,
  type FormCall,
  hasFailed,
  hexText,
  low,
  memoryItem,
  namedValues,
  nameOf,
  numbered,
  signed,
  stringText,
  textItem,
  viewOf,
} from "./form.js";
import { filterText, seccompModes } from "./seccomp.js";
import { signalText } from "./signal-names.js";
import { pointerText } from "./text.js";

/** Source: include/uapi/linux/prctl.h. */
const options = new Map([
  ...numbered(
    "PR_",
    `SET_PDEATHSIG GET_PDEATHSIG GET_DUMPABLE SET_DUMPABLE GET_UNALIGN SET_UNALIGN GET_KEEPCAPS SET_KEEPCAPS
    GET_FPEMU SET_FPEMU GET_FPEXC SET_FPEXC GET_TIMING SET_TIMING SET_NAME GET_NAME - - GET_ENDIAN SET_ENDIAN
    GET_SECCOMP SET_SECCOMP CAPBSET_READ CAPBSET_DROP GET_TSC SET_TSC GET_SECUREBITS SET_SECUREBITS
    SET_TIMERSLACK GET_TIMERSLACK TASK_PERF_EVENTS_DISABLE TASK_PERF_EVENTS_ENABLE MCE_KILL MCE_KILL_GET SET_MM
    SET_CHILD_SUBREAPER GET_CHILD_SUBREAPER SET_NO_NEW_PRIVS GET_NO_NEW_PRIVS GET_TID_ADDRESS SET_THP_DISABLE
    GET_THP_DISABLE MPX_ENABLE_MANAGEMENT MPX_DISABLE_MANAGEMENT SET_FP_MODE GET_FP_MODE CAP_AMBIENT - -
    SVE_SET_VL SVE_GET_VL GET_SPECULATION_CTRL SET_SPECULATION_CTRL PAC_RESET_KEYS SET_TAGGED_ADDR_CTRL
    GET_TAGGED_ADDR_CTRL SET_IO_FLUSHER GET_IO_FLUSHER SET_SYSCALL_USER_DISPATCH PAC_SET_ENABLED_KEYS
    PAC_GET_ENABLED_KEYS SCHED_CORE SME_SET_VL SME_GET_VL SET_MDWE GET_MDWE SET_MEMORY_MERGE GET_MEMORY_MERGE
    RISCV_V_SET_CONTROL RISCV_V_GET_CONTROL RISCV_SET_ICACHE_FLUSH_CTX PPC_GET_DEXCR PPC_SET_DEXCR
    GET_SHADOW_STACK_STATUS SET_SHADOW_STACK_STATUS LOCK_SHADOW_STACK_STATUS TIMER_CREATE_RESTORE_IDS FUTEX_HASH`,
    1,
  ),
  ...namedValues("PR_", { SET_VMA: 0x53564d41, GET_AUXV: 0x41555856, SET_PTRACER: 0x59616d61 }),
]);

/** Source: include/uapi/linux/capability.h. */
const capabilities = numbered(
  "CAP_",
  `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
  NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
  SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
  MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`,
);
const ambient = numbered("PR_CAP_AMBIENT_", "IS_SET RAISE LOWER CLEAR_ALL", 1);
const dumpable = numbered("SUID_DUMP_", "DISABLE USER ROOT");
const machineChecks = numbered("PR_MCE_KILL_", "CLEAR SET");
const machineCheckPolicies = numbered("PR_MCE_KILL_", "LATE EARLY DEFAULT");
const memoryMap = numbered(
  "PR_SET_MM_",
  `START_CODE END_CODE START_DATA END_DATA START_STACK START_BRK BRK ARG_START ARG_END ENV_START ENV_END AUXV EXE_FILE
  MAP MAP_SIZE`,
  1,
);
const timestamps = numbered("PR_TSC_", "ENABLE SIGSEGV", 1);
const unaligned = numbered("PR_UNALIGN_", "NOPRINT SIGBUS", 1);
const speculation = numbered("PR_SPEC_", "STORE_BYPASS INDIRECT_BRANCH L1D_FLUSH");
const speculationStates = namedValues("PR_SPEC_", {
  ...{ ENABLE: 2, DISABLE: 4, FORCE_DISABLE: 8, DISABLE_NOEXEC: 16 },
});
const dispatching = numbered("PR_SYS_DISPATCH_", "OFF ON");
const areas = numbered("PR_SET_VMA_", "ANON_NAME");
const cores = numbered("PR_SCHED_CORE_", "GET CREATE SHARE_TO SHARE_FROM");
const pidKinds = numbered("PIDTYPE_", "PID TGID PGID SID");
/** Source: include/uapi/linux/securebits.h. */
const secureBits = namedValues("SECBIT_", {
  ...{ NOROOT: 1, NOROOT_LOCKED: 2, NO_SETUID_FIXUP: 4, NO_SETUID_FIXUP_LOCKED: 8, KEEP_CAPS: 16 },
  ...{ KEEP_CAPS_LOCKED: 32, NO_CAP_AMBIENT_RAISE: 64, NO_CAP_AMBIENT_RAISE_LOCKED: 128 },
});

/** As long as a task's name, with its NUL. */
const nameBytes = 16;
const longestAreaName = 80;
/** Where each piece is among those collected. */
const early = { name: 0, filter: 1, area: 2 } as const;
const late = { name: 0, int: 1, word: 2, cookie: 3 } as const;

/** How the arguments after the option are shown. */
const shapes: Readonly<Record<string, (call: FormCall, values: readonly bigint[]) => string[]>> = {
  SET_PDEATHSIG: (_call, [signal = 0n]) => [signal > 128n ? String(signal) : signalText(signal)],
  GET_PDEATHSIG: (call, [to = 0n]) => [number(call, to, (value) => signalText(BigInt(value)))],
  SET_DUMPABLE: (_call, [value = 0n]) => [nameOf(dumpable, value)],
  SET_UNALIGN: (_call, [value = 0n]) => [bitsText(unaligned, low(value))],
  GET_UNALIGN: (call, [to = 0n]) => [number(call, to, (value) => bitsText(unaligned, BigInt(value)))],
  SET_NAME: ({ before }, [from = 0n]) => [stringText(before[early.name], from)],
  GET_NAME: (call, [to = 0n]) => [hasFailed(call) ? pointerText(to) : stringText(call.after[late.name], to)],
  SET_SECCOMP: ({ before, wordBytes }, [mode = 0n, filter = 0n, ...rest]) => {
    const name = nameOf(seccompModes, mode);
    if (name === "SECCOMP_MODE_STRICT") return [name];
    if (name === "SECCOMP_MODE_FILTER") return [name, filterText(before[early.filter], filter, wordBytes)];
    return [name, ...[filter, ...rest].map(hexText)];
  },
  CAPBSET_READ: (_call, [which = 0n]) => [nameOf(capabilities, which)],
  CAPBSET_DROP: (_call, [which = 0n]) => [nameOf(capabilities, which)],
  SET_TSC: (_call, [value = 0n]) => [nameOf(timestamps, low(value))],
  GET_TSC: (call, [to = 0n]) => [number(call, to, (value) => nameOf(timestamps, BigInt(value)))],
  SET_SECUREBITS: (_call, [value = 0n]) => [bitsText(secureBits, value)],
  SET_TIMERSLACK: (_call, [value = 0n]) => [String(BigInt.asIntN(64, value))],
  MCE_KILL: (_call, [what = 0n, policy = 0n, ...rest]) => {
    const name = nameOf(machineChecks, what);
    const isSet = name === "PR_MCE_KILL_SET";
    return [name, isSet ? nameOf(machineCheckPolicies, policy) : hexText(policy), ...rest.map(hexText)];
  },
  SET_MM: (_call, [what = 0n, ...rest]) => [nameOf(memoryMap, low(what)), ...rest.map(hexText)],
  GET_TID_ADDRESS: ({ after, wordBytes, ...call }, [to = 0n]) => {
    const view = hasFailed(call) ? undefined : viewOf(after[late.word], 8);
    const wide = view?.getBigUint64(0, true);
    return [wide === undefined ? pointerText(to) : `[${pointerText(wordBytes === 8 ? wide : low(wide))}]`];
  },
  CAP_AMBIENT: (_call, [what = 0n, which = 0n, ...rest]) => {
    const name = nameOf(ambient, what);
    const hasName = what >= 1n && what <= 3n;
    return [name, hasName ? nameOf(capabilities, which) : hexText(which), ...rest.map(hexText)];
  },
  GET_SPECULATION_CTRL: (_call, [which = 0n]) => [nameOf(speculation, which)],
  SET_SPECULATION_CTRL: (_call, [which = 0n, state = 0n]) => [
    nameOf(speculation, which),
    speculation.has(which) ? nameOf(speculationStates, state) : hexText(state),
  ],
  SET_SYSCALL_USER_DISPATCH: (_call, [mode = 0n, start = 0n, length = 0n, selector = 0n]) => [
    nameOf(dispatching, mode),
    hexText(start),
    hexText(length),
    pointerText(selector),
  ],
  SCHED_CORE: (call, [what = 0n, pid = 0n, kind = 0n, to = 0n]) => {
    const view = what === 0n && !hasFailed(call) ? viewOf(call.after[late.cookie], 8) : undefined;
    const name = pidKinds.get(low(kind));
    return [
      nameOf(cores, low(what)),
      signed(pid),
      name === undefined ? hexText(low(kind)) : `${hexText(low(kind))} /* ${name} */`,
      view ? `[${hexText(view.getBigUint64(0, true))}]` : pointerText(to),
    ];
  },
  SET_VMA: ({ before }, [what = 0n, start = 0n, length = 0n, name = 0n]) =>
    areas.has(what)
      ? [nameOf(areas, what), pointerText(start), String(length), stringText(before[early.area], name)]
      : [hexText(what), ...[start, length, name].map(hexText)],
  SET_PTRACER: (_call, [pid = 0n]) => [low(pid) === 0xffff_ffffn ? "PR_SET_PTRACER_ANY" : signed(pid)],
};

const none: ReadonlySet<string> = new Set([
  ...["GET_KEEPCAPS", "GET_SECCOMP", "GET_TIMERSLACK", "GET_TIMING", "GET_DUMPABLE", "GET_SECUREBITS"],
  ...["TASK_PERF_EVENTS_DISABLE", "TASK_PERF_EVENTS_ENABLE", "GET_FP_MODE"],
]);
const plainNumber: ReadonlySet<string> = new Set([
  ...["SET_CHILD_SUBREAPER", "SET_ENDIAN", "SET_FPEMU", "SET_FPEXC", "SET_KEEPCAPS", "SET_TIMING"],
]);
const returned: ReadonlySet<string> = new Set([
  "GET_CHILD_SUBREAPER",
  "GET_ENDIAN",
  "GET_FPEMU",
  "GET_FPEXC",
]);
const numberFirst: ReadonlySet<string> = new Set(["SET_NO_NEW_PRIVS", "SET_THP_DISABLE", "SET_IO_FLUSHER"]);

/** `prctl`: what its other arguments are says the first. */
export const prctl: CallForm = {
  before: (place) => [
    textItem(place.argument(1), nameBytes - 1),
    memoryItem(place.argument(2), 16),
    textItem(place.argument(4), longestAreaName),
  ],
  after: (place) => [
    textItem(place.argument(1), nameBytes),
    memoryItem(place.argument(1), 4),
    memoryItem(place.argument(1), 8),
    memoryItem(place.argument(4), 8),
  ],
  texts: (call) => {
    const [option = 0n, ...rest] = call.arguments.slice(0, 5);
    const full = options.get(low(option));
    const name = full?.slice("PR_".length) ?? "";
    return [full ?? hexText(low(option)), ...otherTexts(name, call, rest)];
  },
};

function otherTexts(name: string, call: FormCall, values: readonly bigint[]): string[] {
  const [first = 0n, ...rest] = values;
  if (none.has(name)) return [];
  if (plainNumber.has(name)) return [String(first)];
  if (returned.has(name)) return [number(call, first, (value) => String(value >>> 0))];
  if (numberFirst.has(name)) return [String(first), ...rest.map(hexText)];
  const shape = Object.hasOwn(shapes, name) ? shapes[name] : undefined;
  return shape ? shape(call, values) : values.map(hexText);
}

/** A number that the call has put where its argument points to. */
function number(call: FormCall, to: bigint, show: (value: number) => string): string {
  const view = hasFailed(call) || to === 0n ? undefined : viewOf(call.after[late.int], 4);
  return view ? `[${show(view.getInt32(0, true))}]` : pointerText(to);
}
