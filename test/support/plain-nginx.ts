import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { locate } from './programs.js';
import { type ProxyProcess, startProxyProcess } from './proxy-process.js';

/**
 * A private nginx that passes everything on and knows nothing of streams.
 *
 * @param settings lines of its `server` section
 */
export const startPlainNginx = (target: string, settings: readonly string[] = []): Promise<ProxyProcess> =>
  startProxyProcess(
    locate('nginx'),
    (home, port) => {
      // As root, nginx serves as `nobody`, who must get in.
      chmodSync(home, 0o755);
      mkdirSync(join(home, 'temp'));
      const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
        (kind) => `${kind}_temp_path ${home}/temp/${kind};`,
      );
      const server = [`listen 127.0.0.1:${port};`, `location / { proxy_pass ${target}; }`, ...settings];
      const file = join(home, 'nginx.conf');
      writeFileSync(
        file,
        `daemon off;\nworker_processes 1;\npid ${home}/nginx.pid;\nerror_log ${home}/error.log;\nevents {}\nhttp {\naccess_log off;\n` +
          `${temp.join('\n')}\nserver {\n${server.join('\n')}\n}\n}\n`,
      );
      return ['-p', home, '-c', file];
    },
    'SIGTERM',
  );
