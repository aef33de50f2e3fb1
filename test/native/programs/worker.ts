// A worker thread with a link of its own: echoes for ever, or counts echoes, until it is told to stop.
import { parentPort, workerData } from 'node:worker_threads';
import { openEnd } from '../ring-end.js';

const { uri, role } = workerData as { uri: string; role: 'echo' | 'count' };
const end = await openEnd(uri);
const port = parentPort;
if (!port) throw new Error('not a worker');
let frames = 0;
let running = true;

function spin(): void {
  if (!running) return;
  for (let i = 0; i < 64; i++) {
    if (role === 'echo') frames += end.echo();
    else {
      if (i % 8 === 0) end.send(new Uint8Array(100));
      frames += end.turn().length;
    }
  }
  setImmediate(spin);
}

port.on('message', (message: string) => {
  if (message === 'report') port.postMessage({ frames, stats: end.link.stats() });
  if (message === 'close') {
    running = false;
    end.close();
    port.postMessage({ closed: true });
    port.close();
  }
  if (message === 'sleep') {
    running = false;
    end.link.armWakeup(() => {});
    port.postMessage({ sleeping: true });
  }
});
port.postMessage({ ready: true });
spin();
