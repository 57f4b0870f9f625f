/**
 * How fast pasted text reaches a program in the guest: `vmtape attach` into a machine that is being recorded beside the
 * standard input of a plain QEMU with the same machine, which records nothing and may take what it likes. Both in one
 * session, by turns; what the guest read is compared by its own sha1sum.
 *
 *     npm run bench paste [-- --kib N] [-- --rounds N] [-- --qemu PROGRAM]
 *
 * Fails when a byte was lost, or when 64 KiB would take more than 10 s.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const program = fileURLToPath(new URL("../cli/main.js", import.meta.url));
const { values } = parseArgs({
  options: {
    kib: { type: "string", default: "64" },
    rounds: { type: "string", default: "3" },
    qemu: { type: "string" },
  },
});
const bytes = Number(values.kib) * 1024;
const rounds = Number(values.rounds);
const directory = await mkdtemp(join(tmpdir(), "vmtape-bench-"));
const env = {
  ...process.env,
  VMTAPE_HOME: join(directory, "home"),
  ...(values.qemu !== undefined && { VMTAPE_QEMU: values.qemu }),
};

/** A program with a shell of the default guest behind its stdin and stdout. */
class GuestShell {
  readonly ended: Promise<number | null>;
  private readonly child: ChildProcess;
  private text = "";
  private heard = () => {};

  constructor([file = "", ...args]: readonly string[]) {
    this.child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"], env });
    this.child.stdin?.on("error", () => {});
    this.child.stdout?.setEncoding("latin1").on("data", (text: string) => {
      this.text += text;
      this.heard();
    });
    this.ended = new Promise((resolve) => {
      this.child.once("close", (code) => {
        resolve(code);
        this.heard();
      });
    });
  }

  type(text: string): void {
    this.child.stdin?.write(text);
  }

  /** Waits until it has printed this since the last time. */
  async prints(text: RegExp): Promise<RegExpExecArray> {
    const ended = this.ended.then(() => true);
    for (;;) {
      const match = text.exec(this.text);
      if (match) {
        this.text = this.text.slice(match.index + match[0].length);
        return match;
      }
      const news = new Promise<boolean>((resolve) => {
        this.heard = () => resolve(false);
      });
      if (await Promise.race([ended, news])) throw new Error(`ended before it printed ${text}`);
    }
  }
}

/** Pastes lines into `cat`; the seconds until the guest's sum of them is there. */
async function paste(command: readonly string[]): Promise<number> {
  const shell = new GuestShell(command);
  await shell.prints(/leave it to power off[\s\S]*# /);
  shell.type("stty -echo; echo be''gin; cat > /tmp/f; sha1sum /tmp/f\n");
  await shell.prints(/begin\r\n/);
  const base64 = randomBytes(bytes).toString("base64").slice(0, bytes);
  const text = `${base64.replace(/(.{76})./g, "$1\n").slice(0, bytes - 1)}\n`;
  const begin = performance.now();
  shell.type(`${text}\x04`);
  const [, sum] = await shell.prints(/([0-9a-f]{40}) {2}\/tmp\/f/);
  const seconds = (performance.now() - begin) / 1000;
  shell.type("exit\n");
  await shell.ended;
  if (sum !== createHash("sha1").update(text).digest("hex")) throw new Error("the guest read other bytes");
  return seconds;
}

function run(...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "inherit"], env });
  let stdout = "";
  child.stdout.on("data", (part) => {
    stdout += part;
  });
  return new Promise((resolve, reject) => {
    child.once("close", (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`vmtape ${args[0]} ended with ${code}`));
    });
  });
}

const median = (numbers: number[]) => numbers.sort((a, b) => a - b)[numbers.length >> 1]!;

try {
  const vmtape = [process.execPath, program, "record", "t", "-f", "-c", "--append", "vmtape.shell"];
  const first = new GuestShell(vmtape);
  await first.prints(/# /);
  first.type("exit\n");
  await first.ended;
  const { replayCommand } = JSON.parse(await run("info", "t", "--json")) as { replayCommand: string[] };
  const at = replayCommand.indexOf("-icount");
  const plain = [...replayCommand.slice(0, at), ...replayCommand.slice(at + 2)];
  const seconds = { vmtape: [] as number[], plain: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    seconds.plain.push(await paste(plain));
    seconds.vmtape.push(await paste(vmtape));
    process.stderr.write(`\r\x1b[Kround ${round + 1} of ${rounds}`);
  }
  process.stderr.write("\r\x1b[K");
  const rate = (all: number[]) => Math.round(bytes / median(all)).toLocaleString("en-US");
  console.log(`${bytes} bytes into cat, medians of ${rounds}, load ${loadavg()[0]!.toFixed(1)}`);
  console.log(`plain QEMU, nothing recorded  ${rate(seconds.plain)} bytes/s`);
  console.log(`vmtape, recording             ${rate(seconds.vmtape)} bytes/s`);
  console.log(
    `ratio                         ${(median(seconds.vmtape) / median(seconds.plain)).toFixed(2)} ×`,
  );
  const whole = (median(seconds.vmtape) * 65536) / bytes;
  console.log(`64 KiB                        ${whole.toFixed(1)} s  target ≤ 10 s`);
  await run("verify", "t");
  console.log("the last of them verifies");
  process.exitCode = whole <= 10 ? 0 : 1;
} finally {
  await rm(directory, { recursive: true, force: true });
}
