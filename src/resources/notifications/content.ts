import type { Validator } from 'typebox/compile';
import type { NotificationBody, UserCategory } from './schemas.js';
import { CONTENTS } from './schemas.js';

/** Checks the part of a notification that depends on its category; errors look like those of the body's schema. */
export class ContentCheck {
  readonly #validators = new Map<UserCategory, Validator>();

  /** @throws a validation error as the routes' own */
  async check({ category, content }: NotificationBody, at: string): Promise<void> {
    let validator = this.#validators.get(category);
    if (!validator) {
      // Not before it is needed: see http/validation.ts.
      const { Compile } = await import('typebox/compile');
      validator = Compile(CONTENTS[category]);
      this.#validators.set(category, validator);
    }
    if (validator.Check(content)) return;
    const validation = validator
      .Errors(content)
      .map((error) => ({ ...error, instancePath: `${at}/content${error.instancePath}` }));
    throw Object.assign(new Error('content'), { validation, validationContext: 'body', statusCode: 400 });
  }
}
