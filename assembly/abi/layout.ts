// The ABI between the core, the shim and the host: every offset, size and code that more than one of them
// uses, as plain integer constants. `scripts/gen-layout.mjs` turns this file into the host's TypeScript copy
// and the shim's C header, so a field has one source.
//
// Linear memory:
//
//   0        CTL        STATIC            heapBase           zoneBase                        end
//   ├─ null ─┼─ control ─┼─ core's data ──┼─ arena (init) ───┼─ 2 MiB zones (rx, then Zbuf) ─┤
//   0        1024        8192
//
// All multi-byte fields are little-endian. Ring indices run freely and are masked on use.

// ---- control block, at CTL ---------------------------------------------------------------------------------
export const CTL: u32 = 1024;

// Rings. `…At` is the linear address of entry 0, `…Size` the number of entries (a power of two).
export const CTL_RX_AT: u32 = 1024;
export const CTL_RX_SIZE: u32 = 1028;
export const CTL_TX_AT: u32 = 1032;
export const CTL_TX_SIZE: u32 = 1036;
/** Segments produced by the core. */
export const CTL_TX_HEAD: u32 = 1040;
/** Segments taken by the link. */
export const CTL_TX_TAIL: u32 = 1044;
export const CTL_DONE_AT: u32 = 1048;
export const CTL_DONE_SIZE: u32 = 1052;
/** Transmit completions produced by the link. */
export const CTL_DONE_HEAD: u32 = 1056;
/** Transmit completions taken by the core. */
export const CTL_DONE_TAIL: u32 = 1060;
export const CTL_FREE_AT: u32 = 1064;
export const CTL_FREE_SIZE: u32 = 1068;
/** Receive objects given back by the core. */
export const CTL_FREE_HEAD: u32 = 1072;
/** Receive objects taken back by the link. */
export const CTL_FREE_TAIL: u32 = 1076;
export const CTL_EVENT_AT: u32 = 1080;
export const CTL_EVENT_SIZE: u32 = 1084;
/** Events produced by the core. */
export const CTL_EVENT_HEAD: u32 = 1088;
/** Events taken by the host. */
export const CTL_EVENT_TAIL: u32 = 1092;
/** f64, nanoseconds, monotonic: stamped by the link in every burst. */
export const CTL_CLOCK_NS: u32 = 1096;
/** Address of the counter array (u64 each, indexed by CNT_…). */
export const CTL_COUNTERS_AT: u32 = 1104;
/** Scratch space for the host: SCRATCH_SIZE bytes for addresses, iovs and info structs passed by pointer. */
export const CTL_SCRATCH_AT: u32 = 1108;
export const SCRATCH_SIZE: u32 = 4096;

// ---- receive descriptor ------------------------------------------------------------------------------------
//   0      4      8       12
//   ├ addr ┼ len ─┼ flags ┼ reserved ┤
export const RXD_SIZE: u32 = 16;
export const RXD_ADDR: u32 = 0;
export const RXD_LEN: u32 = 4;
export const RXD_FLAGS: u32 = 8;
/** The link vouches for the IPv4 header checksum. */
export const RXF_IP_CSUM_OK: u32 = 1;
/** The link vouches for the TCP/UDP checksum. */
export const RXF_L4_CSUM_OK: u32 = 2;
/** The sender may have left the L4 checksum at the pseudo-header sum (a veth peer's CHECKSUM_PARTIAL). */
export const RXF_L4_CSUM_PARTIAL: u32 = 4;

// ---- transmit segment descriptor ---------------------------------------------------------------------------
// A frame is a run of segments, TXF_START on the first, TXF_END on the last. The link pushes `addr` of every
// segment to the completion ring when it no longer reads the memory.
//   0      4      8       12
//   ├ addr ┼ len ─┼ flags ┼ offload ┤
export const TXD_SIZE: u32 = 16;
export const TXD_ADDR: u32 = 0;
export const TXD_LEN: u32 = 4;
export const TXD_FLAGS: u32 = 8;
/** On the first segment: Ethernet, IP and L4 header bytes, in bits 0–7, 8–15 and 16–23. */
export const TXD_OFFLOAD: u32 = 12;
export const TXF_START: u32 = 1;
export const TXF_END: u32 = 2;
/** The link must fill the IPv4 header checksum. */
export const TXF_IP_CSUM: u32 = 4;
/** The link must fill the TCP checksum; the field holds the pseudo-header sum. */
export const TXF_TCP_CSUM: u32 = 8;
/** Room for headers in front of what allocMessage() gives. */
export const HEADROOM: u32 = 128;
/**
 * With TXF_TCP_CSUM: the link must cut the payload into TCP segments of as many bytes as bits 16–31 of the first
 * segment's flags say, and complete their headers. The pseudo-header sum is without a length.
 */
