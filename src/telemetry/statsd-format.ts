import type { StatsdConfig } from '../config/config.js';
import type { MetricName, Tags } from './metrics.js';

/**
 * The tags of Galaxy's own metrics, in its order (contract, section 6.1). Other metrics keep their tags as they are.
 */
const GALAXY_TAGS: Partial<Record<MetricName, readonly string[]>> = {
  'galaxy.sse.connections.active': ['kind', 'server_name'],
  'galaxy.sse.connections.dropped': [],
  'galaxy.sse.dispatch.count': ['task'],
  'galaxy.sse.dispatch.latency_ms': ['task'],
  'galaxy.sse.dispatch.skipped_no_qw': [],
};

/** A series in statsd: the whole name, and the tags that the client still has to write in its own format. */
export interface WireSeries {
  stat: string;
  tags: Record<string, string>;
}

/**
 * - `dogstatsd`, `telegraf`: the prefix replaces the leading `galaxy`; the client writes the tags.
 * - `galaxy-plain`: the prefix goes in front of the whole name; no tags.
 * - `galaxy-influxdb`: prefix, dot, tags, and the metric as the last tag `path` (contract, section 6.2).
 */
export function wireSeries(config: StatsdConfig, name: MetricName, tags: Tags): WireSeries {
  const { form, prefix } = config;
  switch (form) {
    case 'dogstatsd':
    case 'telegraf': {
      const rest = name.slice('galaxy.'.length);
      return { stat: prefix === '' ? rest : `${prefix}.${rest}`, tags: { ...tags } };
    }
    case 'galaxy-plain':
      return { stat: prefix === '' ? name : `${prefix}.${name}`, tags: {} };
    case 'galaxy-influxdb': {
      const front = prefix.replace(/^,+|,+$/g, '');
      const pairs = (GALAXY_TAGS[name] ?? Object.keys(tags)).flatMap((key) =>
        tags[key] === undefined ? [] : [`,${key}=${plain(tags[key])}`],
      );
      return { stat: `${front === '' ? '' : `${front}.`}${pairs.join('')},path=${name}`, tags: {} };
    }
  }
}

/**
 * Galaxy writes Python's `%0.6f` of whole milliseconds. The other formats take the number as it is, to the
 * microsecond.
 */
export const wireTiming = (form: StatsdConfig['form'], ms: number): string =>
  form.startsWith('galaxy-') ? Math.round(ms).toFixed(6) : String(Math.round(ms * 1000) / 1000);

/** Replaces characters that would end a tag or a datagram. */
const plain = (value: string): string => value.replace(/[\s,=:|]/g, '_');
