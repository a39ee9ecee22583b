/*
 * guest_raw.c - what a guest does that no ordinary socket does. Runs inside the guest's namespace.
 *
 *   guest_raw health HOST PORT COUNT   SYN, SYN-ACK, RST: a load balancer's check (no ACK, no data)
 *   guest_raw scan HOST PORT COUNT     the same by raw SYNs of which the kernel knows nothing
 *   guest_raw stranger HOST PORT COUNT UDP from other stations than tap0: another MAC with the
 *                                      guest's address, then the guest's MAC with another address,
 *                                      then neither; ends with an ordinary datagram, "end"
 *
 * Prints {"answered":N}: SYN-ACKs seen (stranger: always 0).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IP_BYTES = 20,
    TCP_BYTES = 20,
    UDP_BYTES = 8,
    FIRST_PORT = 20000, /* below those the kernel gives away */
    ANSWER_MS = 20000,
    AT_ONCE = 100, /* answers that surely fit a raw socket's buffer (net.core.rmem_default) */
    TCP_FLAGS_AT = 13,
    TCP_SYN_ACK = 0x12,
};

static const uint8_t guest_ip[4] = {10, 0, 2, 15}, other_ip[4] = {10, 0, 2, 16};
static const uint8_t gateway_mac[6] = {0x02, 0, 0, 0, 0, 0x01};
static const uint8_t other_mac[6] = {0x52, 0x54, 0, 0xaa, 0xbb, 0xcc};

static int fail(const char *what)
{
    fprintf(stderr, "guest_raw: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t add(uint32_t sum, const uint8_t *data, size_t bytes) /* bytes: even */
{
    for (size_t i = 0; i < bytes; i += 2)
        sum += (uint32_t)data[i] << 8 | data[i + 1];
    return sum;
}

static uint32_t finish(uint32_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

static uint32_t pseudo(const uint8_t *source, const uint8_t *destination, uint32_t protocol,
                       size_t bytes)
{
    return add(add(0, source, 4), destination, 4) + protocol + (uint32_t)bytes;
}

static bool check_once(const struct sockaddr_in *to)
{
    const struct linger reset = {.l_onoff = 1};
    const int fd = socket(AF_INET, SOCK_STREAM, 0), off = 0;

    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off); /* the ACK waits ... */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset); /* ... and a RST overtakes it */
    const bool answered = connect(fd, (const struct sockaddr *)to, sizeof *to) == 0;
    close(fd);
    return answered;
}

static uint32_t health(const struct sockaddr_in *to, uint32_t count)
{
    uint32_t answered = 0;

    for (uint32_t i = 0; i < count; i++)
        answered += check_once(to);
    return answered;
}

static void send_syn(int fd, const struct sockaddr_in *to, uint32_t port)
{
    uint8_t tcp[TCP_BYTES] = {[4] = 0x12, [12] = TCP_BYTES / 4 << 4, [TCP_FLAGS_AT] = 0x02};

    put16(tcp, port);
    put16(tcp + 2, ntohs(to->sin_port));
    put16(tcp + 14, 0xffff); /* window */
    const uint32_t sum = pseudo(guest_ip, (const uint8_t *)&to->sin_addr, IPPROTO_TCP, sizeof tcp);
    put16(tcp + 16, finish(add(sum, tcp, sizeof tcp)));
    if (sendto(fd, tcp, sizeof tcp, 0, (const struct sockaddr *)to, sizeof *to) < 0)
        fail("SYN");
}

/* A raw socket sees all TCP that arrives, beside the kernel, which resets what it does not know. */
static uint32_t scan(const struct sockaddr_in *to, uint32_t count)
{
    const int fd = socket(AF_INET, SOCK_RAW, IPPROTO_TCP);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    uint32_t answered = 0;
    uint8_t packet[1600];

    if (fd < 0)
        fail("raw socket");
    for (uint32_t sent = 0; sent < count;) {
        for (uint32_t i = 0; i < AT_ONCE && sent < count; i++)
            send_syn(fd, to, FIRST_PORT + sent++);
        while (answered < sent) {
            if (poll(&wait, 1, ANSWER_MS) <= 0)
                return answered;
            const ssize_t bytes = recv(fd, packet, sizeof packet, 0);

            if (bytes >= IP_BYTES + TCP_BYTES && packet[IP_BYTES + TCP_FLAGS_AT] == TCP_SYN_ACK)
                answered++;
        }
    }
    return answered;
}

static void tap_hardware(int fd, uint8_t *mac, struct sockaddr_ll *link)
{
    struct ifreq tap = {.ifr_name = "tap0"};

    if (ioctl(fd, SIOCGIFHWADDR, &tap) != 0)
        fail("MAC");
    memcpy(mac, tap.ifr_hwaddr.sa_data, 6);
    if (ioctl(fd, SIOCGIFINDEX, &tap) != 0)
        fail("index");
    *link = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_ifindex = tap.ifr_ifindex};
}

