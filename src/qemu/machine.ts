import { sandboxArguments } from "./build.js";

/**
 * The machine of a tape, and the QEMU command line that makes it. Everything the guest can see is decided here
 * from {@link Machine} alone, so record and replay cannot differ; what differs (log mode, where disks and
 * streams go) is the {@link RunPlan}.
 */

/** What the guest sees. Paths are absolute and belong to the tape. */
export interface Machine {
  readonly memoryMB: number;
  /** A QEMU CPU model with features added or taken, e.g. `qemu64,+rdrand`. */
  readonly cpu: string;
  readonly kernel: string;
  readonly initrd?: string;
  readonly append: string;
  /** In the order of their virtio-blk devices (`/dev/vda`, `/dev/vdb` …). */
  readonly disks: readonly MachineDisk[];
  readonly network: "none" | "user";
  /** See the manifest's field of this name; absent only with tapes of version 1. */
  readonly networkSends?: "at-once";
  /** Directory with the firmware images. */
  readonly firmware: string;
}

export interface MachineDisk {
  /** The file that holds the disk's bytes. */
  readonly file: string;
  readonly format: "raw" | "qcow2";
  /** With a qcow2 image that names no other: what it lies over. */
  readonly backing?: { readonly file: string; readonly format: "raw" | "qcow2" };
}

/** What is done with the machine this time. */
export interface RunPlan {
  /** Can this QEMU lock itself up? See {@link sandboxArguments}. */
  readonly sandbox: boolean;
  readonly mode: "record" | "replay";
  readonly log: string;
  /** Do writes go to the disk files themselves (a recording's overlays), or to a temporary file? */
  readonly disks: "written" | "untouched";
  /** Host ports to forward into the guest, as checked by {@link parseHostForward}; recording only. */
  readonly hostForwards?: readonly string[];
  /** Where the serial console goes: a QEMU character device without its id, e.g. `socket,fd=4` or `stdio`. */
  readonly console: string;
  /** QMP monitors: character devices without their ids. */
  readonly monitors?: readonly string[];
  /** GDB stub, a QEMU device such as `unix:PATH,server=on,wait=off`. */
  readonly gdb?: string;
  /** Guest RAM in a file in place of anonymous memory; see {@link RamFile}. */
  readonly ram?: RamFile;
  /** A qcow2 image for a snapshot of the devices; the guest does not see it. */
  readonly stateImage?: string;
  /** Wait for `cont` before the first instruction. */
  readonly paused?: boolean;
  /** Further options that the guest cannot see (plugins, logging). */
  readonly extra?: readonly string[];
}

/** Guest RAM as a file. */
export interface RamFile {
  readonly path: string;
  /** `shared`: what the guest writes goes to the file. `private`: the file stays as it is (copy-on-write). */
  readonly access: "shared" | "private";
}

/** Node name of {@link RunPlan.stateImage}, and of disk `index`'s image: the images in which snapshots are saved. */
export const stateNode = "state-node";
export const imageNode = (index: number) => `image${index}-node`;

/** The RAM's memory backend; `GuestRam` finds it under /proc by this name. */
const ramBackend = "memory-backend-memfd";

/**
 * The argument list (without the program) for one run of `machine`.
 *
 * `apic.vapic=off`: with the vapic device on, loading a snapshot deadlocks x86 replays of 7.2. `romfile=`: the
 * network card's boot ROM would only cost instructions. `tx=timer,x-txtimer=0`: the card sends at the instruction at
 * which the guest asks for it, by a virtual timer that expires at once. By default it sends from a bottom half, which
 * 7.2 to 9.0 do not write into the log, so that no such tape replays. (Measured: it is as fast.)
 * `guest_announce=off`: otherwise the card would announce itself after a checkpoint was loaded, as after a migration.
 * `-no-reboot`: a reboot ends the tape; replaying across a reset is not reliable in all supported versions.
 */
export function machineArguments(machine: Machine, plan: RunPlan): string[] {
  const { mode, log } = plan;
  const args = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];
  if (plan.sandbox) args.push(...sandboxArguments);
  args.push("-L", machine.firmware);
  args.push("-machine", "pc,memory-backend=ram", "-accel", "tcg", "-cpu", machine.cpu, "-smp", "1");
  args.push("-m", `${machine.memoryMB}M`);
  args.push("-object", ramObject(machine, plan.ram));
  args.push("-icount", `shift=auto,rr=${mode},rrfile=${quote(log)}`);
  args.push("-global", "apic.vapic=off");
  args.push("-kernel", machine.kernel);
  if (machine.initrd !== undefined) args.push("-initrd", machine.initrd);
  if (machine.append !== "") args.push("-append", machine.append);
  if (plan.stateImage !== undefined) {
    args.push(
      "-drive",
      `file=${quote(plan.stateImage)},format=qcow2,if=none,id=state,node-name=${stateNode}`,
    );
  }
  machine.disks.forEach((disk, i) => {
    args.push(...diskArguments(disk, i, plan));
  });
  args.push(...networkArguments(machine, plan));
  args.push("-chardev", `${plan.console},id=console`, "-serial", "chardev:console");
  plan.monitors?.forEach((monitor, i) => {
    args.push("-chardev", `${monitor},id=monitor${i}`, "-mon", `chardev=monitor${i},mode=control`);
  });
  if (plan.gdb !== undefined) args.push("-gdb", plan.gdb);
  if (plan.paused) args.push("-S");
  args.push(...(plan.extra ?? []));
  return args;
}

function ramObject({ memoryMB }: Machine, ram: RamFile | undefined): string {
  const size = `id=ram,size=${memoryMB}M`;
  if (!ram) return `${ramBackend},${size},share=on`;
  const share = ram.access === "shared" ? "on" : "off";
  return `memory-backend-file,${size},share=${share},mem-path=${quote(ram.path)}`;
}

function diskArguments(disk: MachineDisk, index: number, plan: RunPlan): string[] {
  const temporary = plan.disks === "untouched" ? ",snapshot=on" : "";
  return [
    "-drive",
    `file=${quote(disk.file)},format=${disk.format},if=none,id=image${index},node-name=${imageNode(index)}${temporary}${backingOptions(disk)}`,
    "-drive",
    `driver=blkreplay,if=none,image=image${index},id=disk${index}`,
    "-device",
    `virtio-blk-pci,drive=disk${index}`,
  ];
}

function backingOptions({ backing }: MachineDisk): string {
  if (!backing) return "";
  const { file, format } = backing;
  return `,backing.driver=${format},backing.file.driver=file,backing.file.filename=${quote(file)}`;
}

function networkArguments(machine: Machine, plan: RunPlan): string[] {
  if (machine.network === "none") return ["-nic", "none"];
  const forwards = (plan.hostForwards ?? []).map((rule) => `,hostfwd=${rule}`).join("");
  return [
    "-netdev",
    `user,id=net0${plan.mode === "replay" ? ",restrict=on" : forwards}`,
    "-device",
    `virtio-net-pci,netdev=net0,romfile=${machine.networkSends === "at-once" ? ",tx=timer,x-txtimer=0,guest_announce=off" : ""}`,
    "-object",
    "filter-replay,id=netreplay,netdev=net0",
  ];
}

/** A value inside a QEMU option list: a comma is written twice. */
export function quote(value: string): string {
  return value.replaceAll(",", ",,");
}
