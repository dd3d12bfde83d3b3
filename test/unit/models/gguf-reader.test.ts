import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Gguf } from '../../../src/models/gguf.ts';
import { parseGguf, readGguf } from '../../../src/models/gguf-reader.ts';
import { MeshnodeError } from '../../../src/util/errors.ts';
import { ggufLimits } from '../../../src/util/limits/models.ts';
import {
  array,
  memorySource,
  pair,
  type RawGguf,
  rawGguf,
  tensorEntry,
  text,
  typeId,
  u8,
  u32,
  u64,
} from '../../support/gguf-bytes.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const folder = await temporaryFolder();

function parse(bytes: Uint8Array): Promise<Gguf> {
  return parseGguf(memorySource(bytes), 'test.gguf');
}

/** The one error a broken file may give. */
async function refusal(bytes: Uint8Array): Promise<MeshnodeError> {
  const thrown = await parse(bytes).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof MeshnodeError)) {
    throw new Error(`expected a refusal, got ${String(thrown)}`);
  }
  return thrown;
}

const model: RawGguf = {
  pairs: [
    pair('general.architecture', typeId.string, text('llama')),
    pair('llama.block_count', typeId.uint32, u32(2)),
    pair('tags', typeId.array, array(typeId.string, 2, text('a'), text('b'))),
  ],
  tensors: [
    tensorEntry({ name: 'first' }),
    tensorEntry({ name: 'second', dimensions: [32, 2], type: 2, offset: 32 }),
  ],
  dataBytes: 32 + 36,
};

describe('a sound GGUF file', () => {
  it.each([2, 3])('is read in version %i', async (version) => {
    const gguf = await parse(rawGguf({ ...model, version }));
    expect(gguf.version).toBe(version);
    expect(gguf.alignment).toBe(32);
    expect(gguf.metadata.get('general.architecture')).toEqual({ type: 'string', value: 'llama' });
    expect(gguf.metadata.get('llama.block_count')).toEqual({ type: 'uint32', value: 2 });
    expect(gguf.metadata.get('tags')).toMatchObject({ elementType: 'string', values: ['a', 'b'] });
    expect(gguf.tensors).toEqual([
      { name: 'first', type: 'F32', dimensions: [8], offset: gguf.dataOffset, sizeBytes: 32 },
      { name: 'second', type: 'Q4_0', dimensions: [32, 2], offset: gguf.dataOffset + 32, sizeBytes: 36 },
    ]);
    expect(gguf.dataOffset % 32).toBe(0);
  });

  it('is refused at every length but the whole one', async () => {
    const bytes = rawGguf(model);
    for (let length = 0; length < bytes.length; length++) {
      expect((await refusal(bytes.subarray(0, length))).code, `${length} bytes`).toBe('gguf_invalid');
    }
    expect((await parse(bytes)).tensors).toHaveLength(2);
  });

  it('keeps 64-bit integers exact', async () => {
    const gguf = await parse(rawGguf({ pairs: [pair('big', typeId.uint64, u64(2n ** 64n - 1n))] }));
    expect(gguf.metadata.get('big')).toEqual({ type: 'uint64', value: 2n ** 64n - 1n });
  });

  it('obeys its alignment', async () => {
    const alignment = 128;
    const pairs = [pair('general.alignment', typeId.uint32, u32(alignment))];
    const gguf = await parse(rawGguf({ pairs, tensors: [tensorEntry()], alignment, dataBytes: 32 }));
    expect(gguf.dataOffset % alignment).toBe(0);
    expect(gguf.tensors[0]?.offset).toBe(gguf.dataOffset);
  });

  it('leaves a long array in the file and tells where it is', async () => {
    const words = Array.from({ length: 5000 }, (_, index) => text(`word ${index}`));
    const bytes = rawGguf({
      pairs: [
        pair('words', typeId.array, array(typeId.string, words.length, ...words)),
        pair('numbers', typeId.array, array(typeId.uint32, 5000, Buffer.alloc(20_000))),
        pair('after', typeId.bool, u8(1)),
      ],
    });
    const { metadata } = await parse(bytes);
    const list = metadata.get('words');
    expect(list).toMatchObject({ type: 'array', elementType: 'string', count: 5000 });
    expect(list).not.toHaveProperty('values');
    expect(metadata.get('numbers')).not.toHaveProperty('values');
    expect(metadata.get('after')).toEqual({ type: 'bool', value: true });
    const start = list?.type === 'array' ? list.fileOffset : 0;
    expect(bytes.subarray(start, start + 14)).toEqual(text('word 0'));
  });

  it('passes over strings that lie across the edge of what is read at once', async () => {
    const words = Array.from({ length: 5000 }, (_, index) => text('x'.repeat(index)));
    const bytes = rawGguf({
      pairs: [
        pair('words', typeId.array, array(typeId.string, words.length, ...words)),
        pair('after', typeId.bool, u8(1)),
      ],
    });
    expect(bytes.length).toBeGreaterThan(2 * ggufLimits.readBytes);
    const { metadata } = await parse(bytes);
    expect(metadata.get('after')).toEqual({ type: 'bool', value: true });
  });

  it('passes over a long array of arrays', async () => {
    const lists = Array.from({ length: 5000 }, () => array(typeId.uint32, 2, u32(1), u32(2)));
    const pairs = [
      pair('lists', typeId.array, array(typeId.array, lists.length, ...lists)),
      pair('after', typeId.bool, u8(1)),
    ];
    const { metadata } = await parse(rawGguf({ pairs }));
    expect(metadata.get('lists')).toMatchObject({ elementType: 'array', count: 5000 });
    expect(metadata.get('after')).toEqual({ type: 'bool', value: true });
  });

  it('may hold text that is not UTF-8 in a value', async () => {
    const { metadata } = await parse(
      rawGguf({ pairs: [pair('odd', typeId.string, text(Buffer.from([0x61, 0xff])))] }),
    );
    expect(metadata.get('odd')).toEqual({ type: 'string', value: 'a\ufffd' });
  });
});

