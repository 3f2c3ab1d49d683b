import { LightconeError } from '../../core/errors.js';

/** preHandler of the routes that `enable_sse_updates` disables; it runs before the authentication. */
export const refuseIfOff = (enabled: boolean) => async (): Promise<void> => {
  if (enabled) return;
  throw new LightconeError('SWITCHED_OFF', 'live updates are disabled (enable_sse_updates)');
};
