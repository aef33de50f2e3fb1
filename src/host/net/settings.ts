// Options of a socket, remembered while there is no connection to set them on.
import type { Core } from '../core/core.js';
import { OPT_KEEPALIVE, OPT_KEEPALIVE_TIME_US, OPT_NODELAY, OPT_USER_TIMEOUT_US } from '../core/layout.js';

/** As they come from the constructor's or connect()'s options; undefined changes nothing. */
export interface SocketSettings {
  noDelay?: boolean | undefined;
  keepAlive?: boolean | undefined;
  keepAliveInitialDelay?: number | undefined;
  userTimeout?: number | undefined;
}

export class Settings {
  /** The connection that the settings hold for, if there is one. */
  core: Core | null = null;
  handle = 0;
  #values: Map<number, number> | null = null;

  /** There is a connection now: what has been set holds for it. */
  attach(core: Core, handle: number): void {
    this.core = core;
    this.handle = handle;
    if (this.#values) for (const [option, value] of this.#values) core.setOption(handle, option, value);
  }

  detach(): void {
    this.core = null;
    this.handle = 0;
  }

  set(option: number, value: number): void {
    this.#values ??= new Map();
    this.#values.set(option, value);
    this.core?.setOption(this.handle, option, value);
  }

  get(option: number): number {
    return this.core ? this.core.getOption(this.handle, option) : (this.#values?.get(option) ?? 0);
  }

  take(settings: SocketSettings): void {
    if (settings.noDelay !== undefined) this.set(OPT_NODELAY, settings.noDelay ? 1 : 0);
    if (settings.keepAlive !== undefined) this.keepAlive(settings.keepAlive, settings.keepAliveInitialDelay ?? 0);
    else if (settings.keepAliveInitialDelay) this.set(OPT_KEEPALIVE_TIME_US, settings.keepAliveInitialDelay * 1000);
    if (settings.userTimeout !== undefined) this.set(OPT_USER_TIMEOUT_US, settings.userTimeout * 1000);
  }

  /** `delayMs` of silence before the first probe; 0 keeps what is set. */
  keepAlive(on: boolean, delayMs: number): void {
    if (delayMs > 0) this.set(OPT_KEEPALIVE_TIME_US, delayMs * 1000);
    this.set(OPT_KEEPALIVE, on ? 1 : 0);
  }
}
