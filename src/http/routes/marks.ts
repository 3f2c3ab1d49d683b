/**
 * "Notify my streams when this write is out." The streams may be on any worker, so the request goes to all of them. The
 * worker that holds one answers on it, at the rate of the ticks.
 */
import { Type } from 'typebox';
import type { Publisher } from '../../bus/port.js';
import { LightconeError } from '../../core/errors.js';
import { LIMITS } from '../../core/limits.js';
import { isMark } from '../../database/log/write-mark.js';
import type { App } from '../app.js';
import type { RequestLimits } from '../auth/rate-limit.js';
import { DONE, describeRoute } from '../describe-route.js';
import { refuseIfOff } from './switched-off.js';

const body = Type.Object(
  { marks: Type.Array(Type.String({ maxLength: 64 }), { minItems: 1, maxItems: LIMITS.marks.value }) },
  { examples: [{ marks: ['9d4c01f2.c5a'] }] },
);

export interface MarkRouteDeps {
  publisher: Pick<Publisher, 'publish'>;
  limits?: Pick<RequestLimits, 'take'>;
  /** `enable_sse_updates` */
  enabled: boolean;
}

export function registerMarks(app: App, { publisher, limits, enabled }: MarkRouteDeps): void {
  app.post(
    '/api/events/marks',
    {
      config: { caller: 'anyone' },
      preHandler: refuseIfOff(enabled),
      schema: {
        body,
        ...describeRoute('stream', "Notify the caller's streams when they include these writes", DONE),
      },
    },
    async (request, reply) => {
      const marks = [...new Set(request.body.marks)];
      const wrong = marks.find((mark) => !isMark(mark));
      if (wrong !== undefined) {
        throw new LightconeError(
          'PARAMETER_INVALID',
          `${JSON.stringify(wrong)} is not a mark; send the header x-write-mark of the answer to a write`,
        );
      }
      const { userId, sessionId } = request.caller;
      if (userId !== undefined || sessionId !== undefined) {
        limits?.take(request, request.caller, marks.length);
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
