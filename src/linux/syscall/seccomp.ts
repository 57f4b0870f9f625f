import type { HitPiece } from "../../qemu/probe-hits.js";
import type { CallForm } from "./form.js";
import {
  bitsText,
  hexText,
  low,
  memoryItem,
  namedValues,
  nameOf,
  numbered,
  structureText,
  viewOf,
} from "./form.js";
import { pointerText } from "./text.js";

/** Source: include/uapi/linux/seccomp.h. */
const operations = numbered("SECCOMP_", "SET_MODE_STRICT SET_MODE_FILTER GET_ACTION_AVAIL GET_NOTIF_SIZES");
const operation = { strict: 0n, filter: 1n, actionAvailable: 2n, sizes: 3n } as const;
const filterFlags = namedValues("SECCOMP_FILTER_FLAG_", {
  ...{ TSYNC: 1, LOG: 2, SPEC_ALLOW: 4, NEW_LISTENER: 8, TSYNC_ESRCH: 16, WAIT_KILLABLE_RECV: 32 },
});
const actions = namedValues("SECCOMP_RET_", {
  ...{ KILL_PROCESS: 0x80000000, KILL_THREAD: 0, TRAP: 0x30000, ERRNO: 0x50000, USER_NOTIF: 0x7fc00000 },
  ...{ TRACE: 0x7ff00000, LOG: 0x7ffc0000, ALLOW: 0x7fff0000 },
});

/** Modes of `prctl(PR_SET_SECCOMP)`. */
export const seccompModes = numbered("SECCOMP_MODE_", "DISABLED STRICT FILTER");

/** `struct sock_fprog`: how long a filter is, and where. */
export function filterText(piece: HitPiece | undefined, address: bigint, wordBytes: 4 | 8): string {
  return structureText(piece, address, 2 * wordBytes, (view) => {
    const filter = wordBytes === 8 ? view.getBigUint64(8, true) : BigInt(view.getUint32(4, true));
    return `{len=${view.getUint16(0, true)}, filter=${pointerText(filter)}}`;
  });
}

export const seccomp: CallForm = {
  before: (place) => [memoryItem(place.argument(2), 16), memoryItem(place.argument(2), 4)],
  after: (place) => [memoryItem(place.argument(2), 6)],
  texts: ({ arguments: [which = 0n, flags = 0n, address = 0n], before, after, wordBytes }) => {
    const op = low(which);
    const name = nameOf(operations, op);
    switch (op) {
      case operation.filter:
        return [name, bitsText(filterFlags, low(flags)), filterText(before[0], address, wordBytes)];
      case operation.actionAvailable: {
        const action = viewOf(before[1], 4)?.getUint32(0, true);
        const text = action === undefined ? pointerText(address) : `[${nameOf(actions, BigInt(action))}]`;
        return [name, hexText(low(flags)), text];
      }
      case operation.sizes: {
        const text = structureText(after[0], address, 6, (view) => {
          const [notification, response, data] = [0, 2, 4].map((at) => view.getUint16(at, true));
          return `{seccomp_notif=${notification}, seccomp_notif_resp=${response}, seccomp_data=${data}}`;
        });
        return [name, hexText(low(flags)), text];
      }
      default:
        return [name, hexText(low(flags)), pointerText(address)];
    }
  },
};
