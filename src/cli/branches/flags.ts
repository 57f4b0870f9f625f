/** Options of the commands that show names. */
export interface NameFlags {
  readonly tape?: string;
  readonly home?: string;
  readonly dir?: string;
  readonly qemu?: string;
  readonly symbols?: readonly string[];
  readonly user?: readonly string[];
}

export interface InfoFlags extends NameFlags {
  readonly json?: boolean;
  readonly quick?: boolean;
}

export interface DumpFlags extends NameFlags {
  readonly task?: string;
  readonly json?: boolean;
  readonly names?: boolean;
  readonly gdb?: boolean;
  readonly extended?: boolean;
  readonly from?: string;
  readonly to?: string;
}

export interface ExtractFlags {
  readonly start?: string;
  readonly end?: string;
  readonly extended?: boolean;
  readonly bts?: boolean;
  readonly output?: string;
  readonly json?: boolean;
}

export interface CallsFlags extends NameFlags {
  readonly task?: string;
  readonly json?: boolean;
  readonly from?: string;
  readonly to?: string;
  readonly depth?: string;
}
