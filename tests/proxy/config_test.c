/* The environment, variable by variable: spec/l2-proxy.md §2. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

/* "NAME=value" strings, NULL at the end; the first of a name counts. */
static const char *get(const void *context, const char *name)
{
    const char *const *environment = context;
    const size_t bytes = strlen(name);

    for (; *environment != NULL; environment++)
        if (strncmp(*environment, name, bytes) == 0 && (*environment)[bytes] == '=')
            return *environment + bytes + 1;
    return NULL;
}

static enum config_result load(struct config *config, const char *const *environment)
{
    const struct config_source source = {.get = get, .context = environment};
    char program[] = "aero-l2-proxy", why[CONFIG_WHY_BYTES];
    char *argv[] = {program, NULL};

    return config_load(config, 1, argv, &source, why);
}

#define WITH(...) ((const char *const[]){__VA_ARGS__, "AERO_L2_API_KEY=k", NULL})

static struct config loaded(const char *const *environment)
{
    struct config config;

    assert_int_equal(load(&config, environment), CONFIG_RUN);
    return config;
}

/* §2.1-§2.5: the column "Default". */
static void defaults(void **state)
{
    struct config config = loaded(WITH("UNUSED="));
    const struct sockaddr_in *address = (const struct sockaddr_in *)&config.listen_address;

    (void)state;
    assert_int_equal(address->sin_family, AF_INET);
    assert_int_equal(ntohs(address->sin_port), 8090);
    assert_int_equal(address->sin_addr.s_addr, 0);
    assert_int_equal(config.shutdown_grace_ms, 3000);
    assert_int_equal(config.frame_max_bytes, 2048);
    assert_int_equal(config.control_max_bytes, 256);
    assert_int_equal(config.ping_interval_ms, 0);
    assert_int_equal(config.idle_timeout_ms, 0);
    assert_int_equal(config.ws_send_buffer, 64);
    assert_int_equal(config.nat.tcp_connect_timeout_ms, 5000);
    assert_int_equal(config.nat.udp_max, 256);
    assert_int_equal(config.nat.udp_idle_ms, 60000);
    assert_int_equal(config.nat.tcp_max, 1024);
    assert_int_equal(config.nat.dns_pending_max, 1024);
    assert_int_equal(config.nat.dns_cache_max, 10000);
    assert_int_equal(config.nat.tcp_early_bytes, 262144);
    assert_int_equal(config.nat.dns_timeout_ms, 2000);
    assert_int_equal(config.nat.dns_default_ttl_s, 60);
    assert_int_equal(config.nat.dns_max_ttl_s, 300);
    assert_false(config.nat.udp_evict_oldest || config.nat.udp_full_cone || config.nat.ipv6);
    assert_null(config.capture_dir);
    assert_int_equal(config.capture_max_bytes, 67108864);
    assert_int_equal(config.capture_flush_ms, 1000);
    assert_false(config.open || config.trust_proxy || config.trust_proxy_host);
    assert_int_equal(config.max_connections, 64);
    assert_int_equal(config.max_connections_per_ip, 0);
    assert_int_equal(config.max_connections_per_session, 0);
    assert_int_equal(config.max_bytes_per_connection, 0);
    assert_int_equal(config.max_frames_per_second, 0);
    assert_int_equal(config.auth_mode, AUTH_TOKEN);
    assert_string_equal(config.git_sha, "dev");
    assert_string_equal(config.built_at, "");
    config_free(&config);
}

/* §2: "Numbers that do not parse take the default." */
static void numbers_that_do_not_parse(void **state)
{
    static const char *const bad[] = {"",   " ",    "x",   "-1",  "+1",
                                      "1x", "0x10", "1.5", "1 2", "99999999999999999999999"};
    char text[64];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        strcpy(text, "AERO_L2_SHUTDOWN_GRACE_MS=");
        strcat(text, bad[i]);
        struct config config = loaded(WITH(text));
        assert_int_equal(config.shutdown_grace_ms, 3000);
        config_free(&config);
    }
    struct config config = loaded(WITH("AERO_L2_SHUTDOWN_GRACE_MS= 17 "));
    assert_int_equal(config.shutdown_grace_ms, 17);
    config_free(&config);
}

