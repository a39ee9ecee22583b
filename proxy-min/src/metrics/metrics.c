/* metrics.c - Prometheus text format 0.0.4 over struct metrics (spec/l2-proxy.md §7). */
#include "metrics/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const uint32_t rtt_bounds_ms[RTT_BUCKETS] = {1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500};

void metrics_rtt(struct metrics *metrics, uint64_t rtt_us)
{
    int bucket = 0;

    while (bucket < RTT_BUCKETS && rtt_us > (uint64_t)rtt_bounds_ms[bucket] * 1000)
        bucket++;
    metric_add(&metrics->rtt_bucket[bucket], 1);
    metric_add(&metrics->rtt_sum_us, rtt_us);
    metric_add(&metrics->rtt_count, 1);
}

static uint64_t load(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(FILE *out, const char *name, const char *help, _Atomic int64_t *value)
{
    head(out, name, "gauge", help);
    fprintf(out, "%s %" PRId64 "\n", name, atomic_load_explicit(value, memory_order_relaxed));
}

struct row {
    const char *name, *help;
    _Atomic uint64_t *value;
};

static void counters(FILE *out, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        head(out, rows[i].name, "counter", rows[i].help);
        fprintf(out, "%s %" PRIu64 "\n", rows[i].name, load(rows[i].value));
    }
}

#define COUNTERS(out, rows) counters(out, rows, sizeof(rows) / sizeof(rows)[0])

static void upgrade_rows(FILE *out, struct metrics *m)
{
    static const char *const reasons[REJECT_REASONS] = {
        "missing_credentials", "invalid_api_key",     "invalid_cookie",
        "invalid_jwt",         "jwt_origin_mismatch",
    };
    const struct row rows[] = {
        {"l2_upgrade_rejected_total", "Refused upgrades.", &m->upgrade_rejected},
        {"l2_upgrade_reject_origin_missing_total", "No Origin header.", &m->origin_missing},
        {"l2_upgrade_reject_origin_not_allowed_total", "Origin invalid or not allowed.",
         &m->origin_not_allowed},
        {"l2_upgrade_reject_host_missing_total", "No Host header.", &m->host_missing},
        {"l2_upgrade_reject_host_invalid_total", "Malformed Host header.", &m->host_invalid},
        {"l2_upgrade_reject_host_not_allowed_total", "Host not on the list.", &m->host_not_allowed},
        {"l2_upgrade_reject_auth_missing_total", "No credential sent.", &m->auth_missing},
        {"l2_upgrade_reject_auth_invalid_total", "Wrong credential sent.", &m->auth_invalid},
        {"l2_upgrade_reject_max_connections_total", "Limit of tunnels reached.",
         &m->max_connections},
        {"l2_upgrade_reject_max_connections_per_session_total",
         "Limit of tunnels per session reached.", &m->max_per_session},
        {"l2_upgrade_reject_max_tunnels_per_session_total",
         "Same as l2_upgrade_reject_max_connections_per_session_total.", &m->max_per_session},
        {"l2_upgrade_ip_limit_exceeded_total", "Limit of tunnels per address reached.",
         &m->ip_limit},
        {"l2_session_connection_denied_total", "Tunnels refused for their session's limit.",
         &m->max_per_session},
        {"l2_auth_failures_total", "Refused for authentication.", &m->auth_failures},
    };

    COUNTERS(out, rows);
    head(out, "l2_auth_reject_total", "counter", "Refused for authentication, by reason.");
    for (int i = 0; i < REJECT_REASONS; i++)
        fprintf(out, "l2_auth_reject_total{reason=\"%s\"} %" PRIu64 "\n", reasons[i],
                load(&m->auth_reject[i]));
}

