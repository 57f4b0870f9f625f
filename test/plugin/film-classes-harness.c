/*
 * What films take instructions for: on each line of input an instruction's bytes, in hexadecimal; on each line of output whether it
 * changes general registers and flags alone, and the port to which it writes.
 */
#include <stdio.h>

#include "branches/film-classes.h"

int main(void)
{
    char digits[64];
    while (scanf("%63s", digits) == 1) {
        uint8_t bytes[16];
        size_t size = 0;
        unsigned byte;
        while (size < sizeof bytes && sscanf(digits + 2 * size, "%2x", &byte) == 1)
            bytes[size++] = (uint8_t)byte;
        printf("%d %d\n", changes_general_alone(bytes, size), port_written(bytes, size));
    }
    return 0;
}