export const TXF_TSO: u32 = 16;
export const TXF_TSO_MSS_SHIFT: u32 = 16;
/** Segments a frame may have at most, the header segment included. */
export const TX_MAX_SEGS: u32 = 9;
/** The same of a frame with TXF_TSO. */
export const TX_TSO_MAX_SEGS: u32 = 18;
/** TCP segments that a frame with TXF_TSO may be cut into. */
export const TX_TSO_MAX_CUTS: u32 = 64;

// ---- event -------------------------------------------------------------------------------------------------
//   0        4      8   12
//   ├ handle ┼ kind ┼ a ┼ b ┤
export const EVENT_SIZE: u32 = 16;
export const EVENT_HANDLE: u32 = 0;
export const EVENT_KIND: u32 = 4;
export const EVENT_A: u32 = 8;
export const EVENT_B: u32 = 12;
/**
 * What an application may want to know and need not act on (RFC 9293 §3.9.1.8): a = REPORT_… bits, above bit 8 the
 * errno of the ICMP error; b = bytes to read until the end of urgent data.
 */
export const EV_REPORT: u32 = 0;
/** Batch: the listener has connections to accept(). Inline: a = handle of the new connection. */
export const EV_ACCEPT: u32 = 1;
/** The active open is done. */
export const EV_CONNECT: u32 = 2;
/** Batch: a = bytes that recv() will give. Inline: a = address, b = length; the callback owns one reference. */
export const EV_DATA: u32 = 3;
/** There is room in the send queue again, after a send() that said EAGAIN. */
export const EV_WRITE: u32 = 4;
/** The peer's FIN has been reached in the byte stream. */
export const EV_EOF: u32 = 5;
/** a = errno. The connection is dead; close() releases the handle. */
export const EV_ERROR: u32 = 6;
/** Both FINs are sent, received and acknowledged. close() releases the handle. */
export const EV_CLOSED: u32 = 7;
/** A neighbour wants resolving by the kernel: a = address of the 16-byte IP address. Handle 0. */
export const EV_NEIGH: u32 = 8;
/**
 * UDP. Batch: a = datagrams that udpRecv() will give, b = 0. Inline: a = address of a UDPD_… descriptor, valid during the
 * callback, b = UDPD_SIZE; the callback owns one reference to the payload. A UDP socket also gets EV_WRITE, and EV_ERROR
 * for an ICMP error about what it sent, after which it goes on.
 */
export const EV_DATAGRAM: u32 = 9;

/** An ICMP error about the connection, which goes on (RFC 9293 §3.9.2.2). */
export const REPORT_ICMP: u32 = 1;
/** The same segment has been retransmitted three times without an answer (RFC 9293 §3.8.3, R1). */
export const REPORT_RETRANSMISSIONS: u32 = 2;
/** The urgent pointer has advanced (RFC 9293 §3.8.5). */
export const REPORT_URGENT: u32 = 4;

