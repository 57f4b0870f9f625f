/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Sending hits.
 */
#include "hits.h"
#include "../common/fail.h"
#include "../common/lines.h"
#include <pthread.h>
#include <unistd.h>

int hits_fd = -1;

enum { HITS_BUFFER = 1 << 20, HITS_PAUSE_US = 300, HITS_BATCH = HITS_BUFFER / 4 };
static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled, sent;
    char *open, *other;
    size_t used;      /* of `open` */
    uint64_t total;   /* bytes sent, ever */
    bool idle, sending;
} hits = { .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER, .sent = PTHREAD_COND_INITIALIZER };

void open_hits(void)
{
    hits.open = must_have(malloc(HITS_BUFFER));
    hits.other = must_have(malloc(HITS_BUFFER));
}

char *hit_room(size_t size)
{
    pthread_mutex_lock(&hits.lock);
    while (hits.used + size > HITS_BUFFER)
        pthread_cond_wait(&hits.sent, &hits.lock);
    return hits.open + hits.used;
}

void hit_done(size_t size)
{
    hits.used += size;
    bool wake = hits.idle;
    hits.idle = false;
    pthread_mutex_unlock(&hits.lock);
    if (wake)
        pthread_cond_signal(&hits.filled);
}

void *send_hits(void *unused UNUSED)
{
    pthread_mutex_lock(&hits.lock);
    for (;;) {
        while (!hits.used) {
            hits.idle = true;
            pthread_cond_wait(&hits.filled, &hits.lock);
        }
        if (hits.used < HITS_BATCH) { /* more may come soon: a wake-up for each hit would be slow */
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
        if (!send_bytes(hits_fd, full, size))
            fail(EXIT_STREAM, "cannot write the stream of hits: %s", strerror(errno));
        pthread_mutex_lock(&hits.lock);
        hits.sending = false;
        hits.total += size;
        pthread_cond_broadcast(&hits.sent);
    }
}

uint64_t flush_hits(void)
{
    pthread_mutex_lock(&hits.lock);
    while (hits.used || hits.sending)
        pthread_cond_wait(&hits.sent, &hits.lock);
    uint64_t total = hits.total;
    pthread_mutex_unlock(&hits.lock);
    return total;
}
