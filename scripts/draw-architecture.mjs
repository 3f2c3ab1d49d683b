// The pictures of docs/architecture.md, as SVG for light and dark. Pure: imports in, SVG out.

const STYLE = `text{fill:#1f2328}.small{font-size:11px;fill:#59636e}.box{fill:#f6f8fa;stroke:#8c959f}.entry{fill:#ddf4ff;stroke:#0969da}
path{fill:none;stroke:#59636e;stroke-width:1.3}.again{stroke:#bc4c00;stroke-dasharray:5 3}.head{fill:#59636e}.headAgain{fill:#bc4c00}
text.again{fill:#bc4c00;stroke:none}.paper{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.box{fill:#161b22;stroke:#656c76}.entry{fill:#121d2f;stroke:#4493f8}
path{stroke:#9198a1}.again{stroke:#f0883e}.head{fill:#9198a1}.headAgain{fill:#f0883e}text.again{fill:#f0883e}.paper{fill:#0d1117}}`;
const HEADS = `<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" class="head" style="stroke:none"/></marker>
<marker id="again" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" class="headAgain" style="stroke:none"/></marker></defs>`;

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
const picture = (width, height, title, parts) =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui,sans-serif" font-size="13">
<title>${escaped(title)}</title>
<style>
${STYLE}
</style>
${HEADS}
<rect width="100%" height="100%" class="paper"/>
${parts.join('\n')}
</svg>
`;

function box({ x, y, width, height, name, lines, entry }) {
  const middle = x + width / 2;
  const first = y + height / 2 - lines.length * 7 + 4;
  return [
    `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="5" class="${entry ? 'entry' : 'box'}"/>`,
    `<text x="${middle}" y="${first}" text-anchor="middle" font-weight="600">${escaped(name)}</text>`,
    ...lines.map(
      (line, i) =>
        `<text x="${middle}" y="${first + 15 + i * 14}" text-anchor="middle" class="small">${escaped(line)}</text>`,
    ),
  ].join('\n');
}

// --- the house ---------------------------------------------------------------------------------------------------------

/** Each room of src: the column in which it stands, and what it does. Its row follows from the imports. */
const ROOMS = {
  cli: [2, 'flags in, exit code out'],
  app: [2, 'puts all together'],
  election: [0, 'who is the monitor'],
  maintenance: [1, 'the leader’s cleaning'],
  monitor: [2, 'publishes what changed'],
  resources: [4, 'the standalone REST API'],
  outbox: [3, 'tasks of a commit'],
  http: [4, 'callers, routes'],
  connections: [4, 'the streams of a worker'],
  'node-internals': [4, 'beyond Node’s promises'],
  bus: [2, 'AMQP, or in-process'],
  events: [2, 'one file for each kind'],
  database: [2, 'PostgreSQL, or SQLite'],
  telemetry: [2, 'logger, metrics'],
  config: [2, 'one frozen Config'],
  core: [2, 'the words, errors, limits'],
  lib: [2, 'utilities'],
};
const COLUMN = 178;
const ROW = 58;
const BOX = { width: 164, height: 40 };

/** @param imports `{ from, to }` of files, relative to src */
export function housePicture(imports) {
  const roomOf = (file) => (file.includes('/') ? file.slice(0, file.indexOf('/')) : 'cli');
  const below = new Map(Object.keys(ROOMS).map((room) => [room, new Set()]));
  for (const { from, to } of imports) {
    const [one, other] = [roomOf(from), roomOf(to)];
    if (one === other || one === 'web' || other === 'web' || !to.endsWith('.ts')) continue;
    for (const room of [one, other]) if (!below.has(room)) throw new Error(`no picture has the room ${room}`);
    below.get(one).add(other);
  }
  // What follows from other arrows is left out.
  const reaches = (room, target) =>
    [...below.get(room)].some((next) => next === target || reaches(next, target));
  const arrows = [...below].flatMap(([room, targets]) =>
    [...targets]
      .filter((target) => ![...targets].some((other) => other !== target && reaches(other, target)))
      .map((target) => [room, target]),
  );
  // A room stands just below the lowest of those that import it.
  const rows = new Map();
  const rowOf = (room) => {
    if (!rows.has(room)) {
      rows.set(
        room,
        1 + Math.max(-1, ...[...below].filter(([, to]) => to.has(room)).map(([from]) => rowOf(from))),
      );
    }
    return rows.get(room);
  };
  const place = (room) => ({ ...BOX, x: 8 + ROOMS[room][0] * COLUMN, y: 10 + rowOf(room) * ROW });
  const lowest = Math.max(...Object.keys(ROOMS).map(rowOf));
  return picture(8 + 5 * COLUMN, 20 + lowest * ROW + BOX.height, 'The rooms of src and what each imports', [
    ...arrows.sort().map(([from, to]) => arrow(place(from), place(to))),
    ...Object.entries(ROOMS).map(([room, [, line]]) =>
      box({ ...place(room), name: room, lines: [line], entry: room === 'cli' }),
    ),
  ]);
}

/** Down to the top of a box; to its side, where the way goes past other rooms. */
function arrow(from, to) {
  const [x1, y1] = [from.x + from.width / 2, from.y + from.height];
  const isFar = to.y - from.y > 2 * ROW && to.x !== from.x;
  const [x2, y2] = isFar
    ? [to.x > from.x ? to.x : to.x + to.width, to.y + to.height / 2]
    : [to.x + to.width / 2, to.y];
  if (x1 === x2) return `<path d="M${x1} ${y1}V${y2}" marker-end="url(#head)"/>`;
  const bend = isFar ? `${x1} ${y2} ${x1} ${y2}` : `${x1} ${(y1 + y2) / 2} ${x2} ${(y1 + y2) / 2}`;
  return `<path d="M${x1} ${y1}C${bend} ${x2} ${y2}" marker-end="url(#head)"/>`;
}

// --- how a change travels --------------------------------------------------------------------------------------------------

/** In the order of the way. */
const STOPS = [
  { name: 'a program', lines: ['writes, commits'] },
  { name: 'src/database', lines: ['a trigger adds a row', 'to history_audit: the log'], entry: true },
  { name: 'src/monitor', lines: ['one, elected: reads the', 'log, asks for the owners'] },
  { name: 'src/bus', lines: ['control tasks; behind', 'them a tick a second'] },
  { name: 'src/connections', lines: ['each worker: one frame', 'for all, a queue for each'] },
  { name: 'src/http', lines: ['the open stream', 'of a browser’s tab'] },
];
const HINTS = ['', 'NOTIFY', 'publish', 'deliver', 'write'];
/** Who reads the log again, and from where. */
const AGAIN = [
  [2, 'from what is confirmed'],
  [4, 'from the last tick'],
  [5, 'from the Last-Event-ID'],
];

export function changePicture() {
  const [width, height, gap, top] = [148, 62, 52, 34];
  const at = (i) => ({ x: 8 + i * (width + gap), y: top, width, height });
  const parts = [`<text x="8" y="18" class="small">each step is a hint, and fast</text>`];
  for (const [i, stop] of STOPS.entries()) {
    const { x, y } = at(i);
    if (i > 0) {
      const from = x - gap;
      parts.push(`<path d="M${from} ${y + height / 2}H${x - 1}" marker-end="url(#head)"/>`);
      parts.push(
        `<text x="${x - gap / 2}" y="${y + height / 2 - 7}" text-anchor="middle" class="small">${HINTS[i - 1]}</text>`,
      );
    }
    parts.push(box({ ...at(i), ...stop }));
  }
  const bottom = top + height;
  const log = at(1);
  for (const [n, [i, text]] of AGAIN.entries()) {
    const y = bottom + 30 + n * 34;
    const x = at(i).x + width / 2;
    const end = log.x + width / 2 + 36 - n * 36;
    parts.push(
      `<path d="M${x} ${bottom}V${y - 8}q0 8-8 8H${end + 8}q-8 0-8-8V${bottom + 2}" class="again" marker-end="url(#again)"/>`,
    );
    parts.push(`<text x="${x - 14}" y="${y - 6}" text-anchor="end" class="small again">${text}</text>`);
  }
  const y = bottom + 30 + AGAIN.length * 34;
  parts.push(
    `<text x="8" y="${y}" class="small again">after an interruption each reads on in the log: nothing is lost</text>`,
  );
  return picture(
    16 + STOPS.length * width + (STOPS.length - 1) * gap,
    y + 14,
    'How a change travels, and who reads the log again',
    parts,
  );
}
