import { readlinkSync } from "node:fs";
import { VmtapeError } from "../../base/errors.js";
import { printable } from "../../base/printable.js";
import { whenAborted } from "../../base/stopping.js";
import type { ConsoleClient } from "../../tape/console-client.js";
import type { ConsoleState } from "../../tape/console-frames.js";
import type { ControlClient } from "../../tape/control.js";
import { grouped } from "../shell/output.js";
import { PatientOutput } from "../shell/patient-output.js";
import { AttachKeys, keyHelp, watchHelp } from "./attach-keys.js";

/** How a console session ended. */
export type ConsoleLeave = "detached" | "ended";

/** How to join a console. */
export interface AttachOptions {
  /** The tape's name, for messages. */
  readonly name: string;
  /** `owner`: the terminal from which it was started; when the terminal is closed, the recording ends. */
  readonly role: "owner" | "type" | "watch";
  /** Take the keyboard at once, also from another client. */
  readonly take?: boolean;
  readonly signal: AbortSignal;
  /** Ends the recording. */
  readonly stop: () => Promise<void>;
  /** When the input is no terminal: after its end, leave once the guest has printed nothing for so long. */
  readonly quietSeconds?: number;
}

/** How long a terminal that takes no output may delay the end of the command. */
const patienceMs = 500;
/** The least time between two reminders that another client has the keyboard. */
const remindMs = 2000;
/** Input that is no terminal is read only while no more bytes than this wait to be typed. */
const enoughBytes = 64 << 10;

/**
 * Connects stdin and stdout to a recording's console until the user leaves or the recording ends. On a terminal all
 * keys go to the guest, except for commands after Ctrl-]. The terminal's mode is restored in any case.
 *
 * @throws `tape-busy` when the input is no terminal and another client has the keyboard
 */
export async function attachConsole(client: ControlClient, options: AttachOptions): Promise<ConsoleLeave> {
  await using session = new AttachSession(options, process.stdin.isTTY === true);
  return await session.run(client);
}

/** The name of this process for the other clients of the console. */
function ownName(): string {
  let terminal = "";
  try {
    const path = readlinkSync("/proc/self/fd/0");
    if (process.stdin.isTTY && path.startsWith("/dev/")) terminal = ` on ${path}`;
  } catch {
    // no /proc: no name of the terminal
  }
  return `process ${process.pid}${terminal}`;
}

class AttachSession implements AsyncDisposable {
  private readonly options: AttachOptions;
  private readonly onTerminal: boolean;
  private readonly output: PatientOutput;
  private readonly notes: PatientOutput;
  private client!: ConsoleClient;
  private left: ConsoleLeave = "ended";
  private failure: VmtapeError | undefined;
  private heardState: (() => void) | undefined;
  private told: ConsoleState["keyboard"] | undefined;
  private printedAt = performance.now();
  private taking = false;
  private remindedAt = Number.NEGATIVE_INFINITY;

  constructor(options: AttachOptions, onTerminal: boolean) {
    this.options = options;
    this.onTerminal = onTerminal;
    this.output = new PatientOutput(
      1,
      () => this.client.resume(),
      () => this.detach(), // when its output is closed, as any program in a pipe
    );
    this.notes = new PatientOutput(2);
  }

  async run(control: ControlClient): Promise<ConsoleLeave> {
    const { role, signal } = this.options;
    const firstState = new Promise<void>((resolve) => {
      this.heardState = resolve;
    });
    this.note(role === "watch" ? (this.onTerminal ? watchHelp : "") : this.onTerminal ? keyHelp : "");
    this.client = await control.console(
      { role, name: ownName(), past: this.onTerminal || role === "watch" },
      {
        onOutput: (bytes) => {
          this.printedAt = performance.now();
          if (!this.output.write(bytes)) this.client.pause();
        },
        onState: (state) => this.hearState(state),
      },
    );
    using _stopped = whenAborted(signal, () => this.leave());
    if (this.options.take) this.client.take();
    try {
      await Promise.race([firstState, this.client.ended]);
      if (this.onTerminal) this.useTerminal();
      else if (role !== "watch") this.typeInput().catch(() => {}); // ends when the input is closed below
      await this.client.ended;
    } finally {
      if (this.onTerminal) process.stdin.setRawMode(false).removeAllListeners("data").pause();
      else if (role !== "watch") process.stdin.destroy();
    }
    if (this.failure) throw this.failure;
    if (this.left === "detached")
      this.note(this.onTerminal ? `detached: ${this.options.name} goes on being recorded` : "");
    return this.left;
  }

