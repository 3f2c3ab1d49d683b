/** The route of the demo's picture: when one change reached each hop. */
import { Type } from 'typebox';
import { LightconeError } from '../../core/errors.js';
import { type Micros, parseIso } from '../../lib/time.js';
import type { App } from '../app.js';

/** Milliseconds of the Unix epoch. Hops in other processes are unknown. */
export interface ReachedHops {
  /** The monitor found the change and publishes it. */
  monitor?: number;
  bus?: number;
  /** The worker wrote the event to the streams. */
  worker?: number;
}

export interface DemoPathSource {
  now(): number;
  /** @param change its audit time */
  of(change: Micros): ReachedHops | undefined;
}

export function registerDemoPath(app: App, source: DemoPathSource): void {
  const querystring = Type.Object({ update_time: Type.String({ maxLength: 40 }) });
  app.get(
    '/api/demo/path',
    { config: { caller: 'public' }, schema: { hide: true, querystring } },
    async (request) => {
      const change = parseIso(request.query.update_time);
      const hops = change === undefined ? undefined : source.of(change);
      if (change === undefined || hops === undefined)
        throw new LightconeError('NOT_FOUND', 'this worker has seen no such change recently');
      return { now: source.now(), database: change / 1000, ...hops };
    },
  );
}
