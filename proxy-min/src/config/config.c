/* config.c - variables to struct config, in the order of spec/l2-proxy.md §2. */
#include "config/config.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "auth/auth.h"
#include "config/reader.h"
#include "policy/policy.h"
#include "tunnel/codec.h"

enum {
    LAN_MTU_MIN = 576, /* l2-extensions.md §4 */
    LAN_MTU_MAX = 65520,
    TCP_WINDOW_MAX_BYTES = 16 << 20,
    TCP_KEEPALIVE_MAX_MS = 86400000,
};

static const char *get_from_process(const void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

const struct config_source config_environment = {.get = get_from_process};

static bool complain(struct reader *reader, const char *text)
{
    snprintf(reader->why, CONFIG_WHY_BYTES, "%s", text);
    return false;
}

/* §2.1 */
static void read_listener(struct config *config, const struct reader *reader)
{
    const char *address = reader_get(reader, "AERO_L2_PROXY_LISTEN_ADDR");
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (address == NULL)
        address = reader_get(reader, "AERO_L2_PROXY_BIND_ADDR");
    if (address == NULL || !config_parse_address(address, &config->listen_address))
        config_parse_address("0.0.0.0:8090", &config->listen_address);

    config->workers = reader_u32(reader, "AERO_TOKIO_WORKER_THREADS", 0);
    if (config->workers == 0)
        config->workers = cores > 0 ? (uint32_t)cores : 1;
    if (config->workers > 256)
        config->workers = 256;
    config->shutdown_grace_ms = reader_u32(reader, "AERO_L2_SHUTDOWN_GRACE_MS", 3000);
    config->frame_max_bytes = reader_size(reader, "AERO_L2_MAX_FRAME_PAYLOAD",
                                          "AERO_L2_MAX_FRAME_SIZE", L2T_FRAME_MAX_DEFAULT);
    config->control_max_bytes =
        reader_size(reader, "AERO_L2_MAX_CONTROL_PAYLOAD", NULL, L2T_CONTROL_MAX_DEFAULT);
    config->ping_interval_ms = reader_u32(reader, "AERO_L2_PING_INTERVAL_MS", 0);
    config->idle_timeout_ms = reader_u32(reader, "AERO_L2_IDLE_TIMEOUT_MS", 0);
    config->ws_send_buffer = reader_u32(reader, "AERO_L2_WS_SEND_BUFFER", 64);
    if (config->ws_send_buffer == 0)
        config->ws_send_buffer = 64;
}

/* §2.2 */
static bool read_stack(struct config *config, struct reader *reader)
{
    struct nat_config *nat = &config->nat;
    static const uint8_t gateway_mac[6] = {0x02, 0, 0, 0, 0, 0x01};
    static const uint8_t network[4] = {10, 0, 2, 0}, gateway[4] = {10, 0, 2, 2};
    static const uint8_t guest[4] = {10, 0, 2, 15}, netmask[4] = {255, 255, 255, 0};

    memcpy(nat->gateway_mac, gateway_mac, sizeof gateway_mac);
    memcpy(nat->network, network, sizeof network);
    memcpy(nat->gateway, gateway, sizeof gateway);
    memcpy(nat->guest, guest, sizeof guest);
    memcpy(nat->netmask, netmask, sizeof netmask);
    nat->frame_max_bytes = config->frame_max_bytes;
    nat->tcp_window_max_bytes =
        reader_clamped(reader, "AERO_L2_TCP_WINDOW_BYTES", 4u << 20, TCP_WINDOW_MAX_BYTES);
    if (nat->tcp_window_max_bytes < UINT16_MAX)
        nat->tcp_window_max_bytes = UINT16_MAX; /* what every SYN-ACK says */
    nat->tcp_keepalive_ms =
        reader_clamped(reader, "AERO_L2_TCP_KEEPALIVE_MS", 600000, TCP_KEEPALIVE_MAX_MS);
    nat->tcp_connect_timeout_ms = reader_u32(reader, "AERO_L2_TCP_CONNECT_TIMEOUT_MS", 5000);
    nat->udp_max = reader_clamped(reader, "AERO_L2_MAX_UDP_FLOWS_PER_TUNNEL", 256, 65535);
    nat->udp_idle_ms = reader_clamped(reader, "AERO_L2_UDP_FLOW_IDLE_TIMEOUT_MS", 60000, 86400000);
    nat->udp_evict_oldest = reader_is_one(reader, "AERO_L2_UDP_EVICT_OLDEST");
    nat->ipv6 = reader_is_one(reader, "AERO_L2_IPV6");
    nat->udp_full_cone = reader_is_one(reader, "AERO_L2_UDP_FULL_CONE");
    nat->tcp_max = reader_clamped(reader, "AERO_L2_STACK_MAX_TCP_CONNECTIONS", 1024, 65535);
    nat->dns_pending_max = reader_clamped(reader, "AERO_L2_STACK_MAX_PENDING_DNS", 1024, 65535);
    nat->dns_cache_max =
        reader_clamped(reader, "AERO_L2_STACK_MAX_DNS_CACHE_ENTRIES", 10000, 1000000);
    nat->tcp_early_bytes =
        reader_clamped(reader, "AERO_L2_STACK_MAX_BUFFERED_TCP_BYTES_PER_CONN", 262144, 64u << 20);
    nat->dns_timeout_ms = reader_clamped(reader, "AERO_L2_DNS_LOOKUP_TIMEOUT_MS", 2000, 60000);
    nat->dns_default_ttl_s = reader_u32(reader, "AERO_L2_DNS_DEFAULT_TTL_SECS", 60);
    nat->dns_max_ttl_s = reader_u32(reader, "AERO_L2_DNS_MAX_TTL_SECS", 300);
    nat->lan_mtu = 1500;
    /* No default for a slip: guests that need another MTU would lose their long frames. */
    if (!reader_within(reader, "AERO_L2_LAN_MTU", &nat->lan_mtu, LAN_MTU_MIN, LAN_MTU_MAX))
        return complain(reader, "AERO_L2_LAN_MTU: not a number from 576 to 65520");
    return config_dhcp_domain(reader_get(reader, "AERO_L2_DHCP_DOMAIN"), nat, reader->why) &&
           config_dhcp_ntp(reader_get(reader, "AERO_L2_DHCP_NTP"), nat, reader->why);
}

/* §2.3 */
static bool read_capture(struct config *config, const struct reader *reader)
{
    config->capture_max_bytes = reader_u64(reader, "AERO_L2_CAPTURE_MAX_BYTES", 67108864);
    config->capture_flush_ms = reader_u32(reader, "AERO_L2_CAPTURE_FLUSH_INTERVAL_MS", 1000);
    return reader_string(reader, &config->capture_dir, "AERO_L2_CAPTURE_DIR", NULL, NULL);
}

static bool read_origins(struct config *config, struct reader *reader)
{
    struct string_list raw = {0};
    bool good = config_list(&raw, reader_get(reader, "AERO_L2_ALLOWED_ORIGINS"));

    if (good && raw.count == 0)
        good = config_list(&raw, reader_get(reader, "ALLOWED_ORIGINS"));
    good = good && config_list(&raw, reader_get(reader, "AERO_L2_ALLOWED_ORIGINS_EXTRA"));
    for (uint32_t i = 0; good && i < raw.count; i++) {
        char normal[ORIGIN_MAX_BYTES];
        if (strcmp(raw.items[i], "*") == 0)
            good = config_list(&config->allowed_origins, "*");
        else if (origin_normalise(raw.items[i], normal) == NULL)
            good = config_list(&config->allowed_origins, normal);
        else
            good = complain(reader, "AERO_L2_ALLOWED_ORIGINS: an entry is not a valid origin");
    }
    config_list_free(&raw);
    return good;
}

/* §3.2 */
static const struct {
    const char *name;
    enum auth_mode mode;
} auth_modes[] = {
    {"none", AUTH_NONE},
    {"token", AUTH_TOKEN},
    {"api_key", AUTH_TOKEN},
    {"session", AUTH_SESSION},
    {"cookie", AUTH_SESSION},
    {"jwt", AUTH_JWT},
    {"cookie_or_jwt", AUTH_COOKIE_OR_JWT},
    {"session_or_token", AUTH_SESSION_OR_TOKEN},
    {"cookie_or_api_key", AUTH_SESSION_OR_TOKEN},
    {"session_and_token", AUTH_SESSION_AND_TOKEN},
    {"cookie_and_api_key", AUTH_SESSION_AND_TOKEN},
};

static bool mode_has_its_secrets(const struct config *config, struct reader *reader)
{
    const bool session = config->session_secret != NULL, key = config->api_key != NULL;

    switch (config->auth_mode) {
    case AUTH_NONE:
        return true;
    case AUTH_TOKEN:
        return key || complain(reader, "AERO_L2_AUTH_MODE=token needs AERO_L2_API_KEY");
    case AUTH_SESSION:
    case AUTH_SESSION_OR_TOKEN: /* a missing API key never matches */
        return session || complain(reader, "this AERO_L2_AUTH_MODE needs "
                                           "AERO_GATEWAY_SESSION_SECRET");
    case AUTH_JWT:
        return config->jwt_secret != NULL ||
               complain(reader, "AERO_L2_AUTH_MODE=jwt needs AERO_L2_JWT_SECRET");
    case AUTH_COOKIE_OR_JWT:
        return (session && config->jwt_secret != NULL) ||
               complain(reader, "AERO_L2_AUTH_MODE=cookie_or_jwt needs "
                                "AERO_GATEWAY_SESSION_SECRET and AERO_L2_JWT_SECRET");
    case AUTH_SESSION_AND_TOKEN:
        return (session && key) ||
               complain(reader, "AERO_L2_AUTH_MODE=session_and_token needs "
                                "AERO_GATEWAY_SESSION_SECRET and AERO_L2_API_KEY");
    }
    return false;
}

static bool read_auth_mode(struct config *config, struct reader *reader)
{
    const bool open = config->open && reader_is_one(reader, "AERO_L2_INSECURE_ALLOW_NO_AUTH");
    char *mode = NULL;

    if (!reader_string(reader, &mode, "AERO_L2_AUTH_MODE", NULL, NULL))
        return complain(reader, "out of memory");
    if (mode == NULL) {
        if (config->session_secret != NULL)
            config->auth_mode = AUTH_SESSION_OR_TOKEN;
        else if (config->api_key != NULL)
            config->auth_mode = AUTH_TOKEN;
        else if (open)
            config->auth_mode = AUTH_NONE;
        else
            return complain(reader, "no credentials configured: set AERO_L2_API_KEY or "
                                    "AERO_GATEWAY_SESSION_SECRET, or both AERO_L2_OPEN=1 and "
                                    "AERO_L2_INSECURE_ALLOW_NO_AUTH=1 for a private test machine");
        return true;
    }
    bool known = false;
    for (size_t i = 0; i < sizeof auth_modes / sizeof auth_modes[0]; i++)
        if (strcasecmp(mode, auth_modes[i].name) == 0) {
            config->auth_mode = auth_modes[i].mode;
            known = true;
        }
    free(mode);
    if (!known)
        return complain(reader, "AERO_L2_AUTH_MODE: unknown mode");
    return mode_has_its_secrets(config, reader);
}

/* §2.4 */
static bool read_access(struct config *config, struct reader *reader)
{
    config->open = reader_is_one(reader, "AERO_L2_OPEN");
    config->trust_proxy_host = config_is_true(reader_get(reader, "AERO_L2_TRUST_PROXY_HOST"));
    config->trust_proxy = config_is_true(reader_get(reader, "AERO_L2_TRUST_PROXY"));
    config->max_connections = reader_u32(reader, "AERO_L2_MAX_CONNECTIONS", 64);
    config->max_connections_per_session =
        reader_get(reader, "AERO_L2_MAX_CONNECTIONS_PER_SESSION") != NULL
            ? reader_u32(reader, "AERO_L2_MAX_CONNECTIONS_PER_SESSION", 0)
            : reader_u32(reader, "AERO_L2_MAX_TUNNELS_PER_SESSION", 0);
    config->max_connections_per_ip = reader_u32(reader, "AERO_L2_MAX_CONNECTIONS_PER_IP", 0);
    config->max_bytes_per_connection = reader_u64(reader, "AERO_L2_MAX_BYTES_PER_CONNECTION", 0);
    config->max_frames_per_second = reader_u64(reader, "AERO_L2_MAX_FRAMES_PER_SECOND", 0);

    return reader_text(reader, &config->api_key, "AERO_L2_API_KEY", "AERO_L2_TOKEN") &&
           reader_string(reader, &config->session_secret, "AERO_GATEWAY_SESSION_SECRET",
                         "SESSION_SECRET", "AERO_L2_SESSION_SECRET") &&
           reader_text(reader, &config->jwt_secret, "AERO_L2_JWT_SECRET", NULL) &&
           reader_string(reader, &config->jwt_audience, "AERO_L2_JWT_AUDIENCE", NULL, NULL) &&
           reader_string(reader, &config->jwt_issuer, "AERO_L2_JWT_ISSUER", NULL, NULL) &&
           config_list(&config->allowed_hosts, reader_get(reader, "AERO_L2_ALLOWED_HOSTS")) &&
           read_origins(config, reader) && read_auth_mode(config, reader);
}

/* §2.5 */
static bool read_egress(struct config *config, struct reader *reader)
{
    const struct policy_options options = {
        .allow_private_ips = config_is_true(reader_get(reader, "AERO_L2_ALLOW_PRIVATE_IPS")),
        .allowed_tcp_ports = reader_get(reader, "AERO_L2_ALLOWED_TCP_PORTS"),
        .allowed_udp_ports = reader_get(reader, "AERO_L2_ALLOWED_UDP_PORTS"),
        .allowed_domains = reader_get(reader, "AERO_L2_ALLOWED_DOMAINS"),
        .blocked_domains = reader_get(reader, "AERO_L2_BLOCKED_DOMAINS"),
    };
    struct nat_forward *tcp = NULL, *udp = NULL;
    struct nat_dns_override *names = NULL;
    struct nat_config *nat = &config->nat;

    nat->policy = policy_new(&options, reader->why, CONFIG_WHY_BYTES);
    if (nat->policy == NULL)
        return false;
    const bool good =
        config_forwards("AERO_L2_TCP_FORWARD", reader_get(reader, "AERO_L2_TCP_FORWARD"), &tcp,
                        &nat->tcp_forward_count, reader->why) &&
        config_forwards("AERO_L2_UDP_FORWARD", reader_get(reader, "AERO_L2_UDP_FORWARD"), &udp,
                        &nat->udp_forward_count, reader->why) &&
        config_dns_overrides(reader_get(reader, "AERO_L2_DNS_A"), &names, &nat->dns_override_count,
                             reader->why);
    nat->tcp_forwards = tcp;
    nat->udp_forwards = udp;
    nat->dns_overrides = names;
    return good && reader_string(reader, &config->dns_servers, "AERO_L2_DNS_SERVERS", NULL, NULL);
}

static bool read_version(struct config *config, const struct reader *reader)
{
    if (!reader_string(reader, &config->version, "AERO_L2_PROXY_VERSION", "VERSION", NULL) ||
        !reader_string(reader, &config->git_sha, "AERO_L2_PROXY_GIT_SHA", "GIT_SHA", NULL) ||
        !reader_string(reader, &config->built_at, "AERO_L2_PROXY_BUILD_TIMESTAMP",
                       "BUILD_TIMESTAMP", NULL))
        return false;
    if (config->version == NULL)
        config->version = strdup(AERO_VERSION);
    if (config->git_sha == NULL)
        config->git_sha = strdup("dev");
    if (config->built_at == NULL)
        config->built_at = strdup("");
    return config->version != NULL && config->git_sha != NULL && config->built_at != NULL;
}

/* The command line: what it wants printed or overridden. */
static enum config_result read_arguments(struct config *config, int argc, char **argv,
                                         const char **bind, char *why)
{
    *bind = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(config_help, stdout);
            return CONFIG_EXIT_OK;
        }
        if (strcmp(argv[i], "--ready-stdout") == 0) {
            config->ready_stdout = true;
        } else if (strncmp(argv[i], "--bind=", 7) == 0) {
            *bind = argv[i] + 7;
        } else if (strcmp(argv[i], "--bind") == 0 && i + 1 < argc) {
            *bind = argv[++i];
        } else {
            snprintf(why, CONFIG_WHY_BYTES, "unknown or incomplete argument \"%.100s\"; see --help",
                     argv[i]);
            return CONFIG_BAD_USAGE;
        }
    }
    return CONFIG_RUN;
}

