// Takes the bytes of an OpenAI-speaking server's answer apart into its JSON documents: the data of
// server-sent events, or the one document of a server that does not stream. Bounded, whatever comes.
import { createParser } from 'eventsource-parser';
import { type JsonValue, parseJson } from '../../util/json.ts';
import { engineLimits } from '../../util/limits/engine.ts';
import { requestLimits } from '../../util/limits/inference.ts';
import { protocolError } from './errors.ts';

/** What a stream brings: a document, or the word that nothing follows. */
export type AnswerPart = { readonly done: false; readonly chunk: JsonValue } | { readonly done: true };

/**
 * The parts of an answer in order. It ends with `done`, or without if the server just stopped; what follows
 * `done` is not read. Throws `engine_protocol` for what is neither JSON nor events of JSON.
 */
export async function* readAnswer(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<AnswerPart, void, undefined> {
  const decoder = new TextDecoder('utf-8');
  let beginning = '';
  let documents: EventDocuments | DocumentText | undefined;
  for await (const piece of body) {
    const text = decoder.decode(piece, { stream: true });
    if (documents === undefined) {
      beginning = (beginning + text).trimStart();
      if (beginning === '') {
        continue;
      }
      // Told by the content, not by its type: servers mislabel both ways, and no event begins with a brace.
      documents = beginning.startsWith('{') ? new DocumentText() : new EventDocuments();
    }
    for (const part of documents.feed(beginning === '' ? text : beginning)) {
      yield part;
      if (part.done) {
        return;
      }
    }
    beginning = '';
  }
  yield* documents?.end() ?? [];
}

/** Server-sent events whose data are JSON documents or `[DONE]`. */
class EventDocuments {
  #events: string[] = [];
  #tooLong = false;
  readonly #parser = createParser({
    maxBufferSize: engineLimits.lineBytes,
    onEvent: ({ data }) => {
      this.#events.push(data);
    },
    onError: (error) => {
      this.#tooLong ||= error.type === 'max-buffer-size-exceeded';
    },
  });

  /** Lazy, so that what came before a fault is given before it is thrown. */
  *feed(text: string): Generator<AnswerPart, void, undefined> {
    this.#events = [];
    this.#parser.feed(text);
    for (const data of this.#events) {
      yield data === '[DONE]' ? { done: true } : { done: false, chunk: parseChunk(data) };
    }
    if (this.#tooLong) {
      throw protocolError(`sent an event of more than ${engineLimits.lineBytes} characters`);
    }
  }

  /** Some servers forget the empty line after their last event; half a document is no document. */
  *end(): Generator<AnswerPart, void, undefined> {
    try {
      yield* [...this.feed('\n\n')];
    } catch {
      // The stream broke off inside an event: whoever reads it sees that the end is missing.
    }
  }
}

/** One JSON document, which is the whole answer. */
class DocumentText {
  #text = '';

  feed(text: string): AnswerPart[] {
    this.#text += text;
    if (this.#text.length > engineLimits.lineBytes) {
      throw protocolError(`answered with more than ${engineLimits.lineBytes} characters at once`);
    }
    return [];
  }

  end(): AnswerPart[] {
    return [{ done: false, chunk: parseChunk(this.#text) }];
  }
}

function parseChunk(text: string): JsonValue {
  try {
    return parseJson(text, requestLimits.jsonDepth);
  } catch (cause) {
    throw protocolError('sent something that is no JSON', cause);
  }
}
