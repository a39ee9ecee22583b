#define _GNU_SOURCE
#include "peer_guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static bool set_address(int fd, unsigned long request, struct ifreq *interface, const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};

    inet_pton(AF_INET, text, &address.sin_addr);
    memcpy(&interface->ifr_addr, &address, sizeof address);
    return ioctl(fd, request, interface) == 0;
}

static bool add_default_route(int fd)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    struct sockaddr_in gateway = {.sin_family = AF_INET};
    struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};

    inet_pton(AF_INET, "10.0.2.2", &gateway.sin_addr);
    memcpy(&route.rt_dst, &any, sizeof any);
    memcpy(&route.rt_genmask, &any, sizeof any);
    memcpy(&route.rt_gateway, &gateway, sizeof gateway);
    return ioctl(fd, SIOCADDRT, &route) == 0;
}

/* The namespace starts with this machine's settings; a guest has Linux's own. */
static void set_default(const char *name, const char *value)
{
    char path[128];

    snprintf(path, sizeof path, "/proc/sys/net/ipv4/%s", name);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        fprintf(stderr, "tunnel_peer: %s stays as it is: %s\n", name, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static bool open_tap(struct guest *guest, const struct guest_wish *wish, struct ifreq *interface)
{
    const unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;

    guest->uncut = wish->uncut;
    guest->tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    *interface = (struct ifreq){.ifr_name = "tap0", .ifr_flags = IFF_TAP | IFF_NO_PI};
    if (wish->uncut)
        interface->ifr_flags |= IFF_VNET_HDR;
    return guest->tap >= 0 && ioctl(guest->tap, TUNSETIFF, interface) == 0 &&
           (!wish->uncut || ioctl(guest->tap, TUNSETOFFLOAD, offload) == 0);
}

static const char *set_up(int fd, const struct guest_wish *wish, struct ifreq *interface)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

    interface->ifr_hwaddr.sa_family = 1; /* ARPHRD_ETHER */
    memcpy(interface->ifr_hwaddr.sa_data, mac, sizeof mac);
    if (fd < 0 || ioctl(fd, SIOCSIFHWADDR, interface) != 0)
        return "mac";
    interface->ifr_mtu = (int)wish->mtu;
    if (ioctl(fd, SIOCSIFMTU, interface) != 0)
        return "mtu";
    interface->ifr_qlen = (int)wish->queue_frames;
    if (ioctl(fd, SIOCSIFTXQLEN, interface) != 0)
        return "queue";
    if (wish->has_address && (!set_address(fd, SIOCSIFADDR, interface, "10.0.2.15") ||
                              !set_address(fd, SIOCSIFNETMASK, interface, "255.255.255.0")))
        return "address";
    interface->ifr_flags = IFF_UP | IFF_RUNNING;
    if (ioctl(fd, SIOCSIFFLAGS, interface) != 0)
        return "up";
    return wish->has_address && !add_default_route(fd) ? "route" : NULL;
}

const char *guest_open(struct guest *guest, const struct guest_wish *wish)
{
    struct ifreq interface;

    if (unshare(CLONE_NEWNET) != 0)
        return "network namespace";
    set_default("tcp_rmem", "4096 131072 6291456");
    set_default("tcp_wmem", "4096 16384 4194304");
    if (!open_tap(guest, wish, &interface))
        return "tap";
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    const char *failed = set_up(fd, wish, &interface);

    if (fd >= 0)
        close(fd);
    return failed;
}

/* ---- frames ---- */

static uint16_t checksum(const uint8_t *data, size_t bytes)
{
    uint64_t sum = 0;

    for (size_t i = 0; i + 1 < bytes; i += 2)
        sum += (uint64_t)(data[i] << 8 | data[i + 1]);
    if (bytes % 2 != 0)
        sum += (uint64_t)data[bytes - 1] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

size_t guest_take(struct guest *guest, uint8_t **frame, uint16_t *gso_bytes)
{
    const size_t head_bytes = guest->uncut ? sizeof(struct virtio_net_hdr) : 0;
    const ssize_t got = read(guest->tap, guest->room, sizeof guest->room);
    uint8_t *data = guest->room + head_bytes;
    struct virtio_net_hdr head;

    *frame = data;
    *gso_bytes = 0;
    if (got <= (ssize_t)head_bytes)
        return 0;
    const size_t bytes = (size_t)got - head_bytes;
    if (!guest->uncut)
        return bytes;
    memcpy(&head, guest->room, sizeof head);
    if (head.gso_type != VIRTIO_NET_HDR_GSO_NONE)
        *gso_bytes = head.gso_size;
    else if ((head.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0)
        put16(data + head.csum_start + head.csum_offset,
              checksum(data + head.csum_start, bytes - head.csum_start));
    return bytes;
}

/* As a virtio card that lets its guest trust the checksums. IPv4 is all that runs here. */
static ssize_t write_uncut(int tap, uint8_t *frame, size_t bytes, uint16_t gso_bytes)
{
    const uint16_t tcp_at = (uint16_t)(14 + (frame[14] & 15) * 4);
    struct virtio_net_hdr head = {0};
    const struct iovec parts[2] = {{&head, sizeof head}, {frame, bytes}};

    if (gso_bytes != 0) {
        head =
            (struct virtio_net_hdr){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                    .hdr_len = (uint16_t)(tcp_at + (frame[tcp_at + 12] >> 4) * 4),
                                    .gso_size = gso_bytes,
                                    .csum_start = tcp_at,
                                    .csum_offset = 16};
        put16(frame + 24, 0);
        put16(frame + 24, checksum(frame + 14, tcp_at - 14u));
    }
    return writev(tap, parts, 2);
}

bool guest_give(struct guest *guest, uint8_t *frame, size_t bytes, uint16_t gso_bytes)
{
    const ssize_t done = guest->uncut ? write_uncut(guest->tap, frame, bytes, gso_bytes)
                                      : write(guest->tap, frame, bytes);

    return done >= 0 || errno == EAGAIN || errno == EIO; /* full, or taken down */
}
