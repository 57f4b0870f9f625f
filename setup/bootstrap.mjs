/**
 * What `npm run demo`, `npm test` and `npm run setup` do before anything of vmtape is built: a plain script without
 * dependencies, for a machine with nothing but Node and git. It installs the npm packages, builds, lets
 * `vmtape doctor --mend` install system packages, and goes on with what was asked for. Doing it again does nothing.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const [mode = "setup", ...rest] = process.argv.slice(2);

requireNode();
installNpmPackages();
run("building", ["node_modules/.bin/tsc", "-b"], "npm run build");
vmtape("doctor", "--mend");

switch (mode) {
  case "setup":
    break;
  case "demo":
    vmtape("demo", ...rest);
    break;
  case "test":
    test(["fast", "machine"], "npm test");
    break;
  case "test:long":
    test(["long"], "npm run test:long");
    break;
  case "bench":
    bench(...rest);
    break;
  default:
    fail(`'${mode}' is not known: use setup, demo, test, test:long or bench`, 2);
}

/** What tests need beyond vmtape itself: programs, and the Debian packages that have them. */
function installTestTools() {
  const tools = [{ program: /^clang(-\d+)?$/, packages: ["clang"] }];
  const names = (process.env.PATH ?? "").split(":").flatMap((place) => {
    try {
      return readdirSync(place);
    } catch {
      return []; // no such directory
    }
  });
  const missing = tools.filter(({ program }) => !names.some((name) => program.test(name)));
  if (missing.length === 0) return;
  const packages = missing.flatMap((tool) => tool.packages);
  const install = [...(process.getuid?.() === 0 ? [] : ["sudo"]), "apt-get", "install", "-y", ...packages];
  run("installing what tests need", install, install.join(" "));
}

/** The tests of some projects, unless the user names others. */
function test(projects, mend) {
  installTestTools();
  const chosen = rest.some((word) => word.startsWith("--project"))
    ? []
    : projects.flatMap((one) => ["--project", one]);
  run("testing", ["node_modules/.bin/vitest", "run", ...chosen, ...rest], mend);
}

/** Benchmarks are single files in bench/: bundled, since Node 20 does not run TypeScript, and run. */
function bench(name, ...args) {
  const source = join(root, "bench", `${name}.ts`);
  if (!/^[a-z-]+$/.test(name ?? "") || !existsSync(source)) {
    const names = readdirSync(join(root, "bench")).filter((file) => file.endsWith(".ts"));
    fail(`name a benchmark: ${names.map((file) => file.slice(0, -3)).join(", ")}`, 2);
  }
  const target = join(root, "dist", "bench", `${name}.js`);
  const bundle = ["--platform", "node", "--transform.target", "node20", "--logLevel", "silent", "-o", target];
  run("bundling", ["node_modules/.bin/rolldown", source, ...bundle], `npx rolldown bench/${name}.ts`);
  const { status, signal } = spawn([process.execPath, target, ...args]);
  process.exit(signal ? 130 : (status ?? 3));
}

function requireNode() {
  const major = Number(process.versions.node.split(".")[0]);
  if (major < 20) fail(`Node ${process.version} is too old: install Node 20 or later from nodejs.org`, 3);
}

/** npm leaves a lock file of what it installed; the packages are there when it is not older than ours. */
function installNpmPackages() {
  const installed = join(root, "node_modules", ".package-lock.json");
  const wanted = join(root, "package-lock.json");
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(wanted).mtimeMs) return;
  run("installing npm packages", ["npm", "ci", "--no-audit", "--no-fund"], "npm ci");
}

function vmtape(...args) {
  const { status, signal } = spawn([process.execPath, join(root, "dist", "cli", "main.js"), ...args]);
  if (signal || status !== 0) process.exit(signal ? 130 : (status ?? 3));
}

function run(doing, command, mend) {
  process.stderr.write(`${doing} …\n`);
  const { status, signal, error } = spawn(command);
  if (signal) process.exit(130);
  if (error) fail(`${doing} failed: ${error.message}; try: ${mend}`, 3);
  if (status !== 0) {
    process.stderr.write(`${doing} failed; by hand: ${mend}\n`);
    process.exit(mode === "test" && doing === "testing" ? status : 3);
  }
}

function spawn([program, ...args]) {
  return spawnSync(program, args, { cwd: root, stdio: "inherit" });
}

function fail(sentence, code) {
  process.stderr.write(`vmtape: ${sentence}\n`);
  process.exit(code);
}
