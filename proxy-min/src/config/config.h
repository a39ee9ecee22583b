/*
 * config.h - everything the operator says: the command line and the environment.
 *
 * Source   spec/l2-proxy.md §1, §2; every § below is a section of it.
 * Memory   Built once at start-up, read-only afterwards, shared by all threads.
 * Hostile  The environment is the operator's: wrong numbers take the default, as the spec says;
 *          what would widen access when misread is an error and nothing listens.
 */
#ifndef PROXY_CONFIG_H
#define PROXY_CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "nat/nat.h"

/* §3.2 */
enum auth_mode {
    AUTH_NONE,
    AUTH_TOKEN,
    AUTH_SESSION,
    AUTH_JWT,
    AUTH_COOKIE_OR_JWT,
    AUTH_SESSION_OR_TOKEN,
    AUTH_SESSION_AND_TOKEN,
};

/* Strings of a comma-separated list, trimmed, without empty entries. */
struct string_list {
    char **items;
    uint32_t count;
};

struct config {
    /* §1 */
    bool ready_stdout;

    /* §2.1 */
    struct sockaddr_storage listen_address;
    uint32_t workers;
    uint32_t shutdown_grace_ms;
    uint32_t frame_max_bytes, control_max_bytes;
    uint32_t ping_interval_ms, idle_timeout_ms;
    uint32_t ws_send_buffer;

    /* §2.3 */
    char *capture_dir;
    uint64_t capture_max_bytes;
    uint32_t capture_flush_ms;

    /* §2.4 */
    bool open;
    struct string_list allowed_origins; /* normalised; "*" stays */
    struct string_list allowed_hosts;
    bool trust_proxy_host, trust_proxy;
    enum auth_mode auth_mode;
    char *api_key, *session_secret, *jwt_secret, *jwt_audience, *jwt_issuer;
    uint32_t max_connections, max_connections_per_session, max_connections_per_ip;
    uint64_t max_bytes_per_connection;
    uint64_t max_frames_per_second;

    /* §2.2, §2.5, ready for the NAT */
    struct nat_config nat;
    char *dns_servers; /* ours: AERO_L2_DNS_SERVERS, ip[:port],…; NULL: the system's */

    char *version, *git_sha, *built_at;
};

enum config_result {
    CONFIG_RUN,
    CONFIG_EXIT_OK,   /* --help was answered */
    CONFIG_BAD_USAGE, /* exit 2 */
    CONFIG_BAD_VALUE, /* exit 1 */
};

enum { CONFIG_WHY_BYTES = 256 };

/** Where variables come from: getenv(), or a test's table. */
struct config_source {
    const char *(*get)(const void *context, const char *name);
    const void *context;
};

/** The process environment. */
extern const struct config_source config_environment;

/**
 * Fills *config. On CONFIG_BAD_* a one-line reason is in `why`; on CONFIG_EXIT_OK the help text
 * is on stdout. config_free() is fine after every outcome.
 */
enum config_result config_load(struct config *config, int argc, char **argv,
                               const struct config_source *source, char why[CONFIG_WHY_BYTES]);
void config_free(struct config *config);

/** The whole --help text. */
extern const char config_help[];

/** "ip:port" or "[v6]:port", numbers only. */
bool config_parse_address(const char *text, struct sockaddr_storage *address);

/** "true" forms of switches: 1, true, yes, on. */
bool config_is_true(const char *value);

/* Lists and overrides (lists.c). Each returns false with a reason. */
bool config_list(struct string_list *list, const char *value);
void config_list_free(struct string_list *list);
bool config_forwards(const char *name, const char *value, struct nat_forward **forwards,
                     uint32_t *count, char why[CONFIG_WHY_BYTES]);
bool config_dns_overrides(const char *value, struct nat_dns_override **overrides, uint32_t *count,
                          char why[CONFIG_WHY_BYTES]);
bool config_dhcp_domain(const char *value, struct nat_config *nat, char why[CONFIG_WHY_BYTES]);
bool config_dhcp_ntp(const char *value, struct nat_config *nat, char why[CONFIG_WHY_BYTES]);

#endif
