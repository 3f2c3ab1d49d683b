/**
 * Ends streams with their permission: every `permission_check_interval` the worker checks all open streams (one
 * question per kind of credential, not per tab) and the histories of viewers. With many tabs it checks a part of them
 * each second, so that no event waits long.
 */

import type { HistoryId, Principal, SessionId } from '../../core/events.js';
import type { PermissionConcern } from '../../events/kind.js';
import type { Clock } from '../../lib/clock.js';
import type { Logger } from '../../telemetry/logger.js';
import type { ViewerHolder, ViewerRegistry } from '../routing/viewers.js';
import { kindOf, type PermissionKind, PermissionRound } from './permission-round.js';
import type { TabRegistry } from './registry.js';
import type { Tab } from './tab.js';

/** A port; the authentication of `src/http` implements it. */
export interface PermissionSource {
  /**
   * Returns those of the principals whose credential no longer grants what it did. Several may share a credential; the
   * source looks it up once.
   */
  revoked(principals: readonly Principal[]): Promise<Set<Principal>>;
  /** Returns for each caller the ids that it may still see. */
  accessible(questions: readonly ViewQuestion[]): Promise<Set<HistoryId>[]>;
  /** Invalidates everything that was read of the session. */
  forgetSession?(sessionId: SessionId): void;
}

export interface ViewQuestion {
  caller: Principal;
  historyIds: readonly HistoryId[];
}

/** Maximum number of callers, or of histories that they view, in one question. */
const VIEWED_AT_ONCE = 1000;
/** Minimum interval of checks out of turn, whatever arrives on the bus. */
const URGENT_PAUSE_MS = 100;
const CREDENTIALS = ['session', 'api_key', 'bootstrap_key', 'run_as', 'application'] as const;
/** The viewers are one item: all are checked at once. */
const ALL = [undefined];

export class PermissionCheck {
  private readonly urgentSessions = new Set<SessionId>();
  private readonly urgentHistories = new Set<HistoryId>();
  private pause: NodeJS.Timeout | undefined;
  private readonly rounds: readonly Pick<PermissionRound<unknown>, 'kind' | 'isOverdue' | 'begin' | 'step'>[];

  constructor(
    private readonly options: {
      registry: TabRegistry;
      viewers: ViewerRegistry;
      source: PermissionSource;
      close: (tab: Tab, reason: 'revoked') => void;
      logger: Logger;
      clock: Pick<Clock, 'monotonic'>;
    },
  ) {
    const { registry, logger, clock } = options;
    this.rounds = [
      ...CREDENTIALS.map(
        (kind) =>
          new PermissionRound<Tab>({
            kind,
            items: registry.all,
            isMine: (tab) => tab.state !== 'closed' && kindOf(tab) === kind,
            look: (tabs) => this.checkTabs(tabs),
            logger,
            clock,
          }),
      ),
      new PermissionRound<undefined>({
        kind: 'viewed',
        items: ALL,
        isMine: () => true,
        look: () => this.checkViewers(),
        logger,
        clock,
      }),
    ];
  }

  /** Kinds that were unchecked for so long that their streams may receive only broadcasts. */
  get overdue(): ReadonlySet<PermissionKind> {
    return new Set(this.rounds.filter(({ isOverdue }) => isOverdue).map(({ kind }) => kind));
  }

  /** Checks these at once. */
  look({ sessionId, historyId }: PermissionConcern): void {
    const { registry, viewers, source } = this.options;
    if (sessionId !== undefined) {
      source.forgetSession?.(sessionId);
      if (registry.firstOfSession(sessionId)) this.urgentSessions.add(sessionId);
    }
    if (historyId !== undefined && viewers.get(historyId)) this.urgentHistories.add(historyId);
    this.lookAtUrgent();
  }

  private lookAtUrgent(): void {
    if (this.pause !== undefined || this.urgentSessions.size + this.urgentHistories.size === 0) return;
    this.pause = setTimeout(() => {
      this.pause = undefined;
      this.lookAtUrgent();
    }, URGENT_PAUSE_MS).unref();
    void this.checkUrgent();
  }

