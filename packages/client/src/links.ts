/** A tab's way to the hub: a SharedWorker, the tab that leads, or a hub of its own. */
import { Host, type Remembered } from './host.js';
import { type FromHub, keyOf, PROTOCOL, type StreamSettings, type ToHub } from './messages.js';

export interface HubLink {
  post(message: ToHub): void;
  /** Nobody answers: find another hub. */
  renew(): void;
  close(): void;
}

export interface LinkOptions {
  settings: StreamSettings;
  onMessage(message: FromHub): void;
  /** Another hub answers from here on: introduce yourself. */
  onNewHub(): void;
  /** What this tab has seen, in case it has to lead. */
  remembered(): Remembered;
}

export function ownLink({ settings, onMessage, remembered }: LinkOptions): HubLink {
  const open = (): Host => new Host(settings, onMessage, () => {}, remembered());
  let host = open();
  return {
    post: (message) => host.receive(message),
    renew() {
      host.close();
      host = open();
    },
    close: () => host.close(),
  };
}

/** @param onFailure the worker's script cannot be loaded or run */
export function workerLink(url: URL, { onMessage, onNewHub }: LinkOptions, onFailure: () => void): HubLink {
  let generation = 0;
  let port: MessagePort | undefined;
  const open = (): void => {
    // At first the same name once more: a worker that was ended begins anew, for later tabs, too. One that hangs keeps
    // its name: another name is another worker.
    const name = `lightcone-${PROTOCOL}-${generation >> 1}`;
    const worker = new SharedWorker(url, { name, type: 'module' });
    worker.onerror = onFailure;
    port = worker.port;
    port.onmessage = ({ data }: MessageEvent<FromHub>) => onMessage(data);
  };
  open();
  return {
    post: (message) => port?.postMessage(message),
    renew() {
      generation += 1;
      port?.close();
      open();
      onNewHub();
    },
    close: () => port?.close(),
  };
}

const digest = async (text: string): Promise<string> => {
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return btoa(String.fromCharCode(...new Uint8Array(bytes)));
};

/** Whoever holds the Web Lock runs the hub; the others hear it over a BroadcastChannel. */
export async function electedLink(options: LinkOptions): Promise<HubLink> {
  const { settings, onMessage, onNewHub, remembered } = options;
  // The name tells nothing of the key in it.
  const name = `lightcone-${await digest(keyOf(settings))}`;
  const channel = new BroadcastChannel(name);
  let host: Host | undefined;
  let release: (() => void) | undefined;
  let closed = false;

  const stepDown = (): void => {
    host?.close();
    host = undefined;
    release?.();
    release = undefined;
  };
  const lead = (): Promise<void> => {
    if (closed) return Promise.resolve();
    const send = (message: FromHub): void => {
      channel.postMessage(message);
      onMessage(message);
    };
    // The answer comes after the word that the lock was stolen while this page stood still.
    const confirm = () => navigator.locks.query();
    host = new Host(settings, send, () => {}, remembered(), confirm);
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    channel.postMessage({ t: 'leader' });
    onNewHub();
    return held;
  };
  const queue = (steal: boolean): void => {
    if (closed) return;
    const abort = new AbortController();
    cancel = () => abort.abort();
    navigator.locks.request(name, steal ? { steal: true } : { signal: abort.signal }, lead).catch(() => {
      if (!host) return;
      // Stolen while this page was frozen: somebody else leads now. Stand in line again.
      stepDown();
      queue(false);
      onNewHub();
    });
  };
  let cancel = (): void => {};

  channel.onmessage = ({ data }: MessageEvent<FromHub | ToHub | { t: 'leader' }>) => {
    if (data.t === 'leader') onNewHub();
    else if ('tab' in data) host?.receive(data);
    else onMessage(data);
  };
  queue(false);
  return {
    post(message) {
      if (host) host.receive(message);
      else channel.postMessage(message);
    },
    renew() {
      if (host) return;
      cancel();
      queue(true);
    },
    close() {
      closed = true;
      cancel();
      stepDown();
      channel.close();
    },
  };
}
