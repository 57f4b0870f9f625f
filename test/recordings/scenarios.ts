/** What guests do while they are recorded, and how their recordings end: see recorded.ts. */

import type { Guest } from "../../src/guest/guest.js";
import { type Child, until, type Workbench } from "../workbench.js";
import { fetchMany, fetchOnce, freePort, type Hosts } from "./hosts.js";

/** A recording that is about to be made. */
export interface Stage {
  readonly bench: Workbench;
  readonly name: string;
  readonly hosts: Hosts;
  /** Ports of the host that are forwarded to the guest's ports 80 and 9. */
  readonly ports: readonly [http: number, hangUp: number];
  /** Default: the default guest. */
  readonly guest?: Guest | undefined;
}

export interface Scenario {
  readonly name: string;
  /** What the guest's shell runs; see src/guest/default-init.ts. */
  readonly run?: (stage: Stage) => string;
  readonly append?: string;
  readonly memoryMB?: number;
  /** File systems of so many megabytes. */
  readonly disks?: readonly number[];
  readonly network?: true;
  readonly timeout?: number;
  /** What the console must show. */
  readonly shows: RegExp;
  /** What the host does meanwhile. */
  readonly host?: (recorder: Child, stage: Stage) => Promise<void>;
  /** The end that the tape must state. Default: `power-off`. */
  readonly ends?: string;
}

const serving =
  "head -c 20000000 /dev/urandom > /tmp/big; echo small > /tmp/small; httpd -p 80 -h /tmp; echo list''ening; nc -l -p 9 < /dev/null; echo hung up";

async function hangUp({ ports }: Stage): Promise<void> {
  await fetchOnce(ports[1], "/");
}

/** The work of a guest that counts for ever, and is ended from outside. */
const counting = "i=0; while true; do i=$((i+1)); [ $((i % 200)) = 0 ] && echo count $i; done";

async function afterCounting(recorder: Child): Promise<void> {
  await recorder.prints(/count 600/);
}

/** The QEMU of a recorder. */
async function qemuOf(recorder: Child, { bench, name }: Stage): Promise<number> {
  let found: number | undefined;
  await until(async () => {
    found = (await bench.processes(`/${name}/replay.log`)).find((id) => id !== recorder.process.pid);
    return found !== undefined;
  }, "QEMU");
  return found!;
}

