/** The last 15 minutes, drawn by uPlot (a script of its own, which defines `uPlot`). */

const KINDS = ['history_update', 'notify_users', 'notify_broadcast', 'entry_point_update'];

/** Each: title, unit, and its lines as `[label, value of a bucket]`. */
const PLOTS = [
  { title: 'Open streams', unit: '', lines: [['streams', (bucket) => bucket.streams]] },
  {
    title: 'Events written to streams',
    unit: '/s',
    lines: [['events', (bucket) => bucket.rates.events_written]],
  },
  {
    title: 'Tasks received, by kind',
    unit: '/s',
    lines: KINDS.map((kind) => [kind, (bucket) => bucket.rates[kind]]),
  },
  {
    title: 'From commit to socket',
    unit: ' ms',
    lines: [
      ['median', (bucket) => bucket.p50],
      ['99 %', (bucket) => bucket.p99],
    ],
  },
  { title: 'Events waiting in queues', unit: '', lines: [['waiting', (bucket) => bucket.waiting]] },
  {
    title: 'Dropped, refused',
    unit: '/s',
    lines: [
      ['events dropped', (bucket) => bucket.rates.events_dropped],
      ['streams refused', (bucket) => bucket.rates.streams_refused],
    ],
  },
  {
    title: 'Streams caught up',
    unit: '/s',
    lines: [
      ['from memory', (bucket) => bucket.rates.resumed_memory],
      ['from the database', (bucket) => bucket.rates.resumed_database],
    ],
  },
];
const WATERMARKS = 'Age of what workers were told last';
const MOST_LINES = 20;
const HEIGHT = 140;
const WINDOW_SECONDS = 15 * 60;

export class Plots {
  #root;
  #buckets = [];
  #most = 180;
  #drawn = [];
  #workers = '';

  constructor(root) {
    this.#root = root;
    new ResizeObserver(() => this.#resize()).observe(root);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#build());
  }

  begin({ bucket_seconds: seconds, buckets }) {
    this.#most = WINDOW_SECONDS / seconds;
    this.#buckets = buckets;
    this.#draw();
  }

  add(bucket) {
    // A clock that was set back: lines are drawn from left to right only.
    const before = this.#buckets.filter(({ at }) => at < bucket.at);
    this.#buckets = [...before, bucket].slice(-this.#most);
    this.#draw();
  }

  #draw() {
    const workers = this.#names().join('\n');
    if (this.#drawn.length === 0 || workers !== this.#workers) {
      this.#workers = workers;
      this.#build();
      return;
    }
    for (const { plot, lines, now, unit } of this.#drawn) {
      plot.setData(this.#data(lines));
      now.replaceChildren(...this.#last(lines, unit));
    }
  }

  #names() {
    const names = new Set(this.#buckets.flatMap(({ watermarks }) => Object.keys(watermarks)));
    return [...names].sort().slice(0, MOST_LINES);
  }

  #build() {
    const watermarks = {
      title: WATERMARKS,
      unit: ' s',
      lines: this.#names().map((name) => [
        name,
        ({ watermarks: ages }) => (ages[name] === undefined ? null : ages[name] / 1000),
      ]),
    };
    for (const { plot } of this.#drawn) plot.destroy();
    this.#drawn = [];
    this.#root.replaceChildren(...[...PLOTS, watermarks].map((of) => this.#figure(of)));
    this.#resize();
  }

  #figure({ title, unit, lines }) {
    const figure = document.createElement('figure');
    const caption = document.createElement('figcaption');
    const name = document.createElement('b');
    name.textContent = title;
    const now = document.createElement('span');
    now.replaceChildren(...this.#last(lines, unit));
    caption.append(name, now);
    figure.append(caption);
    const plot = new globalThis.uPlot(options(lines, unit), this.#data(lines), figure);
    plot.root.setAttribute('aria-hidden', 'true');
    this.#drawn.push({ plot, lines, unit, now, figure });
    return figure;
  }

  #data(lines) {
    return [
      this.#buckets.map(({ at }) => at),
      ...lines.map(([, of]) => this.#buckets.map((bucket) => of(bucket))),
    ];
  }

  /** The newest value of each line, in words: a picture alone tells nothing to who cannot see it. */
  #last(lines, unit) {
    const bucket = this.#buckets.at(-1);
    if (bucket === undefined) return ['no figures yet'];
    const said = (value) => (value === null ? '–' : round(value) + unit);
    const values = lines.map(([label, of]) => [label, of(bucket)]);
    if (values.length > 4) {
      const known = values.map(([, value]) => value).filter((value) => value !== null);
      return [known.length === 0 ? '–' : `at most ${said(Math.max(...known))}`];
    }
    if (values.length === 1) return [said(values[0][1])];
    return values.map(([label, value], index) => {
      const key = document.createElement('span');
      key.className = `key line-${index + 1}`;
      key.textContent = `${label} ${said(value)}`;
      return key;
    });
  }

  #resize() {
    for (const { plot, figure } of this.#drawn) {
      const width = Math.floor(figure.clientWidth);
      if (width > 0 && width !== plot.width) plot.setSize({ width, height: HEIGHT });
    }
  }
}

const round = (value) => (value >= 10 ? Math.round(value) : Math.round(value * 10) / 10);

function options(lines, unit) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  const colors = [1, 2, 3, 4, 5].map((number) => color(`line-${number}`));
  const axis = {
    stroke: color('soft'),
    grid: { stroke: color('line'), width: 1 },
    ticks: { stroke: color('line'), width: 1 },
    font: '11px system-ui, sans-serif',
  };
  return {
    width: 300,
    height: HEIGHT,
    cursor: { show: false },
    legend: { show: false },
    scales: {
      x: { range: (_, __, to) => [(to ?? 0) - WINDOW_SECONDS, to ?? 0] },
      y: { range: (_, __, to) => [0, Math.max(1, (to ?? 0) * 1.1)] },
    },
    axes: [
      { ...axis, values: (_, ticks) => ticks.map(clock) },
      { ...axis, size: 60, values: (_, ticks) => ticks.map((value) => `${short(value)}${unit}`) },
    ],
    series: [
      {},
      ...lines.map(([label], index) => ({
        label,
        stroke: colors[index % colors.length],
        width: 1.5,
        points: { show: false },
      })),
    ],
  };
}

const clock = (seconds) => new Date(seconds * 1000).toTimeString().slice(0, 5);
const short = (value) =>
  value >= 1000 ? `${Math.round(value / 100) / 10}k` : String(Math.round(value * 10) / 10);
