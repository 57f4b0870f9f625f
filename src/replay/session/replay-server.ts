import { readdir, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { basename, dirname } from "node:path";
import { errnoOf, fileError } from "../../base/errors.js";
import { makeRuntimeDirectory, type Places, socketStem } from "../../tape/home.js";

/** Paths of the sockets of one replay, to which other processes may attach. */
export interface ReplaySockets {
  /** QEMU's machine protocol. */
  readonly qmp: string;
  /** QEMU's GDB stub, for gdb's `target remote PATH`. */
  readonly gdb: string;
}

const kinds = ["qmp", "gdb", "control"] as const;

/**
 * Makes a running replay known to other processes, so that they can attach to it or end it. Owns its socket files.
 */
export class ReplayServer implements AsyncDisposable {
  readonly sockets: ReplaySockets;
  private readonly server: Server;
  private readonly stem: string;
  /** The clients that wait for the end of the replay: closing their sockets tells them. */
  private readonly waiting = new Set<Socket>();

  private constructor(server: Server, stem: string) {
    this.server = server;
    this.stem = stem;
    this.sockets = { qmp: `${stem}.qmp`, gdb: `${stem}.gdb` };
  }

  /** @param end called when a client asks the replay to end */
  static async listen(places: Places, directory: string, end: () => void): Promise<ReplayServer> {
    await makeRuntimeDirectory(places);
    const stem = `${socketStem(places, directory)}.replay-${process.pid}`;
    const path = `${stem}.control`;
    const server = createServer((socket) => {
      known.waiting.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => known.waiting.delete(socket));
      socket.once("data", end);
    });
    const known = new ReplayServer(server, stem);
    await known.removeFiles();
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => reject(fileError(error, path, "listening on")));
      server.listen(path, resolve);
    });
    return known;
  }

  private async removeFiles(): Promise<void> {
    for (const kind of kinds) await rm(`${this.stem}.${kind}`, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    await this.removeFiles();
    for (const socket of this.waiting) socket.destroy();
  }
}

/**
 * Ends all replays of the tape in `directory`, and waits until they have. Removes the sockets of replays that were
 * killed.
 *
 * @returns how many ended
 */
export async function endReplays(places: Places, directory: string): Promise<number> {
  const stem = `${socketStem(places, directory)}.replay-`;
  const files = await readdir(dirname(stem)).catch(() => [] as string[]);
  let ended = 0;
  for (const file of files.filter((name) => name.startsWith(basename(stem)) && name.endsWith(".control"))) {
    const path = `${dirname(stem)}/${file}`;
    if (await askToEnd(path)) ended++;
    else for (const kind of kinds) await rm(path.replace(/control$/, kind), { force: true });
  }
  return ended;
}

function askToEnd(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write("end\n"));
    socket.once("close", () => resolve(true));
    socket.once("error", (error) => {
      if (errnoOf(error) === "ECONNREFUSED" || errnoOf(error) === "ENOENT") resolve(false);
      else reject(fileError(error, path, "reaching"));
    });
    socket.resume();
  });
}
