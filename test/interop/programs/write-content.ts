// Writes content to stdout, for curl to upload: write-content SEED BYTES

import { pipeline } from 'node:stream/promises';
import { contentStream } from './content.js';

await pipeline(contentStream(Number(process.argv[2]), Number(process.argv[3])), process.stdout);
