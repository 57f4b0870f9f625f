import type { HitPiece } from "../../qemu/probe-hits.js";
import {
  type CallForm,
  type FormCall,
  fieldString,
  hasFailed,
  hexText,
  low,
  memoryItem,
  nameOf,
  numbered,
  signed,
  structureText,
  viewOf,
} from "./form.js";
import { ioctlName } from "./ioctl-names.js";
import { ifconfEntry, ifreqBytes, ifreqName, ifreqText } from "./ioctl-network.js";
import { requestShape, requestSizes } from "./ioctl-requests.js";
import { descriptorText, pointerText } from "./text.js";

/** Where `struct ifconf` keeps its length and its buffer's address. Source: include/uapi/linux/if.h. */
const ifconfBytes = 16;
const mostInterfaces = 10;
/** `struct blkpg_ioctl_arg`, and what it points to. Source: include/uapi/linux/blkpg.h. */
const partition = { bytes: 24, dataBytes: 152, data: 16 } as const;
const partitionOperations = numbered("BLKPG_", "ADD_PARTITION DEL_PARTITION RESIZE_PARTITION", 1);
const sizes = [...new Set([...requestSizes, ifconfBytes, partition.bytes, ifreqBytes])].sort((a, b) => a - b);

/** A request's number in parts. Source: include/uapi/asm-generic/ioctl.h. */
const parts = (request: number) => ({
  direction: request >>> 30,
  size: (request >>> 16) & 0x3fff,
  type: (request >>> 8) & 0xff,
  number: request & 0xff,
});
const direction = { write: 1, read: 2 } as const;

/** `ioctl`: the request says what the third argument is. */
export const ioctl: CallForm = {
  before: (place) => {
    const at = place.argument(2);
    return [
      ...sizes.map((bytes) => memoryItem(at, bytes)),
      memoryItem(at.plus(partition.data).follow(), partition.dataBytes),
    ];
  },
  after: (place) => [memoryItem(place.argument(2).plus(8).follow(), ifreqBytes), ...buffers(place)],
  texts: (call) => {
    const [descriptor = 0n, number = 0n, argument = 0n] = call.arguments;
    const request = Number(low(number));
    const name = requestText(request);
    const text = argumentText(name, argument, call);
    return [descriptorText(descriptor), name, ...(text === undefined ? [] : [text])];
  },
};

/** The buffer of SIOCGIFCONF, by how much of it there may be. */
function buffers(place: Parameters<CallForm["after"]>[0]) {
  const buffer = place.argument(2).plus(8).follow();
  return Array.from({ length: mostInterfaces - 1 }, (_, i) =>
    memoryItem(buffer.plus(ifreqBytes * (i + 1)), ifreqBytes),
  );
}

/** `TCGETS`; `EVIOCGNAME(256)`; `_IOC(_IOC_READ, 0x54, 0x63, 0x4)` of a request that nobody named. */
export function requestText(request: number): string {
  const measured = measuredText(request);
  const name = ioctlName(request);
  if (name !== undefined) return measured === undefined ? name : `${measured} or ${name}`;
  if (measured !== undefined) return measured;
  const { direction: way, type, number, size } = parts(request);
  const ways = ["_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE"][way];
  return `_IOC(${ways}, ${[type, number, size].map((one) => hexText(BigInt(one))).join(", ")})`;
}

