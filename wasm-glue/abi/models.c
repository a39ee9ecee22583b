/* models.c - the cards of this module: each has a module of its own, which names it in CARD_MODELS.
 */
#include "card.h"

#ifndef CARD_MODELS
#define CARD_MODELS &card_e1000, &card_virtio_net
#endif

const struct card_model *const card_models[] = {CARD_MODELS, NULL};