// ---- configuration, written by the host before init() ------------------------------------------------------
export const CFG: u32 = 2048;
/** First byte after the arena: the core may use [heapBase, arenaEnd). */
export const CFG_ARENA_END: u32 = 2048;
/** Linear address of zone 0. The virtual address of it is a multiple of 2 MiB where zones are hugepages. */
export const CFG_ZONE_BASE: u32 = 2052;
/** Zones from zone 0 on. */
export const CFG_ZONE_COUNT: u32 = 2056;
/** How many of them, from zone 0 on, hold receive pools. */
export const CFG_RX_ZONES: u32 = 2060;
export const CFG_SEED_LO: u32 = 2064;
export const CFG_SEED_HI: u32 = 2068;
export const CFG_MAX_CONNECTIONS: u32 = 2072;
export const CFG_MAX_LISTENERS: u32 = 2076;
export const CFG_RX_RING: u32 = 2080;
export const CFG_TX_RING: u32 = 2084;
/** Must be at least the number of receive objects. */
export const CFG_FREE_RING: u32 = 2088;
export const CFG_EVENT_RING: u32 = 2092;
/** Send-queue and transmitted-segment records for all connections together. */
export const CFG_SEGMENT_RECORDS: u32 = 2096;
/** Default send and receive buffer of a connection, bytes. */
export const CFG_SND_BUF_BYTES: u32 = 2100;
export const CFG_RCV_BUF_BYTES: u32 = 2104;
export const CFG_PORT_LO: u32 = 2108;
export const CFG_PORT_HI: u32 = 2112;
export const CFG_RTO_MIN_US: u32 = 2116;
export const CFG_RTO_MAX_US: u32 = 2120;
export const CFG_RTO_INIT_US: u32 = 2124;
export const CFG_DELACK_US: u32 = 2128;
export const CFG_TIME_WAIT_US: u32 = 2132;
export const CFG_FIN_WAIT2_US: u32 = 2136;
export const CFG_SYN_RETRIES: u32 = 2140;
export const CFG_SYNACK_RETRIES: u32 = 2144;
/** Retransmission timeouts of one segment before ETIMEDOUT (Linux tcp_retries2). */
export const CFG_RETRIES: u32 = 2148;
/** Milliseconds: two hours are more microseconds than a word holds. */
export const CFG_KEEPALIVE_TIME_MS: u32 = 2152;
export const CFG_KEEPALIVE_INTVL_MS: u32 = 2156;
export const CFG_KEEPALIVE_PROBES: u32 = 2160;
export const CFG_INIT_CWND_SEGMENTS: u32 = 2164;
export const CFG_FLAGS: u32 = 2168;
/** Answer ARP requests and resolve neighbours with ARP (no kernel behind the link). */
export const CFGF_ARP: u32 = 1;
/** Answer ICMP echo requests (no kernel behind the link). */
export const CFGF_ICMP_ECHO: u32 = 2;
/** The link fills checksums on transmit. */
export const CFGF_TX_CSUM: u32 = 4;
/** The link's checksums are never wrong: do not verify (shared-memory links told to trust). */
export const CFGF_RX_TRUST: u32 = 8;
export const CFGF_TIMESTAMPS: u32 = 16;
export const CFGF_SACK: u32 = 32;
export const CFGF_WINDOW_SCALE: u32 = 64;
/** Neighbours are resolved by the host: EV_NEIGH instead of ARP requests. */
export const CFGF_NEIGH_EVENTS: u32 = 128;
/** Do not fill in checksums at all (a shared-memory link told to trust at both ends). */
export const CFGF_TX_NO_CSUM: u32 = 256;
/** Ask for ECN in our SYNs (RFC 3168 §6.1.1). */
export const CFGF_ECN_REQUEST: u32 = 512;
/** Agree to ECN when the peer's SYN asks for it. */
export const CFGF_ECN_ACCEPT: u32 = 1024;
/**
 * Congestion windows as Linux counts them: slow start takes every byte that an ACK covers, however many, and a
 * reduction starts from cwnd even when less was in flight.
 */
