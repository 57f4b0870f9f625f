/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Evaluating a probe's condition, and making the record of a hit.
 */
#ifndef HIT_RECORDS_INC_H
#define HIT_RECORDS_INC_H

/* The hit whose record is being made. */
static struct { const struct probe *probe; const struct access *access; uint64_t icount, repeats; } hit;

bool agent_special(unsigned opcode, uint64_t *value)
{
    const struct access *access = hit.access;
    switch (opcode) {
    case AGENT_ICOUNT:
        *value = hit.icount;
        return true;
    case AGENT_BRCTR:
        *value = brctr_now();
        return following;
    case AGENT_HIT:
        *value = hit.probe->hits;
        return true;
    case AGENT_ADDRESS:
        *value = access ? access->address : 0;
        return access != NULL;
    case AGENT_LENGTH:
        *value = access ? access->length : 0;
        return access != NULL;
    case AGENT_WRITE:
        *value = access && access->write;
        return access != NULL;
    default:
        *value = here.pc;
        return true;
    }
}

/* ---- Records -------------------------------------------------------------------------------------------------------- */

enum { PIECE_UNREADABLE, PIECE_WHOLE, PIECE_CUT };

static char *put_piece(char *at, size_t size, unsigned state)
{
    struct piece piece = { (uint32_t)size, state };
    memcpy(at, &piece, sizeof piece);
    at += sizeof piece;
    memset(at + size, 0, -size & 7);
    return at + ((size + 7) & ~(size_t)7);
}

/* Reads up to `most` bytes before a NUL. */
static size_t read_text(uint64_t linear, char *to, size_t most, unsigned *state)
{
    size_t size = 0;
    *state = PIECE_CUT;
    while (size < most) {
        size_t chunk = 0x1000 - ((linear + size) & 0xfff);
        if (chunk > 256)
            chunk = 256;
        if (chunk > most - size)
            chunk = most - size;
        if (!read_ram(linear + size, to + size, chunk)) {
            *state = PIECE_UNREADABLE;
            return size;
        }
        char *end = memchr(to + size, 0, chunk);
        if (end) {
            *state = PIECE_WHOLE;
            return end - to;
        }
        size += chunk;
    }
    return size;
}

static char *put_registers(char *at, const struct item *item)
{
    size_t size = 0;
    if (item->kind == ALL_REGISTERS) {
        const uint8_t *all = read_all_registers(&size);
        if (all)
            memcpy(at + sizeof(struct piece), all, size);
        return put_piece(at, size, all ? PIECE_WHOLE : PIECE_UNREADABLE);
    }
    unsigned state = PIECE_WHOLE;
    for (uint64_t left = item->registers; left; left &= left - 1, size += 8) {
        uint64_t value = 0;
        if (!agent_register(__builtin_ctzll(left), &value))
            state = PIECE_UNREADABLE;
        memcpy(at + sizeof(struct piece) + size, &value, 8);
    }
    return put_piece(at, size, state);
}

static char *put_item(char *at, const struct item *item)
{
    uint64_t address, length = item->most;
    unsigned state = PIECE_WHOLE;
    if (item->kind <= SOME_REGISTERS)
        return put_registers(at, item);
    if (!agent_evaluate(item->address.code, item->address.size, &address) ||
        (item->length.size && !agent_evaluate(item->length.code, item->length.size, &length)))
        return put_piece(at, 0, PIECE_UNREADABLE);
    if (length > item->most)
        length = item->most, state = PIECE_CUT;
    char *to = at + sizeof(struct piece);
    if (item->kind == TEXT)
        length = read_text(address, to, length, &state);
    else if (!read_ram(address, to, length))
        length = 0, state = PIECE_UNREADABLE;
    return put_piece(at, length, state);
}

static void put_hit(const struct probe *probe, unsigned flags)
{
    char *start = hit_room(probe->most), *at = start + sizeof(struct hit);
    struct hit record = { 0, probe->id, hit.icount, following ? brctr_now() : UINT64_MAX, here.pc, probe->hits, flags, 0, 0, 0 };
    for (unsigned i = 0; i < probe->item_count; i++)
        at = put_item(at, &probe->items[i]);
    record.size = (uint32_t)(at - start);
    if (!hit.access)
        record.address = hit.repeats;
    if (hit.access) {
        record.flags |= HIT_ACCESS | (hit.access->write ? HIT_WRITE : 0) | (hit.access->mapped ? HIT_PHYSICAL : 0);
        record.length = hit.access->length;
        record.address = hit.access->address;
        record.physical = hit.access->physical;
    }
    memcpy(start, &record, sizeof record);
    hit_done(record.size);
}

/* Handles a probe that is met, for the first time at this instant. Returns whether its condition holds. */
static bool meet(struct probe *probe, unsigned flags)
{
    uint64_t holds = 1;
    probe->hits++;
    hit.probe = probe;
    if (probe->when.size) {
        if (!agent_evaluate(probe->when.code, probe->when.size, &holds))
            flags |= HIT_FAILED, holds = 1;
        if (!holds)
            return false;
    }
    put_hit(probe, flags);
    return true;
}

#endif
