export { type Random, random } from '../../src/host/sim/random.js';
