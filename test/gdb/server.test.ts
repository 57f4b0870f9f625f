import { mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type ListenAddress, parseListenAddress } from "../../src/gdb/listen-address.js";
import { framePacket } from "../../src/gdb/packet.js";
import { GdbServer } from "../../src/gdb/server.js";
import { until } from "../workbench.js";
import { FakeDesk } from "./fake-desk.js";
import { FakeTarget } from "./fake-target.js";

let directory: string;
let target: FakeTarget;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-gdb-"));
  target = new FakeTarget();
});
afterEach(() => rm(directory, { recursive: true }));

const socketAt = (name = "s"): ListenAddress => ({ kind: "unix", path: join(directory, name) });
const listen = (address = socketAt()) => GdbServer.listen(address, { target, desk: new FakeDesk(target) });

/** Does a number stay the same over many turns of the event loop? */
async function isSteady(count: () => number): Promise<boolean> {
  const before = count();
  for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
  return count() === before;
}

/** A client on a real socket, without acknowledgements. */
class SocketClient {
  readonly socket: Socket;
  /** Everything that was received until the server closed the socket. */
  readonly all: Promise<string>;
  private text = "";
  private wake = () => {};

  constructor(attachTo: string) {
    const [, host, port] = /^(.+):(\d+)$/.exec(attachTo) ?? [];
    this.socket = host ? connect(Number(port), host) : connect(attachTo);
    this.socket.setEncoding("latin1");
    this.socket.on("data", (text: string) => {
      this.text += text;
      this.wake();
    });
    this.socket.on("error", () => {});
    this.all = new Promise((resolve) => this.socket.on("close", () => resolve(this.text)));
  }

  async ask(body: string): Promise<string> {
    const from = this.text.length;
    this.socket.write(framePacket(body));
    for (;;) {
      const [, answer] = /\$([^#]*)#../.exec(this.text.slice(from)) ?? [];
      if (answer !== undefined) return answer;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}

describe("where to listen", () => {
  test.each([
    ["localhost:1234", { kind: "tcp", host: "127.0.0.1", port: 1234 }],
    [":0", { kind: "tcp", host: "127.0.0.1", port: 0 }],
    ["127.0.0.2:65535", { kind: "tcp", host: "127.0.0.2", port: 65535 }],
    ["[::1]:1234", { kind: "tcp", host: "::1", port: 1234 }],
    ["unix:/tmp/a b", { kind: "unix", path: "/tmp/a b" }],
    ["unix:here", { kind: "unix", path: join(process.cwd(), "here") }],
  ])("%s", (text, expected) => {
    expect(parseListenAddress(text)).toEqual(expected);
  });

  test.each([
    "",
    "1234",
    "localhost",
    "localhost:",
    "localhost:65536",
    "localhost:-1",
    "localhost:0x10",
    "0.0.0.0:1234",
    "*:1234",
    "[::]:1234",
    "example.org:1234",
    "192.168.0.1:1234",
    "::1:1234",
    "unix:",
    `unix:/${"x".repeat(107)}`,
  ])("%j is refused", (text) => {
    expect(() => parseListenAddress(text)).toThrow(expect.objectContaining({ code: "usage" }));
  });
});

describe("the server", () => {
  test.each([
    ["a socket", () => socketAt()],
    ["a port", () => parseListenAddress("localhost:0")],
    ["a port of IPv6", () => parseListenAddress("[::1]:0")],
  ])("serves on %s", async (_, address) => {
    await using server = await listen(address());
    const client = new SocketClient(server.attachTo.replace(/[[\]]/g, ""));
    expect(await client.ask("qC")).toBe("QC01");
  });

  test("a socket is its owner's alone, and goes with the server", async () => {
    const server = await listen();
    expect((await stat(server.attachTo)).mode & 0o777).toBe(0o600);
    await server[Symbol.asyncDispose]();
    await expect(stat(server.attachTo)).rejects.toThrow("ENOENT");
  });

  test("a socket nobody listens on is replaced; one that is used, or a file, is not", async () => {
    await using server = await listen();
    await expect(listen()).rejects.toMatchObject({ code: "usage" });
    expect(await new SocketClient(server.attachTo).ask("qC")).toBe("QC01");
    await writeFile(join(directory, "file"), "precious");
    await expect(listen(socketAt("file"))).rejects.toMatchObject({ code: "usage" });
    await symlink("file", join(directory, "link"));
    await expect(listen(socketAt("link"))).rejects.toMatchObject({ code: "usage" });
    await expect(listen(socketAt("absent/socket"))).rejects.toMatchObject({ code: /bad-file|not-writable/ });
  });

  test("a port that is taken is said so", async () => {
    await using server = await listen(parseListenAddress("localhost:0"));
    await expect(listen(parseListenAddress(server.attachTo))).rejects.toMatchObject({ code: "usage" });
  });

  test("a second client is told why, and let go", async () => {
    await using server = await listen();
    const first = new SocketClient(server.attachTo);
    await first.ask("qC");
    const second = new SocketClient(server.attachTo);
    expect(await second.ask("qSupported")).toMatch(/^E\.another debugger is attached/);
    expect(await second.all).toMatch(/^\+\$E\.[^#]*#..$/);
    expect(await first.ask("qC")).toBe("QC01");
  });

  test("one client after the other, whatever the last one did", async () => {
    await using server = await listen();
    target.endless = true;
    for (let i = 0; i < 20; i++) {
      const client = new SocketClient(server.attachTo);
      expect(await client.ask("qC")).toBe("QC01");
      client.socket.write(framePacket("vCont;c").subarray(0, i % 13));
      client.socket.destroy();
    }
    target.endless = false;
    expect(await new SocketClient(server.attachTo).ask("qC")).toBe("QC01");
    expect(target.points.size).toBe(0);
  });

  test("a flood from a client that reads nothing is held back, and it is let go at the end", async () => {
    const server = await listen();
    const client = new SocketClient(server.attachTo);
    await client.ask("qC");
    client.socket.pause();
    const flood = Buffer.concat(Array.from({ length: 2000 }, () => framePacket("x8000,4000")));
    let answered = 0;
    target.readMemory = async (_, length) => {
      answered++;
      return new Uint8Array(length);
    };
    client.socket.write(flood);
    await until(async () => answered > 0 && (await isSteady(() => answered)), "the server to hold back");
    // The kernel and the server buffer about 1 MB of answers of 16 kB.
    expect(answered).toBeLessThan(500);
    await server[Symbol.asyncDispose]();
  });

  test("ends while a client's run goes on", async () => {
    const server = await listen();
    const client = new SocketClient(server.attachTo);
    await client.ask("qC");
    target.endless = true;
    const begun = vi.spyOn(target, "run");
    client.socket.write(framePacket("c"));
    await until(() => begun.mock.calls.length > 0, "the run");
    await server[Symbol.asyncDispose]();
    await client.all;
  });
});