describe('a lie in the file is refused by name', () => {
  const stringPair = (length: bigint): Buffer => pair('general.name', typeId.string, text('x', length));
  const manyWords = Array.from({ length: 4999 }, () => text('word'));
  const lies: Array<[lie: string, field: string, file: RawGguf]> = [
    ['another magic', 'header.magic', { magic: 'GGML' }],
    ['version 1', 'header.version is 1', { version: 1 }],
    ['version 4', 'header.version is 4', { version: 4 }],
    ['a big-endian file', 'header.version is big-endian', { version: 0x03000000 }],
    ['more tensors than the file holds', 'header.tensor_count', { tensorCount: 1000 }],
    ['2^63 tensors', 'header.tensor_count', { tensorCount: 2n ** 63n }],
    ['2^64 - 1 metadata pairs', 'header.metadata_count', { pairCount: 2n ** 64n - 1n }],
    ['a string of 2^40 bytes', 'metadata[general.name].length', { pairs: [stringPair(2n ** 40n)] }],
    ['a string beyond the end', 'metadata[general.name].length', { pairs: [stringPair(1000n)] }],
    ['a key of 2^64 - 1 bytes', 'metadata[0].key.length', { pairs: [text('k', 2n ** 64n - 1n)] }],
    ['an empty key', 'metadata[0].key', { pairs: [pair('', typeId.bool, u8(1))] }],
    [
      'a key twice',
      'metadata[1].key appears twice: same',
      { pairs: [pair('same', typeId.bool, u8(1)), pair('same', typeId.bool, u8(0))] },
    ],
    [
      'a key that is not UTF-8',
      'metadata[0].key is not UTF-8',
      { pairs: [Buffer.concat([text(Buffer.from([0xff])), u32(typeId.bool), u8(1)])] },
    ],
    ['an unknown value type', 'metadata[odd].type is 13', { pairs: [pair('odd', 13, u32(0))] }],
    [
      'an array whose size overflows 64 bits',
      'metadata[list].count',
      { pairs: [pair('list', typeId.array, array(typeId.uint32, 2n ** 62n))] },
    ],
    [
      'an array longer than the file',
      'metadata[list].count',
      { pairs: [pair('list', typeId.array, array(typeId.uint32, 10_000))] },
    ],
    [
      'a wrong string in a long array',
      'metadata[words][4999].length',
      {
        pairs: [pair('words', typeId.array, array(typeId.string, 5000, ...manyWords, text('x', 2n ** 63n)))],
      },
    ],
    [
      'an array of an unknown type',
      'metadata[list].type',
      { pairs: [pair('list', typeId.array, array(99, 1, u32(0)))] },
    ],
    [
      'arrays nested too deep',
      'metadata[list][0][0][0][0]',
      { pairs: [pair('list', typeId.array, nested(ggufLimits.arrayDepth + 1))] },
    ],
    ['an alignment of 0', 'metadata[general.alignment] is 0', { pairs: [alignmentPair(0)] }],
    ['an alignment of 48', 'metadata[general.alignment] is 48', { pairs: [alignmentPair(48)] }],
    [
      'an alignment that is text',
      'metadata[general.alignment] is of type string',
      { pairs: [pair('general.alignment', typeId.string, text('32'))] },
    ],
    ['a tensor without a name', 'tensor[0].name', { tensors: [tensorEntry({ name: '' })], dataBytes: 32 }],
    [
      'a tensor name of 1000 bytes',
      'tensor[0].name.length',
      { tensors: [tensorEntry({ name: 'n'.repeat(1000) })], dataBytes: 32 },
    ],
    [
      'a tensor name twice',
      'tensor[1].name appears twice: weight',
      { tensors: [tensorEntry(), tensorEntry({ offset: 32 })], dataBytes: 64 },
    ],
    [
      'a tensor of 5 dimensions',
      'tensor[0].dimensions are 5',
      { tensors: [tensorEntry({ dimensions: [1, 1, 1, 1, 8] })], dataBytes: 32 },
    ],
    [
      '2^32 - 1 dimensions',
      'tensor[0].dimensions',
      { tensors: [tensorEntry({ dimensionCount: 2 ** 32 - 1 })], dataBytes: 32 },
    ],
    [
      'dimensions whose product overflows',
      'tensor[0].dimensions[1]',
      { tensors: [tensorEntry({ dimensions: [2n ** 32n, 2n ** 32n] })], dataBytes: 32 },
    ],
    [
      'a dimension of 2^64 - 1 beside one of 0',
      'tensor[0].dimensions[1]',
      { tensors: [tensorEntry({ dimensions: [0, 2n ** 64n - 1n] })], dataBytes: 32 },
    ],
    [
      'an unknown tensor type',
      'tensor[0].type is 31',
      { tensors: [tensorEntry({ type: 31 })], dataBytes: 32 },
    ],
    [
      'rows that are no whole blocks',
      'tensor[0].dimensions[0] is 33',
      { tensors: [tensorEntry({ dimensions: [33], type: 2 })], dataBytes: 64 },
    ],
    [
      'a tensor that is not aligned',
      'tensor[0].offset is 8',
      { tensors: [tensorEntry({ offset: 8 })], dataBytes: 64 },
    ],
    [
      'a tensor that ends beyond the file',
      'tensor[0].offset puts weight beyond the end',
      { tensors: [tensorEntry({ dimensions: [64] })], dataBytes: 128 },
    ],
    [
      'a tensor at 2^64 - 32',
      'tensor[0].offset',
      { tensors: [tensorEntry({ offset: 2n ** 64n - 32n })], dataBytes: 32 },
    ],
    [
      'tensors that overlap',
      'tensor[0].offset lets late overlap another',
      {
        tensors: [
          tensorEntry({ name: 'late', offset: 32 }),
          tensorEntry({ name: 'early', dimensions: [16] }),
        ],
        dataBytes: 64,
      },
    ],
  ];

  it.each(lies)('%s', async (_, field, file) => {
    const bytes = rawGguf(file);
    const error = await refusal(bytes);
    expect(error.code).toBe('gguf_invalid');
    expect(error.message).toContain(`test.gguf: ${field}`);
    expect(error.details.data).toMatchObject({ path: 'test.gguf' });
    expect(field).toContain(String(error.details.data?.['field']));
    expect(error.details.data?.['offset']).toBeTypeOf('number');
  });

  it('before anything is allocated for it', async () => {
    const source = memorySource(rawGguf({ pairs: [stringPair(2n ** 40n)] }));
    await expect(parseGguf(source, 'test.gguf')).rejects.toMatchObject({ code: 'gguf_invalid' });
    expect(source.readBytes).toBeLessThan(1024);
  });

  it('also where the whole header would be larger than allowed', async () => {
    const path = join(folder, 'bloated.gguf');
    const handle = await open(path, 'w');
    const lists = 5;
    let position = 24;
    await handle.write(rawGguf({ pairCount: lists }), 0, position, 0);
    for (let index = 0; index < lists; index++) {
      const list = pair(`list ${index}`, typeId.array, array(typeId.uint64, 2 ** 24));
      await handle.write(list, 0, list.length, position);
      position += list.length + 2 ** 27;
    }
    await handle.truncate(position);
    await handle.close();
    await expect(readGguf(path)).rejects.toMatchObject({
      code: 'gguf_invalid',
      message: expect.stringContaining('metadata[list 3] lies beyond the largest allowed header'),
    });
  });

  it('also where more metadata is kept than allowed', async () => {
    const long = Buffer.alloc(ggufLimits.stringBytes, 'x');
    const pairs = Array.from({ length: 5 }, (_, index) => pair(`text ${index}`, typeId.string, text(long)));
    const error = await refusal(rawGguf({ pairs }));
    expect(error.message).toContain('metadata[text 3] exceeds');
  });
});