/** Source: include/uapi/linux/input.h, hidraw.h, joystick.h, soundcard.h, uinput.h and spi/spidev.h. */
const eventKinds = new Map([
  ...numbered("EV_", "- KEY REL ABS MSC SW"),
  ...numbered("EV_", "LED SND - REP FF PWR FF_STATUS", 0x11),
]);
const axes = new Map([
  ...numbered("ABS_", "X Y Z RX RY RZ THROTTLE RUDDER WHEEL GAS BRAKE"),
  ...numbered(
    "ABS_",
    "HAT0X HAT0Y HAT1X HAT1Y HAT2X HAT2Y HAT3X HAT3Y PRESSURE DISTANCE TILT_X TILT_Y",
    0x10,
  ),
  ...numbered("ABS_", "TOOL_WIDTH - - - VOLUME PROFILE", 0x1c),
  ...numbered("ABS_", "MISC", 0x28),
  ...numbered("ABS_", "RESERVED MT_SLOT MT_TOUCH_MAJOR MT_TOUCH_MINOR MT_WIDTH_MAJOR MT_WIDTH_MINOR", 0x2e),
  ...numbered(
    "ABS_",
    "MT_ORIENTATION MT_POSITION_X MT_POSITION_Y MT_TOOL_TYPE MT_BLOB_ID MT_TRACKING_ID",
    0x34,
  ),
  ...numbered("ABS_", "MT_PRESSURE MT_DISTANCE MT_TOOL_X MT_TOOL_Y", 0x3a),
]);
const eventNames: Readonly<Record<number, string>> = {
  ...{ 6: "NAME", 7: "PHYS", 8: "UNIQ", 9: "PROP", 10: "MTSLOTS", 24: "KEY", 25: "LED", 26: "SND", 27: "SW" },
};
const hidNames: Readonly<Record<string, string>> = {
  ...{ "2 4": "GRAWNAME", "2 5": "GRAWPHYS", "2 6": "SFEATURE", "2 8": "GRAWUNIQ", "2 18": "GPHYS" },
  ...{ "3 6": "SFEATURE", "3 7": "GFEATURE" },
};

/** Requests that carry a length, or an axis, in their number. */
function measuredText(request: number): string | undefined {
  const { direction: way, type, number, size } = parts(request);
  switch (String.fromCharCode(type)) {
    case "E":
      return eventText(way, number, size);
    case "H": {
      const name = hidNames[`${way} ${number}`];
      return name && `HIDIOC${name}(${size})`;
    }
    case "M":
      if (way === direction.write) return `MIXER_WRITE(${number})`;
      return way === direction.read ? `MIXER_READ(${number})` : undefined;
    case "U":
      return way === direction.read && number === 0x2c ? `UI_GET_SYSNAME(${size})` : undefined;
    case "j":
      return way === direction.read && number === 0x13 ? `JSIOCGNAME(${size})` : undefined;
    case "k":
      return way === direction.write && number === 0 ? `SPI_IOC_MESSAGE(${size})` : undefined;
    default:
      return undefined;
  }
}

function eventText(way: number, number: number, size: number): string | undefined {
  const axis = (from: number) => nameOf(axes, BigInt(number - from));
  if (way === direction.write) return number >= 0xc0 ? `EVIOCSABS(${axis(0xc0)})` : undefined;
  if (way !== direction.read) return undefined;
  if (number >= 0x20 && number < 0x40) {
    const kind = number === 0x20 ? "0" : nameOf(eventKinds, BigInt(number - 0x20));
    return `EVIOCGBIT(${kind}, ${size})`;
  }
  if (number >= 0x40 && number < 0x80) return `EVIOCGABS(${axis(0x40)})`;
  const name = eventNames[number];
  return name && `EVIOCG${name}(${size})`;
}

/** The third argument; undefined where there is none. */
function argumentText(name: string, argument: bigint, call: FormCall): string | undefined {
  const interfaceText = ifreqText(name);
  if (interfaceText) return interfaceRequest(name, argument, call, interfaceText);
  if (name === "SIOCGIFCONF") return interfaceList(argument, call);
  if (name === "BLKPG") return partitionText(argument, call);
  const shape = requestShape(name);
  switch (shape?.is) {
    case undefined:
      return hexText(argument);
    case "nothing":
      return undefined;
    case "value":
      return shape.show(argument);
    case "given":
      return structureText(sized(call.before, shape.bytes), argument, shape.bytes, shape.show);
    case "got":
      if (hasFailed(call)) return pointerText(argument);
      return structureText(sized(call.again, shape.bytes), argument, shape.bytes, shape.show);
    case "word":
      return hasFailed(call) ? pointerText(argument) : wordText(argument, call, shape.isSigned);
  }
}

