// Asks for a passphrase without showing it. Programs give it by the environment or a file.
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { readSecretFile } from '../node/token-file.ts';
import { MeshnodeError } from '../util/errors.ts';
import type { CommandContext } from './command-context.ts';

/** The passphrase; `isNew`: a person types it twice. Rejects with `usage` if there is nobody to ask. */
export async function readPassphrase(context: CommandContext, isNew: boolean): Promise<string> {
  const given = await givenPassphrase(context);
  const passphrase = given ?? (await typedPassphrase(context, 'Passphrase: '));
  if (passphrase === '') {
    throw new MeshnodeError('usage', 'An empty passphrase protects nothing.');
  }
  if (isNew && given === undefined && (await typedPassphrase(context, 'Once more: ')) !== passphrase) {
    throw new MeshnodeError('usage', 'The two passphrases differ.');
  }
  return passphrase;
}

async function givenPassphrase({ options, environment }: CommandContext): Promise<string | undefined> {
  const file = options.text('passphrase-file');
  if (file === undefined) {
    return environment['MESHNODE_PASSPHRASE'];
  }
  return (await readSecretFile(file, 'usage')).replace(/\r?\n$/, '');
}

async function typedPassphrase(context: CommandContext, question: string): Promise<string> {
  const { input, output, interrupted } = context;
  if (input.isTTY !== true) {
    throw new MeshnodeError('usage', 'There is no terminal to ask for the passphrase.', {
      hint: 'Set MESHNODE_PASSPHRASE, or give a file with --passphrase-file.',
    });
  }
  output.streams.stderr.write(question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  // As a terminal it would repeat what is typed: to nowhere.
  const lines = createInterface({ input, output: nowhere, terminal: true });
  const stopped = new AbortController();
  lines.once('SIGINT', () => stopped.abort(new MeshnodeError('interrupted', 'Stopped.')));
  lines.once('close', () => stopped.abort(new MeshnodeError('usage', 'No passphrase was given.')));
  const signal = AbortSignal.any([interrupted, stopped.signal]);
  try {
    return await lines.question('', { signal });
  } catch (cause) {
    signal.throwIfAborted();
    throw cause;
  } finally {
    lines.close();
    output.say('');
  }
}
