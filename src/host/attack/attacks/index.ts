// All attacks, in the order in which they are shown.
import type { Attack } from '../run.js';
import { acks } from './acks.js';
import { blind } from './blind.js';
import { floods } from './flood.js';
import { icmps } from './icmp.js';
import { ipv6 } from './ipv6.js';
import { reassembly } from './reassembly.js';
import { windows } from './window.js';

export const attacks: readonly Attack[] = [...blind, ...floods, ...acks, ...windows, ...reassembly, ...icmps, ...ipv6];