/* [US]: exactly 1 switches it on, as with the other switches of that form. */
static void options_are_switched_on_by_1(void **state)
{
    struct config config =
        loaded(WITH("AERO_L2_UDP_EVICT_OLDEST=1", "AERO_L2_UDP_FULL_CONE=1", "AERO_L2_IPV6=1"));

    (void)state;
    assert_true(config.nat.udp_evict_oldest && config.nat.udp_full_cone && config.nat.ipv6);
    config_free(&config);
    config = loaded(
        WITH("AERO_L2_UDP_EVICT_OLDEST=true", "AERO_L2_UDP_FULL_CONE=2", "AERO_L2_IPV6=yes"));
    assert_false(config.nat.udp_evict_oldest || config.nat.udp_full_cone || config.nat.ipv6);
    config_free(&config);
}

/* l2-extensions.md §4: 576 to 65520; guests would believe a slip. */
static void a_lan_mtu_out_of_range_is_refused(void **state)
{
    static const char *const bad[] = {"AERO_L2_LAN_MTU=575", "AERO_L2_LAN_MTU=65521",
                                      "AERO_L2_LAN_MTU=9k", "AERO_L2_LAN_MTU=-1",
                                      "AERO_L2_LAN_MTU=99999999999999999999"};
    static const struct {
        const char *text;
        uint32_t mtu;
    } good[] = {{"AERO_L2_LAN_MTU=576", 576},
                {"AERO_L2_LAN_MTU= 65520 ", 65520},
                {"AERO_L2_LAN_MTU= ", 1500},
                {"UNUSED=", 1500}};
    struct config config;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(load(&config, WITH(bad[i])), CONFIG_BAD_VALUE);
        config_free(&config);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        config = loaded(WITH(good[i].text));
        assert_int_equal(config.nat.lan_mtu, good[i].mtu);
        config_free(&config);
    }
}

/* §2.2: "clamp", and what 0 means. */
static void clamps_and_zeroes(void **state)
{
    struct config config = loaded(
        WITH("AERO_L2_MAX_UDP_FLOWS_PER_TUNNEL=65536", "AERO_L2_UDP_FLOW_IDLE_TIMEOUT_MS=86400001",
             "AERO_L2_STACK_MAX_TCP_CONNECTIONS=100000", "AERO_L2_STACK_MAX_PENDING_DNS=70000",
             "AERO_L2_STACK_MAX_DNS_CACHE_ENTRIES=1000001",
             "AERO_L2_STACK_MAX_BUFFERED_TCP_BYTES_PER_CONN=99999999999",
             "AERO_L2_DNS_LOOKUP_TIMEOUT_MS=60001", "AERO_L2_WS_SEND_BUFFER=0",
             "AERO_L2_MAX_FRAME_PAYLOAD=0", "AERO_L2_MAX_FRAME_SIZE=1600",
             "AERO_L2_MAX_CONTROL_PAYLOAD="));

    (void)state;
    assert_int_equal(config.nat.udp_max, 65535);
    assert_int_equal(config.nat.udp_idle_ms, 86400000);
    assert_int_equal(config.nat.tcp_max, 65535);
    assert_int_equal(config.nat.dns_pending_max, 65535);
    assert_int_equal(config.nat.dns_cache_max, 1000000);
    assert_int_equal(config.nat.tcp_early_bytes, 64 << 20);
    assert_int_equal(config.nat.dns_timeout_ms, 60000);
    assert_int_equal(config.ws_send_buffer, 64);
    assert_int_equal(config.frame_max_bytes, 1600);
    assert_int_equal(config.nat.frame_max_bytes, 1600);
    assert_int_equal(config.control_max_bytes, 256);
    config_free(&config);
    config = loaded(WITH("AERO_L2_MAX_UDP_FLOWS_PER_TUNNEL=0", "AERO_L2_STACK_MAX_PENDING_DNS=0",
                         "AERO_L2_STACK_MAX_TCP_CONNECTIONS=0", "AERO_L2_MAX_CONNECTIONS=0"));
    assert_int_equal(config.nat.udp_max, 0);
    assert_int_equal(config.nat.tcp_max, 0);
    assert_int_equal(config.nat.dns_pending_max, 0);
    assert_int_equal(config.max_connections, 0);
    config_free(&config);
}

