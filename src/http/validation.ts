/**
 * Validation of requests by TypeBox. Half of its 700 modules are the compiler of schemas: they are loaded with the first
 * request that is validated, and each schema is compiled when its route is first asked, so that a start waits for neither.
 */
import type { FastifySchemaCompiler } from 'fastify';
import type { TSchema } from 'typebox';

export const NO_NUL = '^[^\\u0000]*$';
/** Nobody could see such a name. */
export const NOT_BLANK = '^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$';

/** What is said instead of a pattern. */
export const PATTERN_WORDS: Readonly<Record<string, string>> = {
  [NO_NUL]: 'must not hold a NUL character',
  [NOT_BLANK]: 'must not be blank, nor hold a NUL character',
};

type Compiler = FastifySchemaCompiler<TSchema>;

export class LazyValidator {
  private compile: Compiler | undefined;

  /** Hook that has to run before the validation of a request. */
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
