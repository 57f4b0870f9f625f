import { readdir } from "node:fs/promises";
import type { Check } from "./checks.js";

/** Is a default guest in the cache? A missing one is no fault: it is made when it is first needed. */
export async function checkGuest(cacheDir: string): Promise<Check> {
  const entries = await readdir(cacheDir).catch(() => [] as string[]);
  const guests = entries.filter((name) => name.startsWith("guest-")).length;
  return guests > 0
    ? { name: "guest", ok: true, needed: false, detail: `${guests} in ${cacheDir}` }
    : {
        name: "guest",
        ok: false,
        needed: false,
        detail: "not made yet; the first recording makes it",
        mend: "vmtape guest",
      };
}
