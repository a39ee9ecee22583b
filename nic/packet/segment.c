#include "nic/segment.h"

#include "nic/packet.h"

enum {
    VLAN_TAGS_MAX = 2,
    IPV6_EXTENSIONS_MAX = 8,
    L4_BYTES_MIN = 8,
    IP_PROTOCOL_HOP_BY_HOP = 0,
    IP_PROTOCOL_ROUTING = 43,
    IP_PROTOCOL_DESTINATION_OPTIONS = 60,
    TCP_HEADER_NIBBLE_MIN = 5,
};

static bool find_ipv4(struct l4_view *view, const uint8_t *frame, uint32_t bytes)
{
    const uint8_t *ip = frame + view->l3;

    if (bytes - view->l3 < IPV4_HEADER_BYTES || ip[0] >> 4 != 4 ||
        (ip[0] & 15u) * 4 < IPV4_HEADER_BYTES ||
        (be16_get(ip + IPV4_FRAGMENT_AT) & (IPV4_FLAG_MF | IPV4_OFFSET_MASK)) != 0)
        return false;
    view->version = 4;
    view->protocol = ip[IPV4_PROTOCOL_AT];
    view->l4 = view->l3 + (ip[0] & 15u) * 4;
    return true;
}

static bool find_ipv6(struct l4_view *view, const uint8_t *frame, uint32_t bytes)
{
    if (bytes - view->l3 < IPV6_HEADER_BYTES || frame[view->l3] >> 4 != 6)
        return false;
    view->version = 6;
    view->protocol = frame[view->l3 + IPV6_NEXT_HEADER_AT];
    view->l4 = view->l3 + IPV6_HEADER_BYTES;
    for (uint32_t i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
        if (view->protocol != IP_PROTOCOL_HOP_BY_HOP && view->protocol != IP_PROTOCOL_ROUTING &&
            view->protocol != IP_PROTOCOL_DESTINATION_OPTIONS)
            return true;
        if (view->l4 > bytes || bytes - view->l4 < 8)
            return false;
        view->protocol = frame[view->l4];
        view->l4 += (frame[view->l4 + 1] + 1u) * 8;
    }
    return false;
}

bool l4_find(struct l4_view *view, const uint8_t *frame, uint32_t bytes)
{
    uint32_t type_at = ETH_TYPE_AT;
    bool found = false;

    for (uint32_t i = 0; i < VLAN_TAGS_MAX; i++) {
        if (bytes < type_at + 2 || be16_get(frame + type_at) != ETH_TYPE_VLAN)
            break;
        type_at += ETH_VLAN_BYTES;
    }
    if (bytes < type_at + 2)
        return false;
    const uint16_t type = be16_get(frame + type_at);
    view->l3 = type_at + 2;
    if (type == ETH_TYPE_IPV4)
        found = find_ipv4(view, frame, bytes);
    else if (type == ETH_TYPE_IPV6)
        found = find_ipv6(view, frame, bytes);
    return found && view->l4 <= bytes && bytes - view->l4 >= L4_BYTES_MIN;
}

uint16_t l4_pseudo(const struct l4_view *view, const uint8_t *frame, uint32_t l4_bytes)
{
    const uint8_t *ip = frame + view->l3;

    if (view->version == 4)
        return checksum_fold(checksum_pseudo_ipv4(ip + IPV4_SOURCE_AT, ip + IPV4_DESTINATION_AT,
                                                  view->protocol, (uint16_t)l4_bytes));
    return checksum_fold(checksum_pseudo_ipv6(ip + IPV6_SOURCE_AT, ip + IPV6_DESTINATION_AT,
                                              view->protocol, l4_bytes));
}

/* TCP/UDP bytes by the IP header's own length, 0 when it does not fit the frame. */
static uint32_t l4_length(const struct l4_view *view, const uint8_t *frame, uint32_t bytes)
{
    const uint8_t *ip = frame + view->l3;
    const uint32_t end = view->version == 4
                             ? view->l3 + be16_get(ip + IPV4_TOTAL_LENGTH_AT)
                             : view->l3 + IPV6_HEADER_BYTES + be16_get(ip + IPV6_PAYLOAD_LENGTH_AT);

    return end <= bytes && end > view->l4 ? end - view->l4 : 0;
}

