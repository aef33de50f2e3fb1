// The package `lunet/net`: node:net's interface on a default stack, opened on first use, or on a stack of one's own.
import { codeError } from '../core/errors.js';
import { type ProfileName, profiles } from '../profiles.js';
import { openStack, type Stack, type StackOptions } from '../stack.js';
import { NetContext, type StackSource } from './context.js';
import { bindNet } from './net.js';

export type { AddressInfo } from 'node:net';
export type { ConnectionReport } from '../report.js';
export { type Connect, type ConnectionListener, type CreateServer, createNet, type Net } from './net.js';
export type { ConnectOptions, ListenOptions, OnReadOptions, ServerOptions, SocketOptions } from './options.js';
export type { DropArgument } from './server.js';

let configured: StackOptions | null = null;
let context: NetContext | null = null;
let opening: Promise<NetContext> | null = null;

/** LUNET_LINK, LUNET_ADDRESS, LUNET_GATEWAY and LUNET_PROFILE of the environment, where configure() was not called. */
function fromEnvironment(): StackOptions {
  const { LUNET_LINK, LUNET_ADDRESS, LUNET_GATEWAY, LUNET_PROFILE } = process.env;
  if (!LUNET_LINK) {
    throw codeError(
      'ERR_LUNET_NOT_CONFIGURED',
      'lunet/net has no stack: call configure({ link, address }) or set LUNET_LINK and LUNET_ADDRESS',
    );
  }
  if (LUNET_PROFILE && !(LUNET_PROFILE in profiles)) {
    const known = Object.keys(profiles).join(' or ');
    throw codeError('ERR_LUNET_NOT_CONFIGURED', `LUNET_PROFILE is "${LUNET_PROFILE}": use ${known}`);
  }
  return {
    link: LUNET_LINK,
    ...(LUNET_ADDRESS ? { address: LUNET_ADDRESS } : {}),
    ...(LUNET_GATEWAY ? { gateway: LUNET_GATEWAY } : {}),
    ...(LUNET_PROFILE ? { profile: LUNET_PROFILE as ProfileName } : {}),
  };
}

const source: StackSource = {
  get current() {
    return context?.closed ? null : context;
  },
  open() {
    if (context?.closed) opening = null;
    opening ??= openDefault().catch((error: unknown) => {
      opening = null;
      throw error;
    });
    return opening;
  },
};

async function openDefault(): Promise<NetContext> {
  context = new NetContext(await openStack(configured ?? fromEnvironment()));
  return context;
}

/**
 * Says which stack the functions of this module use. It is opened by the first listen() or connect(); what goes wrong
 * then is an 'error' event of that server or socket. Throws ERR_LUNET_CONFIGURED once the stack is open.
 */
export function configure(options: StackOptions): void {
  if (opening) {
    throw codeError(
      'ERR_LUNET_CONFIGURED',
      'lunet/net is already in use: call configure() before connect() and listen()',
    );
  }
  configured = options;
}

/** The stack these functions use, opened if need be. */
export async function defaultStack(): Promise<Stack> {
  return (await source.open()).stack;
}

export const { Socket, Stream, Server, connect, createConnection, createServer, isIP, isIPv4, isIPv6 } =
  bindNet(source);
