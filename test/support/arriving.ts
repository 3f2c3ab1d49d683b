import { get } from 'node:http';
import { constants, createGunzip } from 'node:zlib';
import { onTestFinished } from 'vitest';

export interface Arriving {
  text: string;
  encoding: string | undefined;
  end: 'whole' | 'broken' | undefined;
  leave(): void;
}

/** What comes through a proxy, as it comes, unpacked; until the end of the test at the latest. */
export function arriving(url: string, headers: Record<string, string> = {}): Arriving {
  const request = get(url, { headers }, (response) => {
    got.encoding = response.headers['content-encoding'];
    const body =
      got.encoding === 'gzip'
        ? response.pipe(createGunzip({ finishFlush: constants.Z_SYNC_FLUSH }))
        : response;
    body.setEncoding('utf8').on('data', (text: string) => {
      got.text += text;
    });
    response.on('end', () => {
      got.end ??= response.complete ? 'whole' : 'broken';
    });
    response.on('error', onBroken);
  });
  const got: Arriving = { text: '', encoding: undefined, end: undefined, leave: () => request.destroy() };
  const onBroken = (): void => {
    got.end ??= 'broken';
  };
  request.on('error', onBroken);
  onTestFinished(got.leave);
  return got;
}