enum l4_verdict l4_checksum_judge(const uint8_t *frame, uint32_t bytes)
{
    struct l4_view view;

    if (!l4_find(&view, frame, bytes))
        return L4_UNKNOWN;
    const uint8_t *l4 = frame + view.l4;
    const uint32_t l4_bytes = l4_length(&view, frame, bytes);
    if (view.protocol == IP_PROTOCOL_TCP) {
        if (l4_bytes < TCP_HEADER_BYTES)
            return L4_UNKNOWN;
    } else if (view.protocol != IP_PROTOCOL_UDP || l4_bytes < UDP_HEADER_BYTES ||
               be16_get(l4 + UDP_LENGTH_AT) != l4_bytes || be16_get(l4 + UDP_CHECKSUM_AT) == 0) {
        return L4_UNKNOWN; /* a UDP checksum of 0 was not computed by the sender */
    }
    const uint32_t sum = checksum_add(l4_pseudo(&view, frame, l4_bytes), l4, l4_bytes);
    return checksum_fold(sum) == 0xffff ? L4_GOOD : L4_BAD;
}

bool checksum_complete(uint8_t *frame, uint32_t bytes, uint32_t start, uint32_t at)
{
    if (bytes < 2 || at > bytes - 2 || start >= bytes)
        return false;
    const uint16_t sum = checksum_finish(checksum_add(0, frame + start, bytes - start));
    be16_put(frame + at, sum != 0 ? sum : 0xffff); /* right for UDP, the same number for TCP */
    return true;
}

uint32_t segments_count(uint32_t payload_bytes, uint32_t mss)
{
    return payload_bytes == 0 ? 1 : (payload_bytes - 1) / mss + 1;
}

bool tcp_segments_plan(struct tcp_segments *plan, const uint8_t *head, uint32_t head_bytes,
                       uint32_t packet_bytes, uint32_t mss)
{
    if (mss == 0 || !l4_find(&plan->view, head, head_bytes) ||
        plan->view.protocol != IP_PROTOCOL_TCP || head_bytes - plan->view.l4 < TCP_HEADER_BYTES)
        return false;
    const uint32_t words = head[plan->view.l4 + TCP_DATA_OFFSET_AT] >> 4;
    plan->header_bytes = plan->view.l4 + 4 * words;
    if (words < TCP_HEADER_NIBBLE_MIN || plan->header_bytes > head_bytes ||
        plan->header_bytes > packet_bytes || plan->header_bytes > SEGMENT_HEADERS_MAX_BYTES)
        return false;
    plan->mss = mss;
    plan->payload_bytes = packet_bytes - plan->header_bytes;
    plan->count = segments_count(plan->payload_bytes, mss);
    return true;
}

static void ip_edit(const struct tcp_segments *plan, uint8_t *ip, uint32_t ip_bytes, uint32_t index)
{
    const uint32_t header_bytes = plan->header_bytes - plan->view.l3; /* from the IP header on */

    if (plan->view.l3 > plan->header_bytes)
        return;
    if (plan->view.version == 4 && header_bytes >= IPV4_ID_AT + 2) {
        be16_put(ip + IPV4_TOTAL_LENGTH_AT, (uint16_t)ip_bytes);
        be16_put(ip + IPV4_ID_AT, (uint16_t)(be16_get(ip + IPV4_ID_AT) + index));
    } else if (plan->view.version == 6 && header_bytes >= IPV6_PAYLOAD_LENGTH_AT + 2) {
        be16_put(ip + IPV6_PAYLOAD_LENGTH_AT, (uint16_t)(ip_bytes - IPV6_HEADER_BYTES));
    }
}

