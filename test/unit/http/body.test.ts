import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { BodyReader } from '../../../src/http/body.ts';
import { rejectionOf } from '../../support/thrown.ts';

it('a body whose sender left before anybody read it is not waited for', async () => {
  const reader = new BodyReader({ bodyBytes: 100, bodiesBytes: 100, jsonDepth: 8 });
  const request = new IncomingMessage(new Socket());
  const response = new ServerResponse(request);
  const gone = reader.readJson({ request, response, requestId: 'req_1', signal: AbortSignal.abort() });
  expect((await rejectionOf(gone)).code).toBe('cancelled');
});
