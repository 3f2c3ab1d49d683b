// Which shortcuts of src/node-internals are in effect, tried on each Node.js: writes the table in docs/architecture.md.
// `npm run build && node scripts/node-internals.mjs`; with `--try` it tries them on the Node.js that runs it. Needs npm.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const VERSIONS = ['22', '24', 'latest'];
const PAGE = new URL('../docs/architecture.md', import.meta.url);
const ROWS = {
  takeOver: ['`take-over.ts`', 'an idle stream takes six times the memory'],
  directWrites: ['`direct-writes.ts`', 'a delivery takes a tenth to a quarter more CPU'],
  youngGeneration: ['`young-generation.ts`', 'an idle stream takes half as much memory again'],
};

if (process.argv.includes('--try')) {
  console.log(JSON.stringify({ version: process.versions.node, ...(await tryAll()) }));
  process.exit();
}

const found = VERSIONS.map(tryOn);
const table = [
  `| | ${found.map(({ version }) => `Node.js ${version}`).join(' | ')} | without it |`,
  `|---|${'---|'.repeat(found.length + 1)}`,
  ...Object.entries(ROWS).map(
    ([name, [file, without]]) =>
      `| ${file} | ${found.map((it) => (it[name] ? 'in effect' : 'no effect')).join(' | ')} | ${without} |`,
  ),
].join('\n');
const page = readFileSync(PAGE, 'utf8');
const markers = /(<!-- node-internals -->\n)[\s\S]*(<!-- \/node-internals -->)/;
if (!markers.test(page)) throw new Error('docs/architecture.md has lost its <!-- node-internals --> markers');
writeFileSync(PAGE, page.replace(markers, `$1\n${table}\n\n$2`));

function tryOn(version) {
  const folder = mkdtempSync(join(tmpdir(), 'lightcone-node-'));
  try {
    const name = `node-${process.platform}-${process.arch}`;
    execFileSync('npm', ['install', '--prefix', folder, '--no-save', '--silent', `${name}@${version}`]);
    const node = join(folder, 'node_modules', name, 'bin', 'node');
    return JSON.parse(execFileSync(node, [fileURLToPath(import.meta.url), '--try'], { encoding: 'utf8' }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function tryAll() {
  const { probeNodeInternals } = await import('../dist/node-internals/probe.js');
  const { boundYoungGeneration, youngGenerationBytes } = await import(
    '../dist/node-internals/young-generation.js'
  );
  const { takeOver, createDirectWrites } = probeNodeInternals(true);
  const result = {
    takeOver: takeOver !== undefined && (await takesOver(takeOver)),
    directWrites: createDirectWrites !== undefined && (await writes(createDirectWrites)),
  };
  boundYoungGeneration();
  const kept = [];
  for (let turn = 0; turn < 300; turn += 1) {
    for (let i = 0; i < 2000; i += 1) kept.push({ turn, text: String(i) });
    if (kept.length > 200_000) kept.splice(0, 100_000);
    await nextTurn();
  }
  return { ...result, youngGeneration: youngGenerationBytes() <= 10 * 1024 * 1024 };
}

async function takesOver(takeOver) {
  let socket;
  const server = createServer(async (request, response) => {
    await nextTurn();
    socket = takeOver(request, response);
    socket?.end('HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nours');
    if (socket === undefined) response.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const [response] = await once(
    get({ port: server.address().port, host: '127.0.0.1', agent: false }),
    'response',
  );
  let body = '';
  for await (const part of response) body += part;
  server.close();
  return body === 'ours' && socket.parser === null;
}

async function writes(createDirectWrites) {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const client = connect(server.address().port, '127.0.0.1');
  const [out] = await accepted;
  const direct = createDirectWrites(() => {});
  const handle = direct.handleOf(out);
  if (handle !== undefined) direct.write({ out }, handle, Buffer.from('ours'));
  else out.write('through its stream');
  const [bytes] = await once(client, 'data');
  client.destroy();
  out.destroy();
  server.close();
  return String(bytes) === 'ours';
}
