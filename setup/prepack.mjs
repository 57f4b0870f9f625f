/** What npm does before it packs: dist has then what the sources make, and nothing of sources that are gone. */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
rmSync(join(root, "dist"), { recursive: true, force: true });
const { status, error } = spawnSync(join(root, "node_modules", ".bin", "tsc"), ["-b", "src", "src/cli"], {
  cwd: root,
  stdio: ["ignore", 2, 2],
});
if (error) process.stderr.write("vmtape: the compiler is not installed; try: npm ci\n");
process.exit(status ?? 3);
