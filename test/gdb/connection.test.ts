import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { commandTable } from "../../src/gdb/command-table.js";
import { escapeBinary, framePacket, unescapeBinary } from "../../src/gdb/packet.js";
import { FakeClient } from "./fake-client.js";
import { dataBase, place } from "./fake-machine.js";
import { FakeTarget } from "./fake-target.js";

const hex = (value: number) => value.toString(16);

/** A client that has sent its greeting. */
async function greeted(target?: FakeTarget): Promise<FakeClient> {
  const client = new FakeClient(target);
  await client.greet();
  return client;
}

/** `rax` as the `g` packet shows it. */
async function rax(client: FakeClient): Promise<bigint> {
  return Buffer.from(await client.ask("g"), "hex").readBigUInt64LE();
}

describe("the conversation", () => {
  test("begins with features", async () => {
    const client = new FakeClient();
    const offered = (await client.greet()).split(";");
    expect(offered).toEqual(
      expect.arrayContaining([
        "PacketSize=10000",
        "QStartNoAckMode+",
        "qXfer:features:read+",
        "qXfer:memory-map:read+",
        "ReverseStep+",
        "ReverseContinue+",
        "ConditionalBreakpoints+",
        "swbreak+",
        "hwbreak+",
        "vContSupported+",
      ]),
    );
  });

  test("begins with GDB 16 as with GDB 13: what is not served is said so", async () => {
    const client = new FakeClient();
    const features =
      "multiprocess+;swbreak+;hwbreak+;qRelocInsn+;vContSupported+;QThreadOptions+;no-resumed+";
    expect(
      await client.ask(`qSupported:${features};memory-tagging+;error-message+;xmlRegisters=i386`),
    ).toMatch(/error-message\+/);
    for (const [body, answer] of [
      ["vMustReplyEmpty", /^$/],
      ["QStartNoAckMode", /^OK$/],
      ["QThreadEvents:0", /^$/],
      ["QThreadOptions;0", /^$/],
      ["Hg0", /^OK$/],
      ["qXfer:features:read:target.xml:0,10000", /^l<\?xml/],
      ["qTStatus", /^$/],
      ["?", /^T05thread:p98967f.01;$/],
      ["qXfer:threads:read::0,1000", /^$/],
      ["qfThreadInfo", /^mp98967f.01$/],
      ["qC", /^QCp98967f.01$/],
      ["Hgp98967f.1", /^OK$/],
      ["Hgp98967f.2", /^E/],
      ["Hgp2.1", /^E/],
      ["vCont;c:p2.1", /^E/],
      ["qAttached", /^1$/],
      ["Hc-1", /^OK$/],
      ["qOffsets", /^$/],
      ["qXfer:memory-map:read::0,10000", /^l<\?xml/],
      ["x1000,4", /^b\x90{4}$/],
      ["vFile:setfs:0", /^$/],
    ] as const) {
      expect([body, await client.ask(body)]).toEqual([body, expect.stringMatching(answer)]);
    }
  });

  test("only GDB is told of Linux and of a process", async () => {
    const features = "multiprocess+;swbreak+;xmlRegisters=i386,arm,mips,arc";
    const [gdb, lldb] = [new FakeClient(), new FakeClient()];
    expect(await gdb.ask(`qSupported:${features};qRelocInsn+`)).toMatch(/;multiprocess\+/);
    expect(await lldb.ask(`qSupported:${features};fork-events+`)).not.toMatch(/multiprocess/);
    expect(await gdb.ask("qXfer:features:read:target.xml:0,1000")).toMatch(/org\.gnu\.gdb\.i386\.linux/);
    expect(await lldb.ask("qXfer:features:read:target.xml:0,1000")).not.toMatch(/linux/);
    expect(await gdb.ask("p270f")).toBe("xxxxxxxxxxxxxxxx");
    expect(await lldb.ask("qC")).toBe("QC01");
  });

  test("files of the guest's processes are opened, read, closed, and nothing else is", async () => {
    const client = await greeted();
    const name = (path: string) => Buffer.from(path).toString("hex");
    const open = (path: string) => client.ask(`vFile:open:${name(path)},0,0`);
    expect(await open("/proc/1/maps")).toBe("F3");
    expect(await open("/proc/9999999/maps")).toBe("F4");
    expect(await client.ask("vFile:pread:3,1000,0")).toMatch(/^F[0-9a-f]+;00400000-.*\/sbin\/init\n$/s);
    expect(await client.ask("vFile:pread:4,1000,0")).toMatch(/\/bin\/cat\n$/);
    expect(await client.ask("vFile:pread:3,8,9")).toBe("F8;00401000");
    expect(await client.ask("vFile:pread:3,1000,ffff")).toBe("F0;");
    expect(await client.ask("vFile:close:3")).toBe("F0");
    expect(await client.ask("vFile:close:3")).toBe("F-1,9");
    expect(await client.ask("vFile:pread:3,8,0")).toBe("F-1,9");
    expect(await client.ask(`vFile:readlink:${name("/proc/1/exe")}`)).toBe("Fa;/sbin/init");
    for (const path of ["/etc/passwd", "/proc/self/maps", "/proc/1/../../etc/passwd", "/proc/2/maps", ""])
      expect([path, await open(path)]).toEqual([path, "F-1,2"]);
    expect(await client.ask(`vFile:readlink:${name("/etc/mtab")}`)).toBe("F-1,2");
    expect(await client.ask(`vFile:unlink:${name("/etc/passwd")}`)).toBe("");
    expect(await client.ask(`vFile:pwrite:4,0,x`)).toBe("");
    expect(await client.ask("qXfer:auxv:read::0,1000")).toHaveLength(1 + 48);
  });

  test("acknowledges packets until told not to", async () => {
    const client = new FakeClient();
    await client.ask("qC");
    await client.stopAcknowledging();
    await client.ask("qC");
    expect(client.received).toEqual(["+", "QC01", "+", "OK", "QC01"]);
  });

  test("repeats its last answer when asked to", async () => {
    const client = new FakeClient();
    await client.ask("qC");
    const again = client.next();
    client.say("-");
    expect(await again).toBe("QC01");
  });

  test("wants a damaged packet again, or says so where nobody would repeat it", async () => {
    const client = new FakeClient();
    client.say("$qC#00");
    await client.ask("qC");
    expect(client.received).toEqual(["-", "+", "QC01"]);
    await client.stopAcknowledging();
    const answer = client.next();
    client.say("$qC#00");
    expect(await answer).toBe("E.the packet is damaged (checksum)");
  });

  test("answers packets in their order, however many come at once", async () => {
    const client = await greeted();
    const count = 500;
    const answers = Array.from({ length: count }, () => client.next());
    client.say(Buffer.concat(Array.from({ length: count }, (_, i) => framePacket(i % 2 ? "qC" : "?"))));
    const all = await Promise.all(answers);
    expect(all.filter((answer) => answer === "QC01")).toHaveLength(count / 2);
    expect(all[0]).toBe("T05thread:01;");
    expect(all[1]).toBe("QC01");
  });

  test.each([
    ["D", "detached", ["OK"]],
    ["D;1", "detached", ["OK"]],
    ["vKill;1", "killed", ["OK"]],
    ["k", "killed", []],
  ])("%s ends it: %s, answered by %j", async (body, end, answers) => {
    const client = await greeted();
    await client.ask("Z0,1004,1");
    const before = client.received.length;
    client.say(framePacket(body));
    expect(await client.end).toBe(end);
    expect(client.received.slice(before)).toEqual(answers);
    expect(client.target.points.size).toBe(0);
  });

  test("a client that goes away in the middle of a run leaves the target free", async () => {
    const client = await greeted();
    client.target.endless = true;
    await client.ask("Z2,8000,8");
    client.say(framePacket("c"));
    client.stream.destroy();
    expect(await client.end).toBe("gone");
    expect(client.target.points.size).toBe(0);
  });

  test("a browser, or a terminal, is not talked to", async () => {
    const client = new FakeClient();
    client.say("POST / HTTP/1.1\r\n\r\n$vCont;c#a8");
    expect(await client.end).toBe("dropped");
    expect(client.received).toEqual([]);
    expect(client.target.moves).toBe(0);
  });

  test("a client that sends only damage is dropped", async () => {
    const client = await greeted();
    client.say("$g#00".repeat(300));
    expect(await client.end).toBe("dropped");
  });

  test("property: whatever comes, the server answers the next client", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (noise) => {
        const target = new FakeTarget();
        const client = await greeted(target);
        client.say(noise);
        client.stream.end();
        await client.end;
        expect(target.points.size).toBe(0);
        expect(await (await greeted(target)).ask("qC")).toBe("QC01");
      }),
      { numRuns: 50 },
    );
  });

  test("property: every command takes any arguments and lives", async () => {
    const names = commandTable
      .map(({ name }) => name)
      .filter((name) => !["D", "k", "vKill", "QStartNoAckMode"].includes(name));
    const words = fc.oneof(
      fc.string({ maxLength: 20 }),
      fc.stringMatching(/^[:;,]?[0-9a-f]{0,17}[,:;]?[0-9a-f]{0,17}$/),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...names), words, async (name, rest) => {
        const client = await greeted();
        const body = escapeBinary(Buffer.from(name + rest, "latin1"));
        expect(typeof (await client.ask(body))).toBe("string");
        expect(await client.ask("qC")).toBe("QC01");
      }),
      { numRuns: 300 },
    );
  });

  test("a failure of the target is told, and the conversation goes on", async () => {
    const client = await greeted();
    client.target.run = () => Promise.reject(new Error("QEMU is gone"));
    expect(await client.ask("vCont;c")).toBe("T00thread:01;");
    expect(client.received.at(-2)).toBe(`O${Buffer.from("vmtape: QEMU is gone\n").toString("hex")}`);
    client.target.registers = () => Promise.reject(new Error("QEMU is gone"));
    expect(await client.ask("g")).toBe("E.QEMU is gone");
    expect(await client.ask("qC")).toBe("QC01");
  });
});

