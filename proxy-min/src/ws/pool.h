/* pool.h - what out.c asks of pool.c; the rest of struct ws_pool is in ws.h. */
#ifndef PROXY_WS_POOL_H
#define PROXY_WS_POOL_H

#include "ws.h"

/** One queue more: brings its buffer. False when memory ran out. */
bool ws_pool_join(struct ws_pool *pool);
/** One queue less; it gave its buffer back. */
void ws_pool_leave(struct ws_pool *pool);
/** Never fails: there is a buffer for each queue. */
uint8_t *ws_pool_take(struct ws_pool *pool);
void ws_pool_give(struct ws_pool *pool, uint8_t *buffer);

#endif
