/**
 * How a kernel built with CONFIG_KALLSYMS keeps its symbols: tables that follow each other in .rodata, without a
 * header. Source: scripts/kallsyms.c and kernel/kallsyms.c of Linux 4.20 to 6.12; kernel images of 7.0 to 7.3.
 *
 *     up to 6.3:  offsets | addresses, relative_base, num_syms, names, markers, [seqs_of_names], token_table,
 *                 token_index
 *     from 6.4:   num_syms, names, markers, token_table, token_index, offsets | addresses, relative_base,
 *                 [seqs_of_names]
 *     from 7.0:   num_syms, names, markers, token_table, token_index, offsets, [seqs_of_names]
 *
 * Each table is aligned to a word (8 bytes on 64-bit kernels); to 4 bytes on the images of 7.0 and later.
 *
 * | table         | element                                                                             |
 * | ------------- | ----------------------------------------------------------------------------------- |
 * | offsets       | i32 a symbol; see `AddressRule`                                                     |
 * | addresses     | word a symbol (CONFIG_KALLSYMS_BASE_RELATIVE off)                                   |
 * | relative_base | word: the link address of the first text symbol                                     |
 * | num_syms      | u32                                                                                 |
 * | names         | for each symbol a length and that many token numbers; the first letter is the type. |
 * |               | From 6.1 a length byte with bit 7 set goes on in the next byte (7 bits each)         |
 * | markers       | u32 for every 256th symbol: its offset in names                                     |
 * | token_table   | 256 NUL-terminated strings                                                          |
 * | token_index   | u16 a token: its offset in token_table                                              |
 * | seqs_of_names | 3 bytes a symbol (6.2 on): the order by name; not read                              |
 */
export const tokenCount = 256;
export const tokenIndexSize = tokenCount * 2;
/** Symbols between two markers. */
export const markerStep = 256;
export const markerSize = 4;
export const offsetSize = 4;
/** Of an element of seqs_of_names. */
export const orderSize = 3;
/** What tables are aligned to at least, num_syms included: where it is this, its element is all there is of it. */
export const narrowAlignment = 4;

/** Bounds of what is taken for a table; a stock kernel has 100,000 to 300,000 symbols of 10 bytes each. */
export const fewestSymbols = 64;
export const mostSymbols = 1 << 23;
export const smallestName = 2;
export const largestName = 512;
/** Longest token; the compressor joins pairs, so tokens grow, but no name is longer than this. */
export const longestToken = 512;

/**
 * How an offset becomes an address:
 * - "percpu": offsets ≥ 0 are absolute (per-CPU symbols), others are `relative_base − 1 − offset`
 *   (CONFIG_KALLSYMS_ABSOLUTE_PERCPU: x86-64 up to 6.14)
 * - "relative": `relative_base + offset`, unsigned
 * - "self": the offset's own link address + offset, signed; no relative_base (7.0 and later)
 * - "absolute": the table holds addresses
 */
export type AddressRule = "percpu" | "relative" | "self" | "absolute";
