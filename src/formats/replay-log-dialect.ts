import { VmtapeError } from "../base/errors.js";
import { type EventKind, eventKinds } from "./replay-log-layout.js";

/** QAPI `ShutdownCause`, in order. The last one came with QEMU 7.2. */
export const shutdownCauses = [
  "none",
  "host-error",
  "host-qmp-quit",
  "host-qmp-system-reset",
  "host-signal",
  "host-ui",
  "guest-shutdown",
  "guest-reset",
  "guest-panic",
  "subsystem-reset",
  "snapshot-load",
] as const;

export type ShutdownCause = (typeof shutdownCauses)[number];

/**
 * Which byte means which event. The log's version word stayed 0xe0200c from QEMU 7.1 to 10.2, but every kind
 * after the shutdown causes moved by one when 7.2 added a cause: a log alone does not say its dialect.
 */
export interface ReplayLogDialect {
  readonly id: "7.1" | "7.2";
  /** The QEMU versions that write it, in words. */
  readonly versions: string;
  readonly causes: readonly ShutdownCause[];
  /** Byte → code of the kind in `eventKinds`; 255 for a byte QEMU never writes. 256 entries. */
  readonly codes: Uint8Array;
  /** Kind → byte; of `shutdown` the byte of the first cause. */
  readonly bytes: Readonly<Record<EventKind, number>>;
}

/** In `ReplayLogDialect.codes`: no event has this byte. */
export const unknownCode = 255;

/** QEMU 7.1: ten shutdown causes. */
export const dialect71 = makeDialect("7.1", "QEMU 7.1", 10);
/** QEMU 7.2 to 10.2: eleven shutdown causes. */
export const dialect72 = makeDialect("7.2", "QEMU 7.2 to 10.2", 11);

/** The known dialects, the likeliest first. */
export const dialects: readonly ReplayLogDialect[] = [dialect72, dialect71];

/**
 * The dialect a QEMU version writes, from its version string ("7.2.22", "10.0.2 (Debian 1:10.0.2+ds-2)").
 *
 * @throws VmtapeError `unsupported` for a version whose log is not known, `bad-log` for no version at all
 */
export function dialectFor(qemuVersion: string): ReplayLogDialect {
  const match = /^(\d{1,4})\.(\d{1,4})/.exec(qemuVersion);
  if (!match) {
    throw new VmtapeError("bad-log", `${JSON.stringify(qemuVersion.slice(0, 40))} is not a QEMU version`, {
      expected: "MAJOR.MINOR",
      got: qemuVersion.slice(0, 40),
    });
  }
  const release = Number(match[1]) * 100 + Number(match[2]);
  if (release === 701) return dialect71;
  if (release >= 702 && release <= 1002) return dialect72;
  throw new VmtapeError("unsupported", `the replay log of QEMU ${match[0]} is not known`, {
    expected: "QEMU 7.1 to 10.2",
    got: match[0],
  });
}

function makeDialect(id: ReplayLogDialect["id"], versions: string, causeCount: number): ReplayLogDialect {
  const codes = new Uint8Array(256).fill(unknownCode);
  const bytes: Partial<Record<EventKind, number>> = {};
  let byte = 0;
  for (const [code, kind] of eventKinds.entries()) {
    bytes[kind] = byte;
    const width = kind === "shutdown" ? causeCount : 1;
    codes.fill(code, byte, byte + width);
    // QEMU's EVENT_SHUTDOWN_LAST is one more than the last cause: that byte is reserved and never written.
    byte += kind === "shutdown" ? width + 1 : width;
  }
  return {
    id,
    versions,
    causes: shutdownCauses.slice(0, causeCount),
    codes,
    bytes: bytes as Record<EventKind, number>,
  };
}
