import type { ByteSource } from "../base/byte-source.js";
import { VmtapeError } from "../base/errors.js";
import { hex } from "../base/units.js";
import { logHeader, logVersion, unfinishedVersion } from "./replay-log-layout.js";

/** The header of a log. */
export interface LogHeader {
  /** 0xe0200c, or 0 in an unfinished log. */
  readonly version: number;
  readonly reserved: bigint;
}

/**
 * Reads and checks the header.
 *
 * @throws VmtapeError `bad-log`: shorter than a header, another version, or unfinished where that is refused
 */
export async function readLogHeader(source: ByteSource, unfinished = false): Promise<LogHeader> {
  const file = source.name;
  const bytes = new Uint8Array(logHeader.size);
  const length = await source.read(0, bytes);
  if (length < logHeader.size) {
    throw new VmtapeError(
      "bad-log",
      length === 0 ? `${file} is empty` : `${file} is too short for a replay log: ${length} bytes`,
      { file, offset: 0, expected: `${logHeader.size} bytes of header`, got: `${length} bytes` },
    );
  }
  const view = new DataView(bytes.buffer);
  const version = view.getUint32(logHeader.versionAt);
  const header = { version, reserved: view.getBigUint64(logHeader.reservedAt) };
  if (version === logVersion) return header;
  const facts = { file, offset: 0, expected: hex(logVersion), got: hex(version) };
  if (version === unfinishedVersion) {
    if (unfinished) return header;
    throw new VmtapeError(
      "bad-log",
      `${file} is unfinished: QEMU did not exit cleanly, or still runs`,
      facts,
    );
  }
  // QEMU's version words have all been 0xe02000 and a small number.
  const isLog = version >>> 8 === logVersion >>> 8;
  const age = version > logVersion ? "later than 10.2" : "before 7.1";
  throw new VmtapeError(
    "bad-log",
    isLog
      ? `${file} is a replay log of version ${hex(version)}, written by a QEMU ${age}; only ${hex(logVersion)} is read`
      : `${file} is not a QEMU replay log: it begins with ${hex(version)}`,
    facts,
  );
}
