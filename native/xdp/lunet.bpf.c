// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
// Splits an interface between lunet and the kernel: TCP to a chosen destination port goes to the AF_XDP socket of the
// receive queue, everything else (ARP, ICMP, UDP, fragments, VLANs, other ports) to the kernel, untouched.
// The program only looks; it changes no byte.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_QUEUES 64
#define PORT_WORDS (65536 / 64)
#define OWNER_WORDS 3
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
 * Word i < 1024: a bit for each TCP port from 64 i on, 1 = lunet. The words behind them are not the program's: they
 * tell a later start who attached it (native/xdp.cc). They are in this map because the kernel lists only maps in use.
 */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, PORT_WORDS + OWNER_WORDS);
  __type(key, __u32);
  __type(value, __u64);
} lunet_ports SEC(".maps");

SEC("xdp")
int lunet_steer(struct xdp_md *context) {
  void *data = (void *)(long)context->data;
  void *end = (void *)(long)context->data_end;

  struct ethhdr *ethernet = data;
  if ((void *)(ethernet + 1) > end) return XDP_PASS;

  struct tcphdr *tcp;
  if (ethernet->h_proto == bpf_htons(ETH_P_IP)) {
    struct iphdr *ip = (void *)(ethernet + 1);
    if ((void *)(ip + 1) > end) return XDP_PASS;
    if (ip->protocol != IPPROTO_TCP || (ip->frag_off & bpf_htons(IP_FRAGMENT)) || ip->ihl < 5) return XDP_PASS;
    tcp = (void *)ip + ip->ihl * 4;
  } else if (ethernet->h_proto == bpf_htons(ETH_P_IPV6)) {
    struct ipv6hdr *ip = (void *)(ethernet + 1);
    if ((void *)(ip + 1) > end) return XDP_PASS;
    // With extension headers (fragments among them) the kernel gets it.
    if (ip->nexthdr != IPPROTO_TCP) return XDP_PASS;
    tcp = (void *)(ip + 1);
  } else {
    return XDP_PASS;
  }
  if ((void *)(tcp + 1) > end) return XDP_PASS;

  __u32 port = bpf_ntohs(tcp->dest);
  __u32 word = port >> 6;
  __u64 *ports = bpf_map_lookup_elem(&lunet_ports, &word);
  if (!ports || !(*ports >> (port & 63) & 1)) return XDP_PASS;
  // A queue without a socket leaves the frame to the kernel.
  return bpf_redirect_map(&xsks_map, context->rx_queue_index, XDP_PASS);
}

char _license[] SEC("license") = "Dual BSD/GPL";
