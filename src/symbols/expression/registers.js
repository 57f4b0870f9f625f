import { builtin, pointerTo, voidPointer } from "../types/builtin.js";
import { FunctionType, voidType } from "../types/type.js";
const codePointer = pointerTo(new FunctionType(() => voidType, () => [], false, false));
const types = { 64: builtin.long, 32: builtin.int, 16: builtin.short, 8: builtin.signedChar };
const parts = new Map();
function define(name, whole, bits, shift = 0, type = types[bits]) {
    parts.set(name, { whole, shift, bits, type });
}
for (const letter of ["a", "b", "c", "d"]) {
    const whole = `r${letter}x`;
    define(whole, whole, 64);
    define(`e${letter}x`, whole, 32);
    define(`${letter}x`, whole, 16);
    define(`${letter}l`, whole, 8);
    define(`${letter}h`, whole, 8, 8);
}
for (const name of ["si", "di", "bp", "sp"]) {
    const whole = `r${name}`;
    define(whole, whole, 64, 0, name === "bp" || name === "sp" ? voidPointer : builtin.long);
    define(`e${name}`, whole, 32);
    define(name, whole, 16);
    define(`${name}l`, whole, 8);
}
for (let i = 8; i < 16; i++) {
    const whole = `r${i}`;
    define(whole, whole, 64);
    define(`${whole}d`, whole, 32);
    define(`${whole}w`, whole, 16);
    define(`${whole}l`, whole, 8);
}
define("rip", "rip", 64, 0, codePointer);
define("eflags", "eflags", 32);
for (const segment of ["cs", "ss", "ds", "es", "fs", "gs"])
    define(segment, segment, 32);
for (const base of ["fs_base", "gs_base", "k_gs_base", "cr0", "cr2", "cr3", "cr4", "cr8", "efer"]) {
    define(base, base, 64);
}
// GDB's names on every architecture. `$sp` and `$fp` are whole registers here, not 16 bits of one.
define("pc", "rip", 64, 0, codePointer);
define("sp", "rsp", 64, 0, voidPointer);
define("fp", "rbp", 64, 0, voidPointer);
/** What `$name` stands for; undefined for what is no register here. */
export function registerPart(name) {
    return parts.get(name);
}
//# sourceMappingURL=registers.js.map