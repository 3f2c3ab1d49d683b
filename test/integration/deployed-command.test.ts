/** `deploy/lightcone`: the settings of the service and of the caller reach the command, through what sudo leaves of an environment. */
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');
/** Keeps what it is told to keep, as sudo does, and no more. */
const SUDO = `#!/bin/bash
[ "$1 $2" = '-u lightcone' ] && [[ "$3" == --preserve-env=* ]] || exit 64
IFS=, read -ra names <<<"\${3#*=}"
kept=(); for name in "\${names[@]}"; do kept+=("$name=\${!name}"); done
exec env -i PATH=/usr/bin:/bin "\${kept[@]}" "\${@:4}"
`;
const FILE = 'galaxy:\n  server_name: from-file\n';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lightcone-deployed-'));
  mkdirSync(join(folder, 'etc'));
  const command = readFileSync(join(ROOT, 'deploy/lightcone'), 'utf8')
    .replaceAll('/opt/lightcone/node_modules/.bin/node', process.execPath)
    .replaceAll('/opt/lightcone', ROOT)
    .replaceAll('/etc/lightcone', join(folder, 'etc'));
  for (const [name, text] of Object.entries({ sudo: SUDO, lightcone: command })) {
    writeFileSync(join(folder, name), text);
    chmodSync(join(folder, name), 0o755);
  }
  writeFileSync(join(folder, 'etc/galaxy.yml'), FILE);
});
afterEach(() => rmSync(folder, { recursive: true }));

const config = (env: Record<string, string>): Promise<string> =>
  new Promise((done, fail) => {
    const options = { cwd: folder, env: { PATH: `${folder}:/usr/bin:/bin`, ...env } };
    execFile(join(folder, 'lightcone'), ['config'], options, (error, stdout, stderr) =>
      error || stderr !== '' ? fail(error ?? new Error(stderr)) : done(stdout),
    );
  });

it('reads the settings of the service', async () => {
  expect(await config({})).toContain('server_name: "from-file"');
});

it('takes what the units take from their environment file, and what the caller sets before that', async () => {
  writeFileSync(join(folder, 'etc/environment'), 'GALAXY_CONFIG_OVERRIDE_SERVER_NAME=from-environment\n');
  expect(await config({})).toContain('server_name: "from-environment"');
  const caller = { GALAXY_CONFIG_OVERRIDE_SERVER_NAME: 'from-caller', LIGHTCONE_QUEUE_SIZE: '9' };
  const shown = await config(caller);
  expect(shown).toContain('server_name: "from-caller"');
  expect(shown).toContain('queue_size: 9');
});
