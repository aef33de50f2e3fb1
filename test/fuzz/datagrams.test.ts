import { boundedTest } from './lib/bounded.js';
import { datagrams } from './lib/targets/datagrams.js';

boundedTest(datagrams);
