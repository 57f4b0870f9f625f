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

#include "branches/chunk-coder.h"

const char plugin_name[] = "harness";

static void read_in(void *to, size_t size)
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
            read_in(&fields[i].from, 8);
            read_in(&fields[i].to, 8);
            read_in(&fields[i].step, 8);
            read_in(&fields[i].gap, 8);
            read_in(&fields[i].kind, 4);
        }
        read_in(walk, counts[0] * sizeof *walk);
        struct payload payload = code_walk(walk, counts[0], fields);
        uint32_t sizes[2] = { payload.events_size, payload.blocks_size };
        fwrite(sizes, sizeof sizes, 1, stdout);
        fwrite(payload.events, 1, sizes[0], stdout);
        fwrite(payload.blocks, 1, sizes[1], stdout);
    }
    return 0;
}
