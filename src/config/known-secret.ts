import { LightconeError } from '../core/errors.js';
import { DEFAULT_ID_SECRET } from './schema.js';

/**
 * Refuses Galaxy's public default, with which anybody can forge ids and cookies, unless only this machine can connect.
 *
 * @throws LightconeError CONFIG_INVALID
 */
export function refuseKnownSecret(idSecret: string, onlyThisMachine: boolean): void {
  if (idSecret !== DEFAULT_ID_SECRET || onlyThisMachine) return;
  throw new LightconeError(
    'CONFIG_INVALID',
    'id_secret: the default is public, so it is refused on an address that other machines can reach; set a secret of your own, or listen on 127.0.0.1',
  );
}