static void send_as(const uint8_t *mac, const uint8_t *ip_address, const struct sockaddr_in *to)
{
    static const char word[] = "stranger"; /* 8 bytes count */
    uint8_t frame[ETH_HLEN + IP_BYTES + UDP_BYTES + 8] = {0}, tap_mac[6];
    uint8_t *ip = frame + ETH_HLEN, *udp = ip + IP_BYTES;
    const int fd = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll link;

    if (fd < 0)
        fail("packet socket");
    tap_hardware(fd, tap_mac, &link);
    memcpy(frame, gateway_mac, 6);
    memcpy(frame + 6, mac != NULL ? mac : tap_mac, 6);
    put16(frame + 12, ETH_P_IP);
    ip[0] = 0x45;
    put16(ip + 2, sizeof frame - ETH_HLEN);
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    memcpy(ip + 12, ip_address, 4);
    memcpy(ip + 16, &to->sin_addr, 4);
    put16(ip + 10, finish(add(0, ip, IP_BYTES)));
    put16(udp, FIRST_PORT);
    put16(udp + 2, ntohs(to->sin_port));
    put16(udp + 4, UDP_BYTES + 8);
    memcpy(udp + UDP_BYTES, word, 8);
    const uint32_t sum = pseudo(ip_address, ip + 16, IPPROTO_UDP, UDP_BYTES + 8);
    put16(udp + 6, finish(add(sum, udp, UDP_BYTES + 8)));
    if (sendto(fd, frame, sizeof frame, 0, (struct sockaddr *)&link, sizeof link) < 0)
        fail("frame");
    close(fd);
}

static void say(const struct sockaddr_in *to, const char *word)
{
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (sendto(fd, word, strlen(word), 0, (const struct sockaddr *)to, sizeof *to) < 0)
        fail("datagram");
    close(fd);
}

static uint32_t stranger(const struct sockaddr_in *to, uint32_t count)
{
    say(to, "begin"); /* now the proxy knows who its guest is */
    for (uint32_t i = 0; i < count; i++) {
        send_as(other_mac, guest_ip, to);
        send_as(NULL, other_ip, to);
        send_as(other_mac, other_ip, to);
    }
    say(to, "end");
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint32_t (*run)(const struct sockaddr_in *to, uint32_t count);
    } jobs[] = {{"health", health}, {"scan", scan}, {"stranger", stranger}};
    struct sockaddr_in to = {.sin_family = AF_INET};

    if (argc == 5 && inet_pton(AF_INET, argv[2], &to.sin_addr) == 1) {
        to.sin_port = htons((uint16_t)atoi(argv[3]));
        for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
            if (strcmp(jobs[i].name, argv[1]) != 0)
                continue;
            printf("{\"answered\":%u}\n", jobs[i].run(&to, (uint32_t)atoi(argv[4])));
            return 0;
        }
    }
    fprintf(stderr, "usage: guest_raw health|scan|stranger IPV4 PORT COUNT\n");
    return 2;
}
