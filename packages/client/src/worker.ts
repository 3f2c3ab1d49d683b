/** The SharedWorker: one hub per server and person, for every tab of this browser. */
import { Host } from './host.js';
import { type FromHub, keyOf, type ToHub } from './messages.js';

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

(globalThis as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = ({ ports }) => {
  const port = ports[0]!;
  let room: Room | undefined;
  port.onmessage = ({ data }: MessageEvent<ToHub>) => {
    if (data.t === 'hello') room = enter(data, port);
    room?.host.receive(data);
    if (data.t === 'bye') room?.ports.delete(data.tab);
  };
};
