/** Hosts beside a SharedWorker: one that the tabs elect, and one for a single tab. */
import { Host, REMEMBERED, type Remembered } from './host.js';
import type { HubLink, LinkOptions } from './links.js';
import { type FromHub, keyOf, type ToHub } from './messages.js';

/** What a tab has been told, in case it has to lead. */
function remembering(onMessage: (message: FromHub) => void): {
  remembered: Remembered;
  note: (message: FromHub) => void;
} {
  const remembered: Remembered = { seq: 0, events: [] };
  const note = (message: FromHub): void => {
    if (message.t === 'event' && message.seq > remembered.seq) {
      const { seq, name, data, id } = message;
      remembered.events.push({ seq, name, data, id });
      if (remembered.events.length > REMEMBERED) remembered.events.shift();
    }
    if ('seq' in message && Number.isFinite(message.seq))
      remembered.seq = Math.max(remembered.seq, message.seq);
    onMessage(message);
  };
  return { remembered, note };
}

export function ownLink({ settings, onMessage }: LinkOptions): HubLink {
  const { remembered, note } = remembering(onMessage);
  const open = (): Host => new Host(settings, note, () => {}, remembered);
  let host = open();
  return {
    post: (message) => host.receive(message),
    renew() {
      host.close();
      host = open();
      onMessage({ t: 'leader' });
    },
    close: () => host.close(),
  };
}

const digest = async (text: string): Promise<string> => {
  const bytes = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return btoa(String.fromCharCode(...new Uint8Array(bytes)));
};

/**
 * Whoever holds the Web Lock runs the hub; the others hear it over a BroadcastChannel.
 *
 * @throws where the browser denies a page without storage (cookies blocked, a sandboxed frame) one of the two
 */
export async function electedLink({ settings, onMessage }: LinkOptions): Promise<HubLink> {
  const { remembered, note } = remembering(onMessage);
  await navigator.locks.query();
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
      note(message);
    };
    // The answer comes after the word that the lock was stolen while this page stood still.
    const confirm = () => navigator.locks.query();
    host = new Host(settings, send, () => {}, remembered, confirm);
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    send({ t: 'leader' });
    return held;
  };
  const queue = (steal: boolean): void => {
    if (closed) return;
    const abort = new AbortController();
    cancel = () => abort.abort();
    navigator.locks.request(name, steal ? { steal: true } : { signal: abort.signal }, lead).catch(() => {
      if (!host) return;
      // Stolen while this tab stood still: somebody else leads now. Stand in line again.
      stepDown();
      queue(false);
      onMessage({ t: 'leader' });
    });
  };
  let cancel = (): void => {};

  channel.onmessage = ({ data }: MessageEvent<FromHub | ToHub>) => {
    if ('tab' in data) host?.receive(data);
    else note(data);
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
