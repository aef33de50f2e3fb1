// A link by its URI.
import { openDpdkLink } from './dpdk.js';
import type { Link } from './link.js';
import { loopbackLink } from './loopback.js';
import { memoryLink } from './memory.js';
import { parseLinkUri } from './uri.js';

/** Opens a link. Throws ERR_LUNET_URI for a malformed URI, and what the driver says. */
export function openLink(uri: string): Link {
  const parsed = parseLinkUri(uri);
  switch (parsed.scheme) {
    case 'memory':
      return memoryLink(parsed.target, parsed.memory);
    case 'loopback':
      return loopbackLink(parsed.memory);
    default:
      return openDpdkLink(parsed);
  }
}
