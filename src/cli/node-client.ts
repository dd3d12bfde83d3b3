// Talks to the node that runs on this data folder: its management API with the folder's token, its
// inference API with a configured key. Every failure says what to do.
import { request } from 'undici';
import type { NodeStatus } from '../console/status.ts';
import { findRunningNode, type RunCard } from '../node/data-folder.ts';
import { isErrorCode, MeshnodeError } from '../util/errors.ts';
import { isJsonObject, type JsonObject } from '../util/json.ts';

export class NodeClient {
  readonly card: RunCard;
  readonly #token: string;

  private constructor(card: RunCard, token: string) {
    this.card = card;
    this.#token = token;
  }

  /** The running node. Rejects with `node_not_running`. */
  static async find(dataDir: string): Promise<NodeClient> {
    const { card, consoleToken } = await findRunningNode(dataDir);
    return new NodeClient(card, consoleToken);
  }

  async status(signal: AbortSignal): Promise<NodeStatus> {
    // The node is of this machine and the token proved us to it; its answer is taken as it is.
    return (await this.#call('GET', '/api/status', undefined, signal)) as unknown as NodeStatus;
  }

  /** Begins to load a model. */
  async load(reference: string, signal: AbortSignal): Promise<void> {
    await this.#call('POST', '/api/models/load', { reference }, signal);
  }

  async #call(
    method: 'GET' | 'POST',
    path: string,
    body: JsonObject | undefined,
    signal: AbortSignal,
  ): Promise<JsonObject> {
    if (this.card.consoleUrl === undefined) {
      throw new MeshnodeError('node_not_running', 'The running node has no management API (--headless).', {
        hint: 'Start it without --headless.',
      });
    }
    const url = new URL(path, this.card.consoleUrl);
    const answer = await request(url, {
      method,
      signal,
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
    }).catch((cause: unknown) => {
      signal.throwIfAborted();
      throw new MeshnodeError('node_not_running', `The node at ${url.origin} does not answer.`, {
        hint: `It was started as process ${this.card.pid}; if that is gone, start it again with \`meshnode\`.`,
        cause,
      });
    });
    const value: unknown = await answer.body.json();
    if (!isJsonObject(value)) {
      throw new MeshnodeError('internal', 'The node answered with something else than an object.');
    }
    if (answer.statusCode >= 400) {
      throw answeredError(value);
    }
    return value;
  }
}

/** The error that an answer of one of our APIs holds. */
export function answeredError(body: JsonObject): MeshnodeError {
  const error = isJsonObject(body['error']) ? body['error'] : {};
  const code = String(error['code'] ?? '');
  const message = String(error['message'] ?? 'The node refused without a reason.');
  return new MeshnodeError(isErrorCode(code) ? code : 'internal', message);
}
