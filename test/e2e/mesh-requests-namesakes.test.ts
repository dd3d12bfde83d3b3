// Two files under one name on two nodes are two models: each has a name of its own, and is answered by its own weights
// or not at all.
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { APIError } from 'openai';
import { beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticModel } from '../../src/models/synthetic.ts';
import { contentOf } from '../conformance/node-under-test.ts';
import { paths, type RequestMesh, useMesh, wayOf } from '../support/mesh-requests.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const folder = await temporaryFolder();

interface ModelFile {
  readonly path: string;
  readonly digest: string;
}

async function written(seed: number): Promise<ModelFile> {
  const path = join(folder, `${seed}`, 'tiny.gguf');
  await mkdir(join(folder, `${seed}`));
  await writeSyntheticModel(path, 'dense', seed);
  return {
    path,
    digest: createHash('sha256')
      .update(await readFile(path))
      .digest('hex'),
  };
}

/** The one that the plain name means comes first. */
let files: readonly [ModelFile, ModelFile];
beforeAll(async () => {
  const [one, other] = [await written(1), await written(2)];
  files = one.digest < other.digest ? [one, other] : [other, one];
});

const asked = {
  messages: [{ role: 'user' as const, content: 'Hello' }],
  temperature: 0,
  max_tokens: 12,
};

/** Who answered, and what; or the code of the refusal. */
async function answerTo(mesh: RequestMesh, entry: string, model: string): Promise<string> {
  const { openai, answers } = mesh.client(entry);
  try {
    const text = contentOf(await openai.chat.completions.create({ ...asked, model }));
    return `${wayOf(answers[0]).peer}: ${text}`;
  } catch (failure) {
    return failure instanceof APIError ? `${failure.status} ${failure.code}` : String(failure);
  }
}

const short = ({ digest }: ModelFile): string => `tiny@${digest.slice(0, 8)}`;
const entries = ['bee', 'cat'];
/** What may be said for a model whose node is lost: it comes back, or it is gone. */
const lostWords: readonly string[] = ['503 peer_unreachable', '502 stream_broken', '404 model_not_found'];

describe.each(paths)('over %s, two models of one name', (path) => {
  const mesh = useMesh(path, () => ({
    bee: [],
    cat: [],
    ada: ['--model', files[0].path],
    ann: ['--model', files[1].path],
  }));
  const bothListed = () =>
    Promise.all(entries.map((name) => mesh().lists(name, { tiny: 1, [short(files[1])]: 1 })));
  /** All that is said to 20 requests at once. */
  const all = async (entry: string, model: string): Promise<string[]> => [
    ...new Set(await Promise.all(Array.from({ length: 20 }, () => answerTo(mesh(), entry, model)))),
  ];

  it('are listed, and answered, each under its own', async () => {
    await bothListed();
    const [plain, other] = files;
    const ofAda = await answerTo(mesh(), 'ada', short(plain));
    const ofAnn = await answerTo(mesh(), 'ann', short(other));
    expect(ofAda).toMatch(/^ada: ./);
    expect(ofAnn).toMatch(/^ann: ./);
    expect(ofAnn.slice(5)).not.toBe(ofAda.slice(5));
    for (const entry of entries) {
      expect(await all(entry, 'tiny')).toEqual([ofAda]);
      expect(await all(entry, short(plain))).toEqual([ofAda]);
      expect(await all(entry, short(other))).toEqual([ofAnn]);
      expect(await all(entry, `tiny@${other.digest}`)).toEqual([ofAnn]);
    }
    // Whoever has one of them means that one.
    for (const [entry, own] of [
      ['ada', ofAda],
      ['ann', ofAnn],
    ] as const) {
      expect(await all(entry, 'tiny')).toEqual([own]);
      expect(await all(entry, short(plain))).toEqual([ofAda]);
      expect(await all(entry, short(other))).toEqual([ofAnn]);
    }
  });

  it.each([
    ['ann', 'ada'],
    ['ada', 'ann'],
  ] as const)('are never mixed up while the node of one of them, %s, dies', async (dying, living) => {
    await bothListed();
    const [lost, left] = dying === 'ada' ? files : [files[1], files[0]];
    const wanted = await answerTo(mesh(), living, short(left));
    mesh().node(dying).process.child.kill('SIGKILL');
    const said: string[] = [];
    const saidOfPlain: string[] = [];
    const askedUntilGone = async (): Promise<string> => {
      expect(await answerTo(mesh(), 'bee', short(left))).toBe(wanted);
      saidOfPlain.push(await answerTo(mesh(), 'bee', 'tiny'));
      said.push(await answerTo(mesh(), 'bee', short(lost)));
      return said.at(-1) ?? '';
    };
    await expect.poll(askedUntilGone, { timeout: 10_000, interval: 50 }).toBe('404 model_not_found');
    expect(said.filter((words) => !lostWords.includes(words))).toEqual([]);
    if (dying === 'ada') {
      // Nobody is given other weights under the plain name before the model that it meant is known to be gone.
      expect(saidOfPlain.slice(0, -1).filter((words) => !lostWords.includes(words))).toEqual([]);
    } else {
      expect(new Set(saidOfPlain)).toEqual(new Set([wanted]));
    }
    for (const entry of entries) {
      expect(await all(entry, short(lost))).toEqual(['404 model_not_found']);
      expect(await all(entry, `tiny@${lost.digest}`)).toEqual(['404 model_not_found']);
      expect(await all(entry, short(left))).toEqual([wanted]);
    }
    await mesh().restart(dying, ['--model', lost.path]);
  });
});
