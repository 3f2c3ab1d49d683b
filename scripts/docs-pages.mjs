// The pages of docs/ as an installation serves them below /docs: HTML without a script, made by the build, for a machine
// without internet. Pure: Markdown in, HTML out.
import { posix } from 'node:path';
import { Marked } from 'marked';

/** A heading's anchor, as GitHub makes it. */
export const anchorOf = (text) =>
  text
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');

const titleOf = (markdown) => /^# (.+)$/m.exec(markdown)[1];
const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
/** A table of more columns becomes a list of cards on a phone. */
const NARROW_COLUMNS = 2;

/**
 * @param sources Markdown by the name of its page, such as `stream`
 * @param index the Markdown of the page that lists the others
 * @returns HTML by the name of its page, `index` among them
 */
export const docsPages = (sources, index) =>
  Object.fromEntries(
    Object.entries({ ...sources, index }).map(([name, markdown]) => [
      name,
      docsPage(name, markdown, sources),
    ]),
  );

function docsPage(name, markdown, sources) {
  const title = titleOf(markdown);
  const contents = [];
  const path = name === 'index' ? 'docs' : `docs/${name}`;
  /** From where docs/ is, to where it is served. */
  const served = (href) => {
    if (/^https?:/.test(href)) return href;
    const [file, anchor] = href.split('#');
    const hash = anchor === undefined ? '' : `#${anchor}`;
    if (file === '') return `${path}${hash}`;
    const page = file === '../CHANGELOG.md' ? 'changelog' : /^([a-z-]+)\.md$/.exec(file)?.[1];
    return page in sources ? `docs/${page}${hash}` : undefined;
  };
  const image = (href) => `docs/images/${posix.basename(href)}`;
  const marked = new Marked({
    renderer: {
      heading({ tokens, text, depth }) {
        const id = anchorOf(text);
        const inner = this.parser.parseInline(tokens);
        if (depth === 2) contents.push(`<a href="${path}#${id}">${inner}</a>`);
        return `<h${depth + 1} id="${id}">${inner}</h${depth + 1}>\n`;
      },
      link({ href, tokens }) {
        const inner = this.parser.parseInline(tokens);
        const to = served(href);
        // What is not served is in the package or in the repository, by this path.
        return to === undefined
          ? `<span title="${escaped(href.replace(/^(\.\.\/)+/, ''))}">${inner}</span>`
          : `<a href="${escaped(to)}">${inner}</a>`;
      },
      image: ({ href, text }) =>
        `<a href="${image(href)}"><img src="${image(href)}" alt="${escaped(text)}"></a>`,
      html: ({ text }) =>
        text.startsWith('<!--')
          ? ''
          : text.replace(/(src|srcset)="([^"]+)"/g, (_, key, href) => `${key}="${image(href)}"`),
      code: ({ text }) => `<pre tabindex="0"><code>${escaped(text)}</code></pre>\n`,
      table({ header, rows }) {
        const cells = (row) => row.map(({ tokens }) => this.parser.parseInline(tokens));
        return table(
          header.map(({ text }) => text),
          cells(header),
          rows.map(cells),
        );
      },
    },
  });
  const body = marked.parse(markdown);
  const toc =
    contents.length < 3 ? '' : `<nav class="contents" aria-label="On this page">${contents.join(' ')}</nav>`;
  return document(title, body.replace('</h2>', `</h2>\n${toc}`));
}

function table(labels, header, rows) {
  const named = header.some((text) => text !== '');
  const head = named
    ? `<thead><tr>${header.map((text) => (text === '' ? '<td></td>' : `<th scope="col">${text}</th>`)).join('')}</tr></thead>`
    : '';
  const cell = (text, column) =>
    column === 0 && named && text !== ''
      ? `<th scope="row">${text}</th>`
      : `<td${named ? ` data-label="${escaped(labels[column].replaceAll('`', ''))}"` : ''}>${text}</td>`;
  const body = rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`).join('\n');
  const kind = header.length > NARROW_COLUMNS ? ' class="cards"' : '';
  return `<table${kind}>${head}<tbody>\n${body}\n</tbody></table>\n`;
}

const document = (title, body) => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <base href="/">
    <title>Lightcone – ${escaped(title.replaceAll('`', ''))}</title>
    <link rel="icon" href="assets/web/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="assets/web/style.css">
    <link rel="stylesheet" href="assets/web/docs.css">
  </head>
  <body>
    <header class="top">
      <h1><img src="assets/web/icon.svg" alt="" width="28" height="28"> Lightcone</h1>
      <nav aria-label="Pages"><a href="./">Home</a> <a href="docs">Docs</a> <a href="api/docs">API</a> <a href="status">Status</a></nav>
    </header>
    <main>
${body}
    </main>
  </body>
</html>
`;

/** The list of pages: README's doors by the pages' titles, without what only a clone has. */
export function indexOf(readme, sources) {
  const doors = /^## I want to …\n\n([\s\S]+?\n)\n/m.exec(readme)[1];
  const rows = doors
    .split('\n')
    .filter((row) => !row.includes('](CONTRIBUTING.md'))
    .join('\n')
    .replaceAll('](CHANGELOG.md', '](../CHANGELOG.md')
    .replace(/\[docs\/([\w-]+)\.md\]/g, (_, name) => `[${titleOf(sources[name])}]`)
    .replaceAll('](docs/', '](');
  return `# Documentation\n\nI want to …\n\n${rows}\n`;
}
