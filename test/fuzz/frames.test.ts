import { boundedTest } from './lib/bounded.js';
import { frames } from './lib/targets/frames.js';

boundedTest(frames);
