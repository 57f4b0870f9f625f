/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * The queue of batches.
 */
#include "queue.h"
#include "../common/fail.h"
#include <pthread.h>

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct batch *batches[BATCHES];
    unsigned long filled, emptied; /* counts of batches */
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

struct batch *queue_open(void)
{
    if (!queue.batches[0])
        for (int i = 0; i < BATCHES; i++)
            queue.batches[i] = must_have(malloc(sizeof(struct batch)));
    return queue.batches[queue.filled % BATCHES]; /* the encoder never writes `filled` */
}

struct batch *queue_pass(void)
{
    pthread_mutex_lock(&queue.lock);
    queue.filled++;
    pthread_cond_broadcast(&queue.changed);
    while (queue.filled - queue.emptied >= BATCHES)
        pthread_cond_wait(&queue.changed, &queue.lock);
    struct batch *batch = queue.batches[queue.filled % BATCHES];
    pthread_mutex_unlock(&queue.lock);
    return batch;
}

void queue_wait(void)
{
    pthread_mutex_lock(&queue.lock);
    while (queue.filled != queue.emptied)
        pthread_cond_wait(&queue.changed, &queue.lock);
    pthread_mutex_unlock(&queue.lock);
}

const struct batch *queue_take(void)
{
    pthread_mutex_lock(&queue.lock);
    while (queue.filled == queue.emptied)
        pthread_cond_wait(&queue.changed, &queue.lock);
    const struct batch *batch = queue.batches[queue.emptied % BATCHES];
    pthread_mutex_unlock(&queue.lock);
    return batch;
}

void queue_done(void)
{
    pthread_mutex_lock(&queue.lock);
    queue.emptied++;
    pthread_cond_broadcast(&queue.changed);
    pthread_mutex_unlock(&queue.lock);
}