export const CFGF_LINUX_CWND: u32 = 2048;
/** Tail loss probes (RFC 8985 §7). */
export const CFGF_TLP: u32 = 4096;
/** Detect spurious timeouts by F-RTO (RFC 5682). */
export const CFGF_FRTO: u32 = 8192;
/** Suspect the path's MTU when full-sized segments keep getting lost (RFC 4821 §7.7). */
export const CFGF_PMTU_BLACK_HOLE: u32 = 16384;
/** Offer windows, acknowledge data and take ICMP errors as Linux does (tcp/linux.ts, tcp/icmp.ts). */
export const CFGF_LINUX: u32 = 32768;
/** An idle connection keeps its congestion window (Linux's tcp_slow_start_after_idle=0). */
export const CFGF_IDLE_WINDOW: u32 = 65536;
/** Delay ACKs by an eighth of the round trip, within 1 ms and CFG_DELACK_US, not by CFG_DELACK_US. */
export const CFGF_DELACK_RTT: u32 = 131072;
/** The link gives back what it is given: packets from ourselves are no forgeries, and our addresses are reached by it. */
export const CFGF_LOOPBACK: u32 = 16777216;
/** Build the header of every segment by itself: no late segmentation (tcp/gso.ts). */
export const CFGF_NO_GSO: u32 = 33554432;
/** Finish with every received segment before the next one is looked at (tcp/gro.ts). */
export const CFGF_NO_GRO: u32 = 67108864;
/** The link cuts frames with TXF_TSO; with CFGF_TX_CSUM only. */
export const CFGF_TX_TSO: u32 = 134217728;
export const CFG_MTU: u32 = 2172;
/** 6 bytes. */
export const CFG_MAC: u32 = 2176;
export const CFG_MAX_NEIGHBOURS: u32 = 2184;
export const CFG_MAX_ROUTES: u32 = 2188;
/** Initial bytes of memory that out-of-order data of one connection may hold, in receive objects. */
export const CFG_OOO_OBJECTS: u32 = 2192;
/** Congestion control of new connections, CC_…. */
export const CFG_CONGESTION: u32 = 2196;
/**
 * While an outage lasts, the backed-off RTO is at most this, or an eighth of the outage so far, whichever is more; 0:
 * it doubles each time up to CFG_RTO_MAX_US (RFC 6298 §5.5).
 */
export const CFG_RTO_STEADY_US: u32 = 2200;
/** What receive autotuning may grow the receive buffer to; not above CFG_RCV_BUF_BYTES: no autotuning. */
export const CFG_RCV_BUF_MAX_BYTES: u32 = 2204;
/** What a tail loss probe waits beyond two round trips (RFC 8985 §7.2), for timers and peers that are not exact. */
export const CFG_TLP_SLACK_US: u32 = 2208;
/** SYN cookies (RFC 4987 §3.6), SYN_COOKIES_…. */
export const CFG_SYN_COOKIES: u32 = 2304;
/** The oldest half-open connection makes room for a new one. */
export const SYN_COOKIES_OFF: u32 = 0;
/** A SYN for which a listener has no room is answered by a cookie. */
export const SYN_COOKIES_PRESSURE: u32 = 1;
/** Every SYN is: for tests. */
export const SYN_COOKIES_ALWAYS: u32 = 2;
/** Challenge ACKs a second of all connections together (RFC 5961 §7); 0: no such limit. */
export const CFG_CHALLENGE_ACKS: u32 = 2308;
/** Connections that the application has closed and the protocol has not; 0: a quarter of CFG_MAX_CONNECTIONS. */
export const CFG_MAX_ORPHANS: u32 = 2312;
/** Timeouts or window probes of one segment after which such a connection is given up (Linux tcp_orphan_retries). */
export const CFG_ORPHAN_RETRIES: u32 = 2316;
// UDP
/** UDP sockets there may be; 0: no UDP. */
export const CFG_UDP_SOCKETS: u32 = 2320;
/** Received datagrams that may wait in all sockets together. At most half of the receive objects ever do. */
export const CFG_UDP_DATAGRAMS: u32 = 2324;
/** Payload bytes that may wait in all sockets together. */
export const CFG_UDP_MEM_BYTES: u32 = 2328;
/** Default receive buffer of a UDP socket: payload bytes that may wait, and datagrams. */
export const CFG_UDP_RCV_BUF_BYTES: u32 = 2332;
export const CFG_UDP_RCV_BUF_DATAGRAMS: u32 = 2336;
/** Fragmented datagrams that may be incomplete at a time; 0: fragments are dropped. */
export const CFG_REASM_DATAGRAMS: u32 = 2356;
/** Receive objects that fragments may hold, and never more than an eighth of all. */
export const CFG_REASM_OBJECTS: u32 = 2360;
/** Payload bytes that fragments may hold (Linux ipfrag_high_thresh). */
export const CFG_REASM_BYTES: u32 = 2364;
/** From the first fragment that came to when the datagram is given up: IPv4, IPv6. */
export const CFG_REASM_TIMEOUT_US: u32 = 2368;
export const CFG_REASM_TIMEOUT6_US: u32 = 2372;
/** Receive objects that out-of-order data of all connections together may hold; 0: a quarter of all. */
export const CFG_OOO_TOTAL_OBJECTS: u32 = 2376;
/** How long a run of received segments stays open beyond its burst (tcp/gro.ts); 0: it ends with the burst. */
export const CFG_GRO_HOLD_US: u32 = 2380;

