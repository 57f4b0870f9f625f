/** Ctrl-], as in telnet and virsh. */
const escapeByte = 0x1d;
const ctrlC = 0x03;
const letters = { detach: 0x64, quit: 0x71, take: 0x74, drop: 0x78 } as const;

/** The actions of the keys. */
export interface KeyHandler {
  type(bytes: Uint8Array): void;
  detach(): void;
  quit(): void;
  take(): void;
  drop(): void;
  help(): void;
}

/** Help for the keys. */
export const keyHelp =
  "Ctrl-] then d: detach, the recording goes on · q: stop it · t: take the keyboard · x: forget what waits to be typed · Ctrl-]: send Ctrl-]";
export const watchHelp =
  "you only watch · Ctrl-C, or Ctrl-] then d: leave · Ctrl-] then q: stop the recording";

/** Splits a terminal's input into bytes for the guest and keys for vmtape. */
export class AttachKeys {
  private escaping = false;
  private readonly handler: KeyHandler;
  private readonly watching: boolean;

  /** @param watching true when nothing is typed to the guest; Ctrl-C then leaves */
  constructor(handler: KeyHandler, watching: boolean) {
    this.handler = handler;
    this.watching = watching;
  }

  hear(bytes: Buffer): void {
    let begin = 0;
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]!;
      if (this.escaping) {
        this.escaping = false;
        begin = i + 1;
        this.obey(byte);
      } else if (byte === escapeByte) {
        this.typeOn(bytes.subarray(begin, i));
        begin = i + 1;
        this.escaping = true;
      } else if (this.watching && byte === ctrlC) this.handler.detach();
    }
    this.typeOn(bytes.subarray(begin));
  }

  private typeOn(bytes: Buffer): void {
    if (bytes.length > 0 && !this.watching) this.handler.type(bytes);
  }

  private obey(byte: number): void {
    if (byte === escapeByte) this.typeOn(Buffer.of(escapeByte));
    else if (byte === letters.detach) this.handler.detach();
    else if (byte === letters.quit) this.handler.quit();
    else if (byte === letters.take && !this.watching) this.handler.take();
    else if (byte === letters.drop && !this.watching) this.handler.drop();
    else this.handler.help();
  }
}
