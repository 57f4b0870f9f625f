/**
 * An empty qcow2 image, as `qemu-img create -f qcow2` makes it, without its 15 ms. It names no backing file; whoever
 * opens it may put one under it.
 * Source: QEMU, docs/interop/qcow2.txt. All integers are big-endian. In clusters of 64 KiB:
 *
 *     0        1               2              3 …
 *     | header | refcount table | refcounts | L1 table |
 */
const clusterBits = 16;
const clusterBytes = 1 << clusterBits;
/** Bytes that one L1 entry maps: a cluster full of 8-byte L2 entries. */
const mappedByL1Entry = clusterBytes * (clusterBytes / 8);
/** A refcount block of one cluster counts this many clusters. */
const countedClusters = clusterBytes / 2;

const headerBytes = 104;
const magic = 0x514649fb;
const version = 3;
/** log2 of the bits of a refcount: 16. */
const refcountOrder = 4;
const at = { refcountTable: clusterBytes, refcounts: 2 * clusterBytes, l1: 3 * clusterBytes } as const;

/**
 * @param virtualBytes the disk's size; rounded up to sectors of 512 bytes
 * @returns the whole image
 */
export function encodeEmptyQcow2(virtualBytes: bigint): Uint8Array {
  const size = ((virtualBytes + 511n) / 512n) * 512n;
  const l1Entries = Number((size + BigInt(mappedByL1Entry) - 1n) / BigInt(mappedByL1Entry));
  const l1Clusters = Math.max(1, Math.ceil((l1Entries * 8) / clusterBytes));
  const clusters = 3 + l1Clusters;
  if (clusters > countedClusters) throw new RangeError(`a disk of ${size} bytes is too large`);
  const image = new Uint8Array(clusters * clusterBytes);
  const view = new DataView(image.buffer);
  view.setUint32(0, magic);
  view.setUint32(4, version);
  view.setUint32(20, clusterBits);
  view.setBigUint64(24, size);
  view.setUint32(36, l1Entries);
  view.setBigUint64(40, BigInt(at.l1));
  view.setBigUint64(48, BigInt(at.refcountTable));
  view.setUint32(56, 1); // clusters of the refcount table
  view.setUint32(96, refcountOrder);
  view.setUint32(100, headerBytes);
  view.setBigUint64(at.refcountTable, BigInt(at.refcounts));
  for (let cluster = 0; cluster < clusters; cluster++) view.setUint16(at.refcounts + cluster * 2, 1);
  return image;
}
