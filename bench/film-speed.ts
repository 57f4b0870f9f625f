import { icount } from "../src/base/units.js";
import { placesFrom, Tape } from "../src/index.js";
import { takeFilm } from "../src/replay/film/take.js";
import { CountedSession } from "../src/replay/session/counted-session.js";
import { timelineOptions } from "../src/replay/timeline/timeline-options.js";

const [name = "demo", length = "100000", ...at] = process.argv.slice(2);
const places = placesFrom(process.env);
const tape = await Tape.open(places, name);
const options = await timelineOptions(places, tape, {
  qemu: [process.env.VMTAPE_TEST_QEMU ?? "qemu-system-x86_64"],
});
const checkpoints = await options.checkpoints();
for (const S of at.map(BigInt)) {
  const from = checkpoints.findLast((c) => c.icount < S);
  const times: number[] = [];
  const time = async <T>(work: () => Promise<T>) => {
    const t = performance.now();
    const r = await work();
    times.push(performance.now() - t);
    return r;
  };
  await using a = await time(() => CountedSession.start(tape, { ...options, from } as never));
  await time(() => a.runTo({ icount: icount(S) }));
  await time(() => a.runTo({ icount: icount(S + BigInt(length)) }));
  await using b = await CountedSession.start(tape, { ...options, from } as never);
  await b.runTo({ icount: icount(S) });
  const film = await time(() => takeFilm(b, { to: icount(S + BigInt(length)) }));
  console.log(
    S,
    "start, to, plain, film ms:",
    times.map((t) => t.toFixed(1)).join(" "),
    film.length,
    "instants",
    (film.bytes / film.length).toFixed(1),
    "B each",
    film.doubts.length,
  );
  const t = performance.now();
  for (let i = film.length - 1; i >= 0; i--) film.registers(i);
  console.log("registers", ((film.length / (performance.now() - t)) * 1000).toFixed(0), "a second");
}
