/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * CRC-32 of eight bytes at a time.
 */
#include "crc32.h"

static uint32_t crc_tables[8][256];

uint32_t crc32(const uint8_t *bytes, size_t size, uint32_t before)
{
    uint32_t crc = ~before;
    for (; size >= 8; size -= 8, bytes += 8) {
        uint32_t words[2];
        memcpy(words, bytes, 8);
        words[0] ^= crc;
        crc = 0;
        for (int byte = 0; byte < 4; byte++)
            crc ^= crc_tables[7 - byte][words[0] >> 8 * byte & 0xff] ^
                   crc_tables[3 - byte][words[1] >> 8 * byte & 0xff];
    }
    for (; size > 0; size--)
        crc = crc >> 8 ^ crc_tables[0][(crc ^ *bytes++) & 0xff];
    return ~crc;
}

void make_crc_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t rest = byte;
        for (int bit = 0; bit < 8; bit++)
            rest = rest >> 1 ^ (rest & 1 ? 0xedb88320u : 0);
        crc_tables[0][byte] = rest;
    }
    for (int table = 1; table < 8; table++)
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t shorter = crc_tables[table - 1][byte];
            crc_tables[table][byte] = shorter >> 8 ^ crc_tables[0][shorter & 0xff];
        }
}
