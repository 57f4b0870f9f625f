import { VmtapeError } from "../base/errors.js";

/** The network of a recording: `none`, or QEMU's user-mode stack with forwarded host ports. */
export interface NetworkChoice {
  readonly network: "none" | "user";
  /** QEMU `hostfwd` rules with a loopback host address. */
  readonly hostForwards: readonly string[];
}

const forwardRule = /^(tcp|udp):([^:]*):(\d{1,5})-([0-9.]*):(\d{1,5})$/;

/**
 * Reads `none` or `user[,hostfwd=tcp:[127.0.0.1]:HOSTPORT-[GUESTADDR]:GUESTPORT]…`. A rule without a host
 * address listens on 127.0.0.1 only: QEMU's own default would be every address of the host.
 *
 * @throws `unsupported` for networks that QEMU cannot replay, `usage` for anything else
 */
export function parseNetwork(text: string): NetworkChoice {
  const [kind = "", ...options] = text.split(",");
  if (kind === "none" && options.length === 0) return { network: "none", hostForwards: [] };
  const card = /(?:^|model=)((?:e1000|rtl8139|ne2k|pcnet|vmxnet3|i8255)\w*)/.exec(text)?.[1];
  if (card !== undefined) {
    throw new VmtapeError(
      "unsupported",
      `network card '${card}' cannot be chosen: only virtio-net replays (e1000 hangs)`,
      { got: card, expected: "virtio-net" },
    );
  }
  if (/^(tap|bridge|vhost|socket|l2tpv3|vde|netmap)/.test(kind)) {
    throw new VmtapeError("unsupported", `network '${kind}' cannot be replayed: only 'user' and 'none' can`, {
      got: kind,
      expected: "user or none",
    });
  }
  if (kind !== "user") {
    throw new VmtapeError("usage", `network '${text}' is not known: use 'none' or 'user[,hostfwd=…]'`, {
      got: text,
    });
  }
  return { network: "user", hostForwards: options.map(parseOption) };
}

function parseOption(option: string): string {
  if (!option.startsWith("hostfwd=")) {
    throw new VmtapeError("usage", `network option '${option}' is not known: only hostfwd= is`, {
      got: option,
    });
  }
  return parseHostForward(option.slice("hostfwd=".length));
}

/** A forwarding rule with its host address added where it has none. */
export function parseHostForward(rule: string): string {
  const match = forwardRule.exec(rule);
  if (!match) {
    throw new VmtapeError(
      "usage",
      `'${rule}' is no forwarding rule: write tcp::HOSTPORT-:GUESTPORT or udp::HOSTPORT-:GUESTPORT`,
      { got: rule },
    );
  }
  const [, protocol, host, hostPort, guest, guestPort] = match as unknown as string[];
  if (host !== "" && host !== "localhost" && !/^127(\.\d{1,3}){3}$/.test(host!)) {
    throw new VmtapeError(
      "unsupported",
      `'${rule}' would listen beyond this host: only 127.0.0.1 is allowed`,
      {
        got: host,
        expected: "127.0.0.1",
      },
    );
  }
  for (const port of [hostPort, guestPort]) {
    if (Number(port) < 1 || Number(port) > 65535) {
      throw new VmtapeError("usage", `port ${port} in '${rule}' is not in 1..65535`, { got: port });
    }
  }
  const address = host === "" || host === "localhost" ? "127.0.0.1" : host;
  return `${protocol}:${address}:${hostPort}-${guest}:${guestPort}`;
}