enum config_result config_load(struct config *config, int argc, char **argv,
                               const struct config_source *source, char why[CONFIG_WHY_BYTES])
{
    struct reader reader = {.source = source, .why = why};
    const char *bind;

    *config = (struct config){0};
    why[0] = '\0';
    const enum config_result arguments = read_arguments(config, argc, argv, &bind, why);
    if (arguments != CONFIG_RUN)
        return arguments;
    read_listener(config, &reader);
    if (bind != NULL && !config_parse_address(bind, &config->listen_address)) {
        snprintf(why, CONFIG_WHY_BYTES, "--bind: \"%.100s\" is not ip:port", bind);
        return CONFIG_BAD_USAGE;
    }
    if (!read_stack(config, &reader) || !read_capture(config, &reader) ||
        !read_access(config, &reader) || !read_egress(config, &reader) ||
        !read_version(config, &reader)) {
        if (why[0] == '\0')
            complain(&reader, "out of memory");
        return CONFIG_BAD_VALUE;
    }
    return CONFIG_RUN;
}

void config_free(struct config *config)
{
    char *const strings[] = {config->capture_dir, config->api_key,      config->session_secret,
                             config->jwt_secret,  config->jwt_audience, config->jwt_issuer,
                             config->dns_servers, config->version,      config->git_sha,
                             config->built_at};

    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        free(strings[i]);
    config_list_free(&config->allowed_origins);
    config_list_free(&config->allowed_hosts);
    policy_free((struct policy *)(uintptr_t)config->nat.policy);
    free((void *)(uintptr_t)config->nat.tcp_forwards);
    free((void *)(uintptr_t)config->nat.udp_forwards);
    free((void *)(uintptr_t)config->nat.dns_overrides);
    *config = (struct config){0};
}
