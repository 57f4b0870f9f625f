/// <reference types="node" preserve="true" />
/**
 * A timeline as a GDB server, and the files that gdb itself needs of a kernel without debug packages.
 *
 * ```ts
 * import { OpenTape, placesFrom, Tape } from "vmtape";
 * import { GdbServer, parseListenAddress, TapeDesk } from "vmtape/gdb";
 *
 * const places = placesFrom(process.env);
 * await using open = await OpenTape.open(await Tape.open(places, "boot"), { places });
 * const target = open.timeline;
 * await using server = await GdbServer.listen(parseListenAddress("127.0.0.1:1234"), { target, desk: new TapeDesk(open, false) });
 * console.log(`target remote ${server.attachTo}`);
 * ```
 */

export * from "./facts.js";
export { gdbScript, type ScriptFile } from "./gdb/gdb-script.js";
export { type ListenAddress, parseListenAddress } from "./gdb/listen-address.js";
export type { MemoryRange, MonitorDesk, NamedMark } from "./gdb/monitor-desk.js";
export { encodeOrcFrames } from "./gdb/orc-frames.js";
export { GdbServer, type GdbServerOptions } from "./gdb/server.js";
export { encodeSymbolFile } from "./gdb/symbol-file.js";
export { TapeDesk } from "./gdb/tape-desk.js";