export const scenarios: readonly Scenario[] = [
  { name: "default", shows: /done, powering off/ },
  {
    name: "short-connections",
    run: () => serving,
    network: true,
    host: async (recorder, stage) => {
      await recorder.prints("listening");
      await fetchMany(stage.ports[0], "/small", 150);
      await hangUp(stage);
    },
    shows: /hung up/,
  },
  {
    name: "download",
    run: () => serving,
    network: true,
    host: async (recorder, stage) => {
      await recorder.prints("listening");
      await Promise.all([fetchOnce(stage.ports[0], "/big"), fetchOnce(stage.ports[0], "/big")]);
      await hangUp(stage);
    },
    shows: /hung up/,
  },
  {
    name: "upload",
    run: ({ hosts }) =>
      `head -c 8000000 /dev/urandom > /tmp/big; nc 10.0.2.2 ${hosts.sink} < /tmp/big; echo sent; wget -q -O /dev/null --post-file /tmp/small http://10.0.2.2:${hosts.http}/; echo posted`,
    network: true,
    shows: /posted/,
  },
  {
    name: "client",
    run: ({ hosts }) =>
      `for i in $(seq 12); do wget -q -O - http://10.0.2.2:${hosts.http}/ | md5sum; done; echo all came`,
    network: true,
    shows: /all came/,
  },
  {
    name: "udp",
    run: ({ hosts }) =>
      `tftp -g -r page -l /tmp/page 10.0.2.2 ${hosts.tftp}; wc -c < /tmp/page; ping -c 3 10.0.2.2; echo udp ended`,
    network: true,
    shows: /udp ended/,
  },
  {
    name: "link-down-up",
    run: ({ hosts }) =>
      `for i in 1 2 3; do wget -q -O /dev/null http://10.0.2.2:${hosts.http}/ & ip link set eth0 down; ip link set eth0 up; sleep 1; ip address add 10.0.2.15/24 dev eth0 2>/dev/null; ip route add default via 10.0.2.2; wait; wget -q -O - http://10.0.2.2:${hosts.http}/ | wc -c; done; echo link ended`,
    network: true,
    timeout: 90,
    shows: /262144/,
  },
  {
    name: "one-disk",
    run: () =>
      "dd if=/dev/urandom of=/mnt/a bs=64k count=120 conv=fsync; cp /mnt/a /mnt/b; sync; echo 3 > /proc/sys/vm/drop_caches; md5sum /mnt/a /mnt/b",
    disks: [32],
    shows: /\/mnt\/b/,
  },
  {
    name: "two-disks-direct",
    run: () =>
      "for i in $(seq 60); do echo $i > /mnt/f$i; done; sync; (dd if=/dev/zero of=/dev/vdb bs=128k count=60 oflag=direct; sync) & dd if=/dev/vda of=/dev/null bs=64k count=200 iflag=direct; wait; dd if=/dev/vdb bs=1M count=4 iflag=direct | md5sum; echo direct ended",
    disks: [32, 16],
    shows: /direct ended/,
  },
  {
    name: "disk-and-network",
    run: ({ hosts }) =>
      `(dd if=/dev/zero of=/mnt/a bs=64k count=150; sync) & for i in 1 2 3 4 5; do wget -q -O - http://10.0.2.2:${hosts.http}/ | md5sum; done; wait; echo both`,
    disks: [32],
    network: true,
    shows: /both/,
  },
  {
    name: "fork-storm",
    run: () => "i=0; while [ $i -lt 300 ]; do (exit 0); i=$((i+1)); done; echo forked $i",
    shows: /forked 300/,
  },
  { name: "console-flood", run: () => "seq 1 4000; dmesg; echo flooded", shows: /flooded/ },
  {
    name: "typed-into",
    append: "vmtape.shell",
    host: async (recorder) => {
      await recorder.prints("~ # ");
      recorder.type("seq 1 1500\n");
      recorder.type("echo $((6 * 7))00; cat /proc/uptime; head -c 8 /dev/urandom | hexdump\n");
      await recorder.prints("4200");
      recorder.type("exit\n");
    },
    shows: /4200/,
  },
  { name: "idle", run: () => "sleep 6; cat /proc/uptime; sleep 3; echo rested", shows: /rested/ },
  {
    name: "large",
    memoryMB: 1024,
    run: () => "head -c 100000000 /dev/zero > /tmp/z; md5sum /tmp/z; echo large ended",
    shows: /large ended/,
  },
  {
    name: "stopped",
    run: () => counting,
    host: async (recorder, { bench, name }) => {
      await afterCounting(recorder);
      await bench.run(["stop", name]);
    },
    ends: "stopped",
    shows: /count 600/,
  },
  {
    name: "interrupted",
    run: () => counting,
    host: async (recorder) => {
      await afterCounting(recorder);
      recorder.kill("SIGINT");
    },
    ends: "stopped",
    shows: /count 600/,
  },
  { name: "timeout", run: () => counting, timeout: 14, ends: "timeout", shows: /is up|^/ },
  {
    name: "killed",
    run: () => counting,
    host: async (recorder, stage) => {
      await afterCounting(recorder);
      const qemu = await qemuOf(recorder, stage);
      process.kill(qemu, "SIGKILL");
      recorder.kill("SIGKILL");
    },
    ends: "repaired",
    shows: /count 600/,
  },
  { name: "panic", run: () => "echo c > /proc/sysrq-trigger", ends: "panic", shows: /Kernel panic/ },
  { name: "reboot", run: () => "reboot -f", ends: "reboot", shows: /reboot/i },
  { name: "triple-fault", append: "reboot=t", run: () => "reboot -f", ends: "reboot", shows: /reboot/i },
];

/** A little of everything in one boot, which `npm test` records. */
export const mix: Scenario = {
  name: "mix",
  run: ({ hosts }) =>
    [
      "(dd if=/dev/urandom of=/mnt/a bs=64k count=40 conv=fsync; sync) &",
      "head -c 1500000 /dev/urandom > /tmp/big; echo small > /tmp/small; httpd -p 80 -h /tmp; echo list''ening;",
      "nc -l -p 9 < /dev/null;",
      `nc 10.0.2.2 ${hosts.sink} < /tmp/big; wget -q -O - http://10.0.2.2:${hosts.http}/ | wc -c;`,
      `tftp -g -r page -l /tmp/page 10.0.2.2 ${hosts.tftp}; wc -c < /tmp/page;`,
      "i=0; while [ $i -lt 50 ]; do (exit 0); i=$((i+1)); done;",
      "seq 1 300; wait; md5sum /mnt/a; echo mix ended",
    ].join(" "),
  memoryMB: 128,
  disks: [16],
  network: true,
  host: async (recorder, stage) => {
    await recorder.prints("listening");
    await fetchMany(stage.ports[0], "/small", 40);
    await fetchOnce(stage.ports[0], "/big");
    await hangUp(stage);
  },
  shows: /262144[\s\S]*262144[\s\S]*mix ended/,
};

export async function stageOf(bench: Workbench, name: string, hosts: Hosts, guest?: Guest): Promise<Stage> {
  return { bench, name, hosts, ports: [await freePort(), await freePort()], guest };
}
