import { lstat, rm, stat } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { errnoOf, fileError, VmtapeError } from "../base/errors.js";
import type { DebugTarget } from "../replay/session/timeline-types.js";
import { Connection, type ConversationEnd } from "./connection.js";
import type { ListenAddress } from "./listen-address.js";
import type { MonitorDesk } from "./monitor-desk.js";
import { framePacket } from "./packet.js";
import { formatRefusal, Refusal, readOnly } from "./reply.js";

const taken = new Refusal("another debugger is attached to this tape; detach it first");
/** How long a refused client has to read the reason. */
const refusalMs = 2000;
/** A client must send something within this time. */
const silentMs = 20_000;
const mostSockets = 32;

export interface GdbServerOptions {
  readonly target: DebugTarget;
  readonly desk: MonitorDesk;
  readonly onAttach?: () => void;
  /** Called when a client asks to write memory, since clients tell their users only that it failed. */
  readonly onRefusedWrite?: (reason: string) => void;
  readonly onLeave?: (how: ConversationEnd) => void;
}

/**
 * Serves a timeline to debuggers, one at a time: a second one gets the reason and is disconnected. When a client has
 * left, the next one finds the timeline where it was left.
 */
export class GdbServer implements AsyncDisposable {
  /** The argument for gdb's `target remote`: a socket's path or HOST:PORT. */
  readonly attachTo: string;
  private readonly server: Server;
  private readonly options: GdbServerOptions;
  private readonly path: string | undefined;
  private readonly sockets = new Set<Socket>();
  /** The conversation with the present client, and its stream. */
  private current: { readonly socket: Socket; readonly done: Promise<void> } | undefined;

  private constructor(server: Server, address: ListenAddress, options: GdbServerOptions) {
    this.server = server;
    this.options = options;
    this.path = address.kind === "unix" ? address.path : undefined;
    this.attachTo = address.kind === "unix" ? address.path : formatTcp(server.address() as AddressInfo);
    server.on("connection", (socket) => this.welcome(socket));
  }

  /**
   * Begins to listen. Only its owner can connect to a unix socket; one that a dead process left is replaced.
   *
   * @throws `usage` when the place is taken, `bad-file`, `not-writable`
   */
  static async listen(address: ListenAddress, options: GdbServerOptions): Promise<GdbServer> {
    const server = createServer({ noDelay: true });
    server.maxConnections = mostSockets;
    if (address.kind === "unix") {
      await requireDirectory(address.path);
      await sweep(address.path);
    }
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => reject(listenError(error, address)));
      if (address.kind === "tcp") server.listen({ port: address.port, host: address.host }, resolve);
      else listenPrivately(server, address.path, resolve);
    });
    return new GdbServer(server, address, options);
  }

  private welcome(socket: Socket): void {
    this.sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.sockets.delete(socket));
    // Debuggers send the first bytes. A client that sends nothing does not keep others out.
    socket.setTimeout(silentMs, () => socket.destroy());
    socket.once("readable", () => {
      socket.setTimeout(0);
      this.seat(socket);
    });
  }

  private seat(socket: Socket): void {
    const { current } = this;
    // A client that is being disconnected does not keep others out.
    if (current && !current.socket.destroyed && !current.socket.writableEnded) {
      refuse(socket);
      return;
    }
    const done = (current?.done ?? Promise.resolve()).then(() => this.converse(socket));
    this.current = { socket, done };
  }

  private async converse(socket: Socket): Promise<void> {
    if (socket.destroyed) return;
    this.options.onAttach?.();
    const { target, desk, onRefusedWrite } = this.options;
    const how = await Connection.serve(socket, target, desk, () => onRefusedWrite?.(readOnly.message));
    this.options.onLeave?.(how);
  }

  /** Disconnects all clients, and waits until none uses the timeline. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
    await this.current?.done;
    if (this.path !== undefined) await rm(this.path, { force: true });
  }
}

function refuse(socket: Socket): void {
  socket.once("data", () => socket.end(`+${framePacket(formatRefusal(taken, "text")).toString("latin1")}`));
  const timer = setTimeout(() => socket.destroy(), refusalMs);
  socket.once("close", () => clearTimeout(timer));
}

function formatTcp({ address, port, family }: AddressInfo): string {
  return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * Binds the socket with a umask that lets no other user connect. The umask is that of the whole process, so it is set
 * back at once.
 */
function listenPrivately(server: Server, path: string, listening: () => void): void {
  const mask = process.umask(0o177);
  try {
    server.listen(path, listening); // binds before it returns
  } finally {
    process.umask(mask);
  }
}

/** Throws when the socket's directory is missing: Node would report that as missing permission. */
async function requireDirectory(path: string): Promise<void> {
  const facts = await stat(dirname(path)).catch((error) => {
    throw fileError(error, dirname(path), "listening in");
  });
  if (!facts.isDirectory())
    throw new VmtapeError("bad-file", `${dirname(path)} is no directory`, { file: dirname(path) });
}

/** Removes a socket on which no process listens any more. */
async function sweep(path: string): Promise<void> {
  const facts = await lstat(path).catch(() => undefined);
  if (!facts) return;
  if (!facts.isSocket() || (await answers(path))) throw occupied(path);
  await rm(path, { force: true });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}

function listenError(error: Error, address: ListenAddress): VmtapeError {
  const place = address.kind === "unix" ? address.path : `${address.host}:${address.port}`;
  if (errnoOf(error) === "EADDRINUSE") return occupied(place);
  const failed = fileError(error, place, "listening on");
  const mend = "choose another place with --listen";
  return failed.code === "not-writable"
    ? new VmtapeError(failed.code, failed.message, { ...failed.facts, mend }, error)
    : failed;
}

function occupied(place: string): VmtapeError {
  return new VmtapeError("usage", `${place} is in use already`, {
    got: place,
    mend: "choose another with --listen",
  });
}
