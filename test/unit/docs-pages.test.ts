/** docs/ as an installation serves it, below /docs. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
// @ts-expect-error a script without types, of the build
import { docsPages, indexOf } from '../../scripts/docs-pages.mjs';

const root = resolve(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const sources: Record<string, string> = { changelog: read('CHANGELOG.md') };
for (const file of readdirSync(join(root, 'docs')))
  if (file.endsWith('.md')) sources[file.slice(0, -3)] = read(`docs/${file}`);
const pages: Record<string, string> = docsPages(sources, indexOf(read('README.md'), sources));

const linksOf = (html: string): string[] =>
  [...html.matchAll(/<a href="([^"]+)"/g)].map(([, href]) => href!).filter((href) => !/^https?:/.test(href));
const pageOf = (href: string): string | undefined => /^docs(?:\/([\w-]+))?(?:#|$)/.exec(href)?.[1] ?? 'index';

describe('the docs of an installation', () => {
  it.each(Object.keys(pages))('%s leads to pages, headings and pictures that are there', (name) => {
    const html = pages[name]!;
    const dead = linksOf(html).filter((href) => {
      if (['./', 'api/docs', 'status'].includes(href)) return false;
      const picture = /^docs\/images\/(.+)$/.exec(href)?.[1];
      if (picture !== undefined) return !existsSync(join(root, 'docs/images', picture));
      const target = pages[pageOf(href)!];
      const anchor = href.split('#')[1];
      return target === undefined || (anchor !== undefined && !target.includes(`id="${anchor}"`));
    });
    expect(dead).toEqual([]);
    const pictures = [...html.matchAll(/(?:src|srcset)="(docs\/[^"]+)"/g)].map(([, file]) => file!);
    expect(pictures.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  });

  it('are all found from the first page', () => {
    const seen = new Set<string>();
    const visit = (name: string): void => {
      if (seen.has(name)) return;
      seen.add(name);
      for (const href of linksOf(pages[name]!)) if (/^docs(?!\/images)/.test(href)) visit(pageOf(href)!);
    };
    visit('index');
    expect(Object.keys(pages).filter((name) => !seen.has(name))).toEqual([]);
  });

  it('hold what the Markdown says, and run nothing', () => {
    for (const html of Object.values(pages)) expect(html).not.toMatch(/<script|<style|\son\w+=|\sstyle=/);
    const { html } = docsPages(
      { html: '# T <b>\n\n## A `b` & c\n\n| k | v |\n|---|---|\n| `x` | <1 |\n\n```html\n<script>\n```\n' },
      '# I',
    );
    expect(html).toContain('<title>Lightcone – T &#60;b&#62;</title>');
    expect(html).toContain('id="a-b--c"');
    expect(html).toContain('<th scope="row"><code>x</code></th><td data-label="v">&lt;1</td>');
    expect(html).toContain('<code>&#60;script&#62;</code>');
  });
});
