/**
 * Does vmtape tell of a guest what its own kernel tells? For each kernel a guest is recorded that prints its
 * processes, mappings, open files, modules and log; they are compared with what is read from its memory alone, at the
 * very instant of the replay. Then the time of `ps` at random instants.
 *
 *     node test/oracle/run.mjs bench/linux-objects.ts [--package PACKAGE]… [--kernel VMLINUZ]… [--program FILE]
 *         [--append TEXT] [--instants N]
 *
 * Default: the stock kernel. `--kernel` boots a kernel that is in no package here, with the stock initramfs, so without
 * modules. `--program` is put into the guest and left running as `/bin/objects`; by default `test/linux/many-objects.c`, which
 * has something of everything. Exit code 1 when anything differs.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { makeGuest } from "../src/guest/guest.js";
import { currentTask } from "../src/linux/guest/current-task.js";
import { LinuxGuest } from "../src/linux/guest/linux-guest.js";
import { loadLinuxKernel } from "../src/linux/guest/linux-kernel.js";
import { readTasks } from "../src/linux/objects/task-list.js";
import { Session } from "../src/replay/session/session.js";
import { placesFrom } from "../src/tape/home.js";
import { defaultRecordOptions } from "../src/tape/record-options.js";
import { record } from "../src/tape/recording.js";
import { accountOf, buildObjects, compareWithAccount } from "../test/linux/proof.js";
import { proofInit } from "../test/linux/proof-guest.js";
import { StoppedSession } from "../test/linux/stopped-session.js";

const { values } = parseArgs({
  options: {
    package: { type: "string", multiple: true, default: [] },
    kernel: { type: "string", multiple: true, default: [] },
    program: { type: "string" },
    append: { type: "string", default: "" },
    instants: { type: "string", default: "10" },
    keep: { type: "string" },
  },
});
if (values.keep) await mkdir(values.keep, { recursive: true });
const scratch = values.keep ? resolve(values.keep) : await mkdtemp(join(tmpdir(), "vmtape-linux-"));
const init = join(scratch, "init");
await writeFile(init, proofInit);
const program = values.program ?? (await buildObjects(join(scratch, "objects")));
const additions = [{ source: program, destination: "/bin/objects" }];

const guests = [
  ...values.package.map((name) => ({ package: name, kernel: undefined as string | undefined })),
  ...values.kernel.map((kernel) => ({ package: undefined, kernel })),
];
try {
  for (const guest of guests.length > 0 ? guests : [{ package: undefined, kernel: undefined }]) {
    await prove(guest);
  }
} finally {
  if (!values.keep) await rm(scratch, { recursive: true, force: true });
}

async function prove(wanted: { package: string | undefined; kernel: string | undefined }): Promise<void> {
  const { cache } = placesFrom(process.env);
  const guest = await makeGuest({ cacheDir: cache, package: wanted.package, init, additions });
  const kernelFile = wanted.kernel ?? guest.kernel;
  const name = (wanted.kernel ?? guest.version).replace(/[^\w.+-]/g, "-").slice(-60);
  const places = {
    home: join(scratch, "home"),
    cache: join(scratch, "cache"),
    runtime: join(scratch, "run"),
  };
  const recording = await record(places, {
    ...(await defaultRecordOptions(name)),
    force: true,
    kernel: kernelFile,
    initrd: guest.initrd,
    append: `${guest.append} ${values.append}`,
  });
  const tape = await recording.done;
  const kernel = loadLinuxKernel(tape.layout.kernel);
  if (!kernel) throw new Error(`${kernelFile} is no Linux kernel`);
  const { account, at } = await accountOf(tape);
  await using session = await Session.create(tape, { trusted: true });
  await session.start();
  const count = Number(values.instants);
  const times: number[] = [];
  for (let i = 1; i <= count; i++) {
    await session.runTo(((at * BigInt(i)) / BigInt(count)) as never);
    await using stopped = await StoppedSession.of(session);
    const begun = performance.now();
    try {
      const linux = await LinuxGuest.at(stopped, kernel);
      const tasks = await readTasks(linux);
      const current = await currentTask(linux);
      times.push(performance.now() - begun);
      if (!tasks.some(({ address }) => address === current)) {
        console.log(
          `${name}: at ${await session.position()} the current task is in no list: ${current.toString(16)}`,
        );
      }
    } catch (error) {
      console.log(`${name}: at ${await session.position()}: ${(error as Error).message}`);
    }
  }
  await using stopped = await StoppedSession.of(session);
  const linux = await LinuxGuest.at(stopped, kernel);
  const { compared, differences } = await compareWithAccount(linux, account);
  times.sort((a, b) => a - b);
  console.log(
    `${kernel.symbols.release}: ${compared} comparisons at @${at}, ${differences.length} differ; ` +
      `ps median ${times[times.length >> 1]?.toFixed(0)} ms, worst ${times.at(-1)?.toFixed(0)} ms`,
  );
  for (const difference of differences) console.log(difference);
  if (differences.length > 0) process.exitCode = 1;
}
