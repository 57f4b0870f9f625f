import { z } from "zod";
import { VmtapeError } from "../base/errors.js";
import { cpuModelPattern } from "./cpu-model.js";

/**
 * `manifest.json` of a tape. It describes the machine and holds hashes; it names no file and no command: where
 * each file of a tape lies is fixed (`src/tape/layout.ts`), and QEMU's command line is made from the machine. So
 * a stranger's manifest can neither reach outside its tape nor run anything.
 *
 * Format changelog: 1 – first. 2 – `machine.networkSends`, `witnesses[].busy`, `proof`; witnesses lie before all events at
 * their icount. A version 1 is read as what it means in 2.
 */
export const manifestVersion = 2;
/** A longer file is no manifest. */
export const longestManifest = 1 << 20;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
/** Printable text that may become part of a command line or of a terminal's output. */
const text = (longest: number) =>
  z
    .string()
    .max(longest)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
    .regex(/^[^\u0000-\u001f\u007f-\u009f]*$/, "control characters");
const stored = z.strictObject({ bytes: count, sha256 });

const state = z.strictObject({
  icount: count,
  registers: sha256,
  memory: sha256,
  /** Disks had requests on their way: what they read was in memory already, or not yet. */
  busy: z.literal(true).optional(),
});

/** What a replay of the whole tape showed. */
const proof = z.strictObject({
  result: z.enum(["proved", "refuted"]),
  when: z.iso.datetime(),
  /** States of the recording that were compared. */
  witnesses: count,
  /** Were all branches of two replays compared, too? */
  branches: z.boolean(),
  /** Where and how the replay parted. */
  icount: count.optional(),
  what: text(1000).optional(),
});

const machine = z.strictObject({
  arch: z.literal("x86_64"),
  memoryMB: z
    .number()
    .int()
    .min(1)
    .max(1 << 20),
  cpu: z.string().regex(cpuModelPattern),
  append: text(16 << 10),
  kernel: stored,
  initrd: stored.optional(),
  disks: z.array(z.strictObject({ format: z.enum(["raw", "qcow2"]), base: stored })).max(16),
  network: z.enum(["none", "user"]),
  /**
   * When the network card sends what the guest gave it: `at-once`, by a virtual timer of no length, which is in the log.
   * Absent, with version 1: in a bottom half of QEMU's, which 7.2 to 9.0 do not log.
   */
  networkSends: z.literal("at-once").optional(),
  firmware: z
    .array(z.strictObject({ name: z.string().regex(/^[a-z0-9][a-z0-9_.-]{0,63}$/), ...stored.shape }))
    .max(16),
});

const symbolFile = z.strictObject({
  ...stored.shape,
  /** The name the user gave, for people only. */
  label: text(255),
  prefix: text(64).optional(),
  /** Addresses the file is good for, `0xLOW-0xHIGH`, both inclusive. */
  range: z
    .string()
    .regex(/^0x[0-9a-f]{1,16}-0x[0-9a-f]{1,16}$/)
    .optional(),
});

/** How a recording ended. */
export const endCauses = [
  "power-off",
  "reboot",
  "panic",
  "stopped",
  "timeout",
  "disk-full",
  "repaired",
  "failed",
] as const;

const end = z.strictObject({
  cause: z.enum(endCauses),
  icount: count,
  seconds: z.number().nonnegative(),
  log: z.strictObject({ ...stored.shape, events: count }),
  console: stored,
});

const schema = z.strictObject({
  format: z.literal("vmtape"),
  version: z.union([z.literal(1), z.literal(manifestVersion)]),
  id: z.uuid(),
  created: z.iso.datetime(),
  machine,
  qemu: z.strictObject({ version: text(64), fullVersion: text(256), path: text(4096), sha256 }),
  symbols: z.array(symbolFile).max(64),
  /** State hashes taken while recording, in order of icount. */
  witnesses: z.array(state).max(64),
  /** Absent until the tape is complete. */
  end: end.optional(),
  /** Absent until somebody has looked. */
  proof: proof.optional(),
});

export type Manifest = z.infer<typeof schema>;
export type ManifestEnd = z.infer<typeof end>;
export type Proof = z.infer<typeof proof>;
export type EndCause = ManifestEnd["cause"];
export type StoredFile = z.infer<typeof stored>;
export type SymbolFile = z.infer<typeof symbolFile>;

/**
 * Reads a manifest.
 *
 * @param file named in errors
 * @throws `bad-manifest` for anything but a whole manifest of this version, with the field that is wrong
 */
export function decodeManifest(bytes: Uint8Array, file: string): Manifest {
  const bad = (why: string, facts = {}) =>
    new VmtapeError("bad-manifest", `${file} ${why}`, { file, ...facts });
  if (bytes.length > longestManifest) throw bad(`is longer than ${longestManifest} bytes: it is no manifest`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw bad(bytes.length === 0 ? "is empty" : "is damaged: it is not whole JSON");
  }
  const { format, version } = (typeof value === "object" && value !== null ? value : {}) as Record<
    string,
    unknown
  >;
  if (format !== "vmtape") throw bad('is no manifest of a tape: it lacks "format": "vmtape"');
  if (version !== 1 && version !== manifestVersion) {
    throw bad(
      `has version ${JSON.stringify(version)?.slice(0, 40)}; this vmtape reads versions 1 and ${manifestVersion}`,
      {
        expected: `1 or ${manifestVersion}`,
        got: JSON.stringify(version)?.slice(0, 40),
      },
    );
  }
  const result = schema.safeParse(value);
  if (!result.success) {
    const issue = result.error.issues[0]!;
    const field =
      issue.path.join(".") || (issue.code === "unrecognized_keys" ? String(issue.keys[0]).slice(0, 64) : "");
    throw bad(`is not valid: field ${field.slice(0, 200)}: ${issue.message.slice(0, 200)}`, { field });
  }
  return result.data;
}

/** The manifest as JSON text. */
export function encodeManifest(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}