function wordText(argument: bigint, call: FormCall, isSigned: boolean): string {
  const { wordBytes } = call;
  return structureText(sized(call.again, wordBytes), argument, wordBytes, (view) => {
    const word = wordBytes === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true));
    return `[${isSigned ? BigInt.asIntN(8 * wordBytes, word) : word}]`;
  });
}

/** The piece of so many bytes. */
function sized(pieces: readonly (HitPiece | undefined)[], bytes: number): HitPiece | undefined {
  return pieces[sizes.indexOf(bytes)];
}

/** A request about an interface: its name is given, and something else given or got. */
function interfaceRequest(
  name: string,
  argument: bigint,
  call: FormCall,
  show: (view: DataView) => string,
): string {
  const view = argument === 0n ? undefined : viewOf(sized(call.before, ifreqBytes), ifreqBytes);
  if (!view) return pointerText(argument);
  const which = name === "SIOCGIFNAME" ? `ifr_ifindex=${view.getInt32(16, true)}` : ifreqName(view);
  if (!name.startsWith("SIOCG")) return `{${which}, ${show(view)}}`;
  const answer = hasFailed(call) ? undefined : viewOf(sized(call.again, ifreqBytes), ifreqBytes);
  return answer ? `{${which}, ${show(answer)}}` : `{${which}}`;
}

function interfaceList(argument: bigint, call: FormCall): string {
  const [view, answer] = [call.before, call.again].map((pieces) =>
    viewOf(sized(pieces, ifconfBytes), ifconfBytes),
  );
  if (!view || argument === 0n || call.wordBytes === 4) return pointerText(argument);
  const [given, buffer] = [view.getInt32(0, true), view.getBigUint64(8, true)];
  const got = answer?.getInt32(0, true) ?? given;
  const shown =
    buffer === 0n ? lengthText(got) : lengthText(given) + (got === given ? "" : ` => ${lengthText(got)}`);
  if (buffer === 0n || hasFailed(call)) return `{ifc_len=${shown}, ifc_buf=${pointerText(buffer)}}`;
  const entries = call.after.slice(0, Math.floor(got / ifreqBytes)).map((piece) => {
    const entry = viewOf(piece, ifreqBytes);
    return entry ? ifconfEntry(entry) : "???";
  });
  const isMore = got / ifreqBytes > mostInterfaces;
  return `{ifc_len=${shown}, ifc_buf=[${entries.join(", ")}${isMore ? ", ..." : ""}]}`;
}

function lengthText(bytes: number): string {
  const isWhole = bytes > 0 && bytes % ifreqBytes === 0;
  return `${bytes}${isWhole ? ` /* ${bytes / ifreqBytes} * sizeof(struct ifreq) */` : ""}`;
}

function partitionText(argument: bigint, call: FormCall): string {
  return structureText(sized(call.before, partition.bytes), argument, partition.bytes, (view) => {
    const operation = nameOf(partitionOperations, BigInt(view.getUint32(0, true)));
    const data = structureText(
      call.before[sizes.length],
      view.getBigUint64(partition.data, true),
      partition.dataBytes,
      (own) =>
        `{start=${own.getBigInt64(0, true)}, length=${own.getBigInt64(8, true)}, pno=${own.getInt32(16, true)}, devname=${fieldString(own, 20, 64)}, volname=${fieldString(own, 84, 64)}}`,
    );
    const [flags, length] = [4, 8].map((at) => signed(BigInt(view.getInt32(at, true))));
    return `{op=${operation}, flags=${flags}, datalen=${length}, data=${data}}`;
  });
}
