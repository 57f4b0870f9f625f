/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Probes of memory.
 */
#ifndef ACCESSES_INC_H
#define ACCESSES_INC_H

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a - b < b_size || b - a < a_size;
}

/* Could the access and the probe overlap, judged by their offsets in a page alone? */
static bool may_overlap(const struct access *access, const struct probe *probe)
{
    return probe->length + access->length >= 0x1000 || ((access->address - probe->address) & 0xfff) < probe->length ||
           ((probe->address - access->address) & 0xfff) < access->length;
}

static bool translate(uint64_t linear, uint64_t *physical)
{
    uint64_t page = more.physical_page(qemu.cpu, linear & ~(uint64_t)0xfff);
    *physical = page | (linear & 0xfff);
    return page != UINT64_MAX;
}

/* `mapped` and `physical` of the access are known. */
static bool touches_physically(const struct access *access, const struct probe *probe)
{
    uint64_t room = 0x1000 - (access->address & 0xfff), physical;
    uint64_t first = access->length < room ? access->length : room;
    if (access->mapped && overlap(access->physical, first, probe->address, probe->length))
        return true;
    for (uint64_t done = first; done < access->length; done += 0x1000) {
        uint64_t left = access->length - done;
        if (translate(access->address + done, &physical) &&
            overlap(physical, left < 0x1000 ? left : 0x1000, probe->address, probe->length))
            return true;
    }
    return false;
}

/* Has the probe been met by this access at this instant already? */
static bool met_before(struct probe *probe, const struct access *access, uint64_t icount)
{
    if (probe->icount != icount || probe->pc != here.pc) {
        probe->icount = icount;
        probe->pc = here.pc;
        probe->seen_count = 0;
    }
    for (unsigned i = 0; i < probe->seen_count; i++)
        if (probe->seen[i].address == access->address && probe->seen[i].length == access->length &&
            probe->seen[i].write == access->write)
            return true;
    if (probe->seen_count < SEEN)
        probe->seen[probe->seen_count++] = (typeof(probe->seen[0])){ access->address, access->length, access->write };
    return false;
}

/* Handles an access at the instant `here`. Its icount is asked for only when it is needed. */
static void meet_access(struct access *access, unsigned flags, uint64_t (*icount)(const struct site *, uintptr_t))
{
    bool is_mapped = access->mapped, counted = false;
    for (struct probe *probe = probes.all; probe; probe = probe->next) {
        if (!(probe->accesses & (access->write ? MEM_WRITE : MEM_READ)) || !may_overlap(access, probe))
            continue;
        if (!probe->physical && !overlap(access->address, access->length, probe->address, probe->length))
            continue;
        if (!is_mapped)
            access->mapped = translate(access->address, &access->physical), is_mapped = true;
        if (probe->physical && !touches_physically(access, probe))
            continue;
        if (!counted)
            hit.icount = icount(here.site, here.host), counted = true;
        hit.access = access;
        if (!met_before(probe, access, hit.icount))
            meet(probe, flags);
    }
}

static NOINLINE void accessed(uint32_t info, uint64_t linear, const struct site *site, uintptr_t host)
{
    host = translated_caller(host);
    if (!host)
        return;
    struct access access = { .address = linear, .length = 1u << qemu_plugin_mem_size_shift(info),
                             .write = qemu_plugin_mem_is_store(info) };
#if QEMU_PLUGIN_API > 1 /* earlier, the answer was a place in QEMU's memory blocks */
    const struct qemu_plugin_hwaddr *physical = qemu_plugin_get_hwaddr(info, linear);
    if (physical && !qemu_plugin_hwaddr_is_io(physical)) {
        access.physical = qemu_plugin_hwaddr_phys_addr(physical);
        access.mapped = true;
    }
#endif
    here.site = site;
    here.host = host;
    here.pc = linear_pc(site);
    meet_access(&access, 0, icount_by_qemu);
}

static void on_access(unsigned vcpu UNUSED, uint32_t info, uint64_t linear, void *udata)
{
    if (unlikely(probes.filter[linear / LONGEST_ACCESS % GRANULES]))
        accessed(info, linear, udata, (uintptr_t)__builtin_return_address(0));
}

static uint64_t icount_of_frame;

static uint64_t icount_of_delivery(const struct site *site UNUSED, uintptr_t host UNUSED)
{
    return icount_of_frame;
}

/* Handles the frame of a delivery: `size` bytes on the stack at `linear`, written at the instant (icount, from). */
static NOINLINE void meet_frame(uint64_t linear, uint32_t size, uint64_t from, uint64_t icount)
{
    static struct probed_block nowhere;
    static const struct site site = { .block = &nowhere };
    struct access access = { .address = linear, .length = size, .write = true };
    here.site = &site;
    here.pc = from;
    icount_of_frame = icount;
    meet_access(&access, HIT_DELIVERY, icount_of_delivery);
}

#endif
