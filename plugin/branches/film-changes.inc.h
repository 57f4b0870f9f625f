/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Changes of one register, at the cost of one look an instruction; of registers that few instructions can change, at those alone.
 */
#ifndef FILM_CHANGES_INC_H
#define FILM_CHANGES_INC_H

enum { MOST_WATCHED_BYTES = 16 };
static struct {
    bool known, due, delivery;   /* `due`: the last instruction may have changed it. `delivery`: what came last is one */
    uint64_t icount, brctr, pc, rep; /* of what came last */
    uint64_t value[2];
    size_t size, offset;         /* bytes; in the `g` packet */
} watched;

static void begin_watch(void)
{
    memset(&watched, 0, sizeof watched);
    watched.due = true;
    for (int i = 0; i <= film_wanted.watched; i++) {
        static struct byte_array *array;
        if (!array)
            array = qemu.new_array();
        qemu.set_size(array, 0);
        watched.offset += watched.size;
        watched.size = (size_t)qemu.read_register(qemu.cpu, array, i);
    }
}

bool is_watchable(uint64_t number)
{
    return number < REGISTERS && number != REGISTER_IP;
}

/* Can any instruction change it? */
static bool is_general(int number)
{
    return number < GENERAL || number == REGISTER_FLAGS;
}

static void read_watched(const struct film_site *site, uint64_t *value)
{
    static struct byte_array *array;
    int number = film_wanted.watched;
    value[0] = value[1] = 0;
    if (number < GENERAL && site->block->width == 64 && general.known) {
        value[0] = run.ip_word[(int)place_of[number] - GENERAL];
    } else if (number == REGISTER_FLAGS) {
        value[0] = (uint32_t)flags_from(run.ip_word[1], site->cc_op);
    } else {
        if (!array)
            array = qemu.new_array();
        qemu.set_size(array, 0);
        qemu.read_register(qemu.cpu, array, number);
        memcpy(value, array->data, least(array->length, MOST_WATCHED_BYTES));
    }
}

/* It has this value now; what came last may have changed it. */
static inline void compare_watched(const uint64_t *now)
{
    if (watched.known && (now[0] != watched.value[0] || now[1] != watched.value[1])) {
        uint64_t *at = film_room(9);
        at[0] = (uint64_t)FILM_CHANGE << FILM_TYPE_SHIFT | (watched.delivery ? CHANGE_DELIVERY : 0) | watched.size;
        at[1] = watched.icount;
        at[2] = watched.brctr;
        at[3] = watched.pc;
        at[4] = watched.rep;
        memcpy(at + 5, watched.value, sizeof watched.value);
        memcpy(at + 7, now, sizeof watched.value);
        film.used += 9;
    }
    memcpy(watched.value, now, sizeof watched.value);
    watched.known = true;
}

/* The machine stands: what did the last instruction leave? */
static void end_watch(void)
{
    struct byte_array *array = qemu.new_array();
    uint64_t now[2] = { 0 };
    qemu.read_register(qemu.cpu, array, film_wanted.watched);
    memcpy(now, array->data, least(array->length, MOST_WATCHED_BYTES));
    qemu.set_size(array, 0);
    compare_watched(now);
}

/* Before an instruction that may change it, or after one that may have. */
static void on_watched(unsigned vcpu UNUSED, void *udata)
{
    struct film_site *site = udata;
    uintptr_t host = (uintptr_t)__builtin_return_address(0);
    bool all = is_general(film_wanted.watched);
    if (!all && !watched.due && site->plain)
        return;
    here.pc = linear_pc(&site->site);
    here.site = &site->site;
    here.host = host;
    if (unlikely(!site->noted))
        note_site(site, host);
    if (all || watched.due) {
        uint64_t now[2];
        read_watched(site, now);
        compare_watched(now);
    }
    struct reached at = reached_here(&site->site, host);
    watched.icount = at.icount;
    watched.brctr = brctr_now();
    watched.pc = here.pc;
    watched.rep = at.repeats;
    watched.delivery = false;
    watched.due = !site->plain;
    film.width = 0; /* it is not followed here */
}

/* An interrupt or exception was delivered. Where no instruction ran at its instant, its frame tells what the last one had left. */
static void watch_delivery(const struct pushed *pushed)
{
    film.width = 0;
    if (is_end_of_step(pushed)) {
        watched.due = true;
        return;
    }
    if (watched.known && (pushed->icount != watched.icount || pushed->from != watched.pc)) {
        uint64_t words[G_WORDS], now[2] = { 0 };
        read_from_frame(pushed, words);
        memcpy(now, (const char *)words + watched.offset, least(watched.size, MOST_WATCHED_BYTES));
        compare_watched(now);
    }
    watched.icount = pushed->icount;
    watched.brctr = brctr_now();
    watched.pc = pushed->from;
    watched.rep = 0;
    watched.delivery = true;
    watched.due = true;
}

#endif
