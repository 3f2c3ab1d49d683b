/** `/api/entry_points`: running interactive tools of the caller (contract, section 4.4). */

import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { LightconeError } from '../../core/errors.js';
import type { Principal } from '../../core/events.js';
import { isoOrNull } from '../../database/notification-forms.js';
import { toBoolean } from '../../database/port.js';
import type { App } from '../../http/app.js';
import { type Owner, ownerOf, requireAdmin, requireOwner } from '../../http/auth/callers.js';
import { DONE, describeRoute, orNull } from '../../http/describe-route.js';
import { decodeId, type RouteContext } from '../callers.js';
import { schemeOf } from '../forwarded-proto.js';
import { chosenFlag, encodedId, idParams, nameText, switchedOff, text } from '../schemas.js';
import type { EntryPointManager, JobChoice } from './manager.js';
import * as replies from './replies.js';
import type { EntryPointRow } from './repository.js';
import { type TargetSettings, targetOf } from './target.js';

const TAG = 'entry points';
const host = Type.String({ minLength: 1, maxLength: 255, pattern: '^[A-Za-z0-9._:\\[\\]-]+$' });
/** Excludes characters that would end a header line or a header name. */
const headerName = Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$" });
const protocol = Type.String({ pattern: '^[A-Za-z][A-Za-z0-9+.-]{0,31}$' });
const urlPart = Type.String({ maxLength: 2_000, pattern: '^[^\\u0000-\\u0020\\u007f]*$' });
const port = Type.Integer({ minimum: 1, maximum: 65_535 });

const fields = {
  name: Type.Optional(nameText(255)),
  label: Type.Optional(orNull(text(255))),
  tool_port: Type.Optional(port),
  host: Type.Optional(host),
  port: Type.Optional(port),
  protocol: Type.Optional(orNull(protocol)),
  entry_url: Type.Optional(orNull(urlPart)),
  requires_domain: Type.Optional(Type.Boolean()),
  requires_path_in_url: Type.Optional(Type.Boolean()),
  requires_path_in_header_named: Type.Optional(orNull(headerName)),
  info: Type.Optional(orNull(Type.Object({}))),
};
const createBody = Type.Object(
  {
    job_id: Type.Optional(encodedId),
    tool_id: Type.Optional(text(255, 1)),
    user_id: Type.Optional(encodedId),
    session_id: Type.Optional(encodedId),
    ...fields,
    name: nameText(255),
  },
  { examples: [{ name: 'Jupyter', tool_id: 'interactive_jupyter', tool_port: 8888 }] },
);
const configureBody = Type.Object(fields, { examples: [{ host: '10.0.0.5', port: 31_001 }] });
const listQuery = Type.Object({
  running: chosenFlag('`true`: those of the caller that run. Give this or `job_id`'),
  job_id: Type.Optional(encodedId),
});

export interface EntryPointRouteDeps extends RouteContext {
  entryPoints: EntryPointManager;
  target: TargetSettings;
}

/** @param deps.entryPoints undefined with `interactivetools_enable: false` */
export function registerEntryPoints(
  app: App,
  {
    entryPoints,
    ...rest
  }: Omit<EntryPointRouteDeps, 'entryPoints'> & {
    entryPoints: EntryPointManager | undefined;
  },
): void {
  if (entryPoints) register(app, { ...rest, entryPoints });
  else {
    for (const url of ['/api/entry_points', '/api/entry_points/*']) {
      switchedOff(app, url, 'interactivetools_enable');
    }
  }
}