describe('reading from disk', () => {
  it('reads ranges only: a file of 4 GiB costs no more than its header', async () => {
    const path = join(folder, 'sparse.gguf');
    const sizeBytes = 4 * 1024 ** 3;
    const header = rawGguf({ tensors: [tensorEntry({ dimensions: [1024 ** 3 - 1024] })] });
    await writeFile(path, header);
    const handle = await open(path, 'r+');
    await handle.truncate(sizeBytes);
    await handle.close();
    const before = process.memoryUsage().arrayBuffers;
    const gguf = await readGguf(path);
    expect(gguf.fileSizeBytes).toBe(sizeBytes);
    expect(gguf.tensors[0]?.sizeBytes).toBe(4 * (1024 ** 3 - 1024));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * ggufLimits.readBytes);
  });

  it('says which file is missing', async () => {
    const path = join(folder, 'nowhere.gguf');
    await expect(readGguf(path)).rejects.toMatchObject({
      code: 'model_file_missing',
      message: expect.stringContaining(path),
    });
  });

  it('takes a folder for no model', async () => {
    await expect(readGguf(folder)).rejects.toMatchObject({ code: 'model_file_missing' });
  });

  it('ends when its signal aborts', async () => {
    const path = join(folder, 'aborted.gguf');
    await writeFile(path, rawGguf(model));
    const reason = new Error('enough');
    await expect(readGguf(path, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

function alignmentPair(alignment: number): Buffer {
  return pair('general.alignment', typeId.uint32, u32(alignment));
}

/** An array of an array of an array ... of nothing. */
function nested(levels: number): Buffer {
  return levels === 1 ? array(typeId.uint8, 0) : array(typeId.array, 1, nested(levels - 1));
}
