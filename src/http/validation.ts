/**
 * Validates requests with TypeBox. Half of its 700 modules are the compiler of schemas. They are loaded at the first
 * validated request, and each schema is compiled at the first request of its route, so that a start waits for neither.
 */
import type { FastifySchemaCompiler } from 'fastify';
import type { TSchema } from 'typebox';

export const NO_NUL = '^[^\\u0000]*$';
/** Such a name would be invisible. */
export const NOT_BLANK = '^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$';

/** Descriptions of patterns for error messages. */
export const PATTERN_WORDS: Readonly<Record<string, string>> = {
  [NO_NUL]: 'must not contain a NUL character',
  [NOT_BLANK]: 'must not be blank, nor contain a NUL character',
};

type Compiler = FastifySchemaCompiler<TSchema>;

export class LazyValidator {
  private compile: Compiler | undefined;

  /** Hook that must run before the validation of a request. */
  readonly load = async (): Promise<void> => {
    this.compile ??= (await import('@fastify/type-provider-typebox')).TypeBoxValidatorCompiler;
  };

  readonly compiler: Compiler = (route) => {
    let validate: ReturnType<Compiler> | undefined;
    return (value) => {
      validate ??= this.compile!(route);
      return validate(value);
    };
  };
}