function register(app: App, { idCodec, entryPoints, target }: EntryPointRouteDeps): void {
  const targetFor = (row: EntryPointRow, request: FastifyRequest): string =>
    targetOf(row, idCodec.encodeEntryPointId(row.id), target, {
      scheme: schemeOf(request),
      host: request.host,
    });

  const form = (row: EntryPointRow, request: FastifyRequest) => {
    const active = toBoolean(row.active);
    return {
      model_class: 'InteractiveToolEntryPoint' as const,
      id: idCodec.encodeEntryPointId(row.id),
      job_id: idCodec.encodeId(row.job_id),
      name: row.name,
      label: row.label,
      active,
      created_time: isoOrNull(row.created_time),
      modified_time: isoOrNull(row.modified_time),
      output_datasets_ids: [],
      ...(active && { target: targetFor(row, request) }),
    };
  };

  /** A wrong id is an invalid parameter here, not a malformed id (contract, section 4.4). */
  const decode = (id: string): number => {
    const decoded = idCodec.decodeEntryPointId(id);
    if (decoded === undefined) {
      throw new LightconeError(
        'PARAMETER_INVALID',
        `${JSON.stringify(id)} is not an entry point id (base 36)`,
      );
    }
    return decoded;
  };

  app.get(
    '/api/entry_points',
    {
      config: { caller: 'anyone' },
      schema: {
        querystring: listQuery,
        ...describeRoute(TAG, 'The running ones, or those of one job', {
          200: Type.Array(replies.entryPoint),
        }),
      },
    },
    async (request) => {
      const { running, job_id: jobId } = request.query;
      if ((running === true) === (jobId !== undefined)) {
        throw new LightconeError(
          'PARAMETER_INVALID',
          'give either running=true or job_id, and only one of them',
        );
      }
      const principal = request.caller;
      const owner = ownerOf(principal);
      const rows =
        jobId !== undefined
          ? await entryPoints.listByJob(principal, decodeId(idCodec, jobId, 'job'))
          : owner
            ? await entryPoints.running(owner)
            : [];
      return rows.map((row) => form(row, request));
    },
  );

  app.post(
    '/api/entry_points',
    {
      config: { caller: 'anyone' },
      schema: {
        body: createBody,
        ...describeRoute(TAG, 'Create one (its owner or an administrator)', { 200: replies.entryPoint }),
      },
    },
    async (request) => {
      const principal = request.caller;
      const { job_id: jobId, tool_id: toolId, user_id, session_id, ...values } = request.body;
      const job: JobChoice =
        jobId !== undefined
          ? { jobId: decodeId(idCodec, jobId, 'job') }
          : { owner: newOwner(principal, user_id, session_id), toolId: toolId ?? 'interactive_tool' };
      return form(await entryPoints.create(principal, job, values), request);
    },
  );

  /** The caller, unless an administrator names another owner. */
  const newOwner = (principal: Principal, userId?: string, sessionId?: string): Owner => {
    if (userId === undefined && sessionId === undefined) return requireOwner(principal);
    requireAdmin(principal);
    return userId !== undefined
      ? { userId: decodeId(idCodec, userId, 'user') }
      : { sessionId: decodeId(idCodec, sessionId!, 'session') };
  };

  app.put(
    '/api/entry_points/:id',
    {
      config: { caller: 'anyone' },
      schema: {
        params: idParams,
        body: configureBody,
        ...describeRoute(TAG, 'Rename it (owner), set its target (administrator)', {
          200: replies.entryPoint,
        }),
      },
    },
    async (request) => {
      const principal = request.caller;
      return form(await entryPoints.configure(principal, decode(request.params.id), request.body), request);
    },
  );

  app.get(
    '/api/entry_points/:id/access',
    {
      config: { caller: 'anyone' },
      schema: {
        params: idParams,
        ...describeRoute(TAG, 'Where a browser finds it', { 200: replies.access }),
      },
    },
    async (request) => {
      const principal = request.caller;
      const row = await entryPoints.byId(principal, decode(request.params.id));
      if (!toBoolean(row.active)) {
        throw new LightconeError('CONFLICT', 'this interactive tool is not running yet, or not any more');
      }
      return { target: targetFor(row, request) };
    },
  );

  app.delete(
    '/api/entry_points/:id',
    {
      config: { caller: 'anyone' },
      schema: {
        params: idParams,
        ...describeRoute(TAG, 'Stop it and its job (owner or administrator)', DONE),
      },
    },
    async (request, reply) => {
      const principal = request.caller;
      await entryPoints.remove(principal, decode(request.params.id));
      return reply.code(204).send();
    },
  );
}