  /** Never rejects. The round repeats failed checks until they succeed. */
  private async checkUrgent(): Promise<void> {
    const { registry, logger } = this.options;
    const sessions = [...this.urgentSessions];
    const histories = new Set(this.urgentHistories);
    this.urgentSessions.clear();
    this.urgentHistories.clear();
    const tabs: Tab[] = [];
    for (const sessionId of sessions) {
      for (let tab = registry.firstOfSession(sessionId); tab; tab = tab.nextOfSession) tabs.push(tab);
    }
    const looks = CREDENTIALS.map(async (kind) => {
      const some = tabs.filter((tab) => kindOf(tab) === kind);
      if (some.length > 0) await this.checkTabs(some);
    });
    for (const look of await Promise.allSettled([...looks, this.checkViewers(histories)])) {
      if (look.status === 'fulfilled') continue;
      logger.debug({ err: look.reason }, 'permission check out of turn failed: the next round repeats it');
    }
  }

  /** Starts rounds with this many steps. */
  begin(steps: number): void {
    for (const round of this.rounds) round.begin(steps);
  }

  /** Never rejects. Overdue kinds are checked as a whole, and do not delay the others. */
  async step(): Promise<void> {
    for (const round of this.rounds) if (round.isOverdue) round.begin(1);
    await Promise.all(this.rounds.map((round) => round.step()));
  }

  /** @param tabs of one kind */
  private async checkTabs(tabs: readonly Tab[]): Promise<void> {
    this.closeRevoked(tabs, await this.options.source.revoked([...new Set(tabs.map(principalOf))]));
  }

  private closeRevoked(some: readonly Tab[], revoked: ReadonlySet<Principal>): void {
    const { close, logger } = this.options;
    const closed = new Map<Principal, number>();
    for (const tab of some) {
      if (!revoked.has(tab.principal)) continue;
      close(tab, 'revoked');
      closed.set(tab.principal, (closed.get(tab.principal) ?? 0) + 1);
    }
    for (const [{ userId }, tabs] of closed) {
      logger.info({ userId, tabs }, 'streams closed: their permission was revoked');
    }
  }

  /**
   * @param only these histories; otherwise all viewed ones
   * @throws the first reason why some could not be checked; the others were
   */
  private async checkViewers(only?: ReadonlySet<HistoryId>): Promise<void> {
    const { viewers, source } = this.options;
    const failures: unknown[] = [];
    for (const some of inPortions(this.viewingCallers(only))) {
      try {
        const accessible = await source.accessible(some);
        for (const [i, { holders, historyIds }] of some.entries()) {
          const gone = historyIds.filter((id) => !accessible[i]!.has(id));
          for (const holder of holders) for (const id of gone) viewers.unsubscribe(holder, id);
        }
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** One entry per caller, however many tabs it has. All anonymous callers, for example, are one. */
  private viewingCallers(only: ReadonlySet<HistoryId> | undefined): ViewingCaller[] {
    const { registry, viewers } = this.options;
    if (viewers.size === 0 || only?.size === 0) return [];
    const due = (holder: ViewerHolder): HistoryId[] =>
      only === undefined ? [...viewers.of(holder)] : [...viewers.of(holder)].filter((id) => only.has(id));
    const callers = new Map<string, { principal: Principal; holders: Set<ViewerHolder> }>();
    for (const tab of registry.all) {
      const { userId, sessionId, isAdmin } = tab.principal;
      const looking: ViewerHolder[] = [{ tab }];
      if (userId !== undefined) looking.push({ userId });
      if (sessionId !== undefined) looking.push({ sessionId });
      const holders = looking.filter((holder) => due(holder).length > 0);
      if (holders.length === 0) continue;
      const key = `${userId} ${sessionId} ${isAdmin}`;
      const caller = callers.get(key) ?? { principal: tab.principal, holders: new Set() };
      callers.set(key, caller);
      for (const holder of holders) caller.holders.add(holder);
    }
    return [...callers.values()].map(({ principal, holders }) => ({
      caller: principal,
      holders,
      historyIds: [...new Set([...holders].flatMap(due))],
    }));
  }
}

const principalOf = ({ principal }: Tab): Principal => principal;

interface ViewingCaller extends ViewQuestion {
  holders: ReadonlySet<ViewerHolder>;
}

/** Portions of similar size, so that the number of questions does not grow with the number of callers. */
function inPortions(callers: readonly ViewingCaller[]): ViewingCaller[][] {
  const portions: ViewingCaller[][] = [];
  let room = 0;
  for (const caller of callers) {
    if (room <= 0) {
      portions.push([]);
      room = VIEWED_AT_ONCE;
    }
    portions.at(-1)!.push(caller);
    room -= caller.historyIds.length;
  }
  return portions;
}
