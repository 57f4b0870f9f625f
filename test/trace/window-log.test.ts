import { mkdtemp, readdir, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openFileSource } from "../../src/base/byte-source.js";
import { BranchBatch } from "../../src/formats/branch.js";
import { BranchLogChunks } from "../../src/formats/branch-log-chunks.js";
import { chunkHeaderLayout } from "../../src/formats/branch-log-layout.js";
import { streamEndLayout, streamEndMagic, streamEndReasons } from "../../src/formats/plugin-stream.js";
import { PluginChannel } from "../../src/qemu/plugin-channel.js";
import { BranchLog } from "../../src/trace/branch-log.js";
import { BranchLogWriter } from "../../src/trace/branch-log-writer.js";
import { WindowLog } from "../../src/trace/window-log.js";
import { batchOf, recordsOf } from "../formats/branch-samples.js";
import { walkBranches } from "../formats/branch-walk.js";
import { until } from "../workbench.js";

const start = { brctr: 3000, icount: 50_000 };
const end = { brctr: 3400, icount: 60_000 };
const records = walkBranches(11, 400, start);
const facts = { tape: "0b6c2a52-95c4-4a0b-9c7e-1d3f5a7b9c11", qemu: "7.2.22" };
const window = { end: { at: "icount", icount: 60_000n } } as never;
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "vmtape-test-"));
});
afterAll(() => rm(directory, { recursive: true }));

/** A plugin that sends what the test wants, at the time that the test wants. */
class FakePlugin implements AsyncDisposable {
  private constructor(
    private readonly server: Server,
    readonly ours: readonly Socket[],
    private readonly theirs: readonly Socket[],
  ) {}

  static async start(): Promise<FakePlugin> {
    const path = join(directory, `s${Math.random().toString(36).slice(2)}`);
    const theirs: Socket[] = [];
    const server = createServer((socket) => void theirs.push(socket)).listen(path);
    const ours = [connect(path), connect(path)];
    await new Promise((resolve) => server.on("connection", () => theirs.length === 2 && resolve(undefined)));
    return new FakePlugin(server, ours, theirs);
  }

  sendData(bytes: Uint8Array): void {
    this.theirs[0]!.write(bytes);
  }

  tell(event: "start" | "end", at: { brctr: number; icount: number }): void {
    this.theirs[1]!.write(`${JSON.stringify({ event, ...at, pc: 4096 })}\n`);
  }

  goAway(): void {
    for (const socket of this.theirs) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of [...this.ours, ...this.theirs]) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** The chunks of a log of {@link records}, as the plugin sends them. */
async function chunks(): Promise<Uint8Array[]> {
  const path = join(directory, "sent");
  await using writer = await BranchLogWriter.create(path, {
    ...facts,
    chunkBits: 8,
    startBrctr: start.brctr,
    startIcount: start.icount,
  });
  await writer.add(batchOf(records));
  await writer.finish();
  await using source = await openFileSource(path);
  const found: Uint8Array[] = [];
  const log = await BranchLogChunks.open(source);
  for (let i = 0; i < (log.trailer?.chunks ?? 0); i++) found.push(Buffer.from((await log.read(i)).bytes));
  return found;
}

function endMarker(reason: number): Uint8Array {
  const bytes = Buffer.alloc(chunkHeaderLayout.size);
  bytes.writeUInt32LE(streamEndMagic, 0);
  bytes.writeUInt32LE(reason, streamEndLayout.reason);
  bytes.writeBigUInt64LE(BigInt(end.brctr), streamEndLayout.brctr);
  bytes.writeBigUInt64LE(BigInt(end.icount), streamEndLayout.icount);
  bytes.writeBigUInt64LE(BigInt(records.length), streamEndLayout.records);
  return bytes;
}

const reasonWindow = streamEndReasons.indexOf("window");

test("records that come before the word of where the window begins are kept", async () => {
  await using plugin = await FakePlugin.start();
  const channel = new PluginChannel(plugin.ours);
  const output = join(directory, "log");
  await using log = new WindowLog(channel, window, output, facts);
  for (const chunk of await chunks()) plugin.sendData(chunk);
  plugin.sendData(endMarker(reasonWindow));
  const reading = log.read();
  await until(() => plugin.ours[0]!.bytesRead > 0, "records"); // the records arrive before the event
  plugin.tell("start", start);
  const told = await reading;
  plugin.tell("end", end);
  await channel.whenReached("end");
  expect(await log.finish(told)).toBeGreaterThan(0);
  await using written = await BranchLog.open(output);
  const found = [];
  for await (const batch of written.batches({}, new BranchBatch(900))) found.push(...recordsOf(batch));
  expect(found).toEqual(records);
});

test("a plugin that goes away before that word leaves no log, and nobody waits for it", async () => {
  await using plugin = await FakePlugin.start();
  const output = join(directory, "none");
  {
    await using log = new WindowLog(new PluginChannel(plugin.ours), window, output, facts);
    plugin.sendData((await chunks())[0]!);
    const reading = log.read();
    setImmediate(() => plugin.goAway());
    await expect(reading).rejects.toMatchObject({ code: "qemu-failed" });
  }
  expect((await readdir(directory)).filter((name) => name.startsWith("none"))).toEqual([]);
});
