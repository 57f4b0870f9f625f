import { icount } from "../src/base/units.js";
import { CountedSession } from "../src/replay/session/counted-session.js";
import { takeFilm } from "../src/replay/film/take.js";
import { Tape } from "../src/tape/tape.js";
import { placesFrom } from "../src/index.js";
import { timelineOptions } from "../src/replay/timeline/timeline-options.js";
import { x86Registers } from "../src/qemu/x86-registers.js";
const [name = "tiny", from = "1000", length = "2000"] = process.argv.slice(2);
const places = placesFrom(process.env);
const tape = await Tape.open(places, name);
const options = await timelineOptions(places, tape, { qemu: [process.env.VMTAPE_TEST_QEMU ?? "qemu-system-x86_64"] });
const checkpoints = await options.checkpoints();
const S = BigInt(from), E = S + BigInt(length);
const start = checkpoints.findLast((c) => c.icount < S);
const session = () => CountedSession.start(tape, { ...options, from: start, debug: (l: string) => { if (process.env.DBG && l.startsWith("qemu:")) console.log(l); } } as never);
let index = 0;
let t = performance.now();
await using a = await session();
await a.runTo({ icount: icount(S) });
console.log("start", (performance.now() - t).toFixed(0));
t = performance.now();
const film = await takeFilm(a, { to: icount(E) });
console.log("film", film.length, (performance.now() - t).toFixed(0), "ms", film.bytes, "bytes", film.doubts.length, "doubts");
await using b = await session();
process.on("uncaughtException", async (e) => { console.log(String(e), a.session.pid, b.session.pid, a.session.state, b.session.state, "at", index, b.position); await new Promise((r) => setTimeout(r, 500)); console.log((a.session as any).machine?.qemu?.stderr, (b.session as any).machine?.qemu); process.exit(1); });
await b.runTo({ icount: icount(S) });
t = performance.now();
let bad = 0, vague = 0;
for (; index < film.length; index++) {
  const g = await b.registers();
  const p = film.position(index), q = b.position;
  const same = p.icount === q.icount && p.pc === q.pc && p.brctr === q.brctr && p.rep === q.rep && film.delivered(index) === b.deliveries;
  const f = film.registers(index);
  if (!film.isSure(index)) vague++;
  if (!same || Buffer.compare(f, g) !== 0) {
    const names = x86Registers.filter(({ offset, bytes }) => Buffer.compare(f.subarray(offset, offset + bytes), g.subarray(offset, offset + bytes)) !== 0).map(({ name, offset, bytes }) => `${name} ${Buffer.from(f.subarray(offset, offset + bytes)).toString("hex")} ${Buffer.from(g.subarray(offset, offset + bytes)).toString("hex")}`);
    if (bad++ < 10) console.log("differs", index, p, q, film.delivered(index), b.deliveries, names.join("; "));
    if (!same) break;
  }
  if (index + 1 < film.length) await b.step();
}
console.log("compared", index, "bad", bad, "vague", vague, (performance.now() - t).toFixed(0), "ms");