describe("the table", () => {
  test("names each packet once, and where it is described", () => {
    const names = commandTable.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { section } of commandTable) expect(section).toMatch(/^([A-Z][\w-]+\.html(#\S+)?|lldb: \w+)$/);
  });

  test.each([
    "vMustReplyEmpty",
    "vUnknown;1",
    "qTStatus",
    "qUnknown",
    "!",
    "",
    "~",
    "QThreadEvents:1",
    "vRun;",
    "Z5,1004,1",
    "z5,1004,1",
    "Z9,1004,1;X0,",
    "Hx1",
  ])("%j is not supported: the empty answer", async (body) => {
    expect(await (await greeted()).ask(body)).toBe("");
  });

  test.each([
    ["?", "T05thread:01;"],
    ["qC", "QC01"],
    ["qfThreadInfo", "m01"],
    ["qsThreadInfo", "l"],
    ["qThreadExtraInfo,1", Buffer.from("CPU 0").toString("hex")],
    ["Hg1", "OK"],
    ["Hgp1.1", "OK"],
    ["Hc-1", "OK"],
    ["Hc0", "OK"],
    ["T1", "OK"],
    ["Tp1.1", "OK"],
    ["qAttached", "1"],
    ["qAttached:1", "1"],
    ["qSymbol::", "OK"],
    ["QNonStop:0", "OK"],
    ["vCont?", "vCont;c;C;s;S;r;t"],
    ["vCont;t", "T00thread:01;"],
    ["z0,1004,1", "OK"],
    ["z2,8000,8", "OK"],
    ["qMemoryRegionInfo:0", "start:0;size:1000;"],
    ["qMemoryRegionInfo:2004", "start:1000;size:3000;permissions:rx;"],
    ["qMemoryRegionInfo:8000", "start:8000;size:1000;permissions:rw;"],
    ["qMemoryRegionInfo:ffffffffffffffff", "start:a000;size:ffffffffffff5fff;"],
  ])("%s → %s", async (body, answer) => {
    expect(await (await greeted()).ask(body)).toBe(answer);
  });

  test.each([
    "Hg2",
    "T2",
    "Tp2.1",
    "QNonStop:1",
    "G00",
    "P10=00",
    "M1000,1:90",
    "X1000,1:\x90",
    "X0,0:",
    "p1000",
    "m1000",
    "m1000,1,1",
    "m10000000000000000,1",
    "Z0,1004",
    "Z2,8000,0",
    "Z2,8000,ffffffff",
    "Z0,1004,1;X3,26",
    "Z0,1004,1;X0,",
    "Z0,1004,1;cmds:0,X1,27",
    "vCont;x",
    "vCont;s:2",
    "vCont;r1000",
    "c1000",
    "s1000",
    "qXfer:features:read:absent.xml:0,100",
    "qXfer:features:read:../../../package.json:0,100",
    "qXfer:features:read:target.xml:0",
    "qXfer:memory-map:read:x:0,100",
    "qMemoryRegionInfo:",
    "qRcmd,6",
    "qRcmd68",
  ])("%j is refused with a reason", async (body) => {
    expect(await (await greeted()).ask(body)).toMatch(/^E\.[ -~]{10,}$/);
  });

  test("LLDB finds a place that nobody uses, and walks over all addresses to their end", async () => {
    const client = await greeted();
    const region = async (address: bigint) => {
      const answer = await client.ask(`qMemoryRegionInfo:${address.toString(16)}`);
      const [, start, size, permissions] =
        /^start:([0-9a-f]+);size:([0-9a-f]+);(?:permissions:(rw?x?);)?$/.exec(answer) ?? [];
      return { start: BigInt(`0x${start}`), size: BigInt(`0x${size}`), permissions };
    };
    // The address where LLDB would put an expression's variables: LLDB 16, source/Expression/IRMemoryMap.cpp,
    // FindSpace.
    const free = await region(0xdead0fff00000000n);
    expect(free.permissions).toBeUndefined();
    expect(free.start + free.size).toBeGreaterThan(0xdead0fff00001000n);
    const last = (1n << 64n) - 1n;
    const seen: (string | undefined)[] = [];
    for (let at = 0n; at < last; ) {
      const { start, size, permissions } = await region(at);
      expect(start).toBe(at);
      expect(size).toBeGreaterThan(0n);
      seen.push(permissions);
      at = start + size;
      expect(at).toBeLessThanOrEqual(last);
    }
    expect(seen).toEqual([undefined, "rx", undefined, "rw", "rwx", undefined]);
  });

  test("LLDB is told in numbers, then in numbers and text", async () => {
    const client = await greeted();
    expect(await client.ask("qOffsets")).toBe("");
    expect(await client.ask("QEnableErrorStrings")).toBe("OK");
    expect(await client.ask("qOffsets")).toBe("Text=0;Data=0;Bss=0");
    const [, text] = /^E1e;([0-9a-f]+)$/.exec(await client.ask("P10=00")) ?? [];
    expect(Buffer.from(text!, "hex").toString()).toMatch(/recording/);
  });
});

describe("registers and memory", () => {
  test("g is QEMU's block; p is one register", async () => {
    const client = await greeted();
    const block = Buffer.from(await client.ask("g"), "hex");
    expect(block.length).toBe(608);
    expect(block.readBigUInt64LE(128)).toBe(BigInt(place.loop));
    expect(await client.ask("p10")).toBe("0010000000000000");
  });

  test("m reads what is mapped, and no more", async () => {
    const client = await greeted();
    await client.ask("vCont;s");
    await client.ask("vCont;s");
    expect(await client.ask(`m${hex(dataBase)},8`)).toBe("0100000000000000");
    expect(await client.ask(`m${hex(dataBase + 60)},8`)).toBe("00000000");
    expect(await client.ask("m7fff00000000,8")).toBe("E0e");
    expect(await client.ask(`m${hex(dataBase)},0`)).toBe("");
  });

  test("4 GB, and more, are answered with as much as fits a packet", async () => {
    const client = await greeted();
    const lengths: number[] = [];
    client.target.readMemory = async (_, length) => {
      lengths.push(length);
      return Buffer.alloc(length);
    };
    for (const body of ["m0,100000000", "m0,1fffffffffffff", "x1,100000000"]) {
      expect((await client.ask(body)).length).toBeLessThanOrEqual(0x10000);
    }
    expect(Math.max(...lengths)).toBeLessThan(0x8000);
  });

  test("x gives bytes: with a `b` before them, or as an old LLDB wants them", async () => {
    const client = await greeted();
    client.target.readMemory = async () => Uint8Array.of(0x23, 0x24, 0x2a, 0x7d, 0x41);
    const expected = "}\x03}\x04}\n}]A";
    expect(await client.ask("x8000,5")).toBe(`b${expected}`);
    expect(await client.ask("x0,0")).toBe("OK");
    const bare = await client.ask("x8000,5");
    expect(bare).toBe(expected);
    expect([...unescapeBinary(bare)]).toEqual([0x23, 0x24, 0x2a, 0x7d, 0x41]);
  });

  test("objects come in parts of any size", async () => {
    const client = await greeted();
    for (const [object, size] of [
      ["features:read:i386-64bit.xml", 1000],
      ["memory-map:read:", 7],
    ] as const) {
      let text = "";
      for (let answer = "m"; answer.startsWith("m"); ) {
        answer = await client.ask(`qXfer:${object}:${hex(text.length)},${hex(size)}`);
        text += Buffer.from(unescapeBinary(answer.slice(1))).toString("latin1");
        expect(answer.length).toBeLessThanOrEqual(2 * size + 1);
      }
      expect(text).toMatch(/<\/(feature|memory-map)>\s*$/);
      expect(await client.ask(`qXfer:${object}:${hex(text.length + 100)},10`)).toBe("l");
    }
  });
});

describe("moving", () => {
  test("stepi goes by instants, deliveries among them, both ways", async () => {
    const client = await greeted();
    const { instants } = client.target;
    for (let i = 1; i < 30; i++) {
      expect(await client.ask("vCont;s:1;c")).toBe("T05thread:01;");
      expect(client.target.now).toBe(instants[i]);
    }
    for (let i = 28; i >= 0; i--) {
      expect(await client.ask("bs")).toBe("T05thread:01;");
      expect(client.target.now).toBe(instants[i]);
    }
  });

  test("the tape's two ends", async () => {
    const client = await greeted();
    expect(await client.ask("bs")).toBe("T05replaylog:begin;thread:01;");
    expect(await client.ask("vCont;c")).toBe("T05replaylog:end;thread:01;");
    expect(await client.ask("?")).toBe("T05replaylog:end;thread:01;");
    expect(await client.ask("s")).toBe("T05replaylog:end;thread:01;");
    expect(await client.ask("bc")).toBe("T05replaylog:begin;thread:01;");
  });

  test.each([
    ["Z0", "swbreak:;"],
    ["Z1", "hwbreak:;"],
  ])("%s stops before the instruction, whichever way", async (type, reason) => {
    const client = await greeted();
    expect(await client.ask(`${type},${hex(place.ret)},1`)).toBe("OK");
    for (const body of ["vCont;c", "c", "C05", "vCont;C05:1", "bc"]) {
      expect(await client.ask(body)).toBe(`T05${reason}thread:01;`);
      expect(client.target.now.pc).toBe(place.ret);
    }
    await client.ask(`z${type[1]},${hex(place.ret)},1`);
    expect(await client.ask("bc")).toBe("T05replaylog:begin;thread:01;");
  });

  test("a client that knows no reasons gets none", async () => {
    const client = new FakeClient();
    await client.ask("qSupported:multiprocess+");
    await client.ask(`Z0,${hex(place.ret)},1`);
    expect(await client.ask("c")).toBe("T05thread:01;");
  });

  test.each([
    ["Z2", "watch", place.call],
    ["Z3", "rwatch", place.ret],
    ["Z4", "awatch", place.call],
  ])("%s stops behind the access, and before it on the way back", async (type, reason, after) => {
    const client = await greeted();
    await client.ask(`${type},${hex(dataBase)},4`);
    expect(await client.ask("vCont;c")).toBe(`T05${reason}:8000;thread:01;`);
    expect(client.target.now.pc).toBe(after);
    expect(await client.ask("bc")).toBe(`T05${reason}:8000;thread:01;`);
    expect(client.target.now.pc).toBe(after - 4);
  });

  test("of a longer access the watched byte is named", async () => {
    const client = await greeted();
    await client.ask(`Z2,${hex(dataBase + 5)},1`);
    expect(await client.ask("c")).toBe("T05watch:8005;thread:01;");
  });

  test("conditions are evaluated here: of several one must hold", async () => {
    const client = await greeted();
    const raxIs = (value: number) => `X7,260000${`22${value.toString(16).padStart(2, "0")}`}1327`;
    await client.ask(`Z0,${hex(place.store)},1;${raxIs(5)}${raxIs(9)}`);
    const seen: bigint[] = [];
    while ((await client.ask("vCont;c")).startsWith("T05swbreak")) seen.push(await rax(client));
    expect(seen).toEqual([5n, 9n]);
  });

  test("Z again replaces a point's conditions", async () => {
    const client = await greeted();
    await client.ask(`Z0,${hex(place.store)},1;X7,2600002205132700`.slice(0, -2));
    await client.ask(`Z0,${hex(place.store)},1`);
    await client.ask("c");
    expect(await rax(client)).toBe(1n);
    expect(client.target.points.size).toBe(1);
    await client.ask(`z0,${hex(place.store)},1`);
    expect(client.target.points.size).toBe(0);
  });

  test("a range is stepped through, over interrupts, into calls, and to breakpoints in it", async () => {
    const client = await greeted();
    const range = `vCont;r${hex(place.loop)},${hex(place.jump)}:1`;
    expect(await client.ask(range)).toBe("T05thread:01;");
    expect(client.target.now).toMatchObject({ icount: 3, pc: place.callee });
    const body = `vCont;r${hex(place.callee)},${hex(place.callee + 8)}:1`;
    expect(await client.ask(body)).toBe("T05thread:01;");
    expect(client.target.now).toMatchObject({ icount: 5, pc: place.jump });
    // The interrupt of icount 7 comes at the store; its handler is not shown.
    await client.ask("s");
    await client.ask("s");
    expect(client.target.now).toMatchObject({ icount: 7, pc: place.store });
    await client.ask(range);
    expect(client.target.now).toMatchObject({ icount: 11, pc: place.callee });
    await client.ask("bs");
    await client.ask("bs");
    await client.ask(`Z0,${hex(place.call)},1`);
    await client.ask(range);
    expect(client.target.now.pc).toBe(place.call);
    expect(client.target.points.size).toBe(1);
  });

  test("a watchpoint in a stepped range is told", async () => {
    const client = await greeted();
    await client.ask(`Z2,${hex(dataBase)},8`);
    expect(await client.ask("vCont;r1000,3000:1")).toBe("T05watch:8000;thread:01;");
  });

  test.each(["vCont;c", "c", "bc", "vCont;s:2;c"])("Ctrl-C stops %s", async (body) => {
    const client = await greeted();
    client.target.endless = true;
    const answer = client.ask(body);
    client.say("\x03");
    expect(await answer).toBe("T02thread:01;");
    expect(await client.ask("qC")).toBe("QC01");
  });

  test("Ctrl-C that comes late, or before anything runs, changes nothing", async () => {
    const client = await greeted();
    client.say("\x03");
    expect(await client.ask("vCont;s")).toBe("T05thread:01;");
    client.say("\x03\x03");
    expect(await client.ask("vCont;c")).toBe("T05replaylog:end;thread:01;");
  });

  test("the next client finds the position the last one left", async () => {
    const target = new FakeTarget();
    const first = await greeted(target);
    await first.ask(`Z0,${hex(place.ret)},1`);
    await first.ask("c");
    await first.ask("D");
    await first.end;
    const second = await greeted(target);
    expect(await second.ask("p10")).toBe("0420000000000000");
    expect(await second.ask("bc")).toBe("T05replaylog:begin;thread:01;");
  });
});

describe("monitor", () => {
  test("where, icount and brctr tell the position", async () => {
    const client = await greeted();
    for (let i = 0; i < 5; i++) await client.ask("s");
    expect(await client.monitor("where")).toBe("0x100c:2 @5 <place>\n");
    expect(await client.monitor("icount")).toBe("5\n");
    expect(await client.monitor(" brctr ")).toBe("2\n");
  });

  test("mark, marks and goto", async () => {
    const client = await greeted();
    expect(await client.monitor("marks")).toBe("no marks\n");
    await client.ask("s");
    expect(await client.monitor("mark bug")).toBe("bug: 0x1004:0 @1 <place>\n");
    expect(await client.monitor("goto @5")).toMatch(/^0x100c:2 @5 <place>\n.*flush register-cache/);
    await client.monitor("mark");
    expect(await client.monitor("marks")).toBe("bug: 0x1004:0 @1 <place>\n2: 0x100c:2 @5 <place>\n");
    expect(await client.ask("p10")).toBe("0c10000000000000");
  });

  test("phys and when", async () => {
    const client = await greeted();
    expect(await client.monitor("phys 0x8000 20")).toBe(
      `0x00008000:${" 00".repeat(16)}\n0x00008010:${" 00".repeat(4)}\n`,
    );
    expect(await client.monitor("phys 0x100000 4")).toMatch(/no memory/);
    expect(await client.monitor("when 0x8000")).toBe("virtual 0x8000, 8 bytes\n");
    expect(await client.monitor("when phys:0x8000,4")).toBe("physical 0x8000, 4 bytes\n");
    expect(await client.monitor("when $rsp-0x10,4")).toBe("virtual 0x90f0, 4 bytes\n");
    expect(await client.monitor("when $pc")).toBe("virtual 0x1000, 8 bytes\n");
    expect(await client.monitor("when $xmm0")).toMatch(/no register 'xmm0'/);
  });

  test.each([
    ["help", /^where .*\n(.*\n)*help /],
    ["", /^where /],
    ["nonsense", /no monitor command 'nonsense'/],
    ["goto", /usage: monitor goto POSITION/],
    ["goto absent", /no symbol is named 'absent'/],
    ["when absent", /no symbol is named 'absent'/],
    ["when 0x8000,0", /'0' is no number of bytes/],
    ["phys 0x8000 99999", /at most 4096/],
    ["phys nowhere 4", /'nowhere' is no physical address/],
  ])("%j is answered with words", async (line, expected) => {
    expect(await (await greeted()).monitor(line)).toMatch(expected);
  });

  test("long texts come in several packets", async () => {
    const client = await greeted();
    await client.monitor("help");
    const text = client.received.filter((body) => /^O[0-9a-f]+$/.test(body));
    expect(text.length).toBeGreaterThanOrEqual(1);
    for (const body of text) expect(body.length).toBeLessThanOrEqual(2049);
  });
});
