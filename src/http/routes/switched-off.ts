import { LightconeError } from '../../core/errors.js';

/** preHandler of what `enable_sse_updates` switches: it comes before the question who calls. */
export const refuseIfOff = (enabled: boolean) => async (): Promise<void> => {
  if (enabled) return;
  throw new LightconeError('SWITCHED_OFF', 'live updates are switched off (enable_sse_updates)');
};
