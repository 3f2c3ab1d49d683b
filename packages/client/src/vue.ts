/** Vue 3: a composable with the signature of Galaxy's own `useSSE`, on one client for the whole page. */
import { onScopeDispose, type Ref, readonly, ref } from 'vue';
import { type ClientOptions, LightconeClient } from './index.js';

export const SSE_EVENT_TYPES = [
  'notification_update',
  'broadcast_update',
  'notification_status',
  'history_update',
  'entry_point_update',
] as const;
export type SSEEventType = (typeof SSE_EVENT_TYPES)[number];

let client: LightconeClient | undefined;
let options: ClientOptions = {};
let users = 0;
const connected = ref(false);
const everConnected = ref(false);

/** Where the server is, and who asks. To be called before the first `useSSE`. */
export function configureSSE(newOptions: ClientOptions): void {
  options = newOptions;
}

function shared(): LightconeClient {
  if (client === undefined) {
    client = new LightconeClient(options);
    client.onState((state) => {
      connected.value = state === 'live' || state === 'catching_up';
      everConnected.value ||= connected.value;
    });
  }
  return client;
}

/**
 * @param onEvent gets `data` (JSON text), `type` and `lastEventId`, as from an EventSource
 * @param eventTypes which events; default: all
 */
export function useSSE(
  onEvent: (event: MessageEvent) => void,
  eventTypes: readonly SSEEventType[] = SSE_EVENT_TYPES,
): { connect: () => void; disconnect: () => void; connected: Ref<boolean> } {
  let removers: (() => void)[] | undefined;

  const connect = (): void => {
    if (removers) return;
    removers = eventTypes.map((type) =>
      shared().on(type, (data, lastEventId) =>
        onEvent(new MessageEvent(type, { data: JSON.stringify(data), lastEventId })),
      ),
    );
    users += 1;
    shared().open();
  };
  const disconnect = (): void => {
    if (!removers) return;
    for (const remove of removers) remove();
    removers = undefined;
    users -= 1;
    if (users === 0) shared().close();
  };
  onScopeDispose(disconnect);
  return { connect, disconnect, connected };
}

/** Whether the page is connected now, and whether it ever was. */
export function useSSEConnectionStatus(): {
  connected: Readonly<Ref<boolean>>;
  hasEverConnected: Readonly<Ref<boolean>>;
  reconnect: () => void;
} {
  const reconnect = (): void => {
    if (users === 0) return;
    shared().close();
    shared().open();
  };
  return { connected: readonly(connected), hasEverConnected: readonly(everConnected), reconnect };
}

/** Asks for `history_update` of somebody else's history. @returns a function that ends it */
export const watchHistory = (historyId: string): (() => void) => shared().watchHistory(historyId);
