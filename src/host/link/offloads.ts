// What is done for the stack by the driver, and what the core saves by itself: negotiated when a link opens, switched off
// one by one by the parameters of its URI, and printed with every figure that was measured on it.

/** What of the stack's work a link takes over, as negotiated with its driver, and what the core does late or once. */
export interface LinkOffloads {
  /** The link fills in TCP's checksums (IPv4): its driver does, or see checksumsInCopy. */
  txChecksum: boolean;
  /** The driver says which received checksums it has verified; the core verifies the others. */
  rxChecksum: boolean;
  /** Those that software fills in, or fills in and verifies, while it copies the frame: one pass over the bytes, not two. */
  checksumsInCopy?: 'none' | 'tx' | 'both';
  /** The driver cuts frames of up to 64 KiB into segments (IPv4). */
  tso: boolean;
  /** The driver takes frames of several segments; otherwise the shim gathers them, counted. */
  multiSegment: boolean;
  /** Late segmentation: the headers of a run of segments are made once. */
  gso: boolean;
  /** A run of received segments is answered once. */
  gro: boolean;
}

/** What a link's URI allows. */
export interface OffloadSwitches {
  csum: boolean;
  tso: boolean;
  gso: boolean;
  gro: boolean;
}

/** For reports: `checksums: driver tx, software rx; tso off; gso on; gro on; multi-segment frames`. */
export function offloadsText(offloads: Readonly<LinkOffloads>): string {
  const { txChecksum, rxChecksum, checksumsInCopy = 'none', tso, multiSegment, gso, gro } = offloads;
  const by = (inCopy: boolean, driver: boolean): string =>
    inCopy ? 'software with the copy of the frame' : driver ? 'driver' : 'software';
  const onOff = (on: boolean): string => (on ? 'on' : 'off');
  return [
    `checksums: ${by(checksumsInCopy !== 'none', txChecksum)} tx, ${by(checksumsInCopy === 'both', rxChecksum)} rx`,
    `tso ${onOff(tso)}`,
    `gso ${onOff(gso)}`,
    `gro ${onOff(gro)}`,
    multiSegment ? 'multi-segment frames' : 'frames gathered by the shim',
  ].join('; ');
}
