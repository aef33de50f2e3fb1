import { boundedTest } from './lib/bounded.js';
import { middle } from './lib/targets/middle.js';

boundedTest(middle);
