/**
 * The contents of every file in test/golden/compression: words, x86 calls, runs and noise, 60,000 bytes that are the
 * same everywhere. The files were packed from it by the formats' own tools:
 *
 *     xz -9 --check=crc32 --x86 --lzma2=dict=1MiB   sample.bcj.xz     (as kernels are packed)
 *     xz -6 --check=crc64                           sample.crc64.xz
 *     xz -0 --check=sha256 --block-size=20000       sample.sha256.xz
 *     xz --check=none                               sample.none.xz
 *     lzma -9                                       sample.lzma
 *     zstd --ultra -22, through a pipe              sample.22.zst     (as kernels are packed)
 *     zstd -1 --no-check                            sample.1.zst
 *     lz4 -l -9                                     sample.lz4
 *     gzip -9                                       sample.gz
 *     bzip2 -9                                      sample.bz2
 *     lzop -9                                       sample.lzo
 */
export function compressionSample(): Uint8Array {
  const bytes = new Uint8Array(60_000);
  let seed = 12345;
  const random = () => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed >>> 16;
  };
  const words = ["schedule", "vfs_read", "__x64_sys_", "do_idle", " mutex_lock", "\n", "0x", "page_fault"];
  for (let at = 0; at < bytes.length; ) {
    const kind = random() % 8;
    if (kind < 4) {
      for (const letter of Buffer.from(words[random() % words.length]!)) bytes[at++] = letter;
    } else if (kind < 6) {
      bytes[at] = random() % 2 ? 0xe8 : 0xe9;
      new DataView(bytes.buffer).setUint32(Math.min(at + 1, bytes.length - 4), random() % 5000, true);
      if (random() % 3 === 0) bytes[Math.min(at + 4, bytes.length - 1)] = 0xff;
      at += 5;
    } else if (kind === 6) {
      const value = random();
      for (let i = random() % 400; i > 0; i--) bytes[at++] = value;
    } else {
      for (let i = random() % 40; i > 0; i--) bytes[at++] = random();
    }
  }
  return bytes;
}
