/**
 * Where permissions cannot be looked at for too long, nothing personal is told; it is told afterwards.
 *
 * ```
 *   telling ──a kind of permission is overdue──► silent ──all kinds are checked again──► telling
 *                                  each kind that is checked again: a gap is repaired
 * ```
 */
import type { Logger } from '../../telemetry/logger.js';
import type { GapRepair } from '../resume/gap-repair.js';
import type { Watermark } from '../resume/watermark.js';
import type { Dispatcher } from '../routing/dispatcher.js';
import type { PermissionKind } from './permission-round.js';

export class UncheckedSilence {
  state: 'telling' | 'silent' = 'telling';
  /** Releases the watermark: withheld events must stay ahead of every cursor. */
  private release: (() => void) | undefined;

  constructor(
    private readonly options: {
      dispatcher: Pick<Dispatcher, 'muted'>;
      watermark: Pick<Watermark, 'hold'>;
      gapRepair: Pick<GapRepair, 'request'>;
      logger: Logger;
    },
  ) {}

  /** Called once a second. */
  follow(overdue: ReadonlySet<PermissionKind>): void {
    const { dispatcher, watermark, gapRepair, logger } = this.options;
    const before = dispatcher.muted;
    dispatcher.muted = overdue;
    const kinds = [...overdue].filter((kind) => !before.has(kind));
    if (kinds.length > 0) {
      if (this.state === 'telling') this.release = watermark.hold();
      this.state = 'silent';
      logger.warn(
        { kinds },
        'permission check has failed for a minute: streams of these kinds receive only broadcasts until it succeeds',
      );
    }
    if ([...before].some((kind) => !overdue.has(kind))) gapRepair.request('unchecked');
    if (overdue.size > 0) return;
    this.state = 'telling';
    this.release?.();
    this.release = undefined;
  }
}
