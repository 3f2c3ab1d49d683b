import type { Total } from './counting-metrics.js';
import { METRICS } from './metrics.js';

export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

const TYPES = { counter: 'counter', gauge: 'gauge', timing: 'summary' } as const;

/**
 * Formats totals in Prometheus' text format. Dots become underscores. A counter ends in `_total`. A timing is a
 * summary without quantiles; its `_sum` is in milliseconds.
 */
export function formatPrometheus(totals: readonly Total[]): string {
  const families = new Map<string, string[]>();
  for (const total of totals) {
    const family = total.name.replaceAll('.', '_') + (total.kind === 'counter' ? '_total' : '');
    let lines = families.get(family);
    if (!lines) {
      lines = [`# HELP ${family} ${METRICS[total.name].meaning}`, `# TYPE ${family} ${TYPES[total.kind]}`];
      families.set(family, lines);
    }
    const labels = formatLabels(total.tags);
    if (total.kind === 'timing') {
      lines.push(`${family}_sum${labels} ${total.value}`, `${family}_count${labels} ${total.count}`);
    } else {
      lines.push(`${family}${labels} ${total.value}`);
    }
  }
  const lines = [...families.values()].flat();
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** Adds labels that distinguish the series from those of other processes. */
export const labelled = (totals: readonly Total[], labels: Total['tags']): Total[] =>
  totals.map((total) => ({ ...total, tags: { ...labels, ...total.tags } }));

function formatLabels(tags: Total['tags']): string {
  const pairs = Object.entries(tags).map(
    ([name, value]) =>
      `${name}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`,
  );
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}