/**
 * Connections that may be doing something at the same time: those beyond it that do nothing are packed (tcp/park.ts). 0, or
 * not less than CFG_MAX_CONNECTIONS: all of them.
 */
export const CFG_ACTIVE_CONNECTIONS: u32 = 2384;
/** Retransmissions of a SYN, beyond CFG_SYN_RETRIES, before the timeout doubles (Linux tcp_syn_linear_timeouts). */
export const CFG_SYN_LINEAR: u32 = 2388;
/** TCP Fast Open (RFC 7413): FAST_OPEN_…, as Linux's tcp_fastopen; 0: off. */
export const CFG_FAST_OPEN: u32 = 2392;
/** connect() with SOCK_FAST_OPEN sends data in the SYN. */
export const FAST_OPEN_CLIENT: u32 = 1;
/** Listeners with OPT_FAST_OPEN take data in a SYN. */
export const FAST_OPEN_SERVER: u32 = 2;
/** The client sends data without a cookie, the server takes it without one. */
export const FAST_OPEN_CLIENT_BARE: u32 = 4;
export const FAST_OPEN_SERVER_BARE: u32 = 512;
/** Every listener does, OPT_FAST_OPEN or not. */
export const FAST_OPEN_ALL: u32 = 1024;
/** A cookie of CFG_FAST_OPEN_OLD_KEY is good too. */
export const FAST_OPEN_OLD_KEY: u32 = 65536;
/** 16 bytes: the key of the cookies. Servers behind one address share it (RFC 7413 §4.1.2). */
export const CFG_FAST_OPEN_KEY: u32 = 2396;
/** The same, of the key before: a client that has a cookie of it is served, and given a new one. */
export const CFG_FAST_OPEN_OLD_KEY: u32 = 2412;

// ---- zones and objects -------------------------------------------------------------------------------------
export const ZONE_BYTES: u32 = 2097152;
export const ZONE_SHIFT: u32 = 21;
// Of each object (assembly/zbuf/zone.ts).
export const CONTEXT_BYTES: u32 = 8;

// ---- sockets -----------------------------------------------------------------------------------------------
/** listen()/connect() flag: deliver through the inline callback instead of the event ring. */
export const SOCK_INLINE: u32 = 1;
/** listen() flag: on :: no IPv4 connections (IPV6_V6ONLY). */
export const SOCK_V6ONLY: u32 = 2;
/** listen() flag: accept nothing new while the accept queue is full (default), see backlog. */

/** connect() flag: data that is queued before the next turn goes in the SYN, once the peer has given a cookie (RFC 7413). */
export const SOCK_FAST_OPEN: u32 = 8;
/** udpOpen() flag: the address may be shared with other sockets that have it; the one bound last receives (SO_REUSEADDR). */
export const SOCK_REUSE: u32 = 4;

// iov entry, as sendv() reads and recv() writes them.
export const IOV_SIZE: u32 = 8;
export const IOV_ADDR: u32 = 0;
export const IOV_LEN: u32 = 4;

// options of a socket (setOption/getOption)
export const OPT_NODELAY: u32 = 1;
export const OPT_KEEPALIVE: u32 = 2;
export const OPT_KEEPALIVE_TIME_US: u32 = 3;
export const OPT_SND_BUF_BYTES: u32 = 4;
export const OPT_RCV_BUF_BYTES: u32 = 5;
export const OPT_USER_TIMEOUT_US: u32 = 6;
export const OPT_QUICKACK: u32 = 7;
/** CC_…; on a connection that is open already it starts anew from the window that it has. */
export const OPT_CONGESTION: u32 = 8;
/** DSCP in bits 2 to 7, as IP_TOS; the ECN bits are the stack's own. */
export const OPT_TOS: u32 = 9;
/** IP_TTL or IPV6_UNICAST_HOPS, 1 to 255; 0 = the default. */
export const OPT_TTL: u32 = 10;

