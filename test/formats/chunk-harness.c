/*
 * Codes walks with the plugin's coder, each as the payload of one chunk. On input, in 32-bit words but where said: the
 * numbers of records and symbols; each symbol's from, to, step, gap (64 bits) and kind; the records' symbols. On output:
 * the sizes of the two parts of the payload, and the payload.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

static void *must_have(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

#include "branches/branch-stream.h"
#include "branches/chunk-coder.c"

static void take(void *to, size_t size)
{
    if (fread(to, 1, size, stdin) != size)
        exit(1);
}

int main(void)
{
    static struct fields fields[CHUNK_RECORDS_MOST];
    static uint32_t walk[CHUNK_RECORDS_MOST], counts[2];
    open_coder();
    while (fread(counts, sizeof counts, 1, stdin) == 1) {
        for (uint32_t i = 0; i < counts[1]; i++) {
            take(&fields[i].from, 8);
            take(&fields[i].to, 8);
            take(&fields[i].step, 8);
            take(&fields[i].gap, 8);
            take(&fields[i].kind, 4);
        }
        take(walk, counts[0] * sizeof *walk);
        code_walk(walk, counts[0], fields);
        uint32_t sizes[2] = { end_bits(&coder.events), end_bits(&coder.coded_blocks) };
        fwrite(sizes, sizeof sizes, 1, stdout);
        fwrite(coder.events.start, 1, sizes[0], stdout);
        fwrite(coder.coded_blocks.start, 1, sizes[1], stdout);
    }
    return 0;
}
