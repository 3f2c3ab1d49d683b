import { LightconeError } from '../core/errors.js';
import { DEFAULT_ID_SECRET } from './schema.js';

/**
 * With the default everybody can make ids and cookies; on this machine alone nobody else is there to.
 *
 * @throws LightconeError CONFIG_INVALID
 */
export function refuseKnownSecret(idSecret: string, onlyThisMachine: boolean): void {
  if (idSecret !== DEFAULT_ID_SECRET || onlyThisMachine) return;
  throw new LightconeError(
    'CONFIG_INVALID',
    'id_secret: the default is known to everybody, so it is refused on an address that others reach; set a secret of your own, or listen on 127.0.0.1',
  );
}
