/*
 * e1000_model.h - a driver that does legal, odd and hostile things in any order, and what must
 *                 hold for every E1000 whatever it does.
 */
#ifndef NIC_MODEL_E1000_MODEL_H
#define NIC_MODEL_E1000_MODEL_H

#include "driver.h"
#include "expected.h"
#include "script.h"

struct tx_slot {
    bool owned, report;
    uint32_t reports; /* DD writes seen */
    uint64_t buffer;
    uint32_t bytes;
};

struct model {
    struct driver *d;
    const char *wrong; /* the first thing that was */
    struct script_counts *counts;
    uint32_t seed;
    bool hostile; /* anything goes until the next reset */
    bool link;
    uint32_t rx_buffer_bytes;
    uint32_t rx_next; /* guest's own index */
    struct tx_slot tx[DRIVER_RING];
    bool rx_owned[DRIVER_RING];
    struct expected_queue out, in;
    bool rx_event, tx_event;                             /* since ICR was read */
    uint64_t tx_frames, tx_octets, rx_frames, rx_octets; /* since the counters were read */
};

void model_wrong(struct model *m, const char *what);
uint32_t model_random(struct model *m, uint32_t bound);
void model_expect(struct model *m, struct expected_queue *queue, const uint8_t *bytes,
                  uint32_t length);

/* e1000_check.c */
void model_watch(struct driver *d, bool write, uint64_t gpa, uint32_t bytes);
uint32_t model_tx_head(struct model *m);
/** The guest takes what has DD, frame by frame. */
void model_compare_in(struct model *m);
void model_invariants(struct model *m);
/** A poll of the card, and everything that must be true after it. */
void model_poll(struct model *m, uint32_t budget);

/* e1000_send.c */
void model_send_plain(struct model *m, const struct step *step, bool advanced);
void model_send_segments(struct model *m, const struct step *step);
void model_send_tcp(struct model *m, const struct step *step);

#endif
