/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Swapping the queues of the machine's network parts.
 */
#include "packets.h"
#include "../common/fail.h"
#include "qemu.h"

/* include/net/net.h, NetClientState, the same from 7.2 to 10.2; net/queue.c, NetQueue. */
struct network {
    void *info;
    int link_down;
    void *next[2];
    struct network *peer;
    struct queue *incoming;
    char *model, *name;
    char text[256];
    unsigned receive_disabled; /* its lowest bit */
};
struct queue {
    struct network *owner;
    uint32_t most, count;
};

enum { MOST_NETWORKS = 16, NO_DRIVER = 1 << 16 };
static struct {
    struct network *network;
    struct queue *waiting, *empty;
    unsigned receive_disabled;
    bool aside;
} networks[MOST_NETWORKS];
static int network_count = -1;

void learn_networks(void)
{
    void *found[MOST_NETWORKS];
    if (network_count >= 0)
        return;
    network_count = qemu.find_networks(NULL, found, NO_DRIVER, MOST_NETWORKS);
    if (network_count > MOST_NETWORKS)
        fail(EXIT_INEXACT, "the machine has more than %d network parts", MOST_NETWORKS);
    for (int i = 0; i < network_count; i++) {
        networks[i].network = found[i];
        if (networks[i].network->incoming->owner != found[i] || networks[i].network->receive_disabled > 1 ||
            networks[i].network->incoming->count > networks[i].network->incoming->most)
            refuse_qemu("its network queues");
        networks[i].empty = qemu.new_queue(NULL, found[i]);
    }
}

void put_packets_aside(void)
{
    learn_networks();
    for (int i = 0; i < network_count; i++) {
        struct network *network = networks[i].network;
        networks[i].waiting = network->incoming;
        networks[i].receive_disabled = network->receive_disabled & 1;
        network->incoming = networks[i].empty;
        networks[i].aside = true;
    }
}

void put_packets_back(void)
{
    for (int i = 0; i < network_count; i++) {
        struct network *network = networks[i].network;
        if (!networks[i].aside)
            continue;
        network->incoming = networks[i].waiting;
        network->receive_disabled = (network->receive_disabled & ~1u) | networks[i].receive_disabled;
        networks[i].aside = false;
    }
}

unsigned packets_waiting(void)
{
    unsigned count = 0;
    learn_networks();
    for (int i = 0; i < network_count; i++)
        count += networks[i].network->incoming->count;
    return count;
}
