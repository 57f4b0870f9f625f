import { addressText } from "./addresses.js";
import { bitsText, fieldString, hexText, namedValues, nameOf, numbered } from "./form.js";

/** `struct ifreq`: a name, and one of many things. Source: Linux, include/uapi/linux/if.h. */
export const ifreqBytes = 40;
const nameBytes = 16;
const flags = numberedBits(
  "IFF_",
  `UP BROADCAST DEBUG LOOPBACK POINTOPOINT NOTRAILERS RUNNING NOARP PROMISC ALLMULTI MASTER SLAVE MULTICAST PORTSEL
  AUTOMEDIA DYNAMIC LOWER_UP DORMANT ECHO`,
);
/** Source: include/uapi/linux/if_arp.h; those of hardware that a machine may have. */
const hardware = new Map([
  ...numbered("ARPHRD_", "NETROM ETHER EETHER AX25 PRONET CHAOS IEEE802 ARCNET APPLETLK"),
  ...namedValues("ARPHRD_", {
    ...{
      INFINIBAND: 32,
      SLIP: 256,
      PPP: 512,
      TUNNEL: 768,
      TUNNEL6: 769,
      LOOPBACK: 772,
      SIT: 776,
      IPGRE: 778,
    },
    ...{ IEEE80211: 801, IEEE80211_RADIOTAP: 803, NONE: 0xfffe, VOID: 0xffff },
  }),
]);
/** Lengths of addresses of hardware; others are 6. */
const addressBytes: Readonly<Record<string, number>> = {
  ARPHRD_TUNNEL: 4,
  ARPHRD_SIT: 4,
  ARPHRD_IPGRE: 4,
  ARPHRD_PPP: 0,
  ARPHRD_SLIP: 0,
  ARPHRD_NONE: 0,
};

/** Requests about an interface by what they ask for; `S` sets and `G` gets. */
const requests: Readonly<Record<string, (view: DataView) => string>> = {
  ADDR: address("ifr_addr"),
  DSTADDR: address("ifr_dstaddr"),
  BRDADDR: address("ifr_broadaddr"),
  NETMASK: address("ifr_netmask"),
  HWADDR: hardwareAddress,
  HWBROADCAST: hardwareAddress,
  MULTI: hardwareAddress,
  FLAGS: (view) => `ifr_flags=${bitsText(flags, BigInt(view.getUint16(nameBytes, true)))}`,
  INDEX: number("ifr_ifindex"),
  METRIC: number("ifr_metric"),
  MTU: number("ifr_mtu"),
  SLAVE: (view) => `ifr_slave=${fieldString(view, nameBytes, nameBytes)}`,
  NEWNAME: (view) => `ifr_newname=${fieldString(view, nameBytes, nameBytes)}`,
  NAME: (view) => `ifr_name=${fieldString(view, 0, nameBytes)}`,
  TXQLEN: number("ifr_qlen"),
  MAP: mapText,
};

/** What an interface's request shows of a `struct ifreq` after the name; undefined for another request. */
export function ifreqText(request: string): ((view: DataView) => string) | undefined {
  if (request === "SIOCSIFNAME") return requests.NEWNAME;
  const what = /^SIOC[GS]IF(\w+)$/.exec(request)?.[1] ?? /^SIOC(?:ADD|DEL)(MULTI)$/.exec(request)?.[1];
  return what !== undefined && Object.hasOwn(requests, what) ? requests[what] : undefined;
}

/** `ifr_name="lo"` */
export function ifreqName(view: DataView): string {
  return `ifr_name=${fieldString(view, 0, nameBytes)}`;
}

/** An entry of what SIOCGIFCONF gives. */
export function ifconfEntry(view: DataView): string {
  return `{${ifreqName(view)}, ${requests.ADDR!(view)}}`;
}

function address(name: string): (view: DataView) => string {
  return (view) => {
    const bytes = new Uint8Array(view.buffer, view.byteOffset + nameBytes, 16);
    return `${name}=${addressText(bytes) ?? "{}"}`;
  };
}

function number(name: string): (view: DataView) => string {
  return (view) => `${name}=${view.getInt32(nameBytes, true)}`;
}

function hardwareAddress(view: DataView): string {
  const family = nameOf(hardware, BigInt(view.getUint16(nameBytes, true)));
  const length = addressBytes[family] ?? 6;
  const bytes = new Uint8Array(view.buffer, view.byteOffset + nameBytes + 2, length);
  const text = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
  return `ifr_hwaddr={sa_family=${family}, sa_data=${length === 0 ? '""' : text}}`;
}

function mapText(view: DataView): string {
  const [start, end] = [0, 8].map((at) => hexText(view.getBigUint64(nameBytes + at, true)));
  const base = hexText(BigInt(view.getUint16(nameBytes + 16, true)));
  const [irq, dma, port] = [18, 19, 20].map((at) => hexText(BigInt(view.getUint8(nameBytes + at))));
  return `ifr_map={mem_start=${start}, mem_end=${end}, base_addr=${base}, irq=${irq}, dma=${dma}, port=${port}}`;
}

function numberedBits(prefix: string, names: string) {
  return new Map(
    names
      .trim()
      .split(/\s+/)
      .map((name, i) => [1n << BigInt(i), prefix + name]),
  );
}