/** REPORT_… that are wanted; all by default. */
export const OPT_REPORTS: u32 = 11;
/** Bytes to read until the end of urgent data, 0 when there is none; cannot be set. */
export const OPT_URGENT_BYTES: u32 = 12;
/**
 * How long close() may take to deliver what is queued before the connection is reset (SO_LINGER, without waiting);
 * 0: reset at once. 2^53, the default: until the protocol gives up.
 */
export const OPT_LINGER_US: u32 = 13;

/** Largest congestion window, bytes; ssthresh while no reduction has happened. */
export const CWND_MAX: u32 = 1073741824;
/** Nothing smaller than a full segment is sent while set, for at most an RTO (Linux's TCP_CORK). */
export const OPT_CORK: u32 = 14;
/** Largest segment to announce and to send, 0 = what the link allows; before the connection opens. */
export const OPT_MAXSEG: u32 = 15;
/** Largest window to offer, bytes; 0 = what the buffer allows. */
export const OPT_WINDOW_CLAMP: u32 = 16;
export const OPT_SYN_RETRIES: u32 = 17;
export const OPT_KEEPALIVE_INTVL_US: u32 = 18;
export const OPT_KEEPALIVE_PROBES: u32 = 19;
/** How long an orphan waits for the peer's FIN; 0: it is reset at once. */
export const OPT_FIN_WAIT2_US: u32 = 20;
/** Listener: a connection is not accepted before data has come, or this time is over; 0 = at once. */
export const OPT_DEFER_ACCEPT: u32 = 21;
/** Listener: connections that data in a SYN may have opened and no ACK has confirmed (RFC 7413 §5.1); 0 = none. */
export const OPT_FAST_OPEN: u32 = 22;
/** Inline connection: received data, and the end behind it, waits in the core, so that the window closes. */
export const OPT_PAUSED: u32 = 23;
/** UDP: may send to broadcast addresses (SO_BROADCAST). */
export const OPT_BROADCAST: u32 = 40;

// flags of sendWith()
/** More follows at once: a small segment may wait for it (MSG_MORE). */
export const SEND_MORE: u32 = 1;
/** No segment holds bytes from both sides of the end of this one (MSG_EOR). */
export const SEND_RECORD: u32 = 2;
/** The segment that ends here carries PSH, also when more is queued. */
export const SEND_PUSH: u32 = 4;
/** The same write goes on: no PSH here. */
export const SEND_OPEN: u32 = 8;

// congestion control algorithms
export const CC_RENO: u32 = 0;
export const CC_CUBIC: u32 = 1;
export const CC_DCTCP: u32 = 2;

// connection states, numbered as Linux numbers them (include/net/tcp_states.h)
export const TCP_ESTABLISHED: u32 = 1;
export const TCP_SYN_SENT: u32 = 2;
export const TCP_SYN_RECV: u32 = 3;
export const TCP_FIN_WAIT1: u32 = 4;
export const TCP_FIN_WAIT2: u32 = 5;
export const TCP_TIME_WAIT: u32 = 6;
export const TCP_CLOSE: u32 = 7;
export const TCP_CLOSE_WAIT: u32 = 8;
export const TCP_LAST_ACK: u32 = 9;
export const TCP_LISTEN: u32 = 10;
export const TCP_CLOSING: u32 = 11;

