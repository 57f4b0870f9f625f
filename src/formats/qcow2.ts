import { ByteReader } from "../base/bytes.js";
import { VmtapeError } from "../base/errors.js";

/**
 * The head of a qcow2 image, as far as a tape must know it.
 * Source: QEMU, docs/interop/qcow2.txt. All integers are big-endian.
 *
 *     0  u32 magic "QFI\xfb"    4  u32 version (2, 3)
 *     8  u64 backing file name offset, 0 when there is none
 *    16  u32 backing name size  20  u32 cluster bits   24  u64 virtual size
 *    72  u64 incompatible features (version 3): bit 0 dirty, 1 corrupt, 2 external data file
 */
export const qcow2HeadBytes = 80;
const magic = 0x514649fb;
const externalDataFile = 1n << 2n;

export interface Qcow2Head {
  /** Does it need another file, named inside it? */
  readonly hasBackingFile: boolean;
  /** Do its bytes live in another file? */
  readonly hasExternalData: boolean;
  readonly virtualBytes: bigint;
}

/** Do these first bytes of a file begin a qcow2 image? */
export function isQcow2(head: Uint8Array): boolean {
  return head.length >= 4 && new DataView(head.buffer, head.byteOffset).getUint32(0) === magic;
}

/**
 * Reads the head of a qcow2 image.
 *
 * @param head at least the first {@link qcow2HeadBytes} bytes
 * @throws `bad-file` when it is cut or of a version other than 2 and 3
 */
export function decodeQcow2Head(head: Uint8Array, file: string): Qcow2Head {
  const reader = new ByteReader(head, file, false);
  if (reader.u32() !== magic) throw new VmtapeError("bad-file", `${file} is no qcow2 image`, { file });
  const version = reader.u32();
  if (version !== 2 && version !== 3) {
    throw new VmtapeError("bad-file", `${file} is a qcow2 image of unknown version ${version}`, { file });
  }
  const backingOffset = reader.u64();
  reader.seek(24);
  const virtualBytes = reader.u64();
  reader.seek(72);
  const features = version === 3 ? reader.u64() : 0n;
  return {
    hasBackingFile: backingOffset !== 0n,
    hasExternalData: (features & externalDataFile) !== 0n,
    virtualBytes,
  };
}
