import { windows } from '../../src/host/attack/attacks/window.js';
import { testAttacks } from '../helpers/attacks.js';

testAttacks(windows);
