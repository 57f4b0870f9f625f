/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Finding the instruction pointer in the CPU object.
 */
#include "run.h"
#include "qemu.h"
#include "self-check.h"
#include <malloc.h>

enum { IP_SAMPLES = 24, IP_CANDIDATES = 512 };

void find_ip_word(void)
{
    static size_t offsets[IP_CANDIDATES], count, samples;
    static uint64_t last;
    const char *object = qemu.cpu;
    uint64_t ip = read_register(REGISTER_IP), word;
    if (samples == 0) {
        size_t size = malloc_usable_size(qemu.cpu);
        for (size_t at = 0; at + 8 <= size && count < IP_CANDIDATES; at += 8)
            if (memcpy(&word, object + at, 8), word == ip)
                offsets[count++] = at;
    } else if (ip == last) {
        return;
    } else {
        size_t kept = 0;
        for (size_t i = 0; i < count; i++)
            if (memcpy(&word, object + offsets[i], 8), word == ip)
                offsets[kept++] = offsets[i];
        count = kept;
    }
    last = ip;
    if (count == 0)
        refuse_qemu("the instruction pointer");
    if (++samples == IP_SAMPLES) {
        run.ip_word = (const uint64_t *)(object + offsets[0]);
        if (!is_instruction_pointer(run.ip_word))
            refuse_qemu("the instruction pointer");
    }
}
