/** The page's way to the server: JSON, an optional API key, and errors as the server words them. */

/** Where the server is, with its prefix and a slash at the end. */
export const BASE = new URL('.', document.baseURI).href;

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @throws ApiError; status 0 when the server did not answer */
export async function api(path, { key, method = 'GET', body } = {}) {
  let response;
  try {
    response = await fetch(BASE + path, {
      method,
      headers: { ...(key && { 'x-api-key': key }), ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    });
  } catch {
    throw new ApiError(0, 'The server does not answer.');
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok)
    throw new ApiError(response.status, answer.err_msg ?? `The server answered ${response.status}.`);
  return answer;
}
