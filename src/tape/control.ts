import { rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { errnoOf, fileError, VmtapeError } from "../base/errors.js";
import { ConsoleClient, type ConsoleListener } from "./console-client.js";
import { ConsoleSeat, type SeatWish, type SharedConsole } from "./console-seat.js";
import { makeRuntimeDirectory, type Places, socketStem } from "./home.js";

/**
 * How other processes reach a running recording: a unix socket in the user's private runtime directory. A client
 * sends one line, `stop` or `console` with a {@link SeatWish} as JSON; the answer is `ok` or `error TEXT`. After
 * `console` the stream carries the frames of `console-frames.ts`. An owner that closes the connection without a
 * detach ends the recording.
 */
export interface Controlled {
  stop(): Promise<unknown>;
  readonly console: SharedConsole;
}

const longestRequest = 512;
const longestName = 100;
/** How long a client that does not read its output may hold up the recorder's exit. */
const patienceMs = 2000;

const socketPath = (places: Places, directory: string) => `${socketStem(places, directory)}.record`;

/** Removes the socket of a recorder that was killed. The caller must hold the tape's lock. */
export async function removeDeadSocket(places: Places, directory: string): Promise<void> {
  await rm(socketPath(places, directory), { force: true });
}

export class ControlServer implements AsyncDisposable {
  private readonly server: Server;
  private readonly path: string;
  private readonly seats = new Set<ConsoleSeat>();
  /** Clients that have not sent a request yet. */
  private readonly silent = new Set<Socket>();
  private readonly recording: Promise<Controlled>;
  /** Begins to serve clients; those that have connected before are answered now. */
  serve!: (recording: Controlled) => void;

  private constructor(server: Server, path: string) {
    this.server = server;
    this.path = path;
    this.recording = new Promise((resolve) => {
      this.serve = resolve;
    });
  }

  /**
   * Listens for the tape in `directory`. The caller must hold the tape's lock, so an old socket there is of a killed
   * recorder. Clients can connect, and wait for {@link ControlServer.serve}.
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
    if (request === "stop") {
      recording.stop().then(
        () => socket.end("ok\n"),
        (error) => socket.end(`error ${error instanceof Error ? error.message : String(error)}\n`),
      );
      return;
    }
    const [, text] = /^console (.*)$/.exec(request) ?? [];
    const wish = text === undefined ? undefined : parseWish(text);
    if (!wish) {
      socket.end("error unknown request\n");
      return;
    }
    socket.write("ok\n");
    const seat = new ConsoleSeat(socket, recording.console, wish, (detached) => {
      this.seats.delete(seat);
      if (wish.role === "owner" && !detached) void recording.stop();
    });
    this.seats.add(seat);
  }

  /**
   * Accepts no more clients, and removes the socket. Clients that wait for an answer still get it; consoles are
   * closed when all output was sent.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.server.close();
    await rm(this.path, { force: true });
    for (const socket of this.silent) socket.destroy();
    for (const seat of this.seats) seat.finish(patienceMs);
  }
}

/** Parses the request of a client that joins the console; undefined when it is malformed. */
function parseWish(text: string): SeatWish | undefined {
  try {
    const { role, name, past } = JSON.parse(text) as Record<string, unknown>;
    if (role !== "owner" && role !== "type" && role !== "watch") return undefined;
    return {
      role,
      name: String(name)
        .replace(/[^\x20-\x7e]/g, "?")
        .slice(0, longestName),
      past: past === true,
    };
  } catch {
    return undefined;
  }
}

/** The client's side of {@link ControlServer}. */
export class ControlClient {
  private readonly socket: Socket;

  private constructor(socket: Socket) {
    this.socket = socket;
  }

  /** @returns undefined when no process listens: no recording is running, or it was killed */
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

  /** Joins the guest's console. */
  async console(wish: SeatWish, listener: ConsoleListener): Promise<ConsoleClient> {
    await this.request(`console ${JSON.stringify(wish)}`);
    return new ConsoleClient(this.socket, listener);
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
