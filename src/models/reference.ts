// The REF of the command line and the API: text from a person parsed into one of three kinds of reference.
// Pure: it looks at no file and asks no server; whatever it returns is safe to put into a URL or a path.
import { closest, distance } from 'fastest-levenshtein';
import { MeshnodeError } from '../util/errors.ts';
import { requestLimits } from '../util/limits/inference.ts';

/** What a person may mean by a model. `name` is what clients ask for; `text` is what was written. */
export type ModelReference = FileReference | HubReference | CatalogueReference;

export interface FileReference {
  readonly kind: 'file';
  readonly text: string;
  readonly name: string;
  /** As written: absolute, relative to the working folder, or starting with `~/`. */
  readonly path: string;
}

export interface HubReference {
  readonly kind: 'hub';
  readonly text: string;
  readonly name: string;
  /** `org/repo`. */
  readonly repository: string;
  /** Branch, tag or commit. */
  readonly revision: string;
  readonly choice: HubChoice;
}

/** Which model of a repository: its best small one, one of a quantisation, or the one a file belongs to. */
export type HubChoice =
  | { readonly by: 'default' }
  | { readonly by: 'quantisation'; readonly quantisation: string }
  | { readonly by: 'file'; readonly path: string };

export interface CatalogueReference {
  readonly kind: 'catalogue';
  readonly text: string;
  readonly name: string;
}

