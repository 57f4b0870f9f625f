/*
 * What the plugin takes instructions for: on each line of input the address after one and its bytes, in hexadecimal; on each
 * line of output ending, kind, through, pops, target, and whether it loads the interrupt table's address.
 */
#include <stdio.h>

#include "branches/instructions.h"

int main(void)
{
    unsigned long long next;
    char digits[64];
    while (scanf("%llx %63s", &next, digits) == 2) {
        uint8_t bytes[16];
        size_t size = 0;
        unsigned byte;
        while (size < sizeof bytes && sscanf(digits + 2 * size, "%2x", &byte) == 1)
            bytes[size++] = (uint8_t)byte;
        struct last_instruction last = classify(bytes, size, next);
        printf("%d %d %d %d %llx %d\n", last.ending, last.kind, last.through, last.pops, (unsigned long long)last.target,
               loads_idt(bytes, size));
    }
    return 0;
}
