#include "tunnel_super.h"

#include "nic/segment.h"

uint8_t *tunnel_super_start(struct tunnel_super *super, struct l2t_client *client,
                            uint32_t frame_bytes, uint16_t gso_bytes)
{
    super->room = NULL;
    if (frame_bytes > sizeof super->scratch)
        return NULL;
    super->frame_bytes = frame_bytes;
    super->gso_bytes = gso_bytes;
    if (frame_bytes == 0 || frame_bytes > l2t_client_super_max(client))
        super->room = super->scratch;
    else
        super->room = l2t_client_super_begin(client, frame_bytes, gso_bytes);
    return super->room;
}

/* For a peer without SUPER, and for what l2t_super_headers() does not let pass. */
static int32_t cut(struct tunnel_super *super, struct l2t_client *client)
{
    const uint8_t *frame = super->scratch;
    const uint32_t head_bytes = super->frame_bytes < SEGMENT_HEADERS_MAX_BYTES
                                    ? super->frame_bytes
                                    : (uint32_t)SEGMENT_HEADERS_MAX_BYTES;
    struct tcp_segments plan;

    if (!tcp_segments_plan(&plan, frame, head_bytes, super->frame_bytes, super->gso_bytes))
        return 0;
    if (plan.header_bytes + tcp_segment_payload(&plan, 0) > l2t_client_frame_max(client))
        return -1; /* the guest's choice: no reason to end the tunnel (l2-tunnel.md §9.1) */
    for (uint32_t i = 0; i < plan.count; i++) {
        const uint32_t bytes = plan.header_bytes + tcp_segment_payload(&plan, i);
        uint8_t *room = l2t_client_send_begin(client, bytes);

        if (room == NULL)
            return -1;
        (void)tcp_segment_make(&plan, room, frame, frame + plan.header_bytes, i);
        l2t_client_send_end(client);
    }
    return (int32_t)plan.count;
}

int32_t tunnel_super_finish(struct tunnel_super *super, struct l2t_client *client)
{
    const bool is_queued = super->room != super->scratch;

    if (super->room == NULL)
        return -1;
    if (is_queued && l2t_super_headers(super->room, super->frame_bytes) != 0 &&
        super->gso_bytes != 0 && super->gso_bytes <= L2T_SUPER_GSO_MAX) {
        l2t_client_send_end(client);
        return 1;
    }
    if (is_queued) /* the room in the queue is given up by what follows */
        __builtin_memcpy(super->scratch, super->room, super->frame_bytes);
    return cut(super, client);
}
