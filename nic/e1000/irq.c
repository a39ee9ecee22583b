#include "internal.h"

/* Causes from the rings: the only ones moderation may delay (§6.2). */
#define IRQ_RX_CAUSE IRQ_RXT0
#define IRQ_TX_CAUSE IRQ_TXDW

enum { ITR_UNIT_NS = 256, DELAY_UNIT_NS = 1024 };

static uint64_t now(const struct e1000 *nic)
{
    return nic->host.now_ns(nic->host.context);
}

static uint64_t delay_ns(const struct e1000 *nic, uint32_t offset)
{
    return (uint64_t)(reg_get(nic, offset) & 0xffff) * DELAY_UNIT_NS;
}

/*
 * While an ITR interval runs, causes wait outside ICR, so that the line always equals ICR & IMS;
 * reading ICR collects them early, the tick after the interval delivers them.
 */
void irq_raise_throttled(struct e1000 *nic, uint32_t causes)
{
    const uint32_t known = reg_get(nic, E1000_ICR) | nic->timers.held_causes;

    if ((known & causes) == causes)
        return; /* a burst asks the clock once */
    if (reg_get(nic, E1000_ITR) != 0 && nic->timers.throttle_until != NEVER &&
        now(nic) < nic->timers.throttle_until)
        nic->timers.held_causes |= causes;
    else
        irq_raise(nic, causes);
}

/* Each event restarts the delay, the first one starts the absolute limit. */
static void delay_start(const struct e1000 *nic, uint64_t *delay, uint64_t *absolute,
                        uint32_t delay_register, uint32_t absolute_register)
{
    const uint64_t time = now(nic);
    const uint64_t limit = delay_ns(nic, absolute_register);

    *delay = time + delay_ns(nic, delay_register);
    if (*absolute == NEVER && limit != 0)
        *absolute = time + limit;
}

void irq_raise_rx(struct e1000 *nic)
{
    struct timers *timers = &nic->timers;

    if (delay_ns(nic, E1000_RDTR) == 0)
        irq_raise_throttled(nic, IRQ_RX_CAUSE);
    else
        delay_start(nic, &timers->rx_delay, &timers->rx_absolute, E1000_RDTR, E1000_RADV);
}

void irq_raise_tx(struct e1000 *nic, bool delay)
{
    struct timers *timers = &nic->timers;

    if (!delay || delay_ns(nic, E1000_TIDV) == 0)
        irq_raise_throttled(nic, IRQ_TX_CAUSE);
    else
        delay_start(nic, &timers->tx_delay, &timers->tx_absolute, E1000_TIDV, E1000_TADV);
}

uint32_t irq_collect(struct e1000 *nic)
{
    struct timers *timers = &nic->timers;
    uint32_t causes = reg_get(nic, E1000_ICR) | timers->held_causes;

    if (timers->rx_delay != NEVER)
        causes |= IRQ_RX_CAUSE;
    if (timers->tx_delay != NEVER)
        causes |= IRQ_TX_CAUSE;
    timers->held_causes = 0;
    timers->rx_delay = timers->rx_absolute = NEVER;
    timers->tx_delay = timers->tx_absolute = NEVER;
    reg_put(nic, E1000_ICR, 0);
    return causes;
}

void irq_timers_clear(struct e1000 *nic)
{
    const uint64_t autonegotiation = nic->timers.autonegotiation; /* the PHY's own */

    nic->timers = (struct timers){
        .throttle_until = NEVER,
        .rx_delay = NEVER,
        .rx_absolute = NEVER,
        .tx_delay = NEVER,
        .tx_absolute = NEVER,
        .autonegotiation = autonegotiation,
    };
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void delay_expire(struct e1000 *nic, uint64_t *delay, uint64_t *absolute, uint32_t cause,
                         uint64_t time)
{
    if (time < earlier(*delay, *absolute))
        return;
    *delay = *absolute = NEVER;
    irq_raise_throttled(nic, cause);
}

/* Lets what has expired happen. */
void irq_timers_run(struct e1000 *nic)
{
    struct timers *timers = &nic->timers;

    phy_timer(nic);
    if (timers->rx_delay == NEVER && timers->tx_delay == NEVER && timers->held_causes == 0)
        return;
    const uint64_t time = now(nic);

    if (timers->rx_delay != NEVER)
        delay_expire(nic, &timers->rx_delay, &timers->rx_absolute, IRQ_RX_CAUSE, time);
    if (timers->tx_delay != NEVER)
        delay_expire(nic, &timers->tx_delay, &timers->tx_absolute, IRQ_TX_CAUSE, time);
    if (timers->held_causes != 0 &&
        (time >= timers->throttle_until || reg_get(nic, E1000_ITR) == 0)) {
        irq_raise(nic, timers->held_causes);
        timers->held_causes = 0;
    }
}

uint64_t irq_next_event(const struct e1000 *nic)
{
    const struct timers *timers = &nic->timers;
    uint64_t next = timers->autonegotiation;

    next = earlier(next, earlier(timers->rx_delay, timers->rx_absolute));
    next = earlier(next, earlier(timers->tx_delay, timers->tx_absolute));
    if (timers->held_causes != 0)
        next = earlier(next, timers->throttle_until);
    return next;
}

/* The only place where INTA moves; called last by every entry point, never during DMA. */
void irq_update(struct e1000 *nic)
{
    const bool pending = (reg_get(nic, E1000_ICR) & reg_get(nic, E1000_IMS)) != 0;
    const bool level = pending && (pci_command(&nic->pci) & PCI_COMMAND_INTX_DISABLE) == 0;

    pci_set_interrupt_status(&nic->pci, pending);
    if (level == nic->line)
        return;
    nic->line = level;
    if (level) {
        nic->stats.interrupts++;
        if (reg_get(nic, E1000_ITR) != 0)
            nic->timers.throttle_until = now(nic) + (uint64_t)reg_get(nic, E1000_ITR) * ITR_UNIT_NS;
    }
    nic->host.irq(nic->host.context, level);
}
