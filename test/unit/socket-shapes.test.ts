/** In processes of their own: what V8 remembers, it remembers for all. */
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';

const MODULE = pathToFileURL(resolve(import.meta.dirname, '../../dist/http/socket-shapes.js')).href;

/** Bytes per socket in the old generation, where hidden classes are made, for sockets as a server makes them. */
function oldBytesPerSocket(shared: boolean): number {
  const program = `
    const { getHeapSpaceStatistics } = await import('node:v8');
    const { Socket } = await import('node:net');
    const { shareSocketShapes } = await import('${MODULE}');
    if (${shared}) shareSocketShapes();
    const oldBytes = () => getHeapSpaceStatistics().find((space) => space.space_name === 'old_space').space_used_size;
    const make = (count) => {
      for (let i = 0; i < count; i += 1) {
        new Socket({
          handle: null, allowHalfOpen: true, pauseOnCreate: false, readable: true, writable: true,
          readableHighWaterMark: 1, writableHighWaterMark: 1,
        });
      }
    };
    make(200);
    const before = oldBytes();
    make(1000);
    console.log((oldBytes() - before) / 1000);
  `;
  return Number(execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' }));
}

// When this fails for a newer Node, the fault is mended there.
it.runIf(process.versions.node.startsWith('20.'))('a new socket has hidden classes of its own', () => {
  expect(oldBytesPerSocket(false)).toBeGreaterThan(1000);
});

it('a new socket has none once shapes are shared', () => {
  expect(oldBytesPerSocket(true)).toBeLessThan(500);
});
