// The parameters of tools within the schema of one call, and what of them no model's process has to bear.
import { describe, expect, it } from 'vitest';
import { assertBearableTools, forcedCallSchema } from '../../../../src/engine/llama-server/schema-tools.ts';
import type { Tool } from '../../../../src/inference/request.ts';
import { isJsonObject, type JsonObject } from '../../../../src/util/json.ts';
import { unbearableSchemas } from '../../../support/schema-samples.ts';
import { fits } from '../../../support/schema-validator.ts';
import { thrownBy } from '../../../support/thrown.ts';

const tool = (parameters: JsonObject, more: Partial<Tool> = {}): Tool => ({ name: 'f', parameters, ...more });

const withDefinitions = {
  type: 'object',
  properties: { p: { $ref: '#/$defs/P' }, rest: { anyOf: [{ $ref: '#' }, { type: 'null' }] } },
  required: ['p'],
  $defs: { P: { type: 'object', properties: { id: { $ref: '#/$defs/Id' } } }, Id: { type: 'integer' } },
};

describe('the schema of a forced call', () => {
  it('has the definitions of all tools at its root, each under a name of its own', () => {
    const other = { ...withDefinitions, $defs: { P: { type: 'string' } } };
    const schema = forcedCallSchema([tool(withDefinitions), tool(other, { name: 'g' })]);
    const call = (name: string, p: JsonObject | string): JsonObject => ({
      name,
      arguments: { p, rest: { p, rest: null } },
    });
    expect(fits(call('f', { id: 1 }), schema)).toBe(true);
    expect(fits(call('f', { id: 'x' }), schema)).toBe(false);
    expect(fits(call('f', 'x'), schema)).toBe(false);
    expect(fits(call('g', 'x'), schema)).toBe(true);
    expect(fits(call('g', { id: 1 }), schema)).toBe(false);
  });

  it('leaves out what cannot be enforced, and keeps the rest', () => {
    const parameters = {
      type: 'object',
      properties: {
        p: { type: 'number', minimum: 0 },
        q: { type: 'string', pattern: '\\d', maxLength: 3 },
        r: { $ref: '#/elsewhere' },
        s: { type: 'array', items: { type: 'boolean' }, uniqueItems: true, maxItems: 99_999 },
      },
      required: ['p', 'zz'],
      anyOf: [{ required: ['q'] }, { required: ['r'] }],
      additionalProperties: { type: 'null' },
    };
    expect(forcedCallSchema([tool(parameters)])).toEqual({
      anyOf: [
        {
          type: 'object',
          properties: {
            name: { const: 'f' },
            arguments: {
              type: 'object',
              properties: {
                p: { type: 'number' },
                q: { type: 'string', maxLength: 3 },
                r: {},
                s: { type: 'array', items: { type: 'boolean' } },
              },
              required: ['p'],
            },
          },
          required: ['name', 'arguments'],
          additionalProperties: false,
        },
      ],
    });
    expect(thrownBy(() => forcedCallSchema([tool(parameters, { strict: true })]))).toMatchObject({
      code: 'invalid_schema',
      details: { param: 'tools' },
    });
  });

  it('holds arguments without parameters to any object', () => {
    const schema = forcedCallSchema([{ name: 'f' }, tool({ title: 'nothing' }, { name: 'g' })]);
    for (const name of ['f', 'g']) {
      expect(fits({ name, arguments: { a: [1] } }, schema)).toBe(true);
      expect(fits({ name, arguments: [1] }, schema)).toBe(false);
    }
  });
});

describe('tools', () => {
  it.each(Object.entries(unbearableSchemas))(
    'that llama.cpp could not bear are refused: %s',
    (_, [schema, words]) => {
      const parameters = isJsonObject(schema) ? schema : {};
      // A pattern that llama.cpp takes for any string costs it nothing.
      const isBorne = words === 'pattern';
      for (const check of isBorne ? [] : [assertBearableTools, forcedCallSchema]) {
        expect(thrownBy(() => check([tool(parameters)]))).toMatchObject({
          code: 'invalid_schema',
          message: expect.stringContaining(words),
          details: { param: 'tools' },
        });
      }
    },
  );

  it('may be many', () => {
    const properties = Object.fromEntries(
      Array.from({ length: 15 }, (_, index) => [`p${index}`, { type: 'string' }]),
    );
    const many = Array.from({ length: 120 }, (_, index) =>
      tool({ type: 'object', properties }, { name: `f${index}` }),
    );
    expect(() => forcedCallSchema(many)).not.toThrow();
  });
});
