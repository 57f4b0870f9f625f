/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The stream of probe hits: records as `hit-layout` below says, gathered in two buffers. The vCPU thread fills one while
 * the sender thread writes the other; it waits when both are full, so that nothing is ever lost.
 */
#ifndef HITS_H
#define HITS_H

/* A record: this header, then what was asked to be collected. src/formats/plugin-stream.ts has the same table. */
struct hit {
    uint32_t size, id;    /* of the whole record, a multiple of 8 */
    uint64_t icount, brctr, pc, number; /* brctr: UINT64_MAX when branches are not followed */
    uint32_t flags, length;             /* of the access */
    uint64_t address, physical;         /* of the access; without one `address` is the iterations done of a rep instruction */
};
static void send_all(int fd, const void *bytes, size_t size);
enum { HIT_WRITE = 1, HIT_FAILED = 2, HIT_ACCESS = 4, HIT_PHYSICAL = 8, HIT_DELIVERY = 16, HIT_STOP = 32 };
/* Before each collected piece: its bytes, and whether all of it could be read. Padded to 8. */
struct piece { uint32_t size, whole; };

enum { HITS_BUFFER = 1 << 20, HIT_MOST = 1 << 19, HITS_PAUSE_US = 300, HITS_BATCH = HITS_BUFFER / 4 };
static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled, sent;
    char *open, *other;
    size_t used;      /* of `open` */
    uint64_t total;   /* bytes sent, ever */
    bool idle, sending;
    int fd;
} hits = { .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER, .sent = PTHREAD_COND_INITIALIZER, .fd = -1 };

/* Room for a record of `size` bytes, at most HIT_MOST. The lock is held until `hit_done`. */
static char *hit_room(size_t size)
{
    pthread_mutex_lock(&hits.lock);
    while (hits.used + size > HITS_BUFFER)
        pthread_cond_wait(&hits.sent, &hits.lock);
    return hits.open + hits.used;
}

static void hit_done(size_t size)
{
    hits.used += size;
    bool wake = hits.idle;
    hits.idle = false;
    pthread_mutex_unlock(&hits.lock);
    if (wake)
        pthread_cond_signal(&hits.filled);
}

static void *send_hits(void *unused UNUSED)
{
    pthread_mutex_lock(&hits.lock);
    for (;;) {
        while (!hits.used) {
            hits.idle = true;
            pthread_cond_wait(&hits.filled, &hits.lock);
        }
        if (hits.used < HITS_BATCH) { /* more may come at once: a wake-up a hit would be slow */
            pthread_mutex_unlock(&hits.lock);
            usleep(HITS_PAUSE_US);
            pthread_mutex_lock(&hits.lock);
        }
        char *full = hits.open;
        size_t size = hits.used;
        hits.open = hits.other;
        hits.other = full;
        hits.used = 0;
        hits.sending = true;
        pthread_cond_broadcast(&hits.sent);
        pthread_mutex_unlock(&hits.lock);
        send_all(hits.fd, full, size);
        pthread_mutex_lock(&hits.lock);
        hits.sending = false;
        hits.total += size;
        pthread_cond_broadcast(&hits.sent);
    }
    return NULL;
}

/* Waits until all is sent; how many bytes that is. */
static uint64_t flush_hits(void)
{
    pthread_mutex_lock(&hits.lock);
    while (hits.used || hits.sending)
        pthread_cond_wait(&hits.sent, &hits.lock);
    uint64_t total = hits.total;
    pthread_mutex_unlock(&hits.lock);
    return total;
}

#endif
