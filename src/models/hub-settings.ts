// Where the hub is, who asks and where its files are kept: Hugging Face's own environment variables, so
// that this node and every other tool on the machine agree.
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { getHFHubCachePath } from '@huggingface/hub';
import { MeshnodeError } from '../util/errors.ts';

export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** A secret: it goes to the endpoint's own origin and nowhere else. */
  readonly token?: string;
  /** The folder that holds `models--org--repo`. */
  readonly cacheFolder: string;
  /** Nothing is asked of the network. */
  readonly offline: boolean;
}

/**
 * Reads `HF_ENDPOINT`, `HF_TOKEN` (else the file that `hf auth login` wrote), `HF_HUB_CACHE`, `HF_HOME` and
 * `HF_HUB_OFFLINE` from the process's environment. Throws `config_invalid` for an endpoint that is no URL.
 */
export async function readHubSettings(): Promise<HubSettings> {
  const token = await readToken();
  return {
    endpoint: parseEndpoint(process.env['HF_ENDPOINT'] || 'https://huggingface.co'),
    ...(token === undefined ? {} : { token }),
    cacheFolder: getHFHubCachePath(),
    offline: /^(1|true|yes|on)$/i.test(process.env['HF_HUB_OFFLINE'] ?? ''),
  };
}

function parseEndpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.search !== '') {
    throw new MeshnodeError('config_invalid', 'HF_ENDPOINT is not the address of a hub.', {
      hint: 'Set it to something like https://huggingface.co, or leave it out.',
    });
  }
  return url.href.replace(/\/+$/, '');
}

async function readToken(): Promise<string | undefined> {
  const home =
    process.env['HF_HOME'] || join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'huggingface');
  const file = process.env['HF_TOKEN_PATH'] || join(home, 'token');
  const text = process.env['HF_TOKEN'] || (await readFile(file, 'utf8').catch(() => ''));
  const token = text.trim();
  if (token === '') {
    return undefined;
  }
  if (!/^[\x21-\x7e]{1,512}$/.test(token)) {
    throw new MeshnodeError('config_invalid', 'The Hugging Face token holds characters that no token has.', {
      hint: `Set HF_TOKEN again, or write ${file} again with \`hf auth login\`.`,
    });
  }
  return token;
}
