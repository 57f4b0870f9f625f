import { readFileSync, writeFileSync } from "node:fs";
import { type BranchRecord, showRecord } from "./branch-record.js";
import { showMismatch } from "./compare.js";
import { judge } from "./judge.js";
import { readInterrupts } from "./qemu-interrupts.js";
import { readDeliveries, replayLogOf } from "./replay-events.js";
import { type Point, SingleStepper } from "./single-step.js";
import { evenWindows, firmwareWindows, merged, placeWindows, troubledWindows } from "./windows.js";

/**
 * The oracle as a program, run by `node test/oracle/run.mjs test/oracle/main.ts`:
 *
 *     window COMMAND FROM TO [FILE]       every branch between two instants
 *     survey COMMAND [LOG] [COUNT] [NAME=0xADDRESS …]
 *                                         windows chosen to hurt, COUNT of each kind; judges LOG when there is one
 *
 * COMMAND is a JSON file: the argument list of a replaying QEMU, or the answer of `vmtape info --json`. FROM and TO
 * are `@ICOUNT` or `0xADDRESS`. FILE and LOG hold one record a line, as JSON, addresses as hexadecimal strings.
 */
const [what, commandFile, ...rest] = process.argv.slice(2);
if (commandFile === undefined) throw new Error("usage: window COMMAND FROM TO [FILE] | survey COMMAND …");
const parsed = JSON.parse(readFileSync(commandFile, "utf8"));
const command: string[] = Array.isArray(parsed) ? parsed : parsed.replayCommand;
if (what === "window") await window(rest[0]!, rest[1]!, rest[2]);
else await survey(rest);

async function window(begin: string, end: string, output: string | undefined): Promise<void> {
  await using stepper = await SingleStepper.start(command);
  const stepped = await stepper.step(point(begin), point(end), (steps) => {
    process.stderr.write(`\r${steps} steps`);
  });
  const lines = stepped.records.map((record) => (output === undefined ? showRecord(record) : toJson(record)));
  const text = lines.map((line) => `${line}\n`).join("");
  if (output === undefined) process.stdout.write(text);
  else writeFileSync(output, text);
  const rate = Math.round(stepped.steps / stepped.seconds);
  process.stderr.write(
    `\r@${stepped.from} to @${stepped.to}: ${stepped.steps} steps (${stepped.emptySteps} empty), ` +
      `${rate} a second, ${stepped.records.length} branches\n`,
  );
  for (const doubt of stepped.doubts) process.stderr.write(`doubt: ${doubt}\n`);
  process.exitCode = stepped.doubts.length === 0 ? 0 : 1;
}

async function survey(words: readonly string[]): Promise<void> {
  const places = new Map<string, bigint>();
  let log: BranchRecord[] | undefined;
  let count = 3;
  for (const word of words) {
    const place = word.match(/^(\w+)=(0x[0-9a-f]+)$/);
    if (place) places.set(place[1]!, BigInt(place[2]!));
    else if (/^\d+$/.test(word)) count = Number(word);
    else log = readFileSync(word, "utf8").trim().split("\n").map(fromJson);
  }
  const interrupts = await readInterrupts(command);
  const deliveries = readDeliveries(replayLogOf(command));
  const around = { count, before: 500, after: 2500 };
  const windows = merged([
    ...troubledWindows(interrupts, around),
    ...firmwareWindows(deliveries, interrupts, around),
    ...evenWindows(deliveries.end, count * 2, 3000),
    ...(places.size > 0 ? await placeWindows(command, places, 3000) : []),
  ]);
  let steps = 0;
  let seconds = 0;
  let wrong = 0;
  const between = async (from: number, to: number) =>
    log!.filter(({ icount, kind }) => {
      const delivered = kind === "interrupt" || kind === "exception";
      return icount > from && (delivered ? icount < to : icount <= to);
    });
  for await (const verdict of judge(command, windows, { interrupts, ...(log && { log: between }) })) {
    const { stepped, mismatches, disputed } = verdict;
    steps += stepped.steps;
    seconds += stepped.seconds;
    wrong += mismatches.length + stepped.doubts.length + disputed.length;
    console.log(
      `@${stepped.from} ${stepped.steps} steps, ${stepped.records.length} branches, ${mismatches.length} mismatches: ` +
        verdict.window.name,
    );
    for (const doubt of stepped.doubts.slice(0, 10)) console.log(`  doubt: ${doubt}`);
    for (const dispute of disputed.slice(0, 10)) console.log(`  dispute: ${dispute}`);
    for (const mismatch of mismatches.slice(0, 10)) console.log(`  ${showMismatch(mismatch)}`);
  }
  console.log(
    `${windows.length} windows, ${steps} steps, ${Math.round(steps / seconds)} a second, ${wrong} faults`,
  );
  process.exitCode = wrong === 0 ? 0 : 1;
}

function toJson(record: BranchRecord): string {
  return JSON.stringify({
    ...record,
    from: `0x${record.from.toString(16)}`,
    to: `0x${record.to.toString(16)}`,
  });
}

function fromJson(line: string): BranchRecord {
  const { from, to, kind, icount } = JSON.parse(line);
  return { from: BigInt(from), to: BigInt(to), kind, icount: Number(icount) };
}

function point(text: string): Point {
  return text.startsWith("@") ? { icount: Number(text.slice(1)) } : { address: BigInt(text) };
}