/** A GGUF's place in a model of several files: `<stem>-00001-of-00003.gguf`. */
const splitSuffix = /-\d{5}-of-\d{5}$/;
const ggufExtension = /\.gguf$/i;
const pathShape = /^(\/|~[/\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]|\\\\)/;
/** The hub's own rule for both halves of `org/repo`; `--` would be ambiguous in the cache's folder names. */
const repositoryPart = /^(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?$/;
const quantisationShape = /^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?$/;
const revisionShape = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$/;
const hubPage = /^(?:https:\/\/)?(?:huggingface\.co|hf\.co)\//;
/** Farthest a known name may be from what was typed to be suggested, as a share of its length. */
const suggestionDistance = 0.5;

/**
 * Parses a reference: a path to a GGUF, `hf:org/repo`, `hf:org/repo:QUANT`, `hf:org/repo/file.gguf` (each
 * with an optional `@revision`), the address of a model's page on the hub, or a catalogue name.
 * Throws `model_ref_invalid` with the nearest catalogue name, or the likely correction, in the hint.
 */
export function parseReference(text: string, catalogueNames: readonly string[]): ModelReference {
  if (text.length === 0 || text.length > requestLimits.modelNameLength || hasControlCharacter(text)) {
    throw invalid(text, 'it is empty, too long or holds control characters');
  }
  if (catalogueNames.includes(text)) {
    return { kind: 'catalogue', text, name: text };
  }
  if (text.startsWith('hf:')) {
    return parseHubReference(text, text.slice('hf:'.length));
  }
  if (hubPage.test(text)) {
    return parseHubReference(text, fromPageAddress(text.replace(hubPage, '')));
  }
  if (pathShape.test(text) || (ggufExtension.test(text) && !text.includes('://'))) {
    const name = nameOfFile(text);
    if (/^\.{0,2}$/.test(name)) {
      throw invalid(text, 'it is a folder, and a model is a .gguf file');
    }
    return { kind: 'file', text, name, path: text };
  }
  throw invalid(text, 'it is no path to a GGUF, no hf: reference and no known name', {
    hint: suggestion(text, catalogueNames),
  });
}

/** The name a GGUF is served under: its file name without extension and split suffix. */
export function nameOfFile(path: string): string {
  const base = path.split(/[/\\]/).at(-1) ?? path;
  return base.replace(ggufExtension, '').replace(splitSuffix, '') || base;
}

/**
 * Whether a file name from a repository can be joined onto a folder on any system: relative, forward
 * slashes only, no `..`, no drive, no control character.
 */
export function isSafeRepositoryPath(path: string): boolean {
  return (
    path.length > 0 &&
    path.length <= requestLimits.modelNameLength &&
    !hasControlCharacter(path) &&
    !/[\\:*?"<>|]/.test(path) &&
    path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
  );
}

/** `org/repo`, as the hub allows it. */
export function isRepositoryName(name: string): boolean {
  const parts = name.split('/');
  return parts.length === 2 && parts.every((part) => repositoryPart.test(part));
}

/** `org/repo[:QUANT | /file.gguf][@revision]`, what follows `hf:`. */
function parseHubReference(text: string, body: string): HubReference {
  const at = body.indexOf('@');
  const revision = at === -1 ? 'main' : body.slice(at + 1);
  const [organisation = '', rest = ''] = splitOnce(at === -1 ? body : body.slice(0, at), '/');
  const [repositoryAndFile = '', quantisation] = splitOnce(rest, ':');
  const [repositoryName = '', file] = splitOnce(repositoryAndFile, '/');
  const repository = `${organisation}/${repositoryName}`;

  if (!isRepositoryName(repository)) {
    throw invalid(text, 'after hf: comes org/repo', {
      hint: 'Write it as `hf:org/repo:QUANT`, e.g. `hf:Qwen/Qwen3-0.6B-GGUF:Q8_0`.',
    });
  }
  if (!revisionShape.test(revision) || revision.includes('..') || revision.endsWith('/')) {
    throw invalid(text, 'after @ comes a branch, a tag or a commit');
  }
  const choice = hubChoice(text, file, quantisation);
  return { kind: 'hub', text, name: hubName(repositoryName, choice), repository, revision, choice };
}

function hubChoice(text: string, file: string | undefined, quantisation: string | undefined): HubChoice {
  if (file !== undefined && quantisation !== undefined) {
    throw invalid(text, 'it names a file and a quantisation; one of them is enough');
  }
  if (file !== undefined) {
    if (!isSafeRepositoryPath(file) || !ggufExtension.test(file)) {
      throw invalid(text, 'after org/repo/ comes the name of a .gguf file of the repository');
    }
    return { by: 'file', path: file };
  }
  if (quantisation !== undefined) {
    if (!quantisationShape.test(quantisation)) {
      throw invalid(text, 'after org/repo: comes a quantisation such as Q4_K_M');
    }
    return { by: 'quantisation', quantisation };
  }
  return { by: 'default' };
}

/**
 * The API name must be known before the repository was asked, and should be the one the same file gets
 * when another node serves it by path: publishers call `Foo-Q8_0.gguf` what lies in `org/Foo-GGUF`.
 */
function hubName(repositoryName: string, choice: HubChoice): string {
  if (choice.by === 'file') {
    return nameOfFile(choice.path);
  }
  const model = repositoryName.replace(/[-_.]gguf$/i, '') || repositoryName;
  return choice.by === 'default' ? model : `${model}-${choice.quantisation}`;
}

/** `org/repo/blob/main/file.gguf?download=true` of a browser's address line as `org/repo/file.gguf@main`. */
function fromPageAddress(address: string): string {
  const path = address.replace(/[?#].*$/, '').replace(/\/$/, '');
  const match = /^([^/]+\/[^/]+)\/(?:blob|resolve|tree)\/([^/]+)(\/.+)?$/.exec(path);
  return match === null ? path : `${match[1]}${match[3] ?? ''}@${match[2]}`;
}

/** The next step to show: the hub reference that was probably meant, else the nearest known name. */
function suggestion(text: string, catalogueNames: readonly string[]): string | undefined {
  const [repository = ''] = splitOnce(text, ':');
  if (isRepositoryName(repository)) {
    return `For a model on Hugging Face write \`hf:${text}\`; for a file give its path, ending in .gguf.`;
  }
  if (catalogueNames.length === 0) {
    return undefined;
  }
  const nearest = closest(text.toLowerCase(), [...catalogueNames]);
  if (distance(text.toLowerCase(), nearest) > nearest.length * suggestionDistance) {
    return undefined;
  }
  return `Did you mean \`${nearest}\`? \`meshnode models\` lists all names.`;
}

function invalid(text: string, reason: string, more: { hint?: string | undefined } = {}): MeshnodeError {
  const shown = JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}…` : text);
  return new MeshnodeError(
    'model_ref_invalid',
    `${shown} is not a model reference: ${reason}.`,
    more.hint === undefined ? {} : { hint: more.hint },
  );
}

/** Both sides of the first `separator`; the second is undefined without one. */
function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}

function hasControlCharacter(text: string): boolean {
  return /\p{Cc}|\p{Zl}|\p{Zp}/u.test(text);
}
