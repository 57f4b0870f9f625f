import { isVmtapeError } from "../../base/errors.js";
import { BtfTypes } from "../../symbols/btf/types.js";
import { readMemoryBtf } from "../../symbols/kernel/btf-find.js";
import { listNodes } from "../guest/kernel-list.js";
import type { LinuxGuest } from "../guest/linux-guest.js";

const mostModules = 4096;

/**
 * The types of the modules loaded at an instant, as the kernel keeps them (`btf_modules`): they go on from its own.
 *
 * Cost: a read of some 20 kB for each module.
 *
 * @returns none where the kernel keeps none (CONFIG_DEBUG_INFO_BTF_MODULES off); what is damaged or not mapped is left out
 */
export async function readModuleTypes(guest: LinuxGuest): Promise<BtfTypes[]> {
  const { types } = guest;
  const base = types.all.find((source): source is BtfTypes => source instanceof BtfTypes);
  const head = guest.findAddress("btf_modules");
  const node = types.findStruct("btf_module");
  const btf = types.findStruct("btf");
  if (!base || head === undefined || !node || !btf) return [];
  const at = (type: typeof node, member: string) => BigInt(type.member(member).byteOffset);
  const found: BtfTypes[] = [];
  try {
    for await (const entry of listNodes(guest, head, "the list of modules' types", mostModules)) {
      const address = entry - at(node, "list");
      const owner = await guest.word(address + at(node, "module"));
      const data = await guest.word(address + at(node, "btf"));
      const name = await guest.text(owner + at(types.struct("module"), "name"));
      const start = await guest.word(data + at(btf, "data"));
      const length = await guest.u32(data + at(btf, "data_size"));
      found.push(await readMemoryBtf(guest.memory, start, length, { name: `the BTF of ${name}`, base }));
    }
  } catch (error) {
    if (!isVmtapeError(error)) throw error;
  }
  return found;
}
