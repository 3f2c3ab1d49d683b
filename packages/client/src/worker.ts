/**
 * Holds the stream. In a SharedWorker: one hub per server and person, for every tab of this browser. In a worker of one tab:
 * it elects with those of other tabs. Elsewhere it is a module like any other, for a page that can have no worker.
 */
import { Host } from './host.js';
import { electedLink } from './hosts.js';
import type { HubLink } from './links.js';
import { type FromHub, keyOf, type StreamSettings, type ToHub } from './messages.js';

export { electedLink, ownLink } from './hosts.js';

interface Room {
  host: Host;
  ports: Map<string, MessagePort>;
}
const rooms = new Map<string, Room>();

function enter(message: ToHub & { t: 'hello' }, port: MessagePort): Room {
  const key = keyOf(message.settings);
  let room = rooms.get(key);
  if (!room) {
    const ports = new Map<string, MessagePort>();
    const send = (reply: FromHub): void => {
      const to = 'to' in reply ? reply.to : undefined;
      for (const receiver of to === undefined ? ports.values() : [ports.get(to)])
        receiver?.postMessage(reply);
    };
    const host = new Host(message.settings, send, () => rooms.delete(key));
    room = { host, ports };
    rooms.set(key, room);
  }
  room.ports.set(message.tab, port);
  return room;
}

function serveTabs({ ports }: MessageEvent): void {
  const port = ports[0]!;
  let room: Room | undefined;
  port.onmessage = ({ data }: MessageEvent<ToHub>) => {
    if (data.t === 'hello') room = enter(data, port);
    // A worker that the browser began anew behind its tabs' backs knows none of them.
    else if (!room) port.postMessage({ t: 'leader' });
    room?.host.receive(data);
    if (data.t === 'bye') room?.ports.delete(data.tab);
  };
}

let link: Promise<HubLink> | undefined;
async function serveTab({ data }: MessageEvent<ToHub | StreamSettings | 'renew' | 'close'>): Promise<void> {
  if (typeof data === 'object' && 'identity' in data) {
    link = electedLink({ settings: data, onMessage: (message) => scope.postMessage(message) });
    // Its page hears of an error only, and does without a worker.
    link.catch((error) =>
      setTimeout(() => {
        throw error;
      }),
    );
    return;
  }
  const { post, renew, close } = await link!;
  if (data === 'renew') renew();
  else if (typeof data === 'object') post(data);
  else {
    close();
    scope.close();
  }
}

interface WorkerScope {
  name?: string;
  document?: unknown;
  onconnect?: typeof serveTabs | null;
  onmessage?: typeof serveTab;
  postMessage(message: FromHub): void;
  close(): void;
}
const scope = globalThis as unknown as WorkerScope;
// By name: a worker of the page's own may import the client, too.
if (!scope.document && scope.name?.startsWith('lightcone-')) {
  if ('onconnect' in scope) scope.onconnect = serveTabs;
  else scope.onmessage = serveTab;
}
