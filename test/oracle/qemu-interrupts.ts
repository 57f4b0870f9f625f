import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { readDeliveries, replayLogOf } from "./replay-events.js";

/** An interrupt or exception as QEMU itself reports it (`-d int`), with its instant from the replay log. */
export interface Interrupt {
  readonly icount: number;
  readonly hardware: boolean;
  readonly vector: number;
  readonly errorCode: number;
  /** Raised by `int n` or `int3`: `from` is then the address after the instruction. */
  readonly software: boolean;
  readonly ring: number;
  /** Linear address it left from. */
  readonly from: bigint;
}

const line = /^ *\d+: v=([0-9a-f]+) e=([0-9a-f]+) i=([01]) cpl=(\d) IP=[0-9a-f]+:[0-9a-f]+ pc=([0-9a-f]+)/;

/**
 * Replays the tape once at full speed and reads QEMU's own account of every interrupt and exception in protected
 * mode. QEMU does not print instruction counts; they come from the replay log, whose last deliveries are these.
 */
export async function readInterrupts(argv: readonly string[]): Promise<Interrupt[]> {
  const child = spawn(argv[0]!, [...argv.slice(1), "-d", "int"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const found: Omit<Interrupt, "icount">[] = [];
  let hardware = false;
  for await (const text of createInterface({ input: child.stderr! })) {
    if (text.startsWith("Servicing hardware INT")) hardware = true;
    const match = line.exec(text);
    if (match === null) continue;
    const [, vector, errorCode, software, ring, pc] = match;
    found.push({
      hardware,
      vector: Number.parseInt(vector!, 16),
      errorCode: Number.parseInt(errorCode!, 16),
      software: software === "1",
      ring: Number(ring),
      from: BigInt(`0x${pc}`),
    });
    hardware = false;
  }
  const { icounts, interrupts } = readDeliveries(replayLogOf(argv));
  const first = icounts.length - found.length;
  return found.map((interrupt, i) => {
    if ((interrupts[first + i] === 1) !== interrupt.hardware) {
      throw new Error(`QEMU's interrupt ${i} is not delivery ${first + i} of the replay log`);
    }
    return { ...interrupt, icount: icounts[first + i]! };
  });
}
