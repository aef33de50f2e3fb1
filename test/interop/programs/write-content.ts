// Writes content to stdout, for curl to upload: write-content SEED BYTES [PACE-MS]

import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { chunks, contentStream } from './content.js';

const [seed, bytes, paceMs] = process.argv.slice(2).map(Number);

async function* paced(): AsyncGenerator<Buffer> {
  for (const chunk of chunks(seed, bytes)) {
    yield chunk;
    await delay(paceMs);
  }
}

await pipeline(paceMs > 0 ? paced() : contentStream(seed, bytes), process.stdout);
