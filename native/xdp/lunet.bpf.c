// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
// Splits an interface between lunet and the kernel: TCP and UDP to chosen destination ports, of each its own, go to the
// AF_XDP socket of the receive queue, everything else (ARP, ICMP, fragments, VLANs, other ports) to the kernel, untouched.
// The program only looks; it changes no byte.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_QUEUES 64
#define PORT_WORDS (65536 / 64)
#define OWNER_WORDS 3
#define UDP_FIRST_WORD (PORT_WORDS + OWNER_WORDS)
/** More fragments follow, or this is not the first. */
#define IP_FRAGMENT 0x3fff

/** AF_XDP sockets by receive queue. The driver finds it by this name. */
struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, MAX_QUEUES);
  __type(key, __u32);
  __type(value, __u32);
} xsks_map SEC(".maps");

/**
 * Word i < 1024: a bit for each TCP port from 64 i on, 1 = lunet. The three words behind them are not the program's: they
 * tell a later start who attached it (native/xdp.cc). They are in this map because the kernel lists only maps in use.
 * Behind those, 1024 words for UDP's ports.
 */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, UDP_FIRST_WORD + PORT_WORDS);
  __type(key, __u32);
  __type(value, __u64);
} lunet_ports SEC(".maps");

SEC("xdp")
int lunet_steer(struct xdp_md *context) {
  void *data = (void *)(long)context->data;
  void *end = (void *)(long)context->data_end;

  struct ethhdr *ethernet = data;
  if ((void *)(ethernet + 1) > end) return XDP_PASS;

  void *l4;
  __u8 protocol;
  if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
    struct iphdr *ip = (void *)(ethernet + 1);
    if ((void *)(ip + 1) > end) return XDP_PASS;
    // The kernel gets all fragments, the first one too: only together are they anything.
    if ((ip->frag_off & bpf_htons(IP_FRAGMENT)) || ip->ihl < 5) return XDP_PASS;
    protocol = ip->protocol;
    l4 = (void *)ip + ip->ihl * 4;
  } else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
    struct ipv6hdr *ip = (void *)(ethernet + 1);
    if ((void *)(ip + 1) > end) return XDP_PASS;
    // With extension headers (fragments among them) the kernel gets it.
    protocol = ip->nexthdr;
    l4 = ip + 1;
  } else {
    return XDP_PASS;
  }

  __u32 port;
  __u32 word;
  if (protocol == IPPROTO_TCP) {
    struct tcphdr *tcp = l4;
    if ((void *)(tcp + 1) > end) return XDP_PASS;
    port = bpf_ntohs(tcp->dest);
    word = port >> 6;
  } else if (protocol == IPPROTO_UDP) {
    struct udphdr *udp = l4;
    if ((void *)(udp + 1) > end) return XDP_PASS;
    port = bpf_ntohs(udp->dest);
    word = UDP_FIRST_WORD + (port >> 6);
  } else {
    return XDP_PASS;
  }
  __u64 *ports = bpf_map_lookup_elem(&lunet_ports, &word);
  if (!ports || !(*ports >> (port & 63) & 1)) return XDP_PASS;
  // A queue without a socket leaves the frame to the kernel.
  return bpf_redirect_map(&xsks_map, context->rx_queue_index, XDP_PASS);
}

char _license[] SEC("license") = "Dual BSD/GPL";
