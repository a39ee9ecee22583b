# The synthetic LAN of one guest. It knows packets and the policy; sockets reach it through
# struct nat_host.
set(nat_tcp_sources
  tcp_flow.c tcp_timer.c tcp_option.c tcp_reassembly.c tcp_input.c tcp_ack.c tcp_dsack.c tcp_host.c tcp_segment.c tcp_burst.c
  tcp_output.c)
proxy_library(proxy_nat nat
  SOURCES nat.c frame.c arp.c ip4.c reassembly.c icmp.c ip6.c nd.c ra.c icmp6.c dhcp6.c dhcp.c udp.c flow.c dns.c dns_wire.c
          dns_cache.c gateway.c ${nat_tcp_sources}
  LIBS nic_packet proxy_policy proxy_memory)
