/** Text of others for a terminal: a character that would steer it, or turn the order of what stands there, is shown as its code. */
export const printable = (text: string): string =>
  text.replace(
    /(?![\t\n])[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu,
    (steering) => `\\u${steering.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
