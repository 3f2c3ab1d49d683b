/** `problem`: something will not work; `note`: it works, but not as well as it could, or not yet. */
export type Finding = { state: 'ok' | 'note' | 'problem'; text: string; code?: FindingCode };

/** What other code decides by. */
export type FindingCode = 'other_installation' | 'no_answer';

export const ok = (text: string): Finding => ({ state: 'ok', text });
export const note = (text: string): Finding => ({ state: 'note', text });
export const problem = (text: string, code?: FindingCode): Finding => ({
  state: 'problem',
  text,
  ...(code !== undefined && { code }),
});
