import { floods } from '../../src/host/attack/attacks/flood.js';
import { testAttacks } from '../helpers/attacks.js';

testAttacks(floods);
