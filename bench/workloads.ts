/**
 * Ten recordings of different work on the stock kernel, each verified three times: two replays at a time, compared
 * with each other and with the recording. Prints one line each, and the counts. Fails when any differs.
 *
 *     npm run bench workloads [-- --qemu PROGRAM] [-- --only NAME]…
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const program = fileURLToPath(new URL("../cli/main.js", import.meta.url));
const { values } = parseArgs({
  options: { qemu: { type: "string" }, only: { type: "string", multiple: true }, rounds: { type: "string" } },
});
const verifications = Number(values.rounds ?? 3);
const directory = await mkdtemp(join(tmpdir(), "vmtape-bench-"));
const environment = {
  ...process.env,
  VMTAPE_HOME: join(directory, "home"),
  ...(values.qemu !== undefined && { VMTAPE_QEMU: values.qemu }),
};

interface Workload {
  readonly name: string;
  /** What the guest runs; see src/guest/default-init.ts. */
  readonly run?: string;
  /** More of the kernel command line. */
  readonly append?: string;
  readonly flags?: readonly string[];
  /** What the console must show. */
  readonly shows: RegExp;
  /** What happens on the host meanwhile. */
  readonly host?: (recorder: Recorder) => Promise<void>;
}

/** A running `vmtape record -c`. */
interface Recorder {
  readonly type: (text: string) => void;
  /** Waits until the console shows this. */
  readonly shows: (text: RegExp) => Promise<void>;
}

/** Runs a program to its end; what it printed, and its exit code. */
function run(file: string, args: readonly string[]): Promise<{ code: number | null; stdout: string }> {
  const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"], env: environment });
  let stdout = "";
  child.stdout.on("data", (bytes) => {
    stdout += bytes;
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout }));
  });
}

/** Records a workload; what the console showed. */
async function record(workload: Workload): Promise<string> {
  const append = [workload.append, workload.run && `vmtape.run="${workload.run}"`].filter(Boolean).join(" ");
  const args = [
    "record",
    workload.name,
    "-c",
    "--append",
    append,
    "--timeout",
    "120",
    ...(workload.flags ?? []),
  ];
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
    env: environment,
  });
  let shown = "";
  child.stdout.setEncoding("latin1").on("data", (text: string) => {
    shown += text;
  });
  child.stdin.on("error", () => {});
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  let running = true;
  void ended.then(() => {
    running = false;
  });
  const shows = async (text: RegExp) => {
    while (running && !text.test(shown)) await delay(20);
  };
  await workload.host?.({ type: (text) => child.stdin.write(text), shows });
  const code = await ended;
  child.stdin.end();
  if (code !== 0) throw new Error(`${workload.name}: recording ended with ${code}`);
  if (!workload.shows.test(shown))
    throw new Error(`${workload.name}: the console does not show ${workload.shows}:\n${shown}`);
  return shown;
}

/** A disk image with an empty ext4 file system. */
async function makeDisk(name: string, format: "raw" | "qcow2"): Promise<string> {
  const raw = join(directory, `${name}.raw`);
  await run("truncate", ["-s", "32M", raw]);
  await run("/sbin/mkfs.ext4", ["-q", raw]);
  if (format === "raw") return raw;
  const base = join(directory, `${name}.base.qcow2`);
  const overlay = join(directory, `${name}.qcow2`);
  await run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", raw, base]);
  await run("qemu-img", ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, overlay]);
  return overlay;
}

/** A server on the host's loopback. */
function serve(answer: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    answer(socket);
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () =>
      resolve({ server, port: (server.address() as { port: number }).port }),
    );
  });
}

const page = "0123456789abcdef".repeat(1 << 14); // 256 KiB
const httpServer = await serve((socket) => {
  socket.once("data", () => socket.end(`HTTP/1.0 200 OK\r\nContent-Length: ${page.length}\r\n\r\n${page}`));
});
const echoPort = 20_000 + (process.pid % 20_000);

/** Talks to the guest's echo service, trying until it listens. */
async function talk(recorder: Recorder): Promise<void> {
  await recorder.shows(/listening/);
  const { connect } = await import("node:net");
  const socket = connect(echoPort, "127.0.0.1");
  socket.on("error", () => {});
  for (let line = 0; line < 20; line++) {
    socket.write(`line ${line} from the host\n`);
    await Promise.race([new Promise((resolve) => socket.once("data", resolve)), delay(1000)]);
  }
  socket.end();
}

async function typeAway(recorder: Recorder): Promise<void> {
  await recorder.shows(/a shell/);
  const lines = [
    "echo $((6 * 7))",
    "cat /proc/uptime",
    "head -c 8 /dev/urandom | hexdump",
    "ls -l /",
    "exit",
  ];
  for (const [i, line] of lines.entries()) {
    await recorder.shows(new RegExp(`(~ # [^]*){${i + 1}}`));
    for (const letter of `${line}\r`) {
      recorder.type(letter);
      await delay(20);
    }
  }
}

