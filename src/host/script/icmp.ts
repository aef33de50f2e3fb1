// ICMP types and codes by the names that scripts give them: RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7; RFC 4443.
import { type IcmpPacket, Unsupported } from './ast.js';

type Names = Readonly<Record<string, number>>;

const types4: Names = {
  echo_reply: 0,
  unreachable: 3,
  source_quench: 4,
  redirect: 5,
  echo_request: 8,
  time_exceeded: 11,
  parameter_problem: 12,
};

const unreachable4: Names = {
  net_unreachable: 0,
  host_unreachable: 1,
  protocol_unreachable: 2,
  proto_unreachable: 2,
  port_unreachable: 3,
  frag_needed: 4,
  source_route_failed: 5,
  net_unknown: 6,
  host_unknown: 7,
  source_host_isolated: 8,
  net_prohibited: 9,
  host_prohibited: 10,
  net_unreachable_for_tos: 11,
  host_unreachable_for_tos: 12,
  packet_filtered: 13,
  precedence_violation: 14,
  precedence_cutoff: 15,
};

const types6: Names = { unreachable: 1, packet_too_big: 2, time_exceeded: 3, parameter_problem: 4 };

const unreachable6: Names = {
  no_route: 0,
  noroute: 0,
  net_unreachable: 0,
  admin_prohibited: 1,
  beyond_scope: 2,
  not_neighbour: 2,
  addr_unreachable: 3,
  address_unreachable: 3,
  host_unreachable: 3,
  port_unreachable: 4,
  policy_failed: 5,
  reject_route: 6,
};

/** The numbers of `packet` in this version of IP. Throws Unsupported for a name it does not have. */
export function icmpNumbers(packet: IcmpPacket, six: boolean, line: number): { type: number; code: number } {
  const types = six ? types6 : types4;
  if (!Object.hasOwn(types, packet.type)) throw new Unsupported(line, `the ICMP type ${packet.type}`);
  const type = types[packet.type];
  if (packet.code === null) return { type, code: 0 };
  const codes = packet.type === 'unreachable' ? (six ? unreachable6 : unreachable4) : {};
  if (!Object.hasOwn(codes, packet.code)) throw new Unsupported(line, `the ICMP code ${packet.code}`);
  return { type, code: codes[packet.code] };
}
