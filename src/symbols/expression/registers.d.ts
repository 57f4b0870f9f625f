import { type Type } from "../types/type.js";
/** A register of x86-64 as an expression names it: a part of a whole register, and the type GDB gives it. */
export interface RegisterPart {
  /** The whole register's name, as the machine knows it. */
  readonly whole: string;
  /** The lowest bit of the part. */
  readonly shift: number;
  readonly bits: number;
  readonly type: Type;
}
/** What `$name` stands for; undefined for what is no register here. */
export declare function registerPart(name: string): RegisterPart | undefined;
