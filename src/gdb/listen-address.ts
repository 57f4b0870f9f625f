import { resolve } from "node:path";
import { VmtapeError } from "../base/errors.js";

/** Where a server listens: a unix socket, or a port of the loopback interface; port 0 is any free one. */
export type ListenAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** The most bytes of a socket's path; see unix(7). */
const longestPath = 107;

/**
 * Reads `unix:PATH`, `HOST:PORT`, `:PORT` or `[::1]:PORT`.
 *
 * @throws `usage` for anything else, and for an address that other machines can reach, since any client of the port
 *   can read all of the guest's memory
 */
export function parseListenAddress(text: string): ListenAddress {
  if (text.startsWith("unix:")) return unixAddress(text.slice("unix:".length));
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 0xffff) {
    throw new VmtapeError("usage", `'${text}' is no address to listen on: write unix:PATH or HOST:PORT`, {
      got: text,
    });
  }
  return { kind: "tcp", host: loopbackHost(match[1] ?? match[2] ?? "", text), port };
}

function unixAddress(path: string): ListenAddress {
  const whole = resolve(path);
  if (path === "" || Buffer.byteLength(whole) > longestPath) {
    throw new VmtapeError("usage", `a socket's path has 1 to ${longestPath} bytes`, { got: path });
  }
  return { kind: "unix", path: whole };
}

function loopbackHost(host: string, text: string): string {
  if (host === "" || host === "localhost") return "127.0.0.1";
  if (/^127(\.\d{1,3}){3}$/.test(host) || host === "::1") return host;
  throw new VmtapeError(
    "usage",
    `${text} is not on the loopback interface: listen on localhost or a unix socket, and forward it with ssh -L`,
    { got: text, expected: "localhost, 127.x.x.x, [::1] or unix:PATH" },
  );
}
