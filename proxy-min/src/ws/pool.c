/* pool.c - buffers for outbound queues, the ones used last first. */
#include "pool.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "memory/pages.h"

enum {
    HEADER_MAX = 10,                /* 2 + 8, a server does not mask */
    BYPASS_BYTES = 1024,            /* ERROR of up to 260 bytes, close, a few pongs */
    QUEUE_MAX_BYTES = 16 * 1048576, /* whatever the message limit is set to */
    LIMIT_MAX = 65536,
    WARM_MAX = 32, /* free buffers that keep their pages */
    ROOM_FIRST = 16,
};

void ws_pool_init(struct ws_pool *pool, uint32_t limit, uint32_t message_max_bytes,
                  uint32_t longest_bytes)
{
    const uint64_t message_bytes = (uint64_t)message_max_bytes + HEADER_MAX;

    if (limit == 0)
        limit = 1;
    if (limit > LIMIT_MAX)
        limit = LIMIT_MAX;
    uint64_t queue_bytes = message_bytes * limit;
    if (queue_bytes > QUEUE_MAX_BYTES)
        queue_bytes = QUEUE_MAX_BYTES;
    if (queue_bytes < message_bytes)
        queue_bytes = message_bytes;
    if (queue_bytes < (uint64_t)longest_bytes + HEADER_MAX)
        queue_bytes = (uint64_t)longest_bytes + HEADER_MAX;
    *pool = (struct ws_pool){
        .limit = limit,
        /* Twice the queue: waiting bytes are moved to the front once per queue written, not once
         * per message. Pages are touched only as far as the queue really grows. */
        .buffer_bytes = (uint32_t)(2 * queue_bytes + BYPASS_BYTES),
        .bypass_bytes = BYPASS_BYTES,
    };
}

void ws_pool_free(struct ws_pool *pool)
{
    free(pool->free);
    *pool = (struct ws_pool){0};
}

bool ws_pool_join(struct ws_pool *pool)
{
    if (pool->total == pool->room) {
        const uint32_t room = pool->room != 0 ? 2 * pool->room : ROOM_FIRST;
        uint8_t **grown = realloc(pool->free, room * sizeof grown[0]);

        if (grown == NULL)
            return false;
        pool->free = grown;
        pool->room = room;
    }
    uint8_t *buffer = pages_alloc(pool->buffer_bytes, 1);
    if (buffer == NULL)
        return false;
    memmove(pool->free + 1, pool->free, pool->free_count * sizeof pool->free[0]);
    pool->free[0] = buffer; /* the coldest there is */
    pool->free_count++;
    pool->total++;
    return true;
}

void ws_pool_leave(struct ws_pool *pool)
{
    pages_free(pool->free[0], pool->buffer_bytes, 1);
    pool->free_count--;
    pool->total--;
    memmove(pool->free, pool->free + 1, pool->free_count * sizeof pool->free[0]);
    if (pool->warm_count > pool->free_count)
        pool->warm_count = pool->free_count;
}

uint8_t *ws_pool_take(struct ws_pool *pool)
{
    if (pool->warm_count != 0)
        pool->warm_count--;
    return pool->free[--pool->free_count];
}

void ws_pool_give(struct ws_pool *pool, uint8_t *buffer)
{
    uint8_t **place = &pool->free[pool->free_count++];

    if (pool->warm_count < WARM_MAX) {
        pool->warm_count++;
        *place = buffer;
        return;
    }
    pages_forget(buffer, pool->buffer_bytes, 1);
    *place = place[-(ptrdiff_t)WARM_MAX]; /* warm as well: their order does not matter */
    place[-(ptrdiff_t)WARM_MAX] = buffer;
}
