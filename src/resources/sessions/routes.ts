/**
 * A minimal login, logout and anonymous session, for the demo and for development, and the poll that needs a session.
 */

import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { LightconeError } from '../../core/errors.js';
import type { Principal } from '../../core/events.js';
import { LIMITS } from '../../core/limits.js';
import type { App } from '../../http/app.js';
import type { Addresses } from '../../http/auth/addresses.js';
import { ownerOf } from '../../http/auth/callers.js';
import { isPublicAbroad } from '../../http/auth/credentials.js';
import type { RequestLimits, TokenBuckets } from '../../http/auth/rate-limit.js';
import { DONE, describeRoute } from '../../http/describe-route.js';
import { formatIso } from '../../lib/time.js';
import { parseMoment, type RouteContext } from '../callers.js';
import type { HistoryContents } from '../histories/contents.js';
import { HistorySerializer } from '../histories/forms.js';
import { type HistoryManager, updateTimeOf } from '../histories/manager.js';
import { history } from '../histories/replies.js';
import { text } from '../schemas.js';
import { type CookieSettings, setSessionCookie } from './cookie.js';
import { normalLogin, type SessionManager } from './manager.js';
import * as replies from './replies.js';

export interface SessionRouteDeps extends RouteContext {
  sessions: SessionManager;
  histories: HistoryManager;
  contents: Pick<HistoryContents, 'hasChanged' | 'currentTime'>;
  cookie: CookieSettings;
  addresses: Addresses;
  limits: Pick<RequestLimits, 'take'>;
  /** Limits guesses of a password. */
  attempts: Pick<TokenBuckets, 'takeOf'>;
}

const TAG = 'sessions';
const loginBody = Type.Object(
  { login: text(255, 1), password: text(1_000, 1) },
  { examples: [{ login: 'alice@example.org', password: 'demo-alice' }] },
);
const currentQuery = Type.Object({
  since: Type.Optional(Type.String({ maxLength: 40, description: 'the update_time that the caller knows' })),
});

export function registerSessions(app: App, deps: SessionRouteDeps): void {
  const { idCodec, sessions, histories, contents, cookie, addresses, limits, attempts } = deps;
  const forms = new HistorySerializer(histories, (id) => idCodec.encodeId(id), app.prefix);
  const visitorOf = (request: FastifyRequest) => ({ address: addresses.of(request) });
  const giveCookie = (request: FastifyRequest, reply: FastifyReply, sessionKey: string): void =>
    setSessionCookie(request, reply, cookie, idCodec.encodeSessionKey(sessionKey));

  /** Gives a visitor without credentials a session and its history. */
  const introduce = async (request: FastifyRequest, reply: FastifyReply): Promise<Principal> => {
    const { sessionId, sessionKey } = await sessions.anonymous(visitorOf(request));
    giveCookie(request, reply, sessionKey);
    return { userId: undefined, sessionId, isAdmin: false, credential: { kind: 'session', sessionId } };
  };

  app.post(
    '/api/sessions',
    {
      schema: describeRoute(TAG, 'A new anonymous session, with a history', { 200: history }),
      config: { caller: 'public', cost: LIMITS.newSessionCost.value },
    },
    async (request, reply) => {
      const caller = await introduce(request, reply);
      return forms.detailed(await histories.current(caller));
    },
  );

  app.post(
    '/api/login',
    {
      schema: {
        body: loginBody,
        ...describeRoute(TAG, 'Sign in with e-mail or name; takes over anonymous histories', {
          200: replies.login,
        }),
      },
      config: { caller: 'anyone', cost: LIMITS.loginCost.value },
    },
    async (request, reply) => {
      const { login, password } = request.body;
      if (isPublicAbroad(password, request)) {
        throw new LightconeError(
          'CREDENTIALS_INVALID',
          'the passwords of the demo are public and valid on the same machine only',
        );
      }
      const account = await sessions.account(login);
      // By account, if it exists, because an account has two names.
      const name = account ? `#${account.id}` : normalLogin(login);
      attempts.takeOf(addresses, request, 1, 'too many sign-in attempts; wait a moment', name);
      const caller = request.caller;
      const { userId, sessionKey } = await sessions.login(caller, account, password, visitorOf(request));
      giveCookie(request, reply, sessionKey);
      return { id: idCodec.encodeId(userId) };
    },
  );

  app.post(
    '/api/logout',
    { config: { caller: 'anyone' }, schema: describeRoute(TAG, 'End the session', DONE) },
    async (request, reply) => {
      await sessions.logout(request.caller);
      setSessionCookie(request, reply, cookie, undefined);
      return reply.code(204).send();
    },
  );

  app.get(
    '/history/current_history_json',
    {
      config: { caller: 'anyone' },
      schema: {
        querystring: currentQuery,
        ...describeRoute('histories', 'The current history, or null when it has not changed since', {
          200: replies.currentHistory,
        }),
      },
    },
    async (request, reply) => {
      const { since } = request.query;
      const known = since === undefined ? undefined : parseMoment(since, 'since');
      const principal = request.caller;
      const isNobody = ownerOf(principal) === undefined && principal.credential.kind === 'none';
      if (isNobody) limits.take(request, principal, LIMITS.newSessionCost.value);
      const row = await histories.current(isNobody ? await introduce(request, reply) : principal);
      reply.type('application/json; charset=utf-8');
      const newest = updateTimeOf(row);
      if (known !== undefined && !(await contents.hasChanged(row.id, newest, known))) return 'null';
      const update_time = formatIso(contents.currentTime(newest, known));
      return JSON.stringify({ ...(await forms.detailed(row)), update_time });
    },
  );
}
