import type { Validator } from 'typebox/compile';
import type { NotificationBody, UserCategory } from './schemas.js';
import { CONTENTS } from './schemas.js';

/**
 * Validates the part of a notification that depends on its category. Its errors look like those of the body's schema.
 */
export class ContentCheck {
  readonly #validators = new Map<UserCategory, Validator>();

  /** @throws the validation error of a route */
  async check({ category, content }: NotificationBody, at: string): Promise<void> {
    let validator = this.#validators.get(category);
    if (!validator) {
      // Loaded on demand: see http/validation.ts.
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