  private useTerminal(): void {
    const keys = new AttachKeys(
      {
        type: (bytes) => this.type(bytes),
        detach: () => this.detach(),
        quit: () => {
          this.client.drop();
          this.options.stop().catch(() => this.client.leave()); // the recording has ended meanwhile
        },
        take: () => {
          this.taking = true; // the recorder gets this before the bytes that are typed next
          this.client.take();
        },
        drop: () => {
          const dropped = this.client.state.keyboard === "yours" ? this.client.drop() : 0;
          this.note(`${grouped(dropped)} bytes that waited to be typed are forgotten`);
        },
        help: () => this.note(this.options.role === "watch" ? watchHelp : keyHelp),
      },
      this.options.role === "watch",
    );
    process.stdin.setRawMode(true);
    process.stdin.on("data", (bytes: Buffer) => keys.hear(bytes)).resume();
  }

  private type(bytes: Uint8Array): void {
    if (this.taking || this.client.state.keyboard !== "taken") {
      this.client.type(bytes);
      return;
    }
    if (performance.now() - this.remindedAt < remindMs) return;
    this.remindedAt = performance.now();
    this.note(stateText(this.client.state, false));
  }

  /** Types input that comes from no terminal. After its end, leaves when the guest has become quiet. */
  private async typeInput(): Promise<void> {
    const { client } = this;
    if (client.state.keyboard === "taken" && !this.options.take) return this.giveUp(0);
    for await (const bytes of process.stdin) {
      client.type(bytes as Buffer);
      if (client.waiting > enoughBytes) await client.typed();
    }
    await client.typed();
    const quietMs = (this.options.quietSeconds ?? 1) * 1000;
    this.printedAt = performance.now();
    for (let rest = quietMs; rest > 0; rest = this.printedAt + quietMs - performance.now())
      await Promise.race([new Promise((resolve) => setTimeout(resolve, rest)), client.ended]);
    this.detach();
  }

  private giveUp(lost: number): void {
    const { holder = "somebody else" } = this.client.state;
    const what = lost > 0 ? `took the keyboard before ${grouped(lost)} bytes were typed` : "has the keyboard";
    this.failure = new VmtapeError("tape-busy", `${holder} ${what}`, {
      mend: "--take takes it, --watch only watches",
    });
    this.client.drop();
    this.detach();
  }

  private hearState(state: ConsoleState): void {
    const first = this.told === undefined;
    const before = this.told;
    this.told = state.keyboard;
    this.heardState?.();
    if (state.keyboard === "yours") this.taking = false;
    if (!this.onTerminal) {
      if (before === "yours" && state.keyboard === "taken") this.giveUp(this.client.waiting);
      return;
    }
    // The first state is only printed when another client has the keyboard.
    if (first ? state.keyboard === "taken" : state.keyboard !== before || state.keyboard === "taken") {
      if (!(state.keyboard === "taken" && before === "taken" && this.remindedAt > 0))
        this.note(stateText(state, this.options.role === "watch"));
    }
  }

  private detach(): void {
    this.left = "detached";
    this.client.detach();
  }

  /** Called on a signal: the owner ends the recording by closing the connection; others detach. */
  private leave(): void {
    if (this.options.role === "owner") this.client.leave();
    else this.detach();
  }

  /** Prints a line of vmtape between the guest's output. */
  private note(text: string): void {
    if (text !== "")
      this.notes.write(this.onTerminal ? `\r\n${printable(text)}\r\n` : `${printable(text)}\n`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // After leaving, the command does not wait for a terminal that takes no output.
    const ms = this.left === "ended" ? Number.POSITIVE_INFINITY : patienceMs;
    const { signal } = this.options;
    await Promise.all([this.output.close(ms, signal), this.notes.close(patienceMs, signal)]);
  }
}

function stateText({ keyboard, holder }: ConsoleState, watching: boolean): string {
  if (keyboard === "yours") return "you have the keyboard";
  if (keyboard === "free")
    return watching ? "the keyboard is free" : "the keyboard is free: the next who types has it";
  return `${holder} has the keyboard, you watch${watching ? "" : " (Ctrl-] then t takes it)"}`;
}
