import { icount } from "../src/base/units.js";
import { placesFrom, Tape } from "../src/index.js";
import { Timeline } from "../src/replay/timeline/timeline.js";
import { timelineOptions } from "../src/replay/timeline/timeline-options.js";

const [name = "demo", at = "5500000000"] = process.argv.slice(2);
const places = placesFrom(process.env);
const tape = await Tape.open(places, name);
const options = await timelineOptions(places, tape, {
  qemu: [process.env.VMTAPE_TEST_QEMU ?? "qemu-system-x86_64"],
});
await using timeline = await Timeline.open(tape, options);
await timeline.goTo({ icount: icount(BigInt(at)) });
const time = async (what: string, work: () => Promise<unknown>) => {
  const t = performance.now();
  await work();
  console.log(what, (performance.now() - t).toFixed(1), "ms", timeline.position.icount);
};
for (let i = 0; i < 8; i++) await time("stepBack", () => timeline.stepBack());
await new Promise((r) => setTimeout(r, 1000));
await time("stepBack", () => timeline.stepBack());
await time("memory", () => timeline.readMemory(timeline.position.pc, 16));
await time("memory", () => timeline.readMemory(timeline.position.pc, 16));
await time("1000 back singly", async () => {
  for (let i = 0; i < 1000; i++) await timeline.stepBack();
});
await time("20000 back singly", async () => {
  for (let i = 0; i < 20000; i++) await timeline.stepBack();
});
await time("20000 back at once", async () => {
  await timeline.stepBack(20000);
});
await time("200000 back at once", async () => {
  await timeline.stepBack(200000);
});
await time("20000 forward singly", async () => {
  for (let i = 0; i < 20000; i++) await timeline.stepForward();
});
