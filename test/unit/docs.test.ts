import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as clientStates from '../../packages/client/src/states.js';
// @ts-expect-error a script without types, shared with `npm run docs`
import { changePicture, housePicture } from '../../scripts/draw-architecture.mjs';
// @ts-expect-error the same
import * as render from '../../scripts/render-docs.mjs';
import { SETTINGS } from '../../src/config/schema.js';
import { ERRORS } from '../../src/core/errors.js';
import { LIMITS } from '../../src/core/limits.js';
import { EVENTS } from '../../src/events/registry.js';
import { METRICS } from '../../src/telemetry/metrics.js';
import { importsOf, sourceFiles } from '../support/source-imports.js';

const { configurationPage, errorsPage, metricsPage, withEvents, withLimits, withStates } = render;
const root = resolve(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

describe('the reference pages equal the tables in the code (else: npm run docs)', () => {
  it('docs/configuration.md', () => expect(read('docs/configuration.md')).toBe(configurationPage(SETTINGS)));
  it('docs/errors.md', () => expect(read('docs/errors.md')).toBe(errorsPage(ERRORS)));
  it('the tables of states in docs/client.md', () => {
    const page = read('docs/client.md');
    expect(page).toBe(withStates(page, clientStates));
  });
  it('the table of events in docs/stream.md', () => {
    const page = read('docs/stream.md');
    expect(page).toBe(withEvents(page, EVENTS));
  });
  it('the table of limits in docs/security.md', () => {
    const page = read('docs/security.md');
    expect(page).toBe(withLimits(page, LIMITS, SETTINGS.sse));
  });
  it('docs/metrics.md', () => expect(read('docs/metrics.md')).toBe(metricsPage(METRICS)));
  it('docs/images/house.svg, from the imports of src', () =>
    expect(read('docs/images/house.svg')).toBe(housePicture(sourceFiles().flatMap(importsOf))));
  it('docs/images/change.svg, whose rooms exist', () => {
    const picture: string = changePicture();
    expect(read('docs/images/change.svg')).toBe(picture);
    const rooms = [...picture.matchAll(/>(src\/[\w-]+)</g)].map(([, room]) => room!);
    expect(rooms.filter((room) => !existsSync(join(root, room)))).toEqual([]);
    expect(rooms.length).toBeGreaterThan(3);
  });
});

/** Of a page, as GitHub makes anchors of them. */
const headings = (page: string): string[] =>
  [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, text]) =>
    text!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

describe('links', () => {
  const pages = [
    'README.md',
    'CHANGELOG.md',
    'SECURITY.md',
    ...readdirSync(join(root, 'docs'))
      .filter((f) => f.endsWith('.md'))
      .map((f) => `docs/${f}`),
  ];
  it.each(pages)('in %s lead to files that exist', (page) => {
    const targets = [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, target]) => target!);
    expect(targets.filter((target) => !existsSync(join(root, dirname(page), target)))).toEqual([]);
  });
  it.each(pages)('in %s lead to headings that exist', (page) => {
    const targets = [...read(page).matchAll(/\]\((?!https?:)([^)#]*)#([^)]+)\)/g)];
    const missing = targets.filter(([, file, heading]) => {
      const target = file ? join(dirname(page), file) : page;
      return target.endsWith('.md') && !headings(target).includes(heading!);
    });
    expect(missing.map(([link]) => link)).toEqual([]);
  });
});

describe('what comments refer to', () => {
  const sources = ['src', 'packages/client/src', 'scripts'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(ts|js|mjs|tsx)$/.test(file))
      .map((file) => `${folder}/${file}`),
  );
  /** Comments, a run of `//` lines as one. */
  const commentsOf = (file: string): string[] =>
    [...read(file).matchAll(/\/\*[\s\S]*?\*\/|(?:^[ \t]*\/\/.*\n?)+/gm)].map(([text]) =>
      text.replaceAll(/\s+(\*|\/\/)?\s*/g, ' '),
    );
  const comments = sources.flatMap((file) => commentsOf(file).map((text) => ({ file, text })));

  it("in Galaxy's contract is named with a section of docs/galaxy-contract.md", () => {
    const sections = new Set(
      [...read('docs/galaxy-contract.md').matchAll(/^#+ (\d(?:\.\d)?)[. ]/gm)].map(([, number]) => number),
    );
    const cited = comments.flatMap(({ file, text }) =>
      [
        ...text.matchAll(
          /\bcontract\b(?! suite)(?!\/)(?:, sections? ((?:\d(?:\.\d)?(?:, | to | and )?)+))?/gi,
        ),
      ].map(([whole, numbers]) => ({ file, whole, numbers: numbers?.match(/\d(\.\d)?/g) ?? [] })),
    );
    expect(cited.length).toBeGreaterThan(30);
    const wrong = cited.filter(
      ({ numbers }) => numbers.length === 0 || numbers.some((it) => !sections.has(it)),
    );
    expect(wrong.map(({ file, whole }) => `${file}: ${whole}`)).toEqual([]);
  });

  it('in docs is there, page and heading', () => {
    const wrong = sources.flatMap((file) =>
      [...read(file).matchAll(/\b(docs\/[\w-]+\.(?:md|svg))(?:#([\w-]+)|, "([^"]+)")?/g)]
        .filter(([, page, anchor, title]) => {
          if (!existsSync(join(root, page!))) return true;
          const heading = anchor ?? title?.toLowerCase().replaceAll(' ', '-');
          return heading !== undefined && !headings(page!).includes(heading);
        })
        .map(([link]) => `${file}: ${link}`),
    );
    expect(wrong).toEqual([]);
  });
});
