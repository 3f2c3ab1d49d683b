/** What the demo's picture asks for: when one change reached each hop of its way. */
import { Type } from 'typebox';
import { LightconeError } from '../../core/errors.js';
import { type Micros, parseIso } from '../../lib/time.js';
import type { App } from '../app.js';

/** In milliseconds of the Unix epoch. A hop in another process is not seen. */
export interface ReachedHops {
  /** It has found the change, and publishes it. */
  monitor?: number;
  bus?: number;
  /** It has written the event to the streams. */
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
        throw new LightconeError('NOT_FOUND', 'no change of that time went by here lately');
      return { now: source.now(), database: change / 1000, ...hops };
    },
  );
}