void segment_edit(const struct tcp_segments *plan, uint8_t *frame, uint32_t index)
{
    const uint32_t bytes = plan->header_bytes + tcp_segment_payload(plan, index);
    uint8_t *l4 = frame + plan->view.l4;

    ip_edit(plan, frame + plan->view.l3, bytes - plan->view.l3, index);
    if (plan->view.protocol == IP_PROTOCOL_UDP) {
        be16_put(l4 + UDP_LENGTH_AT, (uint16_t)(bytes - plan->view.l4));
        return;
    }
    be32_put(l4 + TCP_SEQUENCE_AT, be32_get(l4 + TCP_SEQUENCE_AT) + index * plan->mss);
    if (index + 1 < plan->count && plan->view.l4 + TCP_FLAGS_AT < plan->header_bytes)
        l4[TCP_FLAGS_AT] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
}

static void ipv4_checksum(const struct tcp_segments *plan, uint8_t *ip)
{
    if (plan->view.version != 4)
        return;
    be16_put(ip + IPV4_CHECKSUM_AT, 0);
    be16_put(ip + IPV4_CHECKSUM_AT,
             checksum_finish(checksum_add(0, ip, plan->view.l4 - plan->view.l3)));
}

void tcp_segment_headers(const struct tcp_segments *plan, uint8_t *headers, const uint8_t *payload,
                         uint32_t index)
{
    const uint32_t payload_bytes = tcp_segment_payload(plan, index);
    const uint32_t tcp_bytes = plan->header_bytes - plan->view.l4; /* a multiple of 4 */
    uint8_t *ip = headers + plan->view.l3;
    uint8_t *tcp = headers + plan->view.l4;

    segment_edit(plan, headers, index);
    ipv4_checksum(plan, ip);
    if (index > 0)
        tcp[TCP_FLAGS_AT] &= (uint8_t)~TCP_CWR; /* RFC 3168 §6.1.2: said once */
    be16_put(tcp + TCP_CHECKSUM_AT, l4_pseudo(&plan->view, headers, tcp_bytes + payload_bytes));
    const uint16_t sum =
        checksum_finish(checksum_add(checksum_add(0, tcp, tcp_bytes), payload, payload_bytes));
    be16_put(tcp + TCP_CHECKSUM_AT, sum != 0 ? sum : 0xffff);
}

void tcp_segment_finish(const struct tcp_segments *plan, uint8_t *frame, uint32_t index)
{
    tcp_segment_headers(plan, frame, frame + plan->header_bytes, index);
}

uint32_t tcp_segment_make(const struct tcp_segments *plan, uint8_t *to, const uint8_t *headers,
                          const uint8_t *payload, uint32_t index)
{
    const uint32_t payload_bytes = tcp_segment_payload(plan, index);

    __builtin_memcpy(to, headers, plan->header_bytes);
    __builtin_memcpy(to + plan->header_bytes, payload + index * plan->mss, payload_bytes);
    tcp_segment_finish(plan, to, index);
    return plan->header_bytes + payload_bytes;
}

bool tcp_segments_super(const struct tcp_segments *plan)
{
    const uint32_t ip_bytes = plan->header_bytes + plan->payload_bytes - ETH_HEADER_BYTES;

    return plan->count > 1 && plan->view.l3 == ETH_HEADER_BYTES && ip_bytes <= UINT16_MAX &&
           (plan->view.version == 4 || plan->view.l4 == ETH_HEADER_BYTES + IPV6_HEADER_BYTES);
}

void super_frame_length(const struct tcp_segments *plan, uint8_t *frame)
{
    const uint32_t end = plan->header_bytes + plan->payload_bytes;
    uint8_t *ip = frame + plan->view.l3;

    if (plan->view.version == 4)
        be16_put(ip + IPV4_TOTAL_LENGTH_AT, (uint16_t)(end - plan->view.l3));
    else
        be16_put(ip + IPV6_PAYLOAD_LENGTH_AT, (uint16_t)(end - plan->view.l3 - IPV6_HEADER_BYTES));
}

void super_frame_checksums(const struct tcp_segments *plan, uint8_t *headers)
{
    const uint32_t tcp_bytes = plan->header_bytes - plan->view.l4 + plan->payload_bytes;

    ipv4_checksum(plan, headers + plan->view.l3);
    be16_put(headers + plan->view.l4 + TCP_CHECKSUM_AT, l4_pseudo(&plan->view, headers, tcp_bytes));
}
