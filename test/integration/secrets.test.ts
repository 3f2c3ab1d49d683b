import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { Installation } from '../support/installation.js';

let here: Installation;
afterEach(() => here.close());

it('a new database file can be read by its owner only, for it holds API keys', async () => {
  here = Installation.embedded();
  await here.worker();
  for (const name of ['lightcone.sqlite', 'lightcone.sqlite-wal']) {
    const { mode } = statSync(join(here.folder, name));
    expect([name, (mode & 0o777).toString(8)]).toEqual([name, '600']);
  }
});
