import { toBoolean } from '../../database/port.js';
import type { EntryPointRow } from './repository.js';

export interface TargetSettings {
  prefix: string;
  basePath: string;
  /** `host[:port]` of the proxy; undefined: the host of the request. */
  proxyHost: string | undefined;
}

/** The scheme and host of the request. */
export interface RequestOrigin {
  scheme: string;
  host: string;
}

/** The URL of the tool for a browser: a host name of its own, or a path. @param id in base 36 */
export function targetOf(
  row: EntryPointRow,
  id: string,
  settings: TargetSettings,
  seen: RequestOrigin,
): string {
  const entryUrl = (row.entry_url ?? '').replace(/^\/+/, '');
  if (toBoolean(row.requires_domain)) {
    const host = settings.proxyHost ?? seen.host;
    return `${seen.scheme}://${id}-${row.token}.ep.${settings.prefix}.${host}/${entryUrl}`;
  }
  const parts = [settings.basePath.replace(/^\/+|\/+$/g, ''), settings.prefix, 'ep', id, row.token];
  return `/${parts.filter((part) => part !== '').join('/')}/${entryUrl}`;
}
