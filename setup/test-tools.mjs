/**
 * The tools that tests use as oracles and compilers (`test-tools.json`: program, and the Debian packages it is in). They
 * are installed while npm packages are and vmtape is built; what the distribution does not have is named in
 * `VMTAPE_TEST_WITHOUT`, whose tests are skipped and counted. Everything else that is missing fails.
 */
import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";

const tools = JSON.parse(readFileSync(new URL("test-tools.json", import.meta.url), "utf8"));

/** Begins to install what is missing; gives a function that waits for it and returns the environment of the tests. */
export function beginTestTools() {
  const declined = new Set((process.env.VMTAPE_TEST_WITHOUT ?? "").split(",").filter(Boolean));
  if (process.getuid() !== 0 && !declined.has("root")) {
    process.stderr.write("not root: tests that mount file systems are skipped (VMTAPE_TEST_WITHOUT=root)\n");
    declined.add("root");
  }
  const missing = () => Object.keys(tools).filter((name) => !declined.has(name) && !isInstalled(name));
  const packages = [...new Set(missing().flatMap((name) => tools[name]))];
  const isRoot = process.getuid() === 0;
  let installed;
  if (packages.length > 0) {
    process.stderr.write(`installing what tests use: ${packages.join(", ")} …\n`);
    // One by one, since one that the distribution does not have must not keep out the others.
    const install =
      "DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends";
    const known =
      'known=""; for name; do apt-cache show "$name" >/dev/null 2>&1 && known="$known $name"; done';
    const script = `known() { ${known}; }; known "$@"; [ $(echo $known | wc -w) = $# ] || { apt-get -qq update; known "$@"; }
      [ -z "$known" ] || ${install} $known`;
    const command = [...(isRoot ? [] : ["sudo"]), "sh", "-c", script, "sh", ...packages];
    const stdio = ["inherit", 2, "inherit"];
    // sudo may ask for a password, which needs the terminal for itself.
    if (isRoot)
      installed = new Promise((resolve) => begin(command, stdio).on("close", resolve).on("error", resolve));
    else spawnSync(command[0], command.slice(1), { stdio });
  }
  return async () => {
    await installed;
    const unknown = missing().filter((name) => !tools[name].every(isKnown));
    if (unknown.length > 0)
      process.stderr.write(`not in this distribution, tests skipped: ${unknown.join(", ")}\n`);
    return { ...process.env, VMTAPE_TEST_WITHOUT: [...declined, ...unknown].join(",") };
  };
}

function begin([program, ...args], stdio) {
  return spawn(program, args, { stdio });
}

function isKnown(name) {
  return spawnSync("apt-cache", ["show", name], { stdio: "ignore" }).status === 0;
}

function isInstalled(name) {
  return process.env.PATH.split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
