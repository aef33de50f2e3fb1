import { blind } from '../../src/host/attack/attacks/blind.js';
import { testAttacks } from '../helpers/attacks.js';

testAttacks(blind);
