/**
 * Models, from outside of QEMU, the receiving half of its serial port (`hw/char/serial.c`, a 16550A) while a machine
 * is being recorded: how many of the bytes that were sent the guest has not read yet.
 *
 * A byte on its way to the guest goes through a pipe, QEMU's queue of events to be recorded, and the port's buffer,
 * which has 16 bytes once the guest has switched the port's FIFO on, and otherwise one. What does not fit into the
 * buffer is lost, and QEMU reads more from the pipe than fits (see `Typewriter`). So no more bytes may be on their
 * way than the buffer holds, and for that the sender must know what the guest has read. QEMU reports each access to
 * the port's registers by its trace events `serial_read` and `serial_write`, which change nothing in the machine.
 */

/** The trace events that {@link SerialReceiver.hear} understands. */
export const serialTraceEvents = ["serial_read", "serial_write"] as const;

const registers = {
  /** Read: the oldest byte that was received. */
  data: 0,
  /** Written: which interrupts are enabled; the lowest bit is that for a received byte. */
  interruptEnable: 1,
  /** Read: interrupt identification; the two highest bits say that the FIFO is on. */
  interrupt: 2,
  /** Written: FIFO control. */
  fifoControl: 2,
  lineControl: 3,
  lineStatus: 5,
} as const;
const fifoOn = 0xc0;
/** Value of the interrupt identification when bytes were received. */
const received = 0x04;
const receivedMask = 0x07;
const receiveEnable = 0x01;
const fifoEnable = 0x01;
const fifoReset = 0x02;
const divisorLatchAccess = 0x80;
const dataReady = 0x01;
const fifoLength = 16;
/** A guest that reads the line status so many times in a row is waiting for a byte (polling). */
const pollCount = 8;

const line = /serial_(read|write) \w+ addr 0x([0-9a-f]+) val 0x([0-9a-f]+)/;

/** The model of the port. It is told what was sent and what QEMU reports. */
export class SerialReceiver {
  /** The bytes that may be on their way or unread, oldest first. It may hold too many, never too few. */
  private sent: number[] = [];
  /** Is it certain that {@link sent} holds no byte that the guest has read? */
  private exact = true;
  /** Have all of {@link sent} reached the port? */
  private arrived = false;
  private fifo: boolean | undefined;
  /** Whether the guest saw a byte in the line status since it last read one. */
  private ready: boolean | undefined;
  private divisorLatch = false;
  /**
   * Does the guest want bytes? False before its driver has started, since it would discard them; undefined when not
   * known.
   */
  private listening: boolean | undefined = false;
  private looks = 0;
  private returned: number[] = [];

  /** How many bytes may be sent now without being lost. */
  get room(): number {
    if (this.isDeaf) return 0;
    if (this.fifo === true) return Math.max(0, fifoLength - this.sent.length);
    return this.sent.length === 0 ? 1 : 0;
  }

  /** Is it known that the guest does not want bytes (yet)? */
  get isDeaf(): boolean {
    return this.listening === false;
  }

  /** Has the guest been seen to want bytes? */
  get isListening(): boolean {
    return this.listening === true;
  }

  /** How many bytes are on their way or unread, at most. */
  get unread(): number {
    return this.sent.length;
  }

  /** Is it known that all bytes that were sent have reached the port? */
  get hasArrived(): boolean {
    return this.arrived;
  }

  /** Is it unknown what the guest has read? Then {@link room} may be too small, and stay so. */
  get isUncertain(): boolean {
    return !this.exact && this.sent.length > 0;
  }

  /** Notes that these bytes are on their way. */
  send(bytes: Iterable<number>): void {
    this.sent.push(...bytes);
    this.arrived = false;
  }

  /**
   * Notes that all bytes have reached the port, and that all of QEMU's reports up to then were read. After this, more
   * can be concluded from what the guest does.
   */
  settle(): void {
    this.arrived = true;
    this.sent = this.sent.slice(-fifoLength);
  }

  /** Notes that QEMU's reports are no longer read from now on. */
  forget(): void {
    if (this.sent.length > 0) this.exact = false;
    this.fifo = undefined;
    this.ready = undefined;
    this.listening = undefined;
    this.divisorLatch = false;
  }

  /** Are there bytes for {@link takeReturned}? */
  get hasReturned(): boolean {
    return this.returned.length > 0;
  }

  /**
   * The bytes that the guest discarded unread when it reset its port; they are no longer on their way. Each is
   * returned once.
   */
  takeReturned(): number[] {
    const bytes = this.returned;
    this.returned = [];
    return bytes;
  }

  /**
   * Takes a line of QEMU's trace output.
   *
   * @returns whether something new is known
   */
  hear(text: string): boolean {
    const match = line.exec(text);
    if (!match) return false;
    const [, what, address, data] = match;
    const register = Number.parseInt(address!, 16);
    const value = Number.parseInt(data!, 16);
    const polled = what === "read" && this.isPolled(register);
    return (what === "read" ? this.heardRead(register, value) : this.heardWrite(register, value)) || polled;
  }

  /** Notes that a guest without interrupts polls the port. @returns whether that is news */
  private isPolled(register: number): boolean {
    if (register !== registers.lineStatus && register !== registers.data) {
      this.looks = 0;
      return false;
    }
    this.looks++;
    if (this.looks < pollCount || this.listening === true) return false;
    this.listening = true;
    return true;
  }

  private heardRead(register: number, value: number): boolean {
    if (register === registers.lineStatus) {
      this.ready = (value & dataReady) !== 0;
      if (this.ready || !this.arrived || this.sent.length === 0) return false;
      this.sent = []; // all bytes have arrived, and the port is empty: the guest has read them
      this.exact = true;
      return true;
    }
    if (register === registers.interrupt) {
      // The FIFO's state is only taken when bytes were received: a driver that probes the kind of port switches the
      // FIFO on for a moment.
      if ((value & receivedMask) !== received) return false;
      const before = this.fifo;
      this.fifo = (value & fifoOn) === fifoOn;
      return this.fifo !== before;
    }
    if (register === registers.data && !this.divisorLatch && this.sent.length > 0)
      return this.heardByte(value);
    return false;
  }

  private heardByte(value: number): boolean {
    const { ready } = this;
    this.ready = undefined;
    if (ready === true || (this.arrived && this.exact)) {
      const index = this.sent.indexOf(value);
      if (index < 0) this.exact = false;
      else this.sent.splice(0, index + 1); // bytes before it have been read without a report
      return true;
    }
    // An empty port was read, or a byte arrived between the read of the line status and this one.
    if (ready !== false || value === this.sent[0]) this.exact = false;
    return false;
  }

  private heardWrite(register: number, value: number): boolean {
    if (register === registers.lineControl) {
      this.divisorLatch = (value & divisorLatchAccess) !== 0;
      return false;
    }
    if (register === registers.data && this.divisorLatch) return false;
    this.looks = 0;
    if (register === registers.interruptEnable && !this.divisorLatch) {
      const before = this.listening;
      this.listening = (value & receiveEnable) !== 0;
      return this.listening !== before;
    }
    if (register !== registers.fifoControl) return false;
    const enabled = (value & fifoEnable) !== 0;
    const { fifo } = this;
    if (fifo === enabled && (value & fifoReset) === 0) return false;
    this.fifo = undefined; // until bytes have arrived: see above
    if (this.sent.length === 0) return false;
    // Switching the FIFO on or off empties it, too.
    const emptied = fifo !== undefined || (value & fifoReset) !== 0;
    if (emptied && this.arrived && this.exact) {
      this.returned.push(...this.sent);
      this.sent = [];
    } else this.exact = false;
    return true;
  }
}
