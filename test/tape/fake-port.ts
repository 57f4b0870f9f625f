/**
 * A model of QEMU 7.2's serial input while it records: a pipe, the queue of events, and the 16550A with its pitfalls
 * (`chardev/char-fd.c`, `replay/replay-char.c`, `hw/char/serial.c`). As long as events wait, the port promises the
 * same room again, and bytes that do not fit when events are handed over are lost.
 */
import type { SerialLine } from "../../src/tape/typewriter.js";

const fifoLength = 16;
const triggerLevel = 8;

export class FakePort implements SerialLine {
  /** The bytes that the guest has read. */
  readonly read: number[] = [];
  /** Bytes that the port had no room for. */
  lost = 0;
  /** Does QEMU report accesses? One that was built without trace events does not. */
  canTrace = true;
  fifoOn = false;
  tell: (line: string) => void = () => {};
  private pipe: number[] = [];
  private queue: number[][] = [];
  private port: number[] = [];
  private instructions = 0n;
  private tracing = false;

  /** Runs QEMU's main loop once: it reads as much as the port promises. */
  mainLoop(): void {
    const room = this.room();
    const bytes = this.pipe.splice(0, room);
    if (bytes.length > 0) this.queue.push(bytes);
  }

  private room(): number {
    if (!this.fifoOn) return this.port.length === 0 ? 1 : 0;
    if (this.port.length >= fifoLength) return 0;
    return this.port.length <= triggerLevel ? triggerLevel - this.port.length : 1;
  }

  /** The processor takes the waiting events, and executes something. */
  processor(): void {
    const length = this.fifoOn ? fifoLength : 1;
    for (const bytes of this.queue.splice(0)) {
      for (const byte of bytes) {
        if (this.port.length < length) this.port.push(byte);
        else this.lost++;
      }
    }
    this.instructions += 1000n;
  }

  /** The guest's interrupt handler: reads up to `count` bytes, as Linux's 8250 driver does. */
  interrupt(count = 256): void {
    if (this.port.length === 0) return;
    this.access("read", 2, this.fifoOn ? 0xc4 : 0x04);
    for (let i = 0; i < count && this.status(); i++) this.read.push(this.takeByte());
    if (this.port.length === 0) this.status();
  }

  /** The guest reads the line status: is there a byte? */
  status(): boolean {
    const ready = this.port.length > 0;
    this.access("read", 5, ready ? 0x61 : 0x60);
    return ready;
  }

  /** The guest's driver starts: it empties the port, switches the FIFO on, and wants interrupts. */
  start(): void {
    for (const value of [0x01, 0x07, 0x00]) this.control(value);
    for (const value of [0x01, 0x81]) this.control(value);
    this.access("write", 1, 0x05);
  }

  /** The guest writes the FIFO control register. */
  control(value: number): void {
    const on = (value & 1) !== 0;
    if (on !== this.fifoOn || (value & 2) !== 0) this.port = [];
    this.fifoOn = on;
    this.access("write", 2, value);
  }

  access(what: "read" | "write", register: number, value: number): void {
    if (this.tracing) this.tell(`serial_${what} ${what} addr 0x${hex(register)} val 0x${hex(value)}`);
  }

  private takeByte(): number {
    const byte = this.port.shift() ?? 0;
    this.access("read", 0, byte);
    return byte;
  }

  write(bytes: Uint8Array): void {
    this.pipe.push(...bytes);
  }

  isTaken(): boolean {
    return this.pipe.length === 0;
  }

  executed(): Promise<bigint> {
    return Promise.resolve(this.instructions);
  }

  trace(on: boolean): Promise<boolean> {
    this.tracing = on && this.canTrace;
    return Promise.resolve(this.canTrace);
  }

  hear(): void {}
}

const hex = (value: number) => value.toString(16).padStart(2, "0");
