/**
 * "Tell my streams when this write is out." The streams may be on any worker, so the question goes to all of them; the
 * worker that holds one answers on it, in the rhythm of the ticks.
 */
import { Type } from 'typebox';
import type { Publisher } from '../../bus/port.js';
import { LightconeError } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { isMark } from '../../database/log/write-mark.js';
import type { App } from '../app.js';
import type { Authentication } from '../auth/authentication.js';
import type { RequestLimits } from '../auth/rate-limit.js';
import { DONE, describeRoute } from '../describe-route.js';

const body = Type.Object(
  { marks: Type.Array(Type.String({ maxLength: 64 }), { minItems: 1, maxItems: LIMITS.marks.value }) },
  { examples: [{ marks: ['9d4c01f2.c5a'] }] },
);

export interface MarkRouteDeps {
  authenticator: Authentication;
  publisher: Pick<Publisher, 'publish'>;
  limits?: Pick<RequestLimits, 'take'>;
  /** `enable_sse_updates` */
  enabled: boolean;
}

export function registerMarks(app: App, { authenticator, publisher, limits, enabled }: MarkRouteDeps): void {
  app.post(
    '/api/events/marks',
    {
      schema: {
        body,
        ...describeRoute('stream', "Tell the caller's streams when these writes are out", DONE),
      },
    },
    async (request, reply) => {
      if (!enabled)
        throw new LightconeError('SWITCHED_OFF', 'live updates are switched off (enable_sse_updates)');
      const principal = await authenticator.authenticate(request);
      const marks = [...new Set(request.body.marks)];
      const wrong = marks.find((mark) => !isMark(mark));
      if (wrong !== undefined) {
        throw new LightconeError(
          'PARAMETER_INVALID',
          `${JSON.stringify(wrong)} is not a mark; send what the answer to a write had in its header x-write-mark`,
        );
      }
      const { userId, sessionId } = principal;
      if (userId !== undefined || sessionId !== undefined) {
        limits?.take(request, principal, marks.length);
        await publisher.publish({
          task: 'await_marks',
          marks,
          ...(userId !== undefined && { userId }),
          ...(sessionId !== undefined && { sessionId }),
        });
      }
      return reply.code(204).send();
    },
  );
}
