import { VmtapeError } from "../../base/errors.js";

/** What a user wrote after `--symbols`. */
export interface SymbolSourceSpec {
  readonly file: string;
  readonly prefix?: string;
  /** First and last address, both inclusive. */
  readonly range?: { readonly first: bigint; readonly last: bigint };
  readonly bias?: bigint;
  /** A directory with separate debug files, looked in before the system's. */
  readonly debug?: string;
}

/** How a spec is written, for help and errors. */
export const symbolSourceForm = "FILE[,prefix=TEXT][,range=LOW-HIGH][,bias=ADDRESS][,debug=DIRECTORY]";

const options = ["prefix", "range", "bias", "debug"] as const;
const addressPattern = /^(?:0x[0-9a-f]+|[0-9]+)$/i;
const topAddress = (1n << 64n) - 1n;

/**
 * Parses `FILE[,prefix=TEXT][,range=LOW-HIGH][,bias=ADDRESS][,debug=DIRECTORY]`: TEXT goes before each name, LOW to HIGH (both
 * inclusive) are the addresses the file answers for, the bias is added to its addresses, DIRECTORY holds separate
 * debug files (`.build-id/…`). Numbers are decimal or
 * 0x…; a file name may hold commas as long as what follows them is no option.
 *
 * @throws VmtapeError `usage` with the part that is wrong
 */
export function parseSymbolSource(text: string): SymbolSourceSpec {
  const parts = text.split(",");
  const firstOption = parts.findIndex((part) => options.some((option) => part.startsWith(`${option}=`)));
  const fileParts = firstOption < 0 ? parts : parts.slice(0, firstOption);
  const file = fileParts.join(",");
  if (!file) throw usage("it names no file", text);
  const spec: { -readonly [K in keyof SymbolSourceSpec]: SymbolSourceSpec[K] } = { file };
  for (const part of firstOption < 0 ? [] : parts.slice(firstOption)) {
    const [name, value] = split(part, "=");
    const option = options.find((known) => known === name);
    if (!option || value === undefined)
      throw usage(`"${part}" is not prefix=, range=, bias= or debug=`, text);
    if (spec[option] !== undefined) throw usage(`${option}= is given twice`, text);
    if (option === "prefix") spec.prefix = value;
    else if (option === "debug") spec.debug = value;
    else if (option === "bias") spec.bias = parseAddress(value, text);
    else spec.range = parseRange(value, text);
  }
  return spec;
}

function parseRange(value: string, text: string): { readonly first: bigint; readonly last: bigint } {
  const [low, high] = split(value, "-");
  if (high === undefined) throw usage(`the range "${value}" is not LOW-HIGH`, text);
  const first = parseAddress(low, text);
  const last = parseAddress(high, text);
  if (first > last) throw usage(`the range "${value}" ends before it starts`, text);
  return { first, last };
}

function parseAddress(value: string, text: string): bigint {
  const address = addressPattern.test(value) ? BigInt(value) : undefined;
  if (address === undefined || address > topAddress) throw usage(`"${value}" is not an address`, text);
  return address;
}

function split(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)];
}

function usage(why: string, text: string): VmtapeError {
  return new VmtapeError("usage", `the symbol source "${text}" cannot be used: ${why}`, {
    got: text,
    expected: symbolSourceForm,
  });
}
