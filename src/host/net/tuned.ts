// What a socket's settings and its state are, apart from its data: the part of Socket that is about TCP.
import { Duplex } from 'node:stream';
import { OPT_CONGESTION, OPT_NODELAY, OPT_TOS, OPT_TTL, OPT_USER_TIMEOUT_US } from '../core/layout.js';
import { type CongestionName, congestionNumber } from '../profiles.js';
import { type TcpInfo, tcpInfo } from '../tcp-info.js';
import { validInteger, validTimeoutMs } from './errors.js';
import { Settings } from './settings.js';

export abstract class TunedSocket extends Duplex {
  /** @internal */
  protected readonly settings = new Settings();

  setNoDelay(noDelay = true): this {
    this.settings.set(OPT_NODELAY, noDelay ? 1 : 0);
    return this;
  }

  /** `initialDelayMs` of silence before the first probe; 0 keeps what is set. */
  setKeepAlive(enable = false, initialDelayMs = 0): this {
    this.settings.keepAlive(Boolean(enable), initialDelayMs);
    return this;
  }

  /**
   * How long sent data may go unacknowledged before the connection fails with ETIMEDOUT (RFC 9293 §3.8.3, TCP_USER_TIMEOUT);
   * 0: the stack's number of retransmissions. Not in node:net.
   */
  setUserTimeout(timeoutMs: number): this {
    this.settings.set(OPT_USER_TIMEOUT_US, validTimeoutMs(timeoutMs, 'timeoutMs') * 1000);
    return this;
  }

  /** TCP_CONGESTION: `reno`, `cubic` or `dctcp`. Throws ERR_INVALID_ARG_VALUE for another. Not in node:net. */
  setCongestionControl(algorithm: CongestionName): this {
    this.settings.set(OPT_CONGESTION, congestionNumber(algorithm));
    return this;
  }

  /** IP_TOS: DSCP and, ignored here, ECN; 0 to 255. */
  setTypeOfService(tos: number): this {
    this.settings.set(OPT_TOS, validInteger(tos, 'tos', 0, 255));
    return this;
  }

  getTypeOfService(): number {
    return this.settings.get(OPT_TOS);
  }

  /** IP_TTL: 1 to 255. Not in node:net. */
  setTTL(ttl: number): this {
    this.settings.set(OPT_TTL, validInteger(ttl, 'ttl', 1, 255));
    return this;
  }

  /** The connection as TCP_INFO shows it; null without one. Not in node:net. */
  tcpInfo(): TcpInfo | null {
    const { core, handle } = this.settings;
    return core === null ? null : tcpInfo(core, handle);
  }
}
