/**
 * Undoes the x86 branch filter of xz: absolute targets of CALL (E8) and JMP (E9) become relative again.
 * Source: the filter of XZ Embedded (lib/xz/xz_dec_bcj.c in Linux), public domain.
 *
 * @param data changed in place; the last 4 bytes of a stream are never a whole operand and stay
 */
export function undoBcjX86(data: Uint8Array): void {
  const end = data.length - 4;
  let previousMask = 0;
  let previousPosition = -1;
  for (let i = 0; i < end; i++) {
    if ((data[i]! & 0xfe) !== 0xe8) continue;
    const distance = i - previousPosition;
    if (previousPosition === -1 || distance > 3) {
      previousMask = 0;
    } else {
      previousMask = (previousMask << (distance - 1)) & 7;
      if (previousMask !== 0) {
        const byte = data[i + 4 - bitsOfMask[previousMask]!]!;
        if (!allowedMask[previousMask] || isTopByte(byte)) {
          previousPosition = i;
          previousMask = (previousMask << 1) | 1;
          continue;
        }
      }
    }
    previousPosition = i;
    if (!isTopByte(data[i + 4]!)) {
      previousMask = (previousMask << 1) | 1;
      continue;
    }
    let source = data[i + 1]! | (data[i + 2]! << 8) | (data[i + 3]! << 16) | (data[i + 4]! << 24);
    let target = 0;
    for (;;) {
      target = (source - (i + 5)) | 0;
      if (previousMask === 0) break;
      const shift = bitsOfMask[previousMask]! * 8;
      if (!isTopByte((target >>> (24 - shift)) & 0xff)) break;
      source = target ^ ((1 << (32 - shift)) - 1);
    }
    target = (target & 0x01ffffff) | -(target & 0x01000000);
    data[i + 1] = target;
    data[i + 2] = target >>> 8;
    data[i + 3] = target >>> 16;
    data[i + 4] = target >>> 24;
    i += 4;
    previousMask = 0;
  }
}

/** Whether the byte is the sign extension of a 24-bit distance. */
function isTopByte(byte: number): boolean {
  return byte === 0 || byte === 0xff;
}

const allowedMask: readonly boolean[] = [true, true, true, false, true, false, false, false];
const bitsOfMask: readonly number[] = [0, 1, 2, 2, 3, 3, 3, 3];