/* §2.1: the listen address, its fallback, unparsable → default; §1: port 0, IPv6. */
static void listen_addresses(void **state)
{
    static const struct {
        const char *variable;
        uint16_t port;
    } cases[] = {
        {"AERO_L2_PROXY_LISTEN_ADDR=127.0.0.1:0", 0},
        {"AERO_L2_PROXY_LISTEN_ADDR=[::1]:81", 81},
        {"AERO_L2_PROXY_BIND_ADDR=127.0.0.1:82", 82},
        {"AERO_L2_PROXY_LISTEN_ADDR=localhost:83", 8090},
        {"AERO_L2_PROXY_LISTEN_ADDR=127.0.0.1", 8090},
        {"AERO_L2_PROXY_LISTEN_ADDR=127.0.0.1:65536", 8090},
        {"AERO_L2_PROXY_LISTEN_ADDR=::1:84", 8090},
        {"AERO_L2_PROXY_LISTEN_ADDR=[127.0.0.1]:85", 8090},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config config = loaded(WITH(cases[i].variable));
        const uint16_t port = config.listen_address.ss_family == AF_INET6
                                  ? ((const struct sockaddr_in6 *)&config.listen_address)->sin6_port
                                  : ((const struct sockaddr_in *)&config.listen_address)->sin_port;
        assert_int_equal(ntohs(port), cases[i].port);
        config_free(&config);
    }
}

