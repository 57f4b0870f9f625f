import { icount } from "../src/base/units.js";
import { placesFrom } from "../src/index.js";
import { x86Registers } from "../src/qemu/x86-registers.js";
import { takeFilm } from "../src/replay/film/take.js";
import { CountedSession } from "../src/replay/session/counted-session.js";
import { timelineOptions } from "../src/replay/timeline/timeline-options.js";
import { Tape } from "../src/tape/tape.js";

const [name = "tiny", from = "1000", length = "2000"] = process.argv.slice(2);
const places = placesFrom(process.env);
const tape = await Tape.open(places, name);
const options = await timelineOptions(places, tape, {
  qemu: [process.env.VMTAPE_TEST_QEMU ?? "qemu-system-x86_64"],
});
const checkpoints = await options.checkpoints();
const S = BigInt(from),
  E = S + BigInt(length);
const start = checkpoints.findLast((c) => c.icount < S);
const session = () =>
  CountedSession.start(tape, {
    ...options,
    from: start,
    debug: (l: string) => {
      if (process.env.DBG && l.startsWith("qemu:")) console.log(l);
    },
  } as never);
let index = 0;
let t = performance.now();
await using a = await session();
await a.runTo({ icount: icount(S) });
console.log("start", (performance.now() - t).toFixed(0));
t = performance.now();
const film = await takeFilm(a, { to: icount(E) });
console.log(
  "film",
  film.length,
  (performance.now() - t).toFixed(0),
  "ms",
  film.bytes,
  "bytes",
  film.doubts.length,
  "doubts",
);
await using b = await session();
process.on("uncaughtException", async (e) => {
  console.log(
    String(e),
    a.session.pid,
    b.session.pid,
    a.session.state,
    b.session.state,
    "at",
    index,
    b.position,
  );
  await new Promise((r) => setTimeout(r, 500));
  console.log((a.session as any).machine?.qemu?.stderr, (b.session as any).machine?.qemu);
  process.exit(1);
});
await b.runTo({ icount: icount(S) });
t = performance.now();
let bad = 0,
  vague = 0;
for (; index < film.length; index++) {
  const g = await b.registers();
  const p = film.position(index),
    q = b.position;
  const same =
    p.icount === q.icount &&
    p.pc === q.pc &&
    p.brctr === q.brctr &&
    p.rep === q.rep &&
    film.delivered(index) === b.deliveries;
  const f = film.registers(index);
  if (!film.isSure(index)) vague++;
  if (!same || Buffer.compare(f, g) !== 0) {
    const names = x86Registers
      .filter(
        ({ offset, bytes }) =>
          Buffer.compare(f.subarray(offset, offset + bytes), g.subarray(offset, offset + bytes)) !== 0,
      )
      .map(
        ({ name, offset, bytes }) =>
          `${name} ${Buffer.from(f.subarray(offset, offset + bytes)).toString("hex")} ${Buffer.from(g.subarray(offset, offset + bytes)).toString("hex")}`,
      );
    if (bad++ < 10)
      console.log("differs", index, p, q, film.delivered(index), b.deliveries, names.join("; "));
    if (!same) break;
  }
  if (index + 1 < film.length) await b.step();
}
console.log("compared", index, "bad", bad, "vague", vague, (performance.now() - t).toFixed(0), "ms");
if (process.env.MEM) {
  const { FilmMemory, UnsureError } = await import("../src/replay/film/memory.js");
  const { EventInstants } = await import("../src/replay/session/event-instants.js");
  const events = await EventInstants.of(tape, [
    "async-bh",
    "async-block",
    "async-net",
    "async-char-read",
    "async-input",
    "async-bh-oneshot",
    "checkpoint-clock-virtual",
    "checkpoint-clock-host",
    "checkpoint-clock-virtual-rt",
  ]);
  await using c = await session();
  await c.runTo({ icount: icount(S) });
  await using d = await session();
  await d.runTo({ icount: icount(S) });
  const k = events.firstFrom(Number(S));
  const memory = new FilmMemory(
    film,
    (a, l) => c.readPhysical(a, l),
    film.indexFrom(icount(BigInt(Math.min(k, Number(E) + 1)))),
  );
  let asked = 0,
    unsure = 0,
    wrong = 0,
    spent = 0;
  const ram = tape.machine.memoryMB * 2 ** 20;
  for (let i = 0; i < film.length; i++) {
    if (i % 7 === 0) {
      const accesses = film.accesses(Math.max(0, i - 1));
      const places = [
        ...accesses.map((a) => a.physical!).filter((p) => p !== undefined),
        ...Array.from({ length: 3 }, () => BigInt(Math.floor((Math.random() * ram) / 4096)) * 4096n),
      ];
      for (const p of places) {
        const start = p & ~0xfffn;
        const t0 = performance.now();
        const mine = await memory
          .at(i)
          .readPhysical(start, 4096)
          .catch((e) => {
            if (e instanceof UnsureError) return "unsure" as const;
            throw e;
          });
        spent += performance.now() - t0;
        asked++;
        if (mine === "unsure") {
          unsure++;
          continue;
        }
        const true_ = await d.readPhysical(start, 4096);
        if (Buffer.compare(mine ?? Buffer.alloc(0), true_ ?? Buffer.alloc(0)) !== 0) {
          if (wrong++ < 5) {
            const at = mine!.findIndex((x, n) => x !== true_![n]);
            console.log(
              "memory differs",
              i,
              start.toString(16),
              at,
              mine![at],
              true_![at],
              Buffer.from(mine!.subarray(at & ~7, (at & ~7) + 8)).toString("hex"),
              Buffer.from(true_!.subarray(at & ~7, (at & ~7) + 8)).toString("hex"),
            );
          }
        }
      }
    }
    if (i + 1 < film.length) await d.step();
  }
  console.log(
    "memory: asked",
    asked,
    "unsure",
    unsure,
    "wrong",
    wrong,
    "ms each",
    (spent / asked).toFixed(2),
    "event",
    k - Number(S),
  );
}
