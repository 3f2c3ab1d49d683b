/** React: one client for a tree of components. */
import { useEffect, useRef, useSyncExternalStore } from 'react';
import { type ClientOptions, type Events, LightconeClient, type State } from './index.js';

export interface Lightcone {
  client: LightconeClient;
  state: State;
}

/**
 * Opens a client as long as the component is mounted. Options count when the component mounts.
 *
 * @returns the client, and its state as React sees it
 */
export function useLightcone(options: ClientOptions = {}): Lightcone {
  const held = useRef<LightconeClient | undefined>(undefined);
  held.current ??= new LightconeClient(options);
  const client = held.current;
  const subscribe = useRef((changed: () => void) => client.onState(changed)).current;
  const state = useSyncExternalStore(
    subscribe,
    () => client.state,
    () => 'stopped' as const,
  );
  useEffect(() => {
    client.open();
    return () => client.close();
  }, [client]);
  return { client, state };
}

/** Calls `listener` for each event of that name; the listener of the last render counts. */
export function useEvent<Name extends keyof Events>(
  client: LightconeClient,
  name: Name,
  listener: (data: Events[Name], id: string) => void,
): void {
  const last = useRef(listener);
  useEffect(() => {
    last.current = listener;
  });
  useEffect(() => client.on(name, (data, id) => last.current(data as Events[Name], id)), [client, name]);
}
