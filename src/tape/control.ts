import { rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { errnoOf, fileError, VmtapeError } from "../base/errors.js";
import { makeRuntimeDirectory, type Places, socketStem } from "./home.js";

/**
 * How other processes reach a running recording: a unix socket in the user's private runtime directory. A client
 * sends one line, `stop`, `console` or `console owner`; the answer is `ok` or `error TEXT`. After `console` the
 * stream carries the guest's serial line both ways. An owner that goes away without a detach ends the recording.
 */
export interface Controlled {
  stop(): Promise<unknown>;
  type(bytes: Uint8Array): Promise<void>;
  listen(sink: (bytes: Uint8Array) => void): () => void;
}

/** Sent by a console owner that leaves the recording running: a byte that no serial line needs. */
const detachByte = 0xff;
const longestRequest = 64;
/** A console that reads slower than the guest prints misses what comes beyond so many bytes. */
const longestBacklog = 4 << 20;
/** How long a console that does not read may hold up the end of the recorder's process. */
const patienceMs = 5000;

const socketPath = (places: Places, directory: string) => `${socketStem(places, directory)}.record`;

/** Removes the socket of a recorder that was killed. Whoever calls holds the tape's lock. */
export async function removeDeadSocket(places: Places, directory: string): Promise<void> {
  await rm(socketPath(places, directory), { force: true });
}

export class ControlServer implements AsyncDisposable {
  private readonly server: Server;
  private readonly path: string;
  private readonly consoles = new Set<Socket>();
  /** Clients that wait for nothing yet. */
  private readonly silent = new Set<Socket>();
  private readonly recording: Promise<Controlled>;
  /** Lets in clients: those who came before are answered now. */
  serve!: (recording: Controlled) => void;

  private constructor(server: Server, path: string) {
    this.server = server;
    this.path = path;
    this.recording = new Promise((resolve) => {
      this.serve = resolve;
    });
  }

  /**
   * Listens for the tape in `directory`. Whoever calls holds the tape's lock, so a socket there is a dead one.
   * Clients wait for {@link ControlServer.serve}.
   */
  static async listen(places: Places, directory: string): Promise<ControlServer> {
    await makeRuntimeDirectory(places);
    const path = socketPath(places, directory);
    await removeDeadSocket(places, directory);
    const server = createServer();
    const control = new ControlServer(server, path);
    server.on("connection", (socket) => control.hear(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => reject(fileError(error, path, "listening on")));
      server.listen(path, resolve);
    });
    return control;
  }

  private hear(socket: Socket): void {
    this.silent.add(socket);
    socket.on("close", () => this.silent.delete(socket));
    socket.on("error", () => {});
    let request = "";
    const onData = (bytes: Buffer) => {
      request += bytes.toString("latin1");
      if (request.length > longestRequest) return socket.destroy();
      if (!request.endsWith("\n")) return;
      socket.off("data", onData).pause();
      void this.recording.then((recording) => {
        this.silent.delete(socket);
        this.answer(request.trim(), socket.resume(), recording);
      });
    };
    socket.on("data", onData);
  }

  private answer(request: string, socket: Socket, recording: Controlled): void {
    switch (request) {
      case "stop":
        recording.stop().then(
          () => socket.end("ok\n"),
          (error) => socket.end(`error ${error instanceof Error ? error.message : String(error)}\n`),
        );
        return;
      case "console":
      case "console owner":
        socket.write("ok\n");
        this.consoles.add(socket);
        socket.on("close", () => this.consoles.delete(socket));
        joinConsole(socket, recording, request.endsWith("owner"));
        return;
      default:
        socket.end("error unknown request\n");
    }
  }

  /**
   * Takes no more clients and removes the socket. Those who wait for an answer still get it; consoles are closed
   * as soon as nothing more comes.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    await rm(this.path, { force: true });
    for (const socket of this.silent) socket.destroy();
    for (const console of this.consoles) {
      console.end();
      setTimeout(() => console.destroy(), patienceMs).unref();
    }
  }
}

function joinConsole(socket: Socket, recording: Controlled, owner: boolean): void {
  let detached = false;
  const leave = recording.listen((bytes) => {
    if (socket.writableLength < longestBacklog) socket.write(bytes);
  });
  socket.on("data", (bytes: Buffer) => {
    const end = bytes.indexOf(detachByte);
    socket.pause(); // until the guest has taken them
    void recording.type(end < 0 ? bytes : bytes.subarray(0, end)).then(() => socket.resume());
    if (end < 0) return;
    detached = true;
    socket.end();
  });
  socket.on("close", () => {
    leave();
    if (owner && !detached) void recording.stop();
  });
}

/** The other side of {@link ControlServer}. */
export class ControlClient {
  private readonly socket: Socket;

  private constructor(socket: Socket) {
    this.socket = socket;
  }

  /** @returns undefined when nobody listens: no recording runs, or its process was killed */
  static async connect(places: Places, directory: string): Promise<ControlClient | undefined> {
    const path = socketPath(places, directory);
    const socket = connect(path);
    return new Promise((resolve, reject) => {
      socket.once("connect", () => {
        socket.removeAllListeners("error");
        socket.on("error", () => {});
        resolve(new ControlClient(socket));
      });
      socket.once("error", (error) => {
        if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ECONNREFUSED") resolve(undefined);
        else reject(fileError(error, path, "reaching"));
      });
    });
  }

  /** Ends the recording and waits until its tape is complete. */
  async stop(): Promise<void> {
    await this.request("stop");
    this.socket.destroy();
  }

  /** Joins the guest's console; the socket, paused, then carries its bytes. */
  async console(role: "owner" | "guest"): Promise<Socket> {
    await this.request(role === "owner" ? "console owner" : "console");
    return this.socket;
  }

  /** Leaves the console; the recording goes on. */
  detach(): void {
    this.socket.end(Uint8Array.of(detachByte));
  }

  private request(line: string): Promise<void> {
    const { socket } = this;
    socket.write(`${line}\n`);
    return new Promise((resolve, reject) => {
      let answer = Buffer.alloc(0);
      const settle = (text: string, rest: Buffer) => {
        socket.off("data", onData).pause();
        socket.off("close", onClose);
        if (rest.length > 0) socket.unshift(rest);
        if (text === "ok") resolve();
        else reject(new VmtapeError("qemu-failed", text.replace(/^error /, "") || "the recording went away"));
      };
      const onData = (bytes: Buffer) => {
        answer = Buffer.concat([answer, bytes]);
        const end = answer.indexOf(10);
        if (end >= 0) settle(answer.subarray(0, end).toString("utf8"), answer.subarray(end + 1));
      };
      const onClose = () => settle("", Buffer.alloc(0));
      socket.on("data", onData);
      socket.on("close", onClose);
    });
  }
}
