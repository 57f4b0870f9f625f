/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Layouts on which the plugin and TypeScript must agree; docs/FORMATS.md, "Branch log", describes them.
 *
 * TypeScript's side: src/formats/branch.ts (kinds), branch-log-layout.ts (chunk header), branch-chunk-model.ts
 * (payload), src/formats/plugin-stream.ts (end marker), src/qemu/plugin-channel.ts (control lines). All integers are
 * little-endian.
 */
#ifndef BRANCH_STREAM_H
#define BRANCH_STREAM_H

/* Kinds of branch records. */
enum branch_kind {
    JUMP, CONDITIONAL, CALL, RETURN, INDIRECT_JUMP, INDIRECT_CALL,
    SYSCALL, SYSRETURN, INTERRUPT, EXCEPTION, IRET, FAR, KINDS
};

/*
 * The data stream: chunks with the same bytes as in a branch log, then one end marker. Both begin with a header of
 * HEADER_SIZE bytes whose first word tells them apart and whose last word is the CRC-32 of the bytes before it.
 */
enum { HEADER_SIZE = 128, HEADER_CRC = 124 };

enum chunk_header { /* u32 unless said otherwise */
    CHUNK_MAGIC = 0, CHUNK_RECORDS = 4,
    CHUNK_FIRST_BRCTR = 8, CHUNK_LAST_BRCTR = 16, CHUNK_FIRST_ICOUNT = 24, CHUNK_LAST_ICOUNT = 32, /* u64 */
    CHUNK_EVENTS_BYTES = 40, CHUNK_BLOCKS_BYTES = 44, CHUNK_SYMBOLS = 48, CHUNK_KINDS = 52, /* one a kind */
    CHUNK_PAYLOAD_CRC = 120
};
#define CHUNK_MAGIC_WORD 0x4b484342u /* "BCHK" */

enum end_marker { /* u64 unless said otherwise */
    END_MAGIC = 0 /* u32 */, END_REASON = 4 /* u32 */,
    END_BRCTR = 8, END_ICOUNT = 16, END_RECORDS = 24, END_UNEXPLAINED = 32
};
#define END_MAGIC_WORD 0x4e494642u /* "BFIN" */
/* END_REASON: the window's end was reached; logging was switched off; the machine's run ended. */
enum end_reason { END_WINDOW = 1, END_SWITCHED_OFF = 2, END_RUN = 3 };

/* Payload model: see src/formats/branch-chunk-model.ts for their meaning. */
enum {
    CHUNK_BITS = 19,
    SLOTS = 4, ANSWERS = 64, ANSWERS_FULL = 62, CLASSES = 6, LONGEST_CODE = 12,
    EVENT_BITS = 0, FROM_BITS = 4, STEP_BITS = 2, GAP_BITS = 0, TO_LENGTH_BITS = 5, TO_LONG = 31, LONG_LENGTH_BITS = 7,
    REPEAT_CONTEXT = 16, REPEAT_LEAST = 32, REPEAT_TABLE_BITS = 12, REPEAT_CHOICE = 16, REPEAT_PATIENCE = 8,
    REPEAT_MOST_PATIENCE = 512,
    REPEAT_DISTANCE_BITS = 4, REPEAT_LENGTH_BITS = 6,
    WORST_RECORD_BYTES = 80
};
#define HASH_A 0x9e3779b1u
#define HASH_C 0x2c1b3c6du

#endif