static void tunnel_rows(FILE *out, struct metrics *m)
{
    const struct row rows[] = {
        {"l2_sessions_total", "Tunnels opened.", &m->sessions_total},
        {"l2_frames_rx_total", "Frames from guests.", &m->frames_rx},
        {"l2_frames_tx_total", "Frames to guests.", &m->frames_tx},
        {"l2_bytes_rx_total", "Frame bytes from guests.", &m->bytes_rx},
        {"l2_bytes_tx_total", "Frame bytes to guests.", &m->bytes_tx},
        {"l2_frames_dropped_total", "Undecodable input and frames too large to send.",
         &m->frames_dropped},
        {"aero_l2_idle_timeouts_total", "Tunnels closed for being idle.", &m->idle_timeouts},
        {"l2_sessions_closed_quota_bytes_total", "Tunnels over their byte quota.",
         &m->closed_quota_bytes},
        {"l2_sessions_closed_quota_fps_total", "Tunnels over their message rate.",
         &m->closed_quota_fps},
        {"l2_sessions_closed_backpressure_total", "Tunnels whose client stopped reading.",
         &m->closed_backpressure},
        {"l2_ws_messages_rx_total", "WebSocket messages received.", &m->ws_messages_rx},
        {"l2_ws_messages_tx_total", "Binary WebSocket messages sent.", &m->ws_messages_tx},
        {"l2_ws_reads_total", "Reads that brought tunnel bytes.", &m->ws_reads},
        {"l2_ws_writes_total", "Writes that took tunnel bytes.", &m->ws_writes},
        {"l2_batches_rx_total", "BATCH messages received.", &m->batches_rx},
        {"l2_batches_tx_total", "BATCH messages sent.", &m->batches_tx},
        {"l2_super_frames_rx_total", "Super-frames from guests.", &m->supers_rx},
        {"l2_super_frames_tx_total", "Super-frames to guests.", &m->supers_tx},
        {"l2_protocol_violations_total", "WebSocket and tunnel protocol violations.",
         &m->violations},
        {"l2_capture_bytes_total", "Capture bytes written.", &m->capture_bytes},
        {"l2_capture_frames_total", "Frames captured.", &m->capture_frames},
        {"l2_capture_frames_dropped_total", "Frames over a capture's size cap.",
         &m->capture_dropped},
        {"l2_capture_errors_total", "Captures that failed.", &m->capture_errors},
    };

    COUNTERS(out, rows);
}

static void nat_rows(FILE *out, struct nat_metrics *n)
{
    const struct row rows[] = {
        {"l2_policy_denied_total", "Egress refused by policy.", &n->policy_denied_total},
        {"l2_tcp_connect_fail_total", "Host connections that failed.", &n->tcp_connect_fail_total},
        {"l2_udp_send_fail_total", "UDP flows closed by a failed send.", &n->udp_send_fail_total},
        {"l2_udp_flow_limit_exceeded_total", "UDP flows refused: table full.",
         &n->udp_flow_limit_exceeded_total},
        {"l2_tcp_flow_limit_exceeded_total", "TCP connections refused: table full.",
         &n->tcp_flow_limit_exceeded_total},
        {"l2_dns_queries_total", "Questions handed to the resolver.", &n->dns_queries_total},
        {"l2_dns_fail_total", "Questions without a usable answer.", &n->dns_fail_total},
        {"l2_guest_frames_ignored_total", "Guest frames of no interest.",
         &n->guest_frames_ignored_total},
        {"l2_guest_bad_checksum_total", "Guest packets with a wrong checksum.",
         &n->guest_bad_checksum_total},
        {"l2_guest_malformed_total", "Malformed guest packets.", &n->guest_malformed_total},
        {"l2_guest_before_lease_total", "Guest packets before its address was known.",
         &n->guest_before_lease_total},
        {"l2_tcp_retransmits_total", "Segments sent to guests again.", &n->tcp_retransmits_total},
        {"l2_tcp_out_of_order_total", "Guest segments that came early.",
         &n->tcp_out_of_order_total},
        {"l2_tcp_resets_total", "Resets sent to guests.", &n->tcp_resets_total},
        {"l2_tcp_zero_window_probes_total", "Probes of a guest's closed window.",
         &n->tcp_zero_window_probes_total},
    };

    COUNTERS(out, rows);
}

static void rtt_rows(FILE *out, struct metrics *m)
{
    uint64_t below = 0;

    head(out, "l2_ping_rtt_ms", "histogram", "Round trips of the tunnel's PING.");
    for (int i = 0; i < RTT_BUCKETS; i++) {
        below += load(&m->rtt_bucket[i]);
        fprintf(out, "l2_ping_rtt_ms_bucket{le=\"%" PRIu32 "\"} %" PRIu64 "\n", rtt_bounds_ms[i],
                below);
    }
    below += load(&m->rtt_bucket[RTT_BUCKETS]);
    fprintf(out, "l2_ping_rtt_ms_bucket{le=\"+Inf\"} %" PRIu64 "\n", below);
    const uint64_t sum_us = load(&m->rtt_sum_us);
    fprintf(out, "l2_ping_rtt_ms_sum %" PRIu64 ".%03u\n", sum_us / 1000, (unsigned)(sum_us % 1000));
    fprintf(out, "l2_ping_rtt_ms_count %" PRIu64 "\n", below);
}

char *metrics_render(struct metrics *metrics, size_t *bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, bytes);

    if (out == NULL)
        return NULL;
    gauge(out, "l2_sessions_active", "Open tunnels.", &metrics->sessions_active);
    gauge(out, "l2_tcp_conns_active", "Open TCP connections.", &metrics->nat.tcp_conns_active);
    gauge(out, "l2_udp_flows_active", "Open UDP flows.", &metrics->nat.udp_flows_active);
    upgrade_rows(out, metrics);
    tunnel_rows(out, metrics);
    nat_rows(out, &metrics->nat);
    rtt_rows(out, metrics);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
