import { boundedTest } from './lib/bounded.js';
import { options } from './lib/targets/options.js';

boundedTest(options);
