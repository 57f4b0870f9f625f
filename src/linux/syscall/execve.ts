import type { ProbeItem } from "../../qemu/probe-channel.js";
import type { HitPiece } from "../../qemu/probe-hits.js";
import { flagsText } from "./flags.js";
import { type CallForm, type CallPlace, memoryItem, stringText, textItem, viewOf } from "./form.js";
import { descriptorText, pointerText, quoted } from "./text.js";

const longestPath = 512;
const mostStrings = 10;
const mostArea = 4096;

/** `execve` and `execveat`: a path and a list of strings. */
function form(
  path: number,
  texts: (values: readonly bigint[], shown: readonly string[]) => string[],
): CallForm {
  const list = path + 1;
  return {
    before: (place) => [textItem(place.argument(path), longestPath), ...listItems(place, list)],
    // Nobody may have touched these pages before the call; then the new program has copies on its stack.
    after: ({ program }) => [
      textItem(program.environmentEnd, longestPath),
      {
        collect: "memory",
        address: program.argumentStart.bytes,
        length: program.argumentEnd.minus(program.argumentStart).bytes,
        most: mostArea,
      },
    ],
    texts: ({ arguments: values, result, early, again, after, wordBytes }) => {
      const [own, ownList] = [early[0], early.slice(1)];
      const isReplaced = result === 0n;
      const [copy, area] = isReplaced ? after : [again[0], undefined];
      const name = stringText(isReadable(own) ? own : copy, values[path] ?? 0n);
      const strings = values[list] ?? 0n;
      const shown =
        wordBytes === 4
          ? pointerText(strings)
          : listText(
              strings,
              isReplaced ? ownList : ownList.map((one, i) => better(one, again[i + 1])),
              area,
            );
      return texts(values, [name, shown]);
    },
  };
}

/** Path, list, environment. */
export const execve = form(0, (values, shown) => [...shown, pointerText(values[2] ?? 0n)]);
/** The same below a directory, and flags. */
export const execveat = form(1, (values, shown) => [
  descriptorText(values[0] ?? 0n),
  ...shown,
  pointerText(values[3] ?? 0n),
  flagsText("at", values[4] ?? 0n),
]);

function listItems(place: CallPlace, list: number): ProbeItem[] {
  return Array.from({ length: mostStrings }, (_, k) => place.argument(list).plus(8 * k)).flatMap((at) => [
    memoryItem(at, 8),
    textItem(at.follow(), longestPath),
  ]);
}

function isReadable(piece: HitPiece | undefined): piece is HitPiece {
  return piece !== undefined && piece.state !== "unreadable";
}

function better(first: HitPiece | undefined, second: HitPiece | undefined): HitPiece | undefined {
  return isReadable(first) ? first : second;
}

/**
 * `["ls", "-l"]`
 *
 * @param area the strings of the new program, one after the other
 */
function listText(
  address: bigint,
  pieces: readonly (HitPiece | undefined)[],
  area: HitPiece | undefined,
): string {
  if (address === 0n) return "NULL";
  const pointers: bigint[] = [];
  while (pointers.length < mostStrings) {
    const view = viewOf(pieces[2 * pointers.length], 8);
    const pointer = view?.getBigUint64(0, true);
    if (pointer === undefined) break;
    if (pointer === 0n) return `[${stringTexts(pointers, pieces, area, true).join(", ")}]`;
    pointers.push(pointer);
  }
  if (pointers.length > 0) return `[${stringTexts(pointers, pieces, area, false).join(", ")}, ...]`;
  const copies = isReadable(area) && area.state === "whole" ? areaStrings(area) : undefined;
  return copies ? `[${copies.map((one) => quoted(one, false)).join(", ")}]` : pointerText(address);
}

function stringTexts(
  pointers: readonly bigint[],
  pieces: readonly (HitPiece | undefined)[],
  area: HitPiece | undefined,
  isWhole: boolean,
): string[] {
  // A script's interpreter has put its own before them: they are counted from the end.
  const copies =
    isReadable(area) && area.state === "whole" && isWhole ? areaStrings(area).slice(-pointers.length) : [];
  const isScript = isReadable(area) && areaStrings(area).length !== pointers.length;
  return pointers.map((pointer, k) => {
    const string = pieces[2 * k + 1];
    if (isReadable(string)) return quoted(string.bytes, string.state === "cut");
    const copy = isScript && k === 0 ? undefined : copies[k];
    return copy ? quoted(copy, false) : pointerText(pointer);
  });
}

function areaStrings({ bytes }: HitPiece): Uint8Array[] {
  const strings: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0, at);
    strings.push(bytes.subarray(at, end < 0 ? bytes.length : end));
    at = end < 0 ? bytes.length : end + 1;
  }
  return strings;
}
