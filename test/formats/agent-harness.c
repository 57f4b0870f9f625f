/*
 * Evaluates agent expressions with the plugin's evaluator: on each line of input an expression in hexadecimal, on each
 * line of output its value, or `fails`. The machine it asks is that of agent-expression.test.ts.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "branches/agent.h"

bool agent_register(unsigned number, uint64_t *value)
{
    *value = number * 0x9e3779b97f4a7c15u;
    return number < 40;
}

bool agent_memory(uint64_t address, void *to, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = (address + i) * 37 >> 3;
    return address >= 0x1000 && address < 0x100000;
}

bool agent_special(unsigned opcode, uint64_t *value)
{
    *value = (uint64_t)opcode << 33;
    return opcode != AGENT_BRCTR;
}

int main(void)
{
    static char line[2 * AGENT_MOST_BYTES + 2];
    static uint8_t code[AGENT_MOST_BYTES];
    while (fgets(line, sizeof line, stdin)) {
        size_t size = 0;
        uint64_t value;
        unsigned byte;
        while (sscanf(line + 2 * size, "%2x", &byte) == 1)
            code[size++] = byte;
        printf("%d ", agent_is_valid(code, size));
        if (agent_evaluate(code, size, &value))
            printf("%llu\n", (unsigned long long)value);
        else
            puts("fails");
    }
    return 0;
}
