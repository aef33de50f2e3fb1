import { boundedTest } from './lib/bounded.js';
import { calls } from './lib/targets/calls.js';

boundedTest(calls);
