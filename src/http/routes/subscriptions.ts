/**
 * Viewer subscriptions (contract, section 4.2): a user or session that looks at a history of somebody else asks to be told
 * of its changes. The streams may be on any worker, so that each id goes out as one control task to all of them.
 *
 * Unlike Galaxy, only for histories that the caller may see: an event says that something happened, and when.
 */
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { Publisher } from '../../bus/port.js';
import { LightconeError } from '../../core/errors.js';
import type { HistoryViewerTask, Principal } from '../../core/events.js';
import { Limiter } from '../../core/limiter.js';
import { LIMITS } from '../../core/limits.js';
import type { Accounts } from '../../database/port.js';
import type { App } from '../app.js';
import type { IdCodec } from '../auth/id-codec.js';
import type { RequestLimits } from '../auth/rate-limit.js';
import { DONE, describeRoute } from '../describe-route.js';
import { refuseIfOff } from './switched-off.js';

const MAX_WAITING = 10_000;

const TAG = 'stream';
const body = Type.Object(
  {
    history_ids: Type.Array(Type.String({ maxLength: 64, examples: ['f2db41e1fa331b3e'] }), {
      maxItems: LIMITS.subscriptionIds.value,
    }),
  },
  { examples: [{ history_ids: ['f2db41e1fa331b3e'] }] },
);

export interface SubscriptionRouteDeps {
  accounts: Pick<Accounts, 'accessibleHistories'>;
  publisher: Pick<Publisher, 'publish'>;
  idCodec: IdCodec;
  limits?: Pick<RequestLimits, 'take'>;
  /** `enable_sse_updates` */
  enabled: boolean;
}

export function registerSubscriptions(app: App, deps: SubscriptionRouteDeps): void {
  const { accounts, publisher, idCodec, limits, enabled } = deps;
  const url = '/api/events/history-subscriptions';
  const route = { config: { caller: 'anyone' }, preHandler: refuseIfOff(enabled) } as const;

  // One caller's messages take turns with those of others, so that changes go out in between.
  const lane = new Limiter(LIMITS.subscriptionsAtOnce.value, MAX_WAITING);

  const publishAll = async (
    task: HistoryViewerTask['task'],
    principal: Principal,
    historyIds: number[],
  ): Promise<void> => {
    const { userId, sessionId } = principal;
    const viewer = { ...(userId !== undefined && { userId }), ...(sessionId !== undefined && { sessionId }) };
    await Promise.all(
      historyIds.map((id) =>
        lane.run(
          () => publisher.publish({ task, historyId: idCodec.encodeId(id), ...viewer }),
          userId === undefined ? 'stranger' : 'user',
        ),
      ),
    );
  };

  const prepare = (
    request: FastifyRequest<{ Body: { history_ids: string[] } }>,
  ): { principal: Principal; historyIds: number[] } => {
    const principal = request.caller;
    const historyIds = decodeAll(idCodec, request.body.history_ids);
    // Each id becomes a message to all workers.
    if (isSomebody(principal))
      limits?.take(request, principal, historyIds.length * LIMITS.subscriptionCost.value);
    return { principal, historyIds };
  };

  app.post(
    url,
    {
      ...route,
      schema: { body, ...describeRoute(TAG, "Watch histories of others on the caller's streams", DONE) },
    },
    async (request, reply) => {
      const { principal, historyIds } = prepare(request);
      if (isSomebody(principal) && historyIds.length > 0) {
        const visible = await accounts.accessibleHistories(principal, historyIds);
        const hidden = historyIds.filter((id) => !visible.has(id));
        // All or nothing, so that a refused client need not find out which ids were accepted.
        if (hidden.length > 0) {
          const named = hidden.slice(0, 3).map((id) => idCodec.encodeId(id));
          throw new LightconeError(
            'NOT_ACCESSIBLE',
            `no access to the history ${named.join(', ')}; nothing was subscribed`,
          );
        }
        await publishAll('subscribe_history_viewer', principal, historyIds);
      }
      return reply.code(204).send();
    },
  );

  // No access check: a caller that has lost access must still be able to unsubscribe.
  app.delete(
    url,
    { ...route, schema: { body, ...describeRoute(TAG, 'Watch them no longer', DONE) } },
    async (request, reply) => {
      const { principal, historyIds } = prepare(request);
      if (isSomebody(principal)) await publishAll('unsubscribe_history_viewer', principal, historyIds);
      return reply.code(204).send();
    },
  );
}

/** A caller without user and session has no stream that could receive events. */
const isSomebody = ({ userId, sessionId }: Principal): boolean =>
  userId !== undefined || sessionId !== undefined;

function decodeAll(idCodec: IdCodec, texts: readonly string[]): number[] {
  const ids = new Set<number>();
  for (const text of texts) {
    const id = idCodec.decodeId(text);
    if (id === undefined) {
      throw new LightconeError(
        'MALFORMED_ID',
        `${JSON.stringify(text)} in history_ids is not an encoded history id`,
      );
    }
    ids.add(id);
  }
  return [...ids];
}
