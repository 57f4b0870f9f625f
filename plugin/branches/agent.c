/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Evaluating agent expressions.
 */
#include "agent.h"

int agent_operand_bytes(unsigned opcode)
{
    switch (opcode) {
    case AGENT_ADD ... AGENT_RSH_UNSIGNED:
    case AGENT_LOG_NOT ... AGENT_LESS_UNSIGNED:
    case AGENT_REF8 ... AGENT_REF64:
    case AGENT_END ... AGENT_POP:
    case AGENT_SWAP:
    case AGENT_ROT:
    case AGENT_ICOUNT ... AGENT_LAST:
        return 0;
    case AGENT_EXT:
    case AGENT_ZERO_EXT:
    case AGENT_CONST8:
    case AGENT_PICK:
        return 1;
    case AGENT_IF_GOTO:
    case AGENT_GOTO:
    case AGENT_CONST16:
    case AGENT_REG:
        return 2;
    case AGENT_CONST32:
        return 4;
    case AGENT_CONST64:
        return 8;
    default:
        return -1;
    }
}

static uint64_t agent_operand(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

bool agent_is_valid(const uint8_t *code, size_t size)
{
    size_t at = 0;
    while (at < size) {
        int bytes = agent_operand_bytes(code[at]);
        if (bytes < 0 || size - at - 1 < (size_t)bytes)
            return false;
        at += 1 + bytes;
    }
    return size > 0 && size <= AGENT_MOST_BYTES;
}

static uint64_t agent_extend(uint64_t value, unsigned bits, bool is_signed)
{
    unsigned unused = 64 - bits;
    return is_signed ? (uint64_t)((int64_t)(value << unused) >> unused) : value << unused >> unused;
}

/* False for a division by zero. */
static bool agent_divide(unsigned opcode, uint64_t a, uint64_t b, uint64_t *result)
{
    if (b == 0)
        return false;
    bool wraps = b == UINT64_MAX; /* -1: dividing INT64_MIN by it would trap */
    switch (opcode) {
    case AGENT_DIV_SIGNED:
        *result = wraps ? -a : (uint64_t)((int64_t)a / (int64_t)b);
        break;
    case AGENT_REM_SIGNED:
        *result = wraps ? 0 : (uint64_t)((int64_t)a % (int64_t)b);
        break;
    case AGENT_DIV_UNSIGNED:
        *result = a / b;
        break;
    default:
        *result = a % b;
    }
    return true;
}

static uint64_t agent_binary(unsigned opcode, uint64_t a, uint64_t b)
{
    switch (opcode) {
    case AGENT_ADD:
        return a + b;
    case AGENT_SUB:
        return a - b;
    case AGENT_MUL:
        return a * b;
    case AGENT_LSH:
        return b < 64 ? a << b : 0;
    case AGENT_RSH_SIGNED:
        return (uint64_t)((int64_t)a >> (b < 64 ? b : 63));
    case AGENT_RSH_UNSIGNED:
        return b < 64 ? a >> b : 0;
    case AGENT_BIT_AND:
        return a & b;
    case AGENT_BIT_OR:
        return a | b;
    case AGENT_BIT_XOR:
        return a ^ b;
    case AGENT_EQUAL:
        return a == b;
    case AGENT_LESS_SIGNED:
        return (int64_t)a < (int64_t)b;
    default:
        return a < b;
    }
}

#if defined __GNUC__ && !defined __clang__
#pragma GCC diagnostic ignored "-Wanalyzer-use-of-uninitialized-value" /* it does not see that `depth` bounds what was pushed */
#endif
bool agent_evaluate(const uint8_t *code, size_t size, uint64_t *result)
{
    uint64_t stack[AGENT_STACK], value;
    unsigned depth = 0;
    size_t at = 0;
    for (int steps = 0; steps < AGENT_STEPS && at < size; steps++) {
        unsigned opcode = code[at++];
        int bytes = agent_operand_bytes(opcode);
        if (bytes < 0 || size - at < (size_t)bytes)
            return false;
        uint64_t operand = agent_operand(code + at, bytes);
        at += bytes;
        switch (opcode) {
        case AGENT_DIV_SIGNED ... AGENT_REM_UNSIGNED:
            if (depth < 2 || !agent_divide(opcode, stack[depth - 2], stack[depth - 1], &stack[depth - 2]))
                return false;
            depth--;
            break;
        case AGENT_ADD ... AGENT_MUL:
        case AGENT_LSH ... AGENT_RSH_UNSIGNED:
        case AGENT_BIT_AND ... AGENT_BIT_XOR:
        case AGENT_EQUAL ... AGENT_LESS_UNSIGNED:
            if (depth < 2)
                return false;
            depth--;
            stack[depth - 1] = agent_binary(opcode, stack[depth - 1], stack[depth]);
            break;
        case AGENT_LOG_NOT:
            if (depth < 1)
                return false;
            stack[depth - 1] = !stack[depth - 1];
            break;
        case AGENT_BIT_NOT:
            if (depth < 1)
                return false;
            stack[depth - 1] = ~stack[depth - 1];
            break;
        case AGENT_EXT:
        case AGENT_ZERO_EXT:
            if (depth < 1 || operand == 0)
                return false;
            if (operand < 64)
                stack[depth - 1] = agent_extend(stack[depth - 1], (unsigned)operand, opcode == AGENT_EXT);
            break;
        case AGENT_REF8 ... AGENT_REF64:
            value = 0;
            if (depth < 1 || !agent_memory(stack[depth - 1], &value, 1u << (opcode - AGENT_REF8)))
                return false;
            stack[depth - 1] = value;
            break;
        case AGENT_IF_GOTO:
            if (depth < 1)
                return false;
            if (stack[--depth])
                at = operand;
            break;
        case AGENT_GOTO:
            at = operand;
            break;
        case AGENT_END:
            if (depth < 1)
                return false;
            *result = stack[depth - 1];
            return true;
        case AGENT_POP:
            if (depth < 1)
                return false;
            depth--;
            break;
        case AGENT_SWAP:
            if (depth < 2)
                return false;
            value = stack[depth - 1];
            stack[depth - 1] = stack[depth - 2];
            stack[depth - 2] = value;
            break;
        case AGENT_ROT: /* moves the top value below the next two */
            if (depth < 3)
                return false;
            value = stack[depth - 1];
            stack[depth - 1] = stack[depth - 2];
            stack[depth - 2] = stack[depth - 3];
            stack[depth - 3] = value;
            break;
        default: /* opcodes that push a value */
            if (depth >= AGENT_STACK)
                return false;
            if (opcode == AGENT_REG) {
                if (!agent_register((unsigned)operand, &value))
                    return false;
            } else if (opcode >= AGENT_ICOUNT) {
                if (!agent_special(opcode, &value))
                    return false;
            } else if (opcode == AGENT_DUP || opcode == AGENT_PICK) {
                if (depth <= operand)
                    return false;
                value = stack[depth - 1 - operand];
            } else {
                value = operand;
            }
            stack[depth++] = value;
        }
    }
    return false;
}
