import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { workerFinding } from '../../src/app/commands/doctor/worker.js';
import type { HttpConfig } from '../../src/config/config.js';

it.each([
  ['is well', { well: true }, 'ok', undefined],
  [
    'names a neighbour that does not answer',
    { well: false, problems: ['the broker does not answer'] },
    'problem',
    undefined,
  ],
  ['is no worker', { other: 1 }, 'problem', 'no_answer'],
  ['serves another database', { well: true, installation: 'other' }, 'problem', 'other_installation'],
])('what listens %s: commands decide by the code of the finding', async (_, answer, state, code) => {
  const server = createServer((__, response) => response.end(JSON.stringify(answer)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const listen = { kind: 'tcp', host: '127.0.0.1', port };
  const finding = await workerFinding({ listen, prefix: '' } as unknown as HttpConfig, 'ours');
  server.close();
  expect([finding.state, finding.code]).toEqual([state, code]);
});
