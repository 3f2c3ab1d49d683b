import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(`${root}/${file}`, 'utf8');

interface Locked {
  version?: string;
  license?: string;
  integrity?: string;
  link?: boolean;
  dev?: boolean;
  devOptional?: boolean;
}

const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> };
/** Of others; what lies in this repository has the licence of this repository. */
const foreign = Object.entries(packages).filter(
  ([path, { link }]) => path.startsWith('node_modules/') && !link,
);

/** `A OR B` leaves the choice to us. */
const licensesOf = ({ license = 'none' }: Locked): string[] => license.replace(/[()]/g, '').split(' OR ');
const RUNS = new Set(['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0', '0BSD', 'BlueOak-1.0.0']);
const BUILDS = new Set([...RUNS, 'MPL-2.0', 'CC0-1.0', 'CC-BY-4.0', 'Python-2.0', 'Unlicense']);

describe('packages of others', () => {
  it('that run have a licence that lets everybody use Lightcone', () => {
    const running = foreign.filter(([, { dev }]) => dev !== true);
    expect(running.length).toBeGreaterThan(50);
    const others = running.filter(([, it]) => !licensesOf(it).some((license) => RUNS.has(license)));
    expect(others.map(([path, { license }]) => [path, license])).toEqual([]);
  });

  it('that build and test have one that lets us use them', () => {
    const others = foreign.filter(([, it]) => !licensesOf(it).some((license) => BUILDS.has(license)));
    expect(others.map(([path, { license }]) => [path, license])).toEqual([]);
  });

  it('are named by the lockfile with their content', () => {
    const loose = foreign.filter(([, { integrity }]) => !integrity?.startsWith('sha512-'));
    expect(loose.map(([path]) => path)).toEqual([]);
  });

  it('are explained in docs/dependencies.md, and nothing else is', () => {
    const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
    const explained = [...read('docs/dependencies.md').matchAll(/^\| `([^`]+)` \|/gm)].map(
      ([, name]) => name,
    );
    const foreignNames = explained.filter((name) => !name?.startsWith('@lightcone/'));
    expect(foreignNames.sort()).toEqual(
      Object.keys(dependencies)
        .filter((name) => !name.startsWith('@lightcone/'))
        .sort(),
    );
  });
});
