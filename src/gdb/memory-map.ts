/**
 * The memory map for GDB: the two halves of the address space that x86-64 can map with 5-level paging (57 bits).
 * Nothing can be mapped between them, so GDB need not ask. They are of type `ram`, so that GDB uses software
 * breakpoints, which are served.
 *
 * Source: GDB manual, "Memory Map Format".
 */
export const memoryMap = `<?xml version="1.0"?>
<!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map V1.0//EN" "http://sourceware.org/gdb/gdb-memory-map.dtd">
<memory-map>
  <memory type="ram" start="0x0" length="0x100000000000000"/>
  <memory type="ram" start="0xff00000000000000" length="0x100000000000000"/>
</memory-map>
`;
