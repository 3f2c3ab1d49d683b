/** The output of `serve --demo`: the address, and two lines to paste. */
import type { Config } from '../../config/config.js';

export function demoBanner(config: Config, address: string): string {
  const base = `${address}${config.http.prefix}`;
  const stream = `curl -N '${base}/api/events/stream?key=demo-alice'`;
  const change =
    `id=$(curl -s '${base}/api/histories?key=demo-alice' | sed 's/.*"id":"\\([0-9a-f]*\\)".*/\\1/') && ` +
    `curl -s -X PUT -H 'Content-Type: application/json' -d '{"name":"renamed at '"$(date +%T)"'"}' "${base}/api/histories/$id?key=demo-alice"`;
  const lines = [
    '',
    `Lightcone is ready: ${base}/`,
    '',
    "Alice's stream:",
    `  ${stream}`,
    '',
    'A change to her history (paste it into a second terminal):',
    `  ${change}`,
  ];
  if (config.database.kind === 'sqlite') {
    lines.push(
      '',
      'The same by another program that writes to the database:',
      `  sqlite3 '${config.database.file}' "update history set name='x' where id=1"`,
    );
  }
  return `${lines.join('\n')}\n\n`;
}
