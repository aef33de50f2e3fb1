import { icmps } from '../../src/host/attack/attacks/icmp.js';
import { testAttacks } from '../helpers/attacks.js';

testAttacks(icmps);
