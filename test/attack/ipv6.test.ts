import { ipv6 } from '../../src/host/attack/attacks/ipv6.js';
import { testAttacks } from '../helpers/attacks.js';

testAttacks(ipv6);
