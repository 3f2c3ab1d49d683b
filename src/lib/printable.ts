/**
 * Makes foreign text safe for a terminal: shows control characters, and characters that reorder text, as their codes.
 */
export const printable = (text: string): string =>
  text.replace(
    /(?![\t\n])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu,
    (steering) => `\\u${steering.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
