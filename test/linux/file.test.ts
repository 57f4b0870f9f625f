import { expect, test } from "vitest";
import { readFileAt } from "../../src/linux/objects/file.js";
import type { PathReader } from "../../src/linux/objects/paths.js";
import { ModelGuest, u32, u64 } from "./model-guest.js";

const at = (low: number) => 0xffff_8880_0000_0000n + BigInt(low);

/**
 * A file with the mode bits of one that lies under an overlay. `behind` are the words after it, which such a file
 * uses.
 */
function guestWith(mode: number, behind: { readonly mount: bigint; readonly entry: bigint }) {
  const model = new ModelGuest();
  model.struct("file", {
    f_mode: [0, u32],
    f_flags: [4, u32],
    f_inode: [8, u64],
    f_pos: [16, u64],
    "f_path.mnt": [24, u64],
    "f_path.dentry": [32, u64],
  });
  const [file, mount, entry] = [at(0x1000), at(0x2000), at(0x3000)];
  const pathOf = (name: string) => model.structs.get("file")!.members.find((member) => member.name === name)!;
  // A member is named by its whole path here, since the model has no nested structures.
  const find = (name: string) => ({ ...pathOf(name) });
  Object.defineProperty(model.structs.get("file")!, "member", { value: find });
  Object.defineProperty(model.structs.get("file")!, "findMember", { value: find });
  const backing = model.struct("backing_file", { "user_path.mnt": [64, u64], "user_path.dentry": [72, u64] });
  const user = (name: string) => ({ ...backing.members.find((member) => member.name === name)! });
  Object.defineProperty(backing, "member", { value: user });
  Object.defineProperty(backing, "findMember", {
    value: (name: string) => (name === "user_path" ? {} : user(name)),
  });
  model.struct("inode", { i_ino: [0, u64], i_mode: [8, u32], i_sb: [16, u64] });
  model.struct("vfsmount", { mnt_sb: [8, u64] });
  model.struct("dentry", { d_sb: [16, u64] });
  model.put(file, new Uint8Array(128));
  model.put(file, new Uint8Array(Int32Array.of(mode).buffer));
  model.word(file + 24n, at(0x6000));
  model.word(file + 32n, at(0x7000));
  model.word(file + 64n, behind.mount);
  model.word(file + 72n, behind.entry);
  model.word(file + 8n, at(0x4000));
  model.put(at(0x4000), new Uint8Array(64));
  model.word(mount + 8n, at(0x5000));
  model.word(entry + 16n, at(0x5000));
  model.word(at(0x8000) + 16n, at(0x5100)); // an entry of another file system
  return { guest: model.guest(), file, mount, entry };
}

/** The path that is looked up. */
async function shown(mode: number, behind: { readonly mount: bigint; readonly entry: bigint }) {
  const { guest, file } = guestWith(mode, behind);
  const paths = { text: async (path: { entry: bigint }) => path.entry.toString(16) } as unknown as PathReader;
  return (await readFileAt(guest, paths, file, undefined)).path;
}

const own = at(0x7000).toString(16);
const users = { mount: at(0x2000), entry: at(0x3000) };

test.each([24, 25])("a file under an overlay is shown by its user's path: bit %i", async (bit) => {
  expect(await shown(1 << bit, users)).toBe(users.entry.toString(16));
});

test("other files keep their own, whatever lies behind them and whatever the bits mean", async () => {
  expect(await shown(0, users)).toBe(own);
  for (const bit of [24, 25]) {
    expect(await shown(1 << bit, { mount: 0n, entry: 2n })).toBe(own);
    expect(await shown(1 << bit, { mount: at(0x2000), entry: at(0x8000) })).toBe(own);
    expect(await shown(1 << bit, { mount: at(0x2000), entry: at(0xdead_0000) })).toBe(own);
  }
});
