import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { locate } from './programs.js';
import { type ProxyProcess, startProxyProcess } from './proxy-process.js';

const ALWAYS = ['mpm_event', 'authz_core', 'proxy', 'proxy_http', 'env', 'unixd'];

/**
 * A private Apache that passes everything on.
 *
 * @param settings lines of its one configuration file
 * @param modules further ones than a proxy needs
 */
export const startApache = (
  target: string,
  settings: readonly string[] = [],
  modules: readonly string[] = [],
): Promise<ProxyProcess> =>
  startProxyProcess(locate('apache2'), (home, port) => {
    const folder = join(dirname(dirname(locate('apache2'))), 'lib/apache2/modules');
    const lines = [
      `ServerRoot ${home}`,
      'ServerName 127.0.0.1',
      `Listen 127.0.0.1:${port}`,
      `PidFile ${home}/apache.pid`,
      `DefaultRuntimeDir ${home}`,
      `ErrorLog ${home}/error.log`,
      // Some are part of the program.
      ...[...ALWAYS, ...modules].flatMap((name) => [
        `<IfModule !mod_${name}.c>`,
        `LoadModule ${name}_module ${folder}/mod_${name}.so`,
        '</IfModule>',
      ]),
      ...(process.getuid?.() === 0 ? ['User www-data', 'Group www-data'] : []),
      ...settings,
      `ProxyPass / ${target}/`,
    ];
    const file = join(home, 'apache.conf');
    writeFileSync(file, `${lines.join('\n')}\n`);
    return ['-X', '-d', home, '-f', file];
  });
