/** A tab's way to a hub in a worker: one SharedWorker for all tabs, or one of its own that elects with those of other tabs. */
import { type FromHub, PROTOCOL, type StreamSettings, type ToHub } from './messages.js';

export interface HubLink {
  post(message: ToHub): void;
  /** Nobody answers: find another hub. */
  renew(): void;
  close(): void;
}

export interface LinkOptions {
  settings: StreamSettings;
  onMessage(message: FromHub): void;
}

/** A page that demands Trusted Types takes no address of a script that nobody vouches for. */
function vouched(url: URL): URL {
  const { trustedTypes } = globalThis as {
    trustedTypes?: {
      createPolicy(
        name: string,
        rules: { createScriptURL(text: string): string },
      ): { createScriptURL(text: string): URL };
    };
  };
  try {
    policy ??= trustedTypes?.createPolicy('lightcone', { createScriptURL: (text) => text });
  } catch {
    // It allows other names only: the worker is refused, and the page does without.
  }
  return policy?.createScriptURL(url.href) ?? url;
}
let policy: { createScriptURL(text: string): URL } | undefined;

/** @param onFailure the worker's script cannot be loaded or run */
export function sharedLink(url: URL, { onMessage }: LinkOptions, onFailure: () => void): HubLink {
  let generation = 0;
  let port: MessagePort | undefined;
  const open = (): void => {
    // At first the same name once more: a worker that was ended begins anew, for later tabs, too. One that hangs keeps
    // its name: another name is another worker.
    const name = `lightcone-${PROTOCOL}-${generation >> 1}`;
    const worker = new SharedWorker(vouched(url), { name, type: 'module' });
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
      onMessage({ t: 'leader' });
    },
    close: () => port?.close(),
  };
}

/** The worker stands in line for the stream in place of its page: a page that hangs keeps nobody from it. */
export function ownWorkerLink(
  url: URL,
  { settings, onMessage }: LinkOptions,
  onFailure: () => void,
): HubLink {
  const worker = new Worker(vouched(url), { name: `lightcone-${PROTOCOL}`, type: 'module' });
  worker.onerror = () => {
    worker.terminate();
    onFailure();
  };
  worker.onmessage = ({ data }: MessageEvent<FromHub>) => onMessage(data);
  const post = (message: ToHub | StreamSettings | 'renew' | 'close'): void => worker.postMessage(message);
  post(settings);
  return { post, renew: () => post('renew'), close: () => post('close') };
}