// errno values (Linux x86-64), returned negative
export const EPERM: i32 = 1;
export const EBADF: i32 = 9;
export const EAGAIN: i32 = 11;
export const ENOMEM: i32 = 12;
export const EACCES: i32 = 13;
export const EFAULT: i32 = 14;
export const EBUSY: i32 = 16;
export const EINVAL: i32 = 22;
export const EPIPE: i32 = 32;
export const ENONET: i32 = 64;
export const EPROTO: i32 = 71;
export const EDESTADDRREQ: i32 = 89;
export const EMSGSIZE: i32 = 90;
export const ENOPROTOOPT: i32 = 92;
export const EOPNOTSUPP: i32 = 95;
export const EADDRINUSE: i32 = 98;
export const EADDRNOTAVAIL: i32 = 99;
export const ENETUNREACH: i32 = 101;
export const ECONNABORTED: i32 = 103;
export const ECONNRESET: i32 = 104;
export const ENOBUFS: i32 = 105;
export const EISCONN: i32 = 106;
export const ENOTCONN: i32 = 107;
export const ETIMEDOUT: i32 = 110;
export const ECONNREFUSED: i32 = 111;
export const EHOSTDOWN: i32 = 112;
export const EHOSTUNREACH: i32 = 113;
export const EALREADY: i32 = 114;
export const EINPROGRESS: i32 = 115;
export const ECANCELED: i32 = 125;

// ---- tables --------------------------------------------------------------------------------------------------
/** Added to addressAdd()'s prefix length: ours, but not to speak from while there is another (RFC 4862 §5.5.4). */
export const ADDRESS_DEPRECATED: u32 = 256;
// What routeAt(index, at) writes. Prefix lengths count in the 128-bit space, IPv4 mapped.
export const ROUTE_dst: u32 = 0;
export const ROUTE_gateway: u32 = 16;
export const ROUTE_prefix_length: u32 = 32;
/** Bytes; 0 means the link's. */
export const ROUTE_mtu: u32 = 36;
/** ROUTEF_… */
export const ROUTE_flags: u32 = 40;
/** Comes with an address of ours. */
export const ROUTEF_CONNECTED: u32 = 1;
/** Added by routeAdd(). */
export const ROUTEF_ADDED: u32 = 2;
/** Goes by a gateway; without it the destination is on the link itself. */
export const ROUTEF_GATEWAY: u32 = 4;
export const ROUTE_INFO_SIZE: u32 = 44;
// What neighAt(index, at) writes.
export const NEIGH_addr: u32 = 0;
/** 6 bytes. */
export const NEIGH_mac: u32 = 16;
export const NEIGH_state: u32 = 24;
/** Frames waiting for the MAC. */
export const NEIGH_pending: u32 = 28;
export const NEIGH_INFO_SIZE: u32 = 32;
export const NEIGH_INCOMPLETE: u32 = 1;
export const NEIGH_REACHABLE: u32 = 2;
/** The MAC is used while the neighbour is asked whether it still holds. */
export const NEIGH_PROBE: u32 = 3;
export const NEIGH_FAILED: u32 = 4;

// ---- UDP -----------------------------------------------------------------------------------------------------
/** Largest payload of a datagram: 65,535 bytes less the headers of IPv4 and UDP; IPv6's own header is not counted. */
export const UDP_MAX_PAYLOAD4: u32 = 65507;
export const UDP_MAX_PAYLOAD6: u32 = 65527;
/** Pieces of an iov that one datagram is sent from at most. */
export const UDP_MAX_PIECES: u32 = 8;
// A received datagram, as udpRecv() and EV_DATAGRAM describe it. Payload of len bytes at addr: one reference to it is
// the receiver's, also when it is empty.
export const UDPD_addr: u32 = 0;
export const UDPD_len: u32 = 4;
/** The sender's port; 0 when it wants no answer (RFC 768). */
export const UDPD_port: u32 = 8;
/** 16 bytes: who sent it. */
export const UDPD_remote: u32 = 16;
/** 16 bytes: what it was sent to, an address of ours or a broadcast address (RFC 1122 §4.1.3.5). */
export const UDPD_local: u32 = 32;
export const UDPD_SIZE: u32 = 48;
// What udpInfo() writes.
/** 16 bytes each: zeros while not bound, and not connected. */
export const UDPI_local: u32 = 0;
export const UDPI_remote: u32 = 16;
export const UDPI_local_port: u32 = 32;
/** 0 while not connected. */
export const UDPI_remote_port: u32 = 36;
/** Waiting for udpRecv(). */
export const UDPI_rcv_bytes: u32 = 40;
export const UDPI_rcv_datagrams: u32 = 44;
/** Datagrams that found no room. */
export const UDPI_drops: u32 = 48;
export const UDPI_SIZE: u32 = 56;
