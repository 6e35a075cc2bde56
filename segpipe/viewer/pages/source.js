/** Where the data come from: the server this page came from. */

/** An answer that is no answer, in words for the reader. */
export class ApiError extends Error {
  /** @param {number} status of HTTP; 0 where there was no answer @param {string} words */
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

/** Whether a request ended because nobody waits for it any more. */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

async function answer(url, options) {
  let response;
  try {
    response = await fetch(url, { credentials: "same-origin", ...options });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError(0, "The server does not answer. Is `segpipe browse` still running?");
  }
  if (response.ok) return response;
  let words = `The server answered ${response.status}.`;
  try {
    words = (await response.json()).error ?? words;
  } catch (error) {
    if (isAbort(error)) throw error;
  }
  throw new ApiError(response.status, words);
}

const json = async (url, signal) => (await answer(url, { signal })).json();

/** The server's answers; every call takes an AbortSignal and may raise an ApiError. */
export class Server {
  /** Selections can be kept here. */
  keeps = true;

  root(signal) {
    return json("/api/root", signal);
  }

  /** @param {URLSearchParams} filters @param {string|null} after a cursor @param {number} limit */
  items(filters, after, limit, signal) {
    const asked = new URLSearchParams(filters);
    asked.set("limit", String(limit));
    if (after) asked.set("after", after);
    return json(`/api/items?${asked}`, signal);
  }

  counts(filters, signal) {
    return json(`/api/counts?${filters}`, signal);
  }

  /** @param {URLSearchParams} params key, or dataset, id, run and date; the filters beside it */
  item(params, signal) {
    return json(`/api/item?${params}`, signal);
  }

  rejects(params, signal) {
    return json(`/api/rejects?${params}`, signal);
  }

  overview(params, signal) {
    return json(`/api/overview?${params}`, signal);
  }

  /** The bytes of a picture. @returns {Promise<Blob>} */
  async picture(url, signal) {
    // Only what this server names, whatever an answer says.
    if (!url.startsWith("/") || url.startsWith("//")) throw new ApiError(0, "no picture's address");
    return (await answer(url, { signal })).blob();
  }

  thumbnail(card, size, signal) {
    const [path, query] = card.thumb.split("?");
    const asked = new URLSearchParams(query);
    asked.set("size", String(size));
    return this.picture(`${path}?${asked}`, signal);
  }

  /** Keep a selection under a name, to be read by `segpipe` and from Python. */
  async saveSelection(name, keys) {
    const headers = { "Content-Type": "application/json", "X-Segpipe": "1" };
    const body = JSON.stringify({ name, keys });
    return (await answer("/api/selection", { method: "POST", headers, body })).json();
  }
}
