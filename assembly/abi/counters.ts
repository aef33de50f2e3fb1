// Counter indices. Each counter is a u64 at counters + 8 * index. Names follow Linux's SNMP and TcpExt tables
// (/proc/net/snmp, /proc/net/netstat) where one exists; the generated host copy keeps the names for display.

// Link level
export const CNT_RxFrames: u32 = 0;
export const CNT_RxBytes: u32 = 1;
export const CNT_TxFrames: u32 = 2;
export const CNT_TxBytes: u32 = 3;
export const CNT_EthInTruncated: u32 = 4;
export const CNT_EthInUnknownProto: u32 = 5;
export const CNT_EthInOtherHost: u32 = 6;
/** Times a frame had to wait because the transmit ring or the header pool was full. */
export const CNT_TxRingFull: u32 = 7;
// ARP and neighbours
export const CNT_ArpInRequests: u32 = 8;
export const CNT_ArpInReplies: u32 = 9;
export const CNT_ArpInErrors: u32 = 10;
export const CNT_ArpOutRequests: u32 = 11;
export const CNT_ArpOutReplies: u32 = 12;
export const CNT_NeighPendingDrops: u32 = 13;
export const CNT_NeighTableFull: u32 = 14;
// IP
export const CNT_IpInReceives: u32 = 16;
export const CNT_IpInHdrErrors: u32 = 17;
export const CNT_IpInCsumErrors: u32 = 18;
export const CNT_IpInAddrErrors: u32 = 19;
export const CNT_IpInUnknownProtos: u32 = 20;
export const CNT_IpInTruncatedPkts: u32 = 21;
/** Fragments that came. */
export const CNT_IpReasmReqds: u32 = 22;
export const CNT_IpOutRequests: u32 = 23;
export const CNT_IpOutNoRoutes: u32 = 24;
export const CNT_IpInDelivers: u32 = 25;
// ICMP
export const CNT_IcmpInMsgs: u32 = 28;
export const CNT_IcmpInErrors: u32 = 29;
export const CNT_IcmpInEchos: u32 = 30;
export const CNT_IcmpOutEchoReps: u32 = 31;
export const CNT_IcmpInDestUnreachs: u32 = 32;
// TCP (Tcp: of /proc/net/snmp)
export const CNT_TcpActiveOpens: u32 = 40;
export const CNT_TcpPassiveOpens: u32 = 41;
export const CNT_TcpAttemptFails: u32 = 42;
export const CNT_TcpEstabResets: u32 = 43;
/** Gauge: connections in ESTABLISHED or CLOSE-WAIT. */
export const CNT_TcpCurrEstab: u32 = 44;
export const CNT_TcpInSegs: u32 = 45;
export const CNT_TcpOutSegs: u32 = 46;
export const CNT_TcpRetransSegs: u32 = 47;
export const CNT_TcpInErrs: u32 = 48;
export const CNT_TcpOutRsts: u32 = 49;
export const CNT_TcpInCsumErrors: u32 = 50;
// TcpExt
export const CNT_TcpExtListenOverflows: u32 = 56;
export const CNT_TcpExtListenDrops: u32 = 57;
export const CNT_TcpExtPAWSEstab: u32 = 58;
export const CNT_TcpExtDelayedACKs: u32 = 59;
export const CNT_TcpExtTCPHPHits: u32 = 60;
export const CNT_TcpExtTCPPureAcks: u32 = 61;
export const CNT_TcpExtTCPHPAcks: u32 = 62;
export const CNT_TcpExtTCPTimeouts: u32 = 63;
export const CNT_TcpExtTCPFastRetrans: u32 = 64;
export const CNT_TcpExtTCPSlowStartRetrans: u32 = 65;
export const CNT_TcpExtTCPSackRecovery: u32 = 66;
export const CNT_TcpExtTCPRenoRecovery: u32 = 67;
export const CNT_TcpExtTCPSACKReneging: u32 = 68;
export const CNT_TcpExtTCPSACKDiscard: u32 = 69;
export const CNT_TcpExtTCPDSACKOldSent: u32 = 70;
export const CNT_TcpExtTCPDSACKRecv: u32 = 71;
export const CNT_TcpExtTCPOFOQueue: u32 = 72;
export const CNT_TcpExtTCPOFOMerge: u32 = 73;
export const CNT_TcpExtTCPOFODrop: u32 = 74;
export const CNT_TcpExtTCPRcvQDrop: u32 = 75;
export const CNT_TcpExtTCPRcvCoalesce: u32 = 76;
export const CNT_TcpExtTCPChallengeACK: u32 = 77;
export const CNT_TcpExtTCPSYNChallenge: u32 = 78;
export const CNT_TcpExtTCPAbortOnData: u32 = 79;
export const CNT_TcpExtTCPAbortOnClose: u32 = 80;
export const CNT_TcpExtTCPAbortOnTimeout: u32 = 81;
export const CNT_TcpExtTCPAbortOnMemory: u32 = 82;
export const CNT_TcpExtTCPKeepAlive: u32 = 83;
export const CNT_TcpExtTCPTimeWait: u32 = 84;
export const CNT_TcpExtTCPZeroWindowProbe: u32 = 85;
export const CNT_TcpExtTCPToZeroWindowAdv: u32 = 86;
export const CNT_TcpExtTCPFromZeroWindowAdv: u32 = 87;
export const CNT_TcpExtOutOfWindow: u32 = 88;
export const CNT_TcpExtTCPSpuriousRtxHostQueues: u32 = 89;
export const CNT_TcpExtTCPSynRetrans: u32 = 90;
export const CNT_TcpExtTCPBadOptions: u32 = 91;
/** Frames whose checksum was left to hardware that is not there (veth) and accepted as such. */
export const CNT_TcpExtCsumPartial: u32 = 92;
/** Retransmission timeouts that timestamps showed to be needless, and that were undone (RFC 3522). */
export const CNT_TcpExtTCPSpuriousRTOs: u32 = 93;
/** Segments that RACK (RFC 8985) took for lost. */
export const CNT_TcpExtTCPRACKLost: u32 = 94;
// Zbuf
export const CNT_ZbufAllocs: u32 = 100;
export const CNT_ZbufAllocFails: u32 = 101;
export const CNT_ZbufFrees: u32 = 102;
export const CNT_ZbufMisuse: u32 = 103;
/** Payload bytes copied inside the core (coalescing of small segments under memory pressure). */
export const CNT_CopiedBytes: u32 = 104;
/** Payload bytes copied by the host's stream API, both directions. */
export const CNT_HostCopiedBytes: u32 = 105;
/** Payload bytes copied by the shim for drivers without multi-segment frames. */
export const CNT_LinkCopiedBytes: u32 = 106;
// TcpExt, continued
export const CNT_TcpExtTCPLossProbes: u32 = 128;
export const CNT_TcpExtTCPLossProbeRecovery: u32 = 129;
export const CNT_TcpExtTCPFullUndo: u32 = 130;
export const CNT_TcpExtTCPDSACKUndo: u32 = 131;
export const CNT_TcpExtTCPMTUPFail: u32 = 132;
/** Segments that arrived with the congestion-experienced mark. */
export const CNT_IpInCEPkts: u32 = 133;
/** ACKs with ECE that made a window smaller. */
export const CNT_TcpExtTCPECNReductions: u32 = 134;
export const CNT_TcpExtTCPRcvAutotuned: u32 = 135;
// IPv6 and ICMPv6 (/proc/net/snmp6)
export const CNT_Ip6InReceives: u32 = 160;
export const CNT_Ip6InHdrErrors: u32 = 161;
export const CNT_Ip6InAddrErrors: u32 = 162;
export const CNT_Ip6InUnknownProtos: u32 = 163;
export const CNT_Ip6InTruncatedPkts: u32 = 164;
export const CNT_Ip6InDelivers: u32 = 165;
export const CNT_Ip6InMcastPkts: u32 = 166;
export const CNT_Ip6ReasmReqds: u32 = 167;
export const CNT_Ip6OutRequests: u32 = 168;
export const CNT_Ip6OutNoRoutes: u32 = 169;
export const CNT_Icmp6InMsgs: u32 = 170;
export const CNT_Icmp6InErrors: u32 = 171;
export const CNT_Icmp6InDestUnreachs: u32 = 172;
export const CNT_Icmp6InPktTooBigs: u32 = 173;
export const CNT_Icmp6InEchos: u32 = 174;
export const CNT_Icmp6InNeighborSolicits: u32 = 175;
export const CNT_Icmp6InNeighborAdvertisements: u32 = 176;
export const CNT_Icmp6OutEchoReplies: u32 = 177;
export const CNT_Icmp6OutNeighborSolicits: u32 = 178;
export const CNT_Icmp6OutNeighborAdvertisements: u32 = 179;
export const CNT_Icmp6OutParmProblems: u32 = 180;
// TcpExt: attacks and scarcity
export const CNT_TcpExtSyncookiesSent: u32 = 200;
export const CNT_TcpExtSyncookiesRecv: u32 = 201;
export const CNT_TcpExtSyncookiesFailed: u32 = 202;
// UDP (Udp: of /proc/net/snmp), both families
/** Datagrams handed to a socket. */
export const CNT_UdpInDatagrams: u32 = 210;
export const CNT_UdpNoPorts: u32 = 211;
export const CNT_UdpInErrors: u32 = 212;
export const CNT_UdpOutDatagrams: u32 = 213;
/** Datagrams for which the socket's receive buffer had no room. */
export const CNT_UdpRcvbufErrors: u32 = 214;
/** Times a datagram did not fit into the transmit ring, or headers ran out. */
export const CNT_UdpSndbufErrors: u32 = 215;
export const CNT_UdpInCsumErrors: u32 = 216;
/** Datagrams for which all sockets together had no room. */
export const CNT_UdpMemErrors: u32 = 217;
/** As TcpExtCsumPartial. */
export const CNT_UdpInCsumPartial: u32 = 218;
// Fragments sent, and errors about UDP
export const CNT_IpFragOKs: u32 = 243;
export const CNT_IpFragFails: u32 = 244;
export const CNT_IpFragCreates: u32 = 245;
export const CNT_Ip6FragOKs: u32 = 246;
export const CNT_Ip6FragFails: u32 = 247;
export const CNT_Ip6FragCreates: u32 = 248;
export const CNT_IcmpOutDestUnreachs: u32 = 249;
export const CNT_Icmp6OutDestUnreachs: u32 = 250;
/** Idle connections packed to make room for others, those unpacked again, and those for which there was no slot (park.ts). */
export const CNT_TcpExtTCPParked: u32 = 240;
export const CNT_TcpExtTCPUnparked: u32 = 241;
export const CNT_TcpExtTCPSlotsMissing: u32 = 242;
/** Challenge ACKs that the limit of all connections together has withheld. */
export const CNT_TcpExtTCPACKSkippedChallenge: u32 = 203;
// Fragments (Ip:, IpExt: and /proc/net/snmp6)
export const CNT_IpReasmOKs: u32 = 224;
/** Datagrams given up, and fragments that can belong to none. */
export const CNT_IpReasmFails: u32 = 225;
export const CNT_IpReasmTimeout: u32 = 226;
export const CNT_IpExtReasmOverlaps: u32 = 227;
export const CNT_Ip6ReasmOKs: u32 = 228;
export const CNT_Ip6ReasmFails: u32 = 229;
export const CNT_Ip6ReasmTimeout: u32 = 230;
export const CNT_Ip6ReasmOverlaps: u32 = 231;
export const CNT_IcmpOutTimeExcds: u32 = 232;
export const CNT_Icmp6OutTimeExcds: u32 = 233;
/** Out-of-order pieces given up for data nearer to what is missing. */
export const CNT_TcpExtOfoPruned: u32 = 234;
// Fast Open (RFC 7413)
export const CNT_TcpExtTCPFastOpenActive: u32 = 204;
export const CNT_TcpExtTCPFastOpenActiveFail: u32 = 205;
export const CNT_TcpExtTCPFastOpenPassive: u32 = 206;
export const CNT_TcpExtTCPFastOpenPassiveFail: u32 = 207;
export const CNT_TcpExtTCPFastOpenListenOverflow: u32 = 208;
export const CNT_TcpExtTCPFastOpenCookieReqd: u32 = 209;
export const CNT_TcpExtTCPMD5Unexpected: u32 = 199;
export const CNT_COUNT: u32 = 256;
