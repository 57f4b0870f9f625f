/** Is what a film tells what a session sees that stops at each of its instants? */
import { createRequire } from "node:module";
import type * as Iced from "iced-x86";
import { type Icount, icount } from "../src/base/units.js";
import { x86Registers } from "../src/qemu/x86-registers.js";
import { deviceInstants, unsureIndex } from "../src/replay/film/doubt.js";
import type { Film } from "../src/replay/film/film.js";
import { FilmMemory, UnsureError } from "../src/replay/film/memory.js";
import { takeFilm } from "../src/replay/film/take.js";
import type { CountedSession } from "../src/replay/session/counted-session.js";
import type { Tape } from "../src/tape/tape.js";

const { Decoder, DecoderOptions, RflagsBits } = createRequire(import.meta.url)("iced-x86") as typeof Iced;

export interface FilmComparison {
  /** Instants whose position and registers were compared. */
  readonly instants: number;
  /** Of these, such as the film itself says it does not know wholly. */
  readonly vague: number;
  /** Flags that differ where the processor leaves them undefined: QEMU's own depend on how it came there. */
  readonly undefinedFlags: number;
  /** Pages of memory that were compared, and those of which the film says that it cannot tell. */
  readonly pages: number;
  readonly unsurePages: number;
  readonly deliveries: number;
  /** What differs, the first few. */
  readonly wrong: readonly string[];
}

const pageBytes = 4096;
const mostTold = 10;

/**
 * Films a stretch with one session, reads memory through another that stands at its start, and steps a third one through it.
 *
 * @param start a session that stands at an icount, made anew each time
 * @param memoryEvery at each so many instants memory is compared: what the step before touched, and three pages at random
 */
export async function compareFilm(
  tape: Tape,
  start: (at: Icount) => Promise<CountedSession>,
  range: { readonly from: bigint; readonly length: number },
  random: (below: number) => number,
  memoryEvery = 16,
): Promise<FilmComparison> {
  const from = icount(range.from);
  await using filming = await start(from);
  const film = await takeFilm(filming, { to: icount(range.from + BigInt(range.length)) });
  await using first = await start(from);
  await using stepping = await start(from);
  const events = await deviceInstants(tape);
  const memory = new FilmMemory(
    film,
    (at, length) => first.readPhysical(at, length),
    unsureIndex(film, events),
  );
  const ramPages = (tape.machine.memoryMB * 2 ** 20) / pageBytes;
  const counts = { instants: 0, vague: 0, undefinedFlags: 0, pages: 0, unsurePages: 0, deliveries: 0 };
  const wrong: string[] = [];
  const tell = (what: string) => wrong.length < mostTold && wrong.push(what);
  for (let index = 0; index < film.length; index++) {
    if (index > 0) await stepping.step();
    counts.instants++;
    if (film.isDelivery(index)) counts.deliveries++;
    const place = placeText(film.position(index), film.delivered(index));
    const true_ = placeText(stepping.position, stepping.deliveries);
    if (place !== true_) {
      tell(`${place} should be ${true_}`);
      break;
    }
    if (!film.isSure(index)) counts.vague++;
    else
      for (const name of differing(film, index, await stepping.registers(), counts))
        tell(`${place}: ${name}`);
    if (index % memoryEvery === 0) await comparePages(index, place);
  }
  return { ...counts, wrong };

  async function comparePages(index: number, place: string): Promise<void> {
    const touched =
      index === 0 ? [] : film.accesses(index - 1).map(({ physical }) => Number(physical ?? 0n) / pageBytes);
    for (const page of [...touched, random(ramPages), random(ramPages), random(ramPages)]) {
      const at = BigInt(Math.floor(page)) * BigInt(pageBytes);
      counts.pages++;
      const told = await memory
        .at(index)
        .readPhysical(at, pageBytes)
        .catch((error: unknown) => {
          if (error instanceof UnsureError) return "unsure" as const;
          throw error;
        });
      if (told === "unsure") counts.unsurePages++;
      else if (!same(told, await stepping.readPhysical(at, pageBytes)))
        tell(`${place}: page 0x${at.toString(16)}`);
    }
  }
}

const same = (a: Uint8Array | undefined, b: Uint8Array | undefined) =>
  a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;

function placeText({ icount: at, pc, brctr, rep }: Film["from"], delivered: bigint): string {
  return `@${at} 0x${pc.toString(16)}:${brctr}/${rep} ${delivered}`;
}

/** Names of registers that are not what the film says. */
function differing(
  film: Film,
  index: number,
  true_: Uint8Array,
  counts: { undefinedFlags: number },
): string[] {
  const told = film.registers(index);
  if (Buffer.compare(told, true_) === 0) return [];
  return x86Registers.flatMap(({ name, offset, bytes }) => {
    const is = told.subarray(offset, offset + bytes);
    const should = true_.subarray(offset, offset + bytes);
    if (Buffer.compare(is, should) === 0) return [];
    if (name === "eflags" && areUndefined(film, index, flagsOf(is) ^ flagsOf(should))) {
      counts.undefinedFlags++;
      return [];
    }
    return [`${name} is ${Buffer.from(is).toString("hex")}, not ${Buffer.from(should).toString("hex")}`];
  });
}

const flagsOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);

const flagBits: readonly (readonly [bit: number, iced: number])[] = [
  [0x1, RflagsBits.CF],
  [0x4, RflagsBits.PF],
  [0x10, RflagsBits.AF],
  [0x40, RflagsBits.ZF],
  [0x80, RflagsBits.SF],
  [0x800, RflagsBits.OF],
];

/** RF: QEMU ends it with a block where a processor ends it with an instruction, so it depends on how one came there. */
const resumeFlag = 0x10000;

/** Did the last instruction that says anything of these flags leave them undefined? By iced's tables. */
function areUndefined(film: Film, index: number, different: number): boolean {
  const flags = different & ~resumeFlag;
  return (
    flagBits.every(([bit, iced]) => (flags & bit) === 0 || isUndefined(film, index, iced)) &&
    (flags & ~flagBits.reduce((all, [bit]) => all | bit, 0)) === 0
  );
}

function isUndefined(film: Film, index: number, flag: number): boolean {
  for (let at = index - 1; at >= 0; at--) {
    const code = film.code(at);
    if (!code || film.isDelivery(at)) continue;
    const decoder = new Decoder(code.width, code.bytes, DecoderOptions.None);
    const instruction = decoder.decode();
    const undefinedFlags = instruction.rflagsUndefined;
    const modified = instruction.rflagsModified;
    instruction.free();
    decoder.free();
    if (undefinedFlags & flag) return true;
    if (modified & flag) return false;
  }
  return false;
}