const workloads: readonly Workload[] = [
  { name: "default", shows: /done, powering off/ },
  {
    name: "fork-storm",
    run: "i=0; while [ $i -lt 400 ]; do (exit 0); i=$((i+1)); done; echo forked $i",
    shows: /forked 400/,
  },
  {
    name: "ext4-raw",
    run: "dd if=/dev/urandom of=/mnt/a bs=64k count=160; cp /mnt/a /mnt/b; sync; md5sum /mnt/a /mnt/b; df /mnt",
    flags: ["-L", await makeDisk("a", "raw")],
    shows: /\/mnt\/b/,
  },
  {
    name: "ext4-qcow2-two",
    run: "for i in $(seq 200); do echo $i > /mnt/f$i; done; sync; cat /mnt/f* | md5sum; dd if=/dev/zero of=/dev/vdb bs=1M count=8",
    flags: ["-L", await makeDisk("b", "qcow2"), "-L", await makeDisk("c", "raw")],
    shows: /8\+0 records out/,
  },
  {
    name: "tcp-to-host",
    run: `wget -q -O /tmp/page http://10.0.2.2:${httpServer.port}/; wc -c < /tmp/page; md5sum /tmp/page`,
    flags: ["--net", "user"],
    shows: /262144/,
  },
  {
    name: "tcp-from-host",
    run: "echo listening; nc -l -p 7 -e cat; echo hung up",
    flags: ["--net", `user,hostfwd=tcp::${echoPort}-:7`],
    host: talk,
    shows: /hung up/,
  },
  {
    name: "random",
    run: "dd if=/dev/urandom bs=64k count=64 | sha256sum; cat /proc/sys/kernel/random/uuid",
    shows: /64\+0 records out/,
  },
  { name: "typing", append: "vmtape.shell", host: typeAway, shows: /42\r?\n/ },
  { name: "idle", run: "sleep 20; cat /proc/uptime", shows: /ended with 0/ },
  { name: "console-flood", run: "seq 1 8000; dmesg", shows: /8000/ },
  {
    name: "disk-and-net",
    run: `(dd if=/dev/zero of=/mnt/a bs=64k count=200; sync) & for i in 1 2 3 4 5; do wget -q -O - http://10.0.2.2:${httpServer.port}/ | md5sum; done; wait; echo both`,
    flags: ["-L", await makeDisk("d", "raw"), "--net", "user"],
    shows: /both/,
  },
  { name: "panic", run: "echo c > /proc/sysrq-trigger", shows: /Kernel panic/ },
];

interface Report {
  readonly ok: boolean;
  readonly icount: number;
  readonly states: readonly { readonly recorded: boolean }[];
  readonly seconds: number;
  readonly divergence?: { readonly what: string; readonly icount: number };
}

const count = { recordings: 0, verified: 0, failed: 0, states: 0, recorded: 0 };

async function verify(name: string): Promise<string> {
  const { stdout } = await run(process.execPath, [program, "verify", name, "--json"]);
  const report = JSON.parse(stdout) as Report;
  if (!report.ok) {
    count.failed++;
    return `PARTED at ${report.divergence?.icount}: ${report.divergence?.what}`;
  }
  count.verified++;
  count.states += report.states.length;
  count.recorded += report.states.filter(({ recorded }) => recorded).length;
  return `ok ${report.seconds.toFixed(1)} s`;
}

try {
  for (const workload of workloads) {
    if (values.only && !values.only.includes(workload.name)) continue;
    await writeFile(join(directory, "current"), workload.name);
    await record(workload);
    count.recordings++;
    const info = JSON.parse((await run(process.execPath, [program, "info", workload.name, "--json"])).stdout);
    const results: string[] = [];
    for (let i = 0; i < verifications; i++) results.push(await verify(workload.name));
    const size = `${(info.icount / 1e9).toFixed(2)}e9 instructions, ${info.log.bytes} log bytes, ${info.seconds.toFixed(1)} s`;
    console.log(`${workload.name.padEnd(16)}${size.padEnd(58)}${results.join(", ")}`);
    await run(process.execPath, [program, "destroy", workload.name]);
  }
  console.log(
    `\n${count.recordings} recordings, ${count.verified} verifications passed, ${count.failed} failed; ` +
      `${count.states} states equal in both replays, ${count.recorded} of them equal to the recording`,
  );
  process.exitCode = count.failed === 0 ? 0 : 1;
} finally {
  httpServer.server.close();
  await rm(directory, { recursive: true, force: true });
}
