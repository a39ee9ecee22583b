/*
 * metrics.h - the counters of the process and their Prometheus text.
 *
 * Source   spec/l2-proxy.md §7.
 * Threads  Every field is atomic; any thread adds, the HTTP thread reads. A scrape is not one
 *          instant, each number is.
 */
#ifndef PROXY_METRICS_H
#define PROXY_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "nat/nat.h"

/* label values of l2_auth_reject_total */
enum reject_reason {
    REJECT_MISSING_CREDENTIALS,
    REJECT_INVALID_API_KEY,
    REJECT_INVALID_COOKIE,
    REJECT_INVALID_JWT,
    REJECT_JWT_ORIGIN_MISMATCH,
    REJECT_REASONS,
};

enum { RTT_BUCKETS = 10 };

struct metrics {
    _Atomic int64_t sessions_active;
    _Atomic uint64_t sessions_total;

    _Atomic uint64_t upgrade_rejected, origin_missing, origin_not_allowed, host_missing,
        host_invalid, host_not_allowed, auth_missing, auth_invalid, max_connections,
        max_per_session, ip_limit, auth_failures;
    _Atomic uint64_t auth_reject[REJECT_REASONS];

    _Atomic uint64_t frames_rx, frames_tx, bytes_rx, bytes_tx, frames_dropped;
    _Atomic uint64_t ws_messages_rx, ws_messages_tx, batches_rx, batches_tx, violations;
    _Atomic uint64_t supers_rx, supers_tx;
    _Atomic uint64_t ws_reads, ws_writes;
    _Atomic uint64_t idle_timeouts, closed_quota_bytes, closed_quota_fps, closed_backpressure;
    _Atomic uint64_t capture_bytes, capture_frames, capture_dropped, capture_errors;

    _Atomic uint64_t rtt_bucket[RTT_BUCKETS + 1]; /* not cumulative; the last is +Inf */
    _Atomic uint64_t rtt_sum_us, rtt_count;

    struct nat_metrics nat;
};

static inline void metric_add(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

void metrics_rtt(struct metrics *metrics, uint64_t rtt_us);

/** The text exposition; a NUL-terminated block to free(), or NULL when memory ran out. */
char *metrics_render(struct metrics *metrics, size_t *bytes);

#endif
