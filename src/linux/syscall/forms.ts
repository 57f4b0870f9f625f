import { clone3 } from "./clone.js";
import { execve, execveat } from "./execve.js";
import { futexText } from "./flags.js";
import {
  type CallForm,
  hexText,
  low,
  memoryItem,
  namedValues,
  nameOf,
  signed,
  stringText,
  structureText,
  textItem,
  viewOf,
} from "./form.js";
import { ioctl } from "./ioctl.js";
import { prctl } from "./prctl.js";
import { seccomp } from "./seccomp.js";
import { signalSetText } from "./signal-names.js";
import { pointerText } from "./text.js";

/** Source: include/uapi/linux/reboot.h. */
const firstMagic = namedValues("LINUX_REBOOT_", { MAGIC1: 0xfee1dead });
const secondMagic = namedValues("LINUX_REBOOT_", {
  ...{ MAGIC2: 672274793, MAGIC2A: 85072278, MAGIC2B: 369367448, MAGIC2C: 537993216 },
});
const commands = namedValues("LINUX_REBOOT_CMD_", {
  ...{ RESTART: 0x01234567, HALT: 0xcdef0123, CAD_ON: 0x89abcdef, CAD_OFF: 0, POWER_OFF: 0x4321fedc },
  ...{ RESTART2: 0xa1b2c3d4, SW_SUSPEND: 0xd000fce2, KEXEC: 0x45584543 },
});
const longestCommand = 255;

const reboot: CallForm = {
  before: (place) => [textItem(place.argument(3), longestCommand)],
  after: () => [],
  texts: ({ arguments: [first = 0n, second = 0n, command = 0n, text = 0n], before }) => {
    const name = nameOf(commands, low(command));
    return [
      nameOf(firstMagic, low(first)),
      nameOf(secondMagic, low(second)),
      name,
      ...(name === "LINUX_REBOOT_CMD_RESTART2" ? [stringText(before[0], text)] : []),
    ];
  },
};

/** Where the signal mask is in what the kernel put on the stack. Source: arch/x86/include/asm/sigframe.h, rt_sigframe. */
const frameMask = 296;

const sigreturn: CallForm = {
  before: (place) => [memoryItem(place.stack.plus(frameMask), 8)],
  after: () => [],
  texts: ({ before, wordBytes }) => {
    const view = wordBytes === 8 ? viewOf(before[0], 8) : undefined;
    return view ? [`{mask=${signalSetText(view.getBigUint64(0, true))}}`] : [];
  },
};

/** Operations of `futex` that strace shows in another way than the rest. Source: include/uapi/linux/futex.h. */
const operation = { wait: 0, wake: 1, waitBits: 9, wakeBits: 10 } as const;
const anyBit = 0xffff_ffffn;

const futex: CallForm = {
  before: (place) => [memoryItem(place.argument(3), 16)],
  after: () => [],
  texts: ({ arguments: values, before, wordBytes }) => {
    const [address = 0n, what = 0n, count = 0n, time = 0n, other = 0n, last = 0n] = values;
    const shown = [pointerText(address), futexText(what), signed(count)];
    const timeout = wordBytes === 8 ? structureText(before[0], time, 16, timeText) : pointerText(time);
    const bits = low(last) === anyBit ? "FUTEX_BITSET_MATCH_ANY" : hexText(low(last));
    switch (Number(low(what) & 0x7fn)) {
      case operation.wait:
        return [...shown, timeout];
      case operation.wake:
        return shown;
      case operation.waitBits:
        return [...shown, timeout, bits];
      case operation.wakeBits:
        return [...shown, bits];
      default:
        return [...shown, pointerText(time), pointerText(other), hexText(low(last))];
    }
  },
};

function timeText(view: DataView): string {
  return `{tv_sec=${view.getBigInt64(0, true)}, tv_nsec=${view.getBigInt64(8, true)}}`;
}

const forms: Readonly<Record<string, CallForm>> = {
  clone3,
  execve,
  execveat,
  futex,
  ioctl,
  prctl,
  reboot,
  rt_sigreturn: sigreturn,
  seccomp,
};

/** The form of a call whose arguments depend on each other; undefined for others. */
export function formOf(name: string): CallForm | undefined {
  return Object.hasOwn(forms, name) ? forms[name] : undefined;
}
