/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Reading probes.
 */
#include "probe-parser.h"
#include "../common/fail.h"
#include "../common/numbers.h"

static const char digits_of_16[] = "0123456789abcdefABCDEF";

/* Code in hexadecimal, up to `end`. */
static bool parse_expression(const char *text, const char *end, struct expression *expression)
{
    size_t size = (end - text) / 2;
    if ((end - text) % 2 || size == 0 || size > AGENT_MOST_BYTES || strspn(text, digits_of_16) < 2 * size)
        return false;
    expression->code = must_have(malloc(size));
    expression->size = size;
    for (size_t i = 0; i < size; i++) {
        char digits[3] = { text[2 * i], text[2 * i + 1], 0 };
        expression->code[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return agent_is_valid(expression->code, size);
}

/* g | r:MASK (hexadecimal) | m:ADDRESS/LENGTH/MOST | s:ADDRESS/MOST (expressions; MOST decimal), up to `end`. */
static bool parse_item(const char *text, const char *end, struct item *item)
{
    enum { MOST_BYTES = 1 << 16 };
    const char *stop, *slash;
    uint64_t most;
    if (end - text == 1 && *text == 'g') {
        item->kind = ALL_REGISTERS;
        item->most = 1024;
        return true;
    }
    if (end - text < 3 || text[1] != ':')
        return false;
    char kind = *text;
    text += 2;
    if (kind == 'r') {
        char digits[17] = { 0 };
        if (end - text > 16 || strspn(text, digits_of_16) < (size_t)(end - text))
            return false;
        memcpy(digits, text, end - text);
        item->kind = SOME_REGISTERS;
        item->registers = strtoull(digits, NULL, 16);
        item->most = 64 * 8;
        return item->registers != 0;
    }
    slash = memchr(text, '/', end - text);
    if (!slash || !parse_expression(text, slash, &item->address))
        return false;
    text = slash + 1;
    item->kind = kind == 'm' ? MEMORY : TEXT;
    if (kind == 'm') {
        slash = memchr(text, '/', end - text);
        if (!slash || !parse_expression(text, slash, &item->length))
            return false;
        text = slash + 1;
    } else if (kind != 's') {
        return false;
    }
    item->most = 0;
    if (!parse_number(text, 10, &most, &stop) || stop != end || most > MOST_BYTES)
        return false;
    item->most = most;
    return true;
}

static bool parse_items(const char *text, struct probe *probe)
{
    for (;;) {
        const char *end = strchrnul(text, ',');
        if (probe->item_count == MOST_ITEMS)
            return false;
        struct item *item = &probe->items[probe->item_count++];
        if (!parse_item(text, end, item))
            return false;
        probe->most += sizeof(struct piece) + item->most + 8;
        if (!*end)
            return probe->most <= HIT_MOST;
        text = end + 1;
    }
}

static const char *parse_place(struct probe *probe, char **words, int count, int *used)
{
    static const struct { const char *name; unsigned accesses; } kinds[] = {
        { "write", MEM_WRITE }, { "read", MEM_READ }, { "access", MEM_READ | MEM_WRITE } };
    const char *end;
    if (count >= 2 && !strcmp(words[0], "exec")) {
        *used = 2;
        return parse_number(words[1], 16, &probe->address, &end) && !*end ? NULL : "no such address";
    }
    for (size_t i = 0; count >= 4 && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(words[0], kinds[i].name))
            probe->accesses = kinds[i].accesses;
    if (!probe->accesses || (strcmp(words[1], "virtual") && strcmp(words[1], "physical")))
        return "no such probe";
    probe->physical = *words[1] == 'p';
    *used = 4;
    if (!parse_number(words[2], 16, &probe->address, &end) || *end)
        return "no such address";
    if (!parse_number(words[3], 10, &probe->length, &end) || *end || probe->length == 0 || probe->length > UINT64_MAX / 2)
        return "no such length";
    return NULL;
}

static bool uses_registers(const struct expression *expression)
{
    for (size_t at = 0; at < expression->size; at += 1 + agent_operand_bytes(expression->code[at]))
        if (expression->code[at] == AGENT_REG)
            return true;
    return false;
}

bool needs_registers(const struct probe *probe)
{
    bool needs = probe->stops || uses_registers(&probe->when);
    for (unsigned i = 0; i < probe->item_count; i++)
        needs |= probe->items[i].kind <= SOME_REGISTERS || uses_registers(&probe->items[i].address) ||
                 uses_registers(&probe->items[i].length);
    return needs;
}

void free_probe(struct probe *probe)
{
    free(probe->when.code);
    for (unsigned i = 0; i < probe->item_count; i++) {
        free(probe->items[i].address.code);
        free(probe->items[i].length.code);
    }
    free(probe);
}

const char *parse_probe(struct probe *probe, char **words, int count)
{
    const char *end;
    uint64_t id;
    int used;
    if (count < 2 || !parse_number(words[0], 10, &id, &end) || *end || id > UINT32_MAX)
        return "no such id";
    probe->id = (uint32_t)id;
    const char *wrong = parse_place(probe, words + 1, count - 1, &used);
    if (wrong)
        return wrong;
    for (int i = 1 + used; i < count; i++) {
        const char *word = words[i];
        if (!strncmp(word, "when=", 5)) {
            if (probe->when.code || !parse_expression(word + 5, word + strlen(word), &probe->when))
                return "the condition is no agent expression";
        } else if (!strncmp(word, "collect=", 8)) {
            if (!parse_items(word + 8, probe))
                return "this cannot be collected";
        } else if (!strcmp(word, "stop=exact") && !probe->accesses) {
            probe->stops = true;
        } else {
            return "no such property of a probe";
        }
    }
    return NULL;
}
