/**
 * A stream never outlives its permission: every `permission_check_interval` all open streams are looked at again (one
 * question per kind of credential, not per tab), and so are the histories that viewers look at. With many tabs that is a
 * little work each second, so that no event has to wait for all of it.
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
   * Of the principals given, those whose credential no longer grants what it did. Several may have the same credential:
   * asking for it once is the source's business.
   */
  revoked(principals: readonly Principal[]): Promise<Set<Principal>>;
  /** For each caller, of the ids given those that it may see now. */
  accessible(questions: readonly ViewQuestion[]): Promise<Set<HistoryId>[]>;
  /** Nothing that was read of the session before counts any more. */
  forgetSession?(sessionId: SessionId): void;
}

export interface ViewQuestion {
  caller: Principal;
  historyIds: readonly HistoryId[];
}

/** Callers, or histories that they look at, in one question. */
const VIEWED_AT_ONCE = 1000;
/** So often at most is something looked at out of turn, whatever the bus brings. */
const URGENT_PAUSE_MS = 100;
const CREDENTIALS = ['session', 'api_key', 'bootstrap_key', 'run_as', 'application'] as const;
/** Those who look at histories are asked about all at once. */
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

  /** What could not be looked at for so long that nothing personal may be told there any more. */
  get overdue(): ReadonlySet<PermissionKind> {
    return new Set(this.rounds.filter(({ isOverdue }) => isOverdue).map(({ kind }) => kind));
  }

  /** Looks at these at once. */
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

  /** Never rejects. What cannot be looked at now is left to the round, which goes on until it can. */
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
      logger.debug({ err: look.reason }, 'a changed permission cannot be looked at now; the next round does');
    }
  }

  /** Begins rounds that so many steps complete. */
  begin(steps: number): void {
    for (const round of this.rounds) round.begin(steps);
  }

  /** Never rejects. What is overdue is asked for as a whole, and does not hold up the others. */
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
   * @param only these histories; else all that are looked at
   * @throws the first reason why some could not be looked at; the others were
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

  /** Once per caller, however many tabs it holds: anonymous ones, for example, are all the same caller. */
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

/** Of about equal size, so that the number of questions does not grow with that of callers. */
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
