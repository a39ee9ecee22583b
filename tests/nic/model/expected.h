/*
 * expected.h - frames in the order they must arrive.
 */
#ifndef NIC_MODEL_EXPECTED_H
#define NIC_MODEL_EXPECTED_H

#include <stdbool.h>
#include <stdint.h>

enum { EXPECT_MAX = 2048 };

struct expected {
    uint8_t *bytes;
    uint32_t length;
};

struct expected_queue {
    uint32_t head, count;
    struct expected frame[EXPECT_MAX];
};

/** Copies the frame to the end. False: there are too many. */
bool expected_push(struct expected_queue *queue, const uint8_t *bytes, uint32_t length);
/** The nth of those that wait. */
const struct expected *expected_at(const struct expected_queue *queue, uint32_t nth);
bool expected_is(const struct expected *frame, const uint8_t *bytes, uint32_t length);
void expected_pop(struct expected_queue *queue);
/** Takes out the nth of those that wait. */
void expected_remove(struct expected_queue *queue, uint32_t nth);
/** Takes back the one pushed last. */
void expected_unpush(struct expected_queue *queue);
void expected_clear(struct expected_queue *queue);

#endif
