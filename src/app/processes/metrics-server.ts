/**
 * `metrics_listen` and `monitor_metrics_listen`: metrics and health of the processes of one program, on an address for
 * the administrator's own machines. It hides nothing, so it is never the public address.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { isLoopback, type TcpAddress } from '../../config/listen.js';
import { isDirectlyLocal } from '../../http/auth/addresses.js';
import type { Lifecycle } from '../../lib/lifecycle.js';
import type { Total } from '../../telemetry/counting-metrics.js';
import { formatPrometheus, labelled, PROMETHEUS_CONTENT_TYPE } from '../../telemetry/prometheus.js';
import { listenError } from './listen-error.js';

/** The report of one process. */
export interface ProcessReport {
  /** Its server name. */
  process: string;
  totals: readonly Total[];
  /** Whether a worker accepts streams, or a monitor could lead. */
  ready: boolean;
  /** Empty if everything works. */
  problems: readonly string[];
}

const LIMITS = { requestTimeout: 10_000, headersTimeout: 10_000, maxHeaderSize: 8_192 };

export class MetricsServer implements Lifecycle {
  private readonly server = createServer(LIMITS, (request, response) => void this.answer(request, response));

  private starting: Promise<void> | undefined;

  /** @param flag of the setting, for messages */
  constructor(
    private readonly listen: TcpAddress,
    private readonly flag: string,
    private readonly collect: () => Promise<readonly ProcessReport[]>,
  ) {}

  start(): Promise<void> {
    this.starting ??= new Promise<void>((resolve, reject) => {
      this.server.once('error', (error) => reject(listenError(this.listen, this.flag, error)));
      this.server.listen(this.listen.port, this.listen.host, resolve);
    });
    return this.starting;
  }

  async stop(): Promise<void> {
    await this.starting?.catch(() => {});
    if (!this.server.listening) return;
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.starting = undefined;
    this.server.closeAllConnections();
    await closed;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const send = (status: number, body: string | object): void => {
      const isText = typeof body === 'string';
      response.writeHead(status, {
        'content-type': isText ? PROMETHEUS_CONTENT_TYPE : 'application/json; charset=utf-8',
        'cache-control': 'no-store',
      });
      response.end(isText ? body : `${JSON.stringify(body)}\n`);
    };
    // A foreign host name may lead a browser on this machine here.
    if (isLoopback(this.listen) && !isDirectlyLocal(request)) {
      send(403, { err_msg: 'this address is for this machine only' });
      return;
    }
    const path = (request.url ?? '').split('?', 1)[0];
    if (path === '/healthz') {
      send(200, { live: true });
      return;
    }
    if (path !== '/metrics' && path !== '/readyz' && path !== '/wellz') {
      send(404, { err_msg: 'this address serves /metrics, /healthz, /readyz and /wellz' });
      return;
    }
    const reports = await this.collect();
    if (path === '/metrics') {
      send(200, formatPrometheus(reports.flatMap(({ process, totals }) => labelled(totals, { process }))));
      return;
    }
    const problems = reports.flatMap((report) => report.problems.map((it) => `${report.process}: ${it}`));
    const ready = reports.some((report) => report.ready);
    const well = ready && problems.length === 0;
    send((path === '/readyz' ? ready : well) ? 200 : 503, { ready, well, problems });
  }
}
