/**
 * An unquoted value as PyYAML, and so Galaxy, reads it (its variant of YAML 1.1): `yes` is true, `017` is fifteen, `1:30`
 * is ninety, `1e3` is text. Settings of type text use it as it is written.
 */
export class PlainScalar {
  constructor(
    readonly value: unknown,
    readonly written: string,
    /** The text that Galaxy gets for a setting of type text. */
    readonly asGalaxy: string,
  ) {}
}

/** The text of a scalar as the file has it; other values unchanged. */
export const asWritten = (raw: unknown): unknown => (raw instanceof PlainScalar ? raw.written : raw);
/** The YAML value of a scalar; other values unchanged. */
export const asValue = (raw: unknown): unknown => (raw instanceof PlainScalar ? raw.value : raw);

const TRUE = /^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$/;
const FALSE = /^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$/;
const NULL = /^(?:~|null|Null|NULL|)$/;
const INT = /^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$/;
const FLOAT = /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?)$/;
const SEXAGESIMAL = /^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$/;
const INFINITE = /^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$/;

export function resolvePlain(written: string): unknown {
  if (NULL.test(written)) return null;
  if (TRUE.test(written)) return new PlainScalar(true, written, 'True');
  if (FALSE.test(written)) return new PlainScalar(false, written, 'False');
  if (INT.test(written)) return number(whole(written), written, false);
  if (SEXAGESIMAL.test(written)) return number(sexagesimal(written), written, written.includes('.'));
  if (FLOAT.test(written)) return number(Number(written.replaceAll('_', '')), written, true);
  return INFINITE.test(written) ? number(Number.NaN, written, true) : written;
}

function number(value: number, written: string, real: boolean): PlainScalar {
  return new PlainScalar(value, written, real && Number.isInteger(value) ? `${value}.0` : String(value));
}

function whole(written: string): number {
  const digits = written.replace(/_/g, '').replace(/^[-+]/, '');
  const value = /^0[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
  return written.startsWith('-') ? -value : value;
}

function sexagesimal(written: string): number {
  const parts = written.replace(/_/g, '').replace(/^[-+]/, '').split(':').map(Number);
  const value = parts.reduce((sum, part) => sum * 60 + part, 0);
  return written.startsWith('-') ? -value : value;
}
