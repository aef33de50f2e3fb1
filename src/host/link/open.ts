// A link by its URI.
import { openDpdkLink } from './dpdk.js';
import type { Link } from './link.js';
import { memoryLink } from './memory.js';
import { parseLinkUri } from './uri.js';

/** Opens a link. Throws ERR_LUNET_URI for a malformed URI, and what the driver says. */
export function openLink(uri: string): Link {
  const parsed = parseLinkUri(uri);
  return parsed.scheme === 'memory' ? memoryLink(parsed.target, parsed.memory) : openDpdkLink(parsed);
}
