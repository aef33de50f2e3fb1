import { reassembly } from '../../src/host/attack/attacks/reassembly.js';
import { testAttacks } from '../helpers/attacks.js';

testAttacks(reassembly);
