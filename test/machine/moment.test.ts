/** A moment of a tape, as programs use it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { icount } from "../../src/base/units.js";
import { OpenTape, Tape } from "../../src/index.js";
import { buildGuest } from "../guests/build.js";
import { Workbench } from "../workbench.js";

let bench: Workbench;
let tape: Tape;
const qemu = [process.env.VMTAPE_TEST_QEMU ?? "qemu-system-x86_64"];

beforeAll(async () => {
  bench = await Workbench.make();
  await bench.json(["record", "t", "--kernel", (await buildGuest("transfers")).kernel, "-M", "32"]);
  tape = await Tape.open(bench.places, "t");
});
afterAll(() => bench[Symbol.asyncDispose]());

const open = (at?: string) => OpenTape.open(tape, { places: bench.places, qemu }, at);

test("a moment is of its instant, wherever the timeline goes afterwards", async () => {
  await using tape = await open("@5000");
  const moment = tape.now();
  const [registers, code] = [await moment.registers(), await moment.disassembly(3)];
  await tape.at("end");
  expect(tape.timeline.position.icount).toBeGreaterThan(5000n);
  expect((await moment.registers()).toJSON()).toEqual(registers.toJSON());
  expect(tape.timeline.position.icount).toBe(5000n);
  expect(await moment.disassembly(3)).toEqual(code);
  expect(code[0]!.address).toBe(moment.position.pc);
  expect(registers.value("rip")).toBe(moment.position.pc);
});

test("opened at an instant it stands where going there from the start leads", async () => {
  await using there = await open("@7000");
  await using gone = await open();
  expect(gone.now().position.icount).toBe(0n);
  const moment = await gone.at({ icount: icount(7000n) });
  expect(moment.position).toEqual(there.now().position);
  expect(moment.toJSON()).toEqual(there.now().toJSON());
  expect(JSON.parse(JSON.stringify(moment))).toMatchObject({ icount: 7000, rep: moment.toJSON().rep });
});

test("memory and values can be asked of a guest that is no Linux; what needs a Linux says that there is none", async () => {
  await using opened = await open("@6000");
  const moment = opened.now();
  const rsp = (await moment.registers()).value("rsp");
  const range = { space: "virtual" as const, place: `0x${rsp.toString(16)}`, length: 16 };
  const { bytes } = await moment.memory(range);
  expect(bytes?.length).toBe(16);
  const { values, notes } = await moment.values(["$rsp", "nothing_of_this_name"]);
  expect(values[0]!.value).toMatch(new RegExp(rsp.toString(16)));
  expect(values[1]!.error?.code).toBe("not-found");
  expect(notes).toEqual([]);
  await expect(moment.tasks()).rejects.toMatchObject({ code: "not-found" });
});

test("beyond the tape's end there is no moment, and a place that has no name is told with those near it", async () => {
  await expect(open(`@${tape.end.at + 1n}`)).rejects.toMatchObject({ code: "not-reached" });
  await using opened = await open();
  await expect(opened.at("nowhere_at_all")).rejects.toMatchObject({ code: "not-found" });
});

test("a timeline tells that it moved, that it ended, and that its QEMU was replaced", async () => {
  await using opened = await open("@5000");
  const { timeline } = opened;
  const told: string[] = [];
  const stops = [
    timeline.on("moved", ({ why, position }, from) => told.push(`${why} ${from.icount}-${position.icount}`)),
    timeline.on("ended", ({ icount }) => told.push(`end ${icount}`)),
    timeline.on("replaced", ({ icount }) => told.push(`replaced ${icount}`)),
  ];
  await timeline.stepForward(3);
  await timeline.goTo({ icount: icount(5003n) }); // it stands there already
  process.kill(timeline.pid!, "SIGKILL");
  await timeline.registers();
  await timeline.run("forward");
  for (const stop of stops) stop();
  await timeline.goTo({ icount: icount(5000n) });
  const end = tape.end.at;
  expect(told).toEqual(["reached 5000-5003", "replaced 5003", `end 5003-${end}`, `end ${end}`]);
});
