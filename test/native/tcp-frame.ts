// An Ethernet + IPv4 + TCP frame with correct checksums, for links behind which a real kernel listens.
export interface FrameOptions {
  from: { mac: string; address: string; port: number };
  to: { mac: string; address: string; port: number };
  flags?: number;
  payload?: Uint8Array;
  /** Fragment offset field of the IPv4 header. */
  fragment?: number;
}

const macBytes = (mac: string): number[] => mac.split(':').map((byte) => Number.parseInt(byte, 16));
const ipBytes = (address: string): number[] => address.split('.').map(Number);

function checksum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function tcpFrame({ from, to, flags = 2, payload = new Uint8Array(), fragment = 0 }: FrameOptions): Uint8Array {
  const frame = Buffer.alloc(54 + payload.length);
  frame.set([...macBytes(to.mac), ...macBytes(from.mac), 8, 0]);
  const ip = frame.subarray(14, 34);
  ip[0] = 0x45;
  ip.writeUInt16BE(40 + payload.length, 2);
  ip.writeUInt16BE(fragment, 6);
  ip[8] = 64;
  ip[9] = 6;
  ip.set([...ipBytes(from.address), ...ipBytes(to.address)], 12);
  ip.writeUInt16BE(checksum(ip), 10);
  const tcp = frame.subarray(34);
  tcp.writeUInt16BE(from.port, 0);
  tcp.writeUInt16BE(to.port, 2);
  tcp.writeUInt32BE(1, 4);
  tcp[12] = 0x50;
  tcp[13] = flags;
  tcp.writeUInt16BE(65535, 14);
  tcp.set(payload, 20);
  const pseudo = ip.readUInt16BE(12) + ip.readUInt16BE(14) + ip.readUInt16BE(16) + ip.readUInt16BE(18) + 6 + tcp.length;
  tcp.writeUInt16BE(checksum(tcp, pseudo), 16);
  return frame;
}

export const SYN = 2;
export const RST = 4;
