import { findProgram } from "../base/tool.js";
import { systemPath } from "../guest/image.js";
import { bootstrapTools, rootlessPackages } from "../guest/image-bootstrap.js";
import { installCommand } from "./apt.js";
import type { Check } from "./checks.js";

/** Checks for the tools that make distribution images (`vmtape guest --image`). Nothing else needs them. */
export async function checkImageTools(
  path = systemPath(),
  asRoot = process.getuid?.() === 0,
): Promise<Check> {
  const has = async (program: string) => (await findProgram(program, path)) !== undefined;
  const tools: string[] = [];
  for (const tool of bootstrapTools) if (await has(tool)) tools.push(tool);
  const missing: string[] = [];
  const packages: string[] = [];
  const need = (program: string, packaged: string) => {
    missing.push(program);
    packages.push(packaged);
  };
  if (asRoot) {
    if (tools.length === 0) need("mmdebstrap or debootstrap", "mmdebstrap");
  } else {
    const programs = ["mmdebstrap", "newuidmap", "fakeroot"];
    for (const [i, program] of programs.entries()) {
      if (!(await has(program))) need(program, rootlessPackages[i]!);
    }
  }
  if (!(await has("mke2fs"))) need("mke2fs", "e2fsprogs");
  const common = { name: "image", needed: false };
  if (missing.length === 0) return { ...common, ok: true, detail: `${tools.join(", ")}, mke2fs` };
  const there = tools.length > 0 ? `${tools.join(", ")} is here, but ` : "";
  return {
    ...common,
    ok: false,
    detail: `${there}not installed: ${missing.join(", ")}; needed for distribution images`,
    packages,
    mend: installCommand(packages).join(" "),
  };
}
