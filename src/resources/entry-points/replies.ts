/** Schemas of the replies about entry points, for the OpenAPI document. */
import { Type } from 'typebox';
import { ID, orNull, TIME } from '../../http/describe-route.js';

const textOrNull = orNull(Type.String());
const target = Type.String({ description: 'Where a browser finds it' });
const EXAMPLE_TARGET = 'https://2-6a1f.interactivetoolentrypoint.tools.example.org/';

export const entryPoint = Type.Object(
  {
    model_class: Type.Literal('InteractiveToolEntryPoint'),
    id: Type.String({ description: 'Base 36', examples: ['2'] }),
    job_id: ID,
    name: textOrNull,
    label: textOrNull,
    active: Type.Boolean(),
    created_time: orNull(TIME),
    modified_time: orNull(TIME),
    output_datasets_ids: Type.Array(ID),
    // Present once it is configured and its job runs.
    target: Type.Optional(target),
  },
  {
    title: 'EntryPoint',
    examples: [
      {
        model_class: 'InteractiveToolEntryPoint',
        id: '2',
        job_id: 'f2db41e1fa331b3e',
        name: 'Jupyter',
        label: null,
        active: true,
        created_time: '2026-07-01T12:00:00.000000',
        modified_time: '2026-07-01T12:34:56.789012',
        output_datasets_ids: [],
        target: EXAMPLE_TARGET,
      },
    ],
  },
);
export const access = Type.Object(
  { target },
  { title: 'EntryPointAccess', examples: [{ target: EXAMPLE_TARGET }] },
);
