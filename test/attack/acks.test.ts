import { acks } from '../../src/host/attack/attacks/acks.js';
import { testAttacks } from '../helpers/attacks.js';

testAttacks(acks);
