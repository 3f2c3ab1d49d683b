/**
 * The little of a browser that the client uses. Written down here so that the client can be compiled and tested without
 * one; in a page nothing needs to be passed.
 */
export interface MessageLike {
  data: string;
  lastEventId: string;
}

export interface EventSourceLike {
  /** 0 connecting, 1 open, 2 closed for good */
  readonly readyState: number;
  addEventListener(type: string, listener: (event: MessageLike) => void): void;
  close(): void;
}

export interface TargetLike {
  addEventListener(type: string, listener: (event: { persisted?: boolean }) => void): void;
  removeEventListener(type: string, listener: (event: { persisted?: boolean }) => void): void;
}

export interface Browser {
  EventSource: new (url: string, init: { withCredentials: boolean }) => EventSourceLike;
  fetch(url: string, init: Record<string, unknown>): Promise<{ ok: boolean; status: number }>;
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
  random(): number;
  /** `pagehide`, `pageshow`, `online` */
  window?: TargetLike;
  /** `visibilitychange` */
  document?: TargetLike & { readonly visibilityState: string };
}

export function thisBrowser(): Browser {
  const globals = globalThis as unknown as Omit<Browser, 'random'>;
  return {
    EventSource: globals.EventSource,
    // Called through an arrow: `fetch` and the timers insist on being methods of the window.
    fetch: (url, init) => globals.fetch(url, init),
    setTimeout: (callback, ms) => globals.setTimeout(callback, ms),
    clearTimeout: (timer) => globals.clearTimeout(timer),
    random: Math.random,
    ...(globals.window && { window: globals.window }),
    ...(globals.document && { document: globals.document }),
  };
}