/* §3.2: the automatic mode, names and aliases, secrets that must be there. */
static void authentication_modes(void **state)
{
    static const struct {
        const char *const environment[6];
        int mode; /* -1: configuration error */
    } cases[] = {
        {{"AERO_L2_API_KEY=k"}, AUTH_TOKEN},
        {{"AERO_L2_TOKEN=k"}, AUTH_TOKEN},
        {{"SESSION_SECRET=s"}, AUTH_SESSION_OR_TOKEN},
        {{"AERO_L2_SESSION_SECRET=s", "AERO_L2_API_KEY=k"}, AUTH_SESSION_OR_TOKEN},
        {{"AERO_GATEWAY_SESSION_SECRET= ", "SESSION_SECRET=\t"}, -1},
        {{"AERO_L2_JWT_SECRET=j"}, -1},
        {{"AERO_L2_JWT_SECRET=j", "AERO_L2_AUTH_MODE=jwt"}, AUTH_JWT},
        {{"AERO_L2_AUTH_MODE=jwt"}, -1},
        {{"AERO_L2_OPEN=1", "AERO_L2_INSECURE_ALLOW_NO_AUTH=1"}, AUTH_NONE},
        {{"AERO_L2_OPEN=1", "AERO_L2_INSECURE_ALLOW_NO_AUTH=1", "AERO_L2_API_KEY=k"}, AUTH_TOKEN},
        {{"AERO_L2_OPEN=1"}, -1},
        {{"AERO_L2_INSECURE_ALLOW_NO_AUTH=1"}, -1},
        {{"AERO_L2_OPEN=yes", "AERO_L2_INSECURE_ALLOW_NO_AUTH=1"}, -1},
        {{"AERO_L2_AUTH_MODE=none"}, AUTH_NONE}, /* said in so many words */
        {{"AERO_L2_AUTH_MODE=api_key", "AERO_L2_API_KEY=k"}, AUTH_TOKEN},
        {{"AERO_L2_AUTH_MODE=cookie", "SESSION_SECRET=s"}, AUTH_SESSION},
        {{"AERO_L2_AUTH_MODE=session", "AERO_L2_API_KEY=k"}, -1},
        {{"AERO_L2_AUTH_MODE=cookie_or_jwt", "SESSION_SECRET=s"}, -1},
        {{"AERO_L2_AUTH_MODE=cookie_or_jwt", "SESSION_SECRET=s", "AERO_L2_JWT_SECRET=j"},
         AUTH_COOKIE_OR_JWT},
        {{"AERO_L2_AUTH_MODE=cookie_or_api_key", "SESSION_SECRET=s"}, AUTH_SESSION_OR_TOKEN},
        {{"AERO_L2_AUTH_MODE=session_and_token", "SESSION_SECRET=s"}, -1},
        {{"AERO_L2_AUTH_MODE=cookie_and_api_key", "SESSION_SECRET=s", "AERO_L2_TOKEN=k"},
         AUTH_SESSION_AND_TOKEN},
        {{"AERO_L2_AUTH_MODE=open", "AERO_L2_API_KEY=k"}, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config config;
        const enum config_result result = load(&config, cases[i].environment);

        assert_int_equal(result, cases[i].mode < 0 ? CONFIG_BAD_VALUE : CONFIG_RUN);
        if (result == CONFIG_RUN)
            assert_int_equal(config.auth_mode, cases[i].mode);
        config_free(&config);
    }
}

/* §2.5: forwards and fixed answers; targets may be IPv6. */
static void forwards_and_overrides(void **state)
{
    struct config config = loaded(
        WITH("AERO_L2_TCP_FORWARD=203.0.113.1:80=127.0.0.1:8080, 203.0.113.2:81 = [::1]:82 ,",
             "AERO_L2_UDP_FORWARD=203.0.113.3:53=127.0.0.1:5353",
             "AERO_L2_DNS_A=Site.Example.=203.0.113.1,b=192.0.2.7"));

    (void)state;
    assert_int_equal(config.nat.tcp_forward_count, 2);
    assert_int_equal(config.nat.tcp_forwards[0].from.port, 80);
    assert_memory_equal(config.nat.tcp_forwards[0].from.address, "\xcb\x00\x71\x01", 4);
    assert_int_equal(config.nat.tcp_forwards[0].to.family, 4);
    assert_int_equal(config.nat.tcp_forwards[0].to.port, 8080);
    assert_int_equal(config.nat.tcp_forwards[1].to.family, 6);
    assert_int_equal(config.nat.tcp_forwards[1].to.address[15], 1);
    assert_int_equal(config.nat.udp_forward_count, 1);
    assert_int_equal(config.nat.dns_override_count, 2);
    assert_string_equal(config.nat.dns_overrides[0].name, "site.example");
    assert_memory_equal(config.nat.dns_overrides[1].address, "\xc0\x00\x02\x07", 4);
    config_free(&config);
}

/* Ours beside §2.2: what a flow may hold, when it is asked, what DHCP tells. */
static void windows_keepalive_and_dhcp(void **state)
{
    struct config config = loaded(WITH("AERO_L2_API_KEY=k"));

    (void)state;
    assert_int_equal(config.nat.tcp_window_max_bytes, 4194304);
    assert_int_equal(config.nat.tcp_keepalive_ms, 600000);
    assert_string_equal(config.nat.dhcp_domain, "");
    assert_int_equal(config.nat.dhcp_ntp_count, 0);
    config_free(&config);
    config =
        loaded(WITH("AERO_L2_TCP_WINDOW_BYTES=1000", "AERO_L2_TCP_KEEPALIVE_MS=0",
                    "AERO_L2_DHCP_DOMAIN= Lan.Example. ", "AERO_L2_DHCP_NTP=192.0.2.1, 192.0.2.2"));
    assert_int_equal(config.nat.tcp_window_max_bytes, 65535);
    assert_int_equal(config.nat.tcp_keepalive_ms, 0);
    assert_string_equal(config.nat.dhcp_domain, "lan.example");
    assert_int_equal(config.nat.dhcp_ntp_count, 2);
    assert_memory_equal(config.nat.dhcp_ntp, "\xc0\x00\x02\x01\xc0\x00\x02\x02", 8);
    config_free(&config);
    config =
        loaded(WITH("AERO_L2_TCP_WINDOW_BYTES=99999999", "AERO_L2_TCP_KEEPALIVE_MS=9999999999"));
    assert_int_equal(config.nat.tcp_window_max_bytes, 16777216);
    assert_int_equal(config.nat.tcp_keepalive_ms, 86400000);
    config_free(&config);
}

/* §2.5: "A bad override entry is a configuration error." */
static void bad_overrides(void **state)
{
    static const char *const bad[] = {
        "AERO_L2_TCP_FORWARD=203.0.113.1=127.0.0.1:80",
        "AERO_L2_TCP_FORWARD=203.0.113.1:0=127.0.0.1:80",
        "AERO_L2_TCP_FORWARD=[::1]:80=127.0.0.1:80",
        "AERO_L2_TCP_FORWARD=name:80=127.0.0.1:80",
        "AERO_L2_TCP_FORWARD=203.0.113.1:80=127.0.0.1",
        "AERO_L2_UDP_FORWARD=203.0.113.1:80=::1:80",
        "AERO_L2_UDP_FORWARD=x",
        "AERO_L2_DNS_A=name",
        "AERO_L2_DNS_A==1.2.3.4",
        "AERO_L2_DNS_A=a..b=1.2.3.4",
        "AERO_L2_DNS_A=name=::1",
        "AERO_L2_DHCP_DOMAIN=a..b",
        "AERO_L2_DHCP_DOMAIN=lan example",
        "AERO_L2_DHCP_NTP=time.example",
        "AERO_L2_DHCP_NTP=1.2.3.4,1.2.3.5,1.2.3.6,1.2.3.7,1.2.3.8",
        "AERO_L2_ALLOWED_TCP_PORTS=80,,x",
        "AERO_L2_ALLOWED_UDP_PORTS=65536",
        "AERO_L2_ALLOWED_ORIGINS=https://a/b",
        "AERO_L2_ALLOWED_ORIGINS_EXTRA=a.example",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct config config;
        if (load(&config, WITH(bad[i])) != CONFIG_BAD_VALUE)
            fail_msg("accepted: %s", bad[i]);
        config_free(&config);
    }
}

/* §2.4: lists are trimmed, empty entries are none, origins are kept in normal form. */
static void lists(void **state)
{
    struct config config = loaded(
        WITH("AERO_L2_ALLOWED_ORIGINS= , ,", "ALLOWED_ORIGINS= HTTPS://A.example:443 ,*",
             "AERO_L2_ALLOWED_ORIGINS_EXTRA=http://b:81", "AERO_L2_ALLOWED_HOSTS=a.example, ,b:1",
             "AERO_L2_TRUST_PROXY= Yes ", "AERO_L2_TRUST_PROXY_HOST=0"));

    (void)state;
    assert_int_equal(config.allowed_origins.count, 3);
    assert_string_equal(config.allowed_origins.items[0], "https://a.example");
    assert_string_equal(config.allowed_origins.items[1], "*");
    assert_string_equal(config.allowed_origins.items[2], "http://b:81");
    assert_int_equal(config.allowed_hosts.count, 2);
    assert_string_equal(config.allowed_hosts.items[1], "b:1");
    assert_true(config.trust_proxy);
    assert_false(config.trust_proxy_host);
    config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(numbers_that_do_not_parse),
        cmocka_unit_test(options_are_switched_on_by_1),
        cmocka_unit_test(clamps_and_zeroes),
        cmocka_unit_test(a_lan_mtu_out_of_range_is_refused),
        cmocka_unit_test(listen_addresses),
        cmocka_unit_test(authentication_modes),
        cmocka_unit_test(forwards_and_overrides),
        cmocka_unit_test(windows_keepalive_and_dhcp),
        cmocka_unit_test(bad_overrides),
        cmocka_unit_test(lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
