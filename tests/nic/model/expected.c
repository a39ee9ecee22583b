#include "expected.h"

#include <stdlib.h>
#include <string.h>

bool expected_push(struct expected_queue *queue, const uint8_t *bytes, uint32_t length)
{
    struct expected *frame = &queue->frame[(queue->head + queue->count) % EXPECT_MAX];

    if (queue->count == EXPECT_MAX)
        return false;
    frame->bytes = malloc(length);
    memcpy(frame->bytes, bytes, length);
    frame->length = length;
    queue->count++;
    return true;
}

const struct expected *expected_at(const struct expected_queue *queue, uint32_t nth)
{
    return &queue->frame[(queue->head + nth) % EXPECT_MAX];
}

bool expected_is(const struct expected *frame, const uint8_t *bytes, uint32_t length)
{
    return frame->length == length && memcmp(frame->bytes, bytes, length) == 0;
}

void expected_pop(struct expected_queue *queue)
{
    expected_remove(queue, 0);
}

void expected_remove(struct expected_queue *queue, uint32_t nth)
{
    free(expected_at(queue, nth)->bytes);
    for (; nth > 0; nth--)
        queue->frame[(queue->head + nth) % EXPECT_MAX] = *expected_at(queue, nth - 1);
    queue->head = (queue->head + 1) % EXPECT_MAX;
    queue->count--;
}

void expected_unpush(struct expected_queue *queue)
{
    queue->count--;
    free(queue->frame[(queue->head + queue->count) % EXPECT_MAX].bytes);
}

void expected_clear(struct expected_queue *queue)
{
    while (queue->count > 0)
        expected_pop(queue);
}
